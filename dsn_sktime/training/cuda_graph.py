"""CUDA graphs of the optimizer step: one launch, where Python would make hundreds.

A batch of 16 series is computed faster than Python can launch the kernels for it. A CUDA
graph is captured once, by running the Python code without computing anything, and replayed
for each batch. It does the same operations, in the same order, on the same memory: what
changes from batch to batch must lie in tensors that are changed in place, and nothing may be
read back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from dsn_sktime.training.batches import Batch

# torch initializes its libraries when first used, which cannot be captured.
_N_WARM_UP = 3


class CapturedStep:
    """An optimizer step that is captured once per batch size, and replayed.

    Each call takes one optimizer step by ``step``, which maps a batch of series of equal length to
    a tensor. The first of each size are not captured, to warm up.
    """

    def __init__(self, step: Callable[[Batch], Tensor], graphs: CudaGraphs) -> None:
        self._step = step
        self._graphs = graphs
        self._n_warm: dict[int, int] = {}
        self._captured: dict[int, tuple[Batch, Callable[[], Tensor]]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Take an optimizer step and return what it returns, which the next call overwrites."""
        size = len(batch.values)
        self._n_warm[size] = self._n_warm.get(size, 0) + 1
        if self._n_warm[size] <= _N_WARM_UP:
            return self._graphs.warm_up(lambda: self._step(batch))
        if size not in self._captured:
            own = Batch._make(None if tensor is None else tensor.clone() for tensor in batch)
            self._captured[size] = own, self._graphs.capture(lambda: self._step(own))
        own, replay = self._captured[size]
        for buffer, tensor in zip(own, batch, strict=True):
            if buffer is not None and tensor is not None:
                buffer.copy_(tensor)
        return replay()


# torch captures one graph at a time in a process.
_capturing = threading.Lock()


class CudaGraphs:
    """CUDA graphs on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, function: Callable[[], Tensor]) -> Tensor:
        """Call a function on the stream that it will be captured on."""
        with torch.cuda.device(self.device):
            outside = torch.cuda.current_stream()
            self.stream.wait_stream(outside)
            with torch.cuda.stream(self.stream):
                result = function()
            outside.wait_stream(self.stream)
        return result

    def capture(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Capture the kernels that a function launches, and return a function that replays them."""
        graph = torch.cuda.CUDAGraph()
        # Thread-local: other threads may use the device meanwhile.
        with (
            _capturing,
            torch.cuda.device(self.device),
            torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
        ):
            result = function()

        def replay() -> Tensor:
            with torch.cuda.device(self.device):
                graph.replay()
            return result

        return replay

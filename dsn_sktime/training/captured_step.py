"""Training steps that a GPU replays: one launch, where Python would make hundreds.

A batch of 16 series is computed faster than Python can launch the kernels for it. A CUDA
graph is captured once, by running the step's Python code without computing anything, and
launched for each batch. It does the same operations, in the same order, on the same memory:
what changes from step to step must lie in tensors that are changed in place, and the step
may read nothing back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CapturedStep", "CudaGraphs", "Graphs"]

# torch initialises its libraries when first used, which cannot be captured.
_N_WARM_UP = 3


class Graphs(Protocol):
    """What steps are captured by."""

    def warm_up(self, function: Callable[[], Tensor]) -> Tensor:
        """Compute a function as it is to be captured later, and return its result."""

    def capture(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Return a function that does again what this one does, without computing it now."""


class CapturedStep:
    """A training step that is captured once per batch size, and replayed.

    Each call takes one step. The first of each size are computed as ever, to warm up.

    Parameters
    ----------
    step : callable
        Takes a training step: maps the row numbers of a batch, int64 of shape (B,), to a
        tensor.
    graphs : Graphs
    """

    def __init__(self, step: Callable[[Tensor], Tensor], graphs: Graphs) -> None:
        self._step = step
        self._graphs = graphs
        self._n_warm: dict[int, int] = {}
        self._captured: dict[int, tuple[Tensor, Callable[[], Tensor]]] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        """Take a step.

        Parameters
        ----------
        rows : int64 tensor of shape (B,)

        Returns
        -------
        tensor
            What the step returns. The next call overwrites it.
        """
        size = len(rows)
        self._n_warm[size] = self._n_warm.get(size, 0) + 1
        if self._n_warm[size] <= _N_WARM_UP:
            return self._graphs.warm_up(lambda: self._step(rows))
        if size not in self._captured:
            own = rows.clone()
            self._captured[size] = own, self._graphs.capture(lambda: self._step(own))
        own, replay = self._captured[size]
        own.copy_(rows)
        return replay()


# torch captures one graph at a time in a process.
_capturing = threading.Lock()


class CudaGraphs:
    """CUDA graphs on one device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, function: Callable[[], Tensor]) -> Tensor:
        """Compute a function on the stream that it is to be captured on."""
        with torch.cuda.device(self.device):
            outside = torch.cuda.current_stream()
            self.stream.wait_stream(outside)
            with torch.cuda.stream(self.stream):
                result = function()
            outside.wait_stream(self.stream)
        return result

    def capture(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Capture what a function launches, and return what launches it again."""
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

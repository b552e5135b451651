"""Memory and tables of a step, and the step itself: the compiled passes over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.kernels.buffers import empty_matrix
from dsn_sktime.kernels.parts import N_PHASES
from dsn_sktime.kernels.plan import Plan, Shape, address
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.tables import BATCH, LAYER, fields, numbers
from dsn_sktime.kernels.threads import run_team
from dsn_sktime.kernels.work_sharing import new_counters

__all__ = ["Step", "pointers"]

_PARAMETERS = fields(LAYER, "bottleneck", "running_variance")
_GRADIENTS = fields(LAYER, "bottleneck_gradient", "bias_gradient")
_HEAD_PARAMETERS = fields(BATCH, "classes", "running_variance")
_HEAD_GRADIENTS = fields(BATCH, "classes_gradient", "bias_gradient")
_DATA = fields(BATCH, "x", "logits")
_N_HEAD_TENSORS = _HEAD_PARAMETERS.stop - _HEAD_PARAMETERS.start


def pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    """Return where tensors are, 0 for None.

    Raises
    ------
    TypeError
        If compiled code cannot read one.
    """
    for tensor in tensors:
        if tensor is not None and (tensor.dtype != torch.float32 or not tensor.is_contiguous()):
            raise TypeError(
                "all parameters and statistics of a network must be contiguous and of the type "
                f"of its input, torch.float32, found {tensor.dtype} with strides "
                f"{tensor.stride()}. Convert the whole network by network.to(dtype)."
            )
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _empty(*shape: int) -> Tensor:
    """Return what compiled code may write to, whatever torch's defaults are."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


class Step:
    """One pass at a time through a plan. Another may follow when it is over.

    Parameters
    ----------
    plan : Plan
    n_threads : int
        Threads that it runs on.

    Attributes
    ----------
    plan : Plan
    n_threads : int
    memory : float32 array
        All matrices of the step.
    layers, batch : arrays of LAYER and BATCH
        The plan's tables, with this memory's addresses.
    """

    def __init__(self, plan: Plan, n_threads: int) -> None:
        self.plan, self.n_threads = plan, n_threads
        self.memory = empty_matrix(plan.memory_size(n_threads))
        self.layers, self.batch = plan.tables(address(self.memory))
        self._layers, self._batch = numbers(self.layers), numbers(self.batch)[0]
        self._of_plan = self._batch.copy()
        self._shape: Shape | None = None
        self._pointers: list[int] = []

    def begin(self, shape: Shape, x: Tensor, where: list[int]) -> Tensor:
        """Take up a batch.

        Parameters
        ----------
        shape : Shape
        x : contiguous float32 tensor of shape (B, m, L)
            Must live until the last pass over it.
        where : list of int
            From :func:`pointers`: those of each layer's tensors, then those of the head's.

        Returns
        -------
        tensor of shape (B, c)
            The logits, which the forward pass is going to write.
        """
        if shape is not self._shape:
            # The batch's tables are referred to by address: it is kept.
            self._shape, self._pointers = shape, []
            np.add(self._of_plan, shape.row, out=self._batch)
        if where != self._pointers:
            self._layers[:, _PARAMETERS] = np.reshape(
                where[:-_N_HEAD_TENSORS], (len(self._layers), -1)
            )
            self._batch[_HEAD_PARAMETERS] = where[-_N_HEAD_TENSORS:]
            self._pointers = where
        logits = _empty(len(x), int(self.batch["n_classes"][0]))
        self._batch[_DATA] = x.data_ptr(), logits.data_ptr()
        return logits

    def run(self, function: Callable, *settings: float) -> None:
        """Call a compiled function on several threads.

        Parameters
        ----------
        function : compiled function
            A pass: takes the tables, the settings, the counters' address, a thread's number.
        *settings : float
            BatchNorm's.
        """
        layers, batch = self.layers, self.batch
        counters = new_counters(N_PHASES * len(layers) + 2)
        run_team(
            lambda thread: function(layers, batch, *settings, address(counters), thread),
            self.n_threads,
        )

    def gradients(self, function: Callable, upstream: Tensor, eps: float) -> list[Tensor | None]:
        """Return the gradients by the parameters of layers and head, as vectors.

        Parameters
        ----------
        function : compiled function
            The backward pass.
        upstream : contiguous tensor of shape (B, c)
            Gradient by the logits.
        eps : float
            BatchNorm's.
        """
        plan = self.plan
        flat = _empty(plan.n_gradients)
        to = flat.data_ptr() + plan.gradient_offsets
        self._layers[:, _GRADIENTS] = to[:-3].reshape(len(self._layers), -1)
        self._batch[_HEAD_GRADIENTS] = to[-3:]
        self.batch["logit_gradient"] = upstream.data_ptr()
        self.run(function, eps)
        return [
            part if size else None
            for part, size in zip(flat.split(plan.sizes), plan.sizes, strict=True)
        ]

    def dense_gradient(self, number: int) -> Tensor:
        """Return the gradient by every weight of a layer: one matrix product per tap."""
        conv, kernels = self.plan.conv, self.plan.kernels[number]
        n_out, n_in, kernel_size = kernels.shape
        record, n_steps = self.layers[number], conv.segment_steps
        z = self._padded(record["z"], n_in, conv.input_pitch)
        dy = self._padded(record["dy"], n_out, conv.gradient_pitch)
        inside = dy[:, :, conv.n_after : conv.n_after + n_steps].reshape(n_out, -1)
        taps = [
            inside @ z[:, :, tap : tap + n_steps].reshape(n_in, -1).T for tap in range(kernel_size)
        ]
        return torch.stack(taps, dim=2)

    def _padded(self, start: int, n_rows: int, row_pitch: int) -> Tensor:
        first = (int(start) - address(self.memory)) // 4
        rows = torch.from_numpy(self.memory[first : first + n_rows * row_pitch])
        columns = rows.view(n_rows, row_pitch)[:, : self.plan.conv.padded_columns]
        return columns.view(n_rows, self.plan.conv.n_groups, -1, LANES)

"""A whole network as compiled calls: forward, backward through autograd, and predict."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dsn_sktime.kernels.backward import backward
from dsn_sktime.kernels.forward import forward, predict
from dsn_sktime.kernels.plan import Head, Layer, Norm, Plan, Shape, address
from dsn_sktime.kernels.step import Step, pointers
from dsn_sktime.kernels.threads import team_size

__all__ = ["Engine", "Head", "Layer", "Norm"]

_N_PLANS = 8
# Steps of a plan that are kept until they are needed again, and the float32 that each may
# hold: larger ones take so long that to make them anew costs nothing.
_N_IDLE = 2
_IDLE_SIZE = 2**21


class Engine:
    """Computes a network of sparse layers for batches of any shape.

    It is made for the tensors of one network. These may change in place, and the topology
    may; where one is replaced by another, another engine is needed.

    Parameters
    ----------
    layers : sequence of Layer
    head : Head
    kernel_size : int
    replicate : bool
        Whether convolutions continue a series by its last step, or surround it by zeros.
    eps, momentum : float
        BatchNorm's.

    Attributes
    ----------
    tensors : list of tensor or None
        Parameters and running statistics that it reads.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        head: Head,
        kernel_size: int,
        replicate: bool,
        eps: float,
        momentum: float,
    ) -> None:
        self.layers = layers
        self.head = head
        self.kernel_size = kernel_size
        self.replicate = replicate
        self.eps = eps
        self.momentum = momentum
        self.tensors = [one for layer in layers for one in layer.tensors] + [*head.tensors]
        self._parameters = [one for layer in layers for one in layer.parameters]
        self._parameters += head.parameters
        self._shapes: dict[tuple[int, int], Shape] = {}
        self._plans: dict[tuple, tuple[Plan, list[Step]]] = {}

    def train(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute logits, BatchNorm with the batch's statistics; autograd follows.

        Parameters
        ----------
        x : float32 tensor of shape (B, m, L)
        lengths : int64 tensor of shape (B,) or None

        Returns
        -------
        tensor of shape (B, c)

        Raises
        ------
        ValueError
            If the batch is one time step, which has no variance.
        """
        shape = self._shape(x, lengths)
        if shape.batch.n_observed == 1:
            raise ValueError(
                "BatchNorm needs more than one time step to train, found one series of one "
                "step. Train on more series at a time."
            )
        return _Logits.apply(self, shape, x, *self._parameters)

    def predict(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute logits, BatchNorm with its running statistics; no gradients.

        Arguments and result are those of :meth:`train`.
        """
        shape, x = self._shape(x, lengths), x.detach().contiguous()
        step, idle = self._step(shape, training=False, keeps=[False] * len(self.layers))
        logits = step.begin(shape, x, pointers(self.tensors))
        step.run(predict, self.eps)
        _put_back(step, idle)
        return logits

    def _step(self, shape: Shape, training: bool, keeps: list[bool]) -> tuple[Step, list[Step]]:
        """Return a step that is free, and where it is to be put back.

        ``keeps`` tells of each layer whether its dense gradient is wanted.
        """
        plan, idle = self._plan(shape, training, keeps)
        n_threads = team_size(plan.cost)
        try:
            # Another thread may take the last one.
            step = idle.pop()
        except IndexError:
            return Step(plan, n_threads), idle
        return step if step.n_threads == n_threads else Step(plan, n_threads), idle

    def _shape(self, x: Tensor, lengths: Tensor | None) -> Shape:
        n_series, n_variates, n_steps = x.shape
        settings = n_variates, self.kernel_size, self.replicate
        if lengths is not None:
            # Copied: the caller may use the tensor again before the backward pass.
            return Shape(lengths.numpy().copy(), n_steps, *settings)
        key = n_series, n_steps
        # Not looked up twice: another thread may make room in between.
        shape = self._shapes.get(key)
        if shape is None:
            _make_room(self._shapes)
            shape = self._shapes[key] = Shape(np.full(n_series, n_steps), n_steps, *settings)
        return shape

    def _plan(self, shape: Shape, training: bool, keeps: list[bool]) -> tuple[Plan, list[Step]]:
        kernels = [layer.kernels.kernel_index() for layer in self.layers]
        key = shape.batch.key, training, *keeps
        found = self._plans.get(key)
        # Another topology has another index.
        if found is None or any(a is not b for a, b in zip(found[0].kernels, kernels, strict=True)):
            _make_room(self._plans)
            plan = Plan(shape, kernels, self.layers, self.head, training, keeps)
            found = self._plans[key] = plan, []
        return found


def _make_room(remembered: dict) -> None:
    """Forget all before it becomes too much: batches of a fit have few shapes."""
    if len(remembered) >= _N_PLANS:
        remembered.clear()


def _put_back(step: Step, idle: list[Step]) -> None:
    if len(idle) < _N_IDLE and step.memory.size <= _IDLE_SIZE:
        idle.append(step)


class _Logits(torch.autograd.Function):
    """Logits of the series by the parameters of layers and head."""

    @staticmethod
    def forward(
        ctx: Any, engine: Engine, shape: Shape, x: Tensor, *parameters: Tensor | None
    ) -> Tensor:
        """Return logits of shape (B, c)."""
        callbacks = [layer.kernels.on_dense_gradient for layer in engine.layers]
        keeps = [callback is not None for callback in callbacks]
        step, idle = engine._step(shape, training=True, keeps=keeps)
        x = x.detach().contiguous()
        logits = step.begin(shape, x, pointers(engine.tensors))
        step.run(forward, engine.eps, engine.momentum)
        # What is saved this way, unlike what is on ctx, is let go after the backward pass, and
        # with it the step. The gradient by the first 1x1 convolution reads the batch again.
        memory = step.memory[:]
        weakref.finalize(memory, _put_back, step, idle).atexit = False
        # Detached, a parameter keeps the memory that the step has the address of.
        kept = [None if one is None else one.detach() for one in parameters]
        ctx.save_for_backward(torch.from_numpy(memory), x, *kept)
        ctx.step, ctx.eps, ctx.callbacks = weakref.ref(step), engine.eps, callbacks
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the tensors that :meth:`forward` took."""
        # They hold the step's memory and the batch; this raises where they have been let go.
        saved, step = ctx.saved_tensors, ctx.step()
        if step is None or saved[0].data_ptr() != address(step.memory):
            raise RuntimeError(
                "the sparse engine's backward pass needs the memory of its forward pass, found a "
                "copy of it. Train without checkpointing and without hooks on saved tensors."
            )
        gradients = step.gradients(backward, upstream.contiguous(), ctx.eps)
        for number, callback in enumerate(ctx.callbacks):
            if callback is not None:
                callback(step.dense_gradient(number))
        return None, None, None, *map(_like, gradients, saved[2:])


def _like(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    """Return a vector in the shape of a parameter."""
    if gradient is None or parameter is None or parameter.ndim == 1:
        return gradient
    return gradient.view(parameter.shape)

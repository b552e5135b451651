"""A whole network as two compiled calls: forward, and backward through autograd."""

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
from dsn_sktime.kernels.plan import Head, Kernels, Layer, Norm, Plan, Shape
from dsn_sktime.kernels.step import Step, pointers
from dsn_sktime.kernels.threads import team_size

__all__ = ["Engine", "Head", "Kernels", "Layer", "Norm"]

_N_PLANS = 8
# Steps of a plan that are kept until they are needed again.
_N_IDLE = 2


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
        self._tensors = [one for layer in layers for one in layer.tensors] + [*head.tensors]
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
        step, idle = self._step(shape, training=False)
        logits = step.begin(shape, x, pointers(self._tensors))
        step.run(predict, self.eps)
        _put_back(step, idle)
        return logits

    def _step(self, shape: Shape, training: bool) -> tuple[Step, list[Step]]:
        """Return a step that is free, and where it is to be put back."""
        plan, idle = self._plan(shape, training)
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

    def _plan(self, shape: Shape, training: bool) -> tuple[Plan, list[Step]]:
        kernels = [layer.kernels.kernel_index() for layer in self.layers]
        keeps = [layer.kernels.on_dense_gradient is not None for layer in self.layers]
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
    if len(idle) < _N_IDLE:
        idle.append(step)


class _Logits(torch.autograd.Function):
    """Logits of the series by the parameters of layers and head."""

    @staticmethod
    def forward(
        ctx: Any, engine: Engine, shape: Shape, x: Tensor, *parameters: Tensor | None
    ) -> Tensor:
        """Return logits of shape (B, c)."""
        step, idle = engine._step(shape, training=True)
        x = x.detach().contiguous()
        logits = step.begin(shape, x, pointers(engine._tensors))
        step.run(forward, engine.eps, engine.momentum)
        # What is saved this way, unlike what is on ctx, is let go after the backward pass, and
        # with it the step. The gradient by the first 1x1 convolution reads the batch again.
        memory = step.memory[:]
        weakref.finalize(memory, _put_back, step, idle).atexit = False
        ctx.save_for_backward(torch.from_numpy(memory), x, *parameters)
        ctx.step, ctx.eps = weakref.ref(step), engine.eps
        ctx.callbacks = [layer.kernels.on_dense_gradient for layer in engine.layers]
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the tensors that :meth:`forward` took."""
        # They hold the step's memory and the batch; this raises where they have been let go.
        saved, step = ctx.saved_tensors, ctx.step()
        gradients = step.backward(backward, upstream.contiguous(), ctx.eps)
        for number, callback in enumerate(ctx.callbacks):
            if callback is not None:
                callback(step.dense_gradient(number))
        return None, None, None, *map(_like, gradients, saved[2:])


def _like(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    """Return a vector in the shape of a parameter."""
    if gradient is None or parameter is None or parameter.ndim == 1:
        return gradient
    return gradient.view(parameter.shape)

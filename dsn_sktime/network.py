"""The Dynamic Sparse Network, top to bottom (Xiao et al., NeurIPS 2022, figure 2)."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, nn

from dsn_sktime.kernels import sparse, uses_sparse_kernels
from dsn_sktime.layers import ClassHead, SparseConv1d, SparseModule
from dsn_sktime.layers.lengths import check_batch, observed_steps

__all__ = ["DSNNetwork"]


class DSNNetwork(nn.Module):
    """Stack of dynamic sparse layers with a pooled class head.

    Parameters
    ----------
    n_variates : int
        Variates (channels) m of a series.
    n_classes : int
        Number c of classes.
    n_layers : int, default=4
        Dynamic sparse layers.
    n_filters : int, default=47
        Output channels of one kernel group.
    kernel_size : int, default=39
        Taps (time steps) of a kernel.
    n_kernel_groups : int, default=3
        Kernel groups of a layer.
    sparsity : float in [0, 1), default=0.8
        Share of each exploration region that is not activated.
    padding : {"replicate", "zeros"}, default="replicate"
    topology_init : {"first", "random"}, default="first"
    n_pool : int, default=50
        Bins of the pooling over time.
    n_bottleneck : int or None, default=None
        Channels after the 1x1 convolutions; None is ``n_filters``.
    generator : torch.Generator, optional
        Draws all weights; torch's global one if None.

    Raises
    ------
    ValueError
        As :class:`dsn_sktime.layers.SparseConv1d`.
    """

    def __init__(
        self,
        n_variates: int,
        n_classes: int,
        n_layers: int = 4,
        n_filters: int = 47,
        kernel_size: int = 39,
        n_kernel_groups: int = 3,
        sparsity: float = 0.8,
        padding: str = "replicate",
        topology_init: str = "first",
        n_pool: int = 50,
        n_bottleneck: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_variates = n_variates
        counts = {"n_variates": n_variates, "n_classes": n_classes, "n_layers": n_layers}
        for name, count in {**counts, "n_filters": n_filters, "n_pool": n_pool}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}.")
        n_channels = n_filters * n_kernel_groups
        n_bottleneck = n_bottleneck or n_filters
        self.layers = nn.ModuleList(
            SparseModule(
                n_variates if layer == 0 else n_channels,
                n_bottleneck if layer > 0 or n_variates > 1 else None,
                n_filters,
                kernel_size,
                n_kernel_groups,
                sparsity,
                padding,
                topology_init,
                generator,
            )
            for layer in range(n_layers)
        )
        self.head = ClassHead(n_channels, n_classes, n_pool, generator)
        self._fused: _FusedNetwork | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score each class.

        Parameters
        ----------
        x : float tensor of shape (B, m, L)
            Series, padded on the right where ``lengths`` says so.
        lengths : int tensor of shape (B,), optional
            Time steps of each series; None if none is padded. What stands in the
            padding changes neither the scores nor their gradients.

        Returns
        -------
        float tensor of shape (B, c)
            Logits; their softmax are the class probabilities.

        Raises
        ------
        TypeError, ValueError
            As :meth:`dsn_sktime.layers.SparseConv1d.forward`.
        """
        check_batch(x, lengths, self.n_variates, self.head.classes.weight.dtype)
        if uses_sparse_kernels(x):
            fused = self._current_fused()
            if fused.does(x):
                return fused.scores(x, lengths)
        if lengths is not None:
            # NaN in the padding of the input would reach the first 1x1 convolution's
            # weights on the way back: its gradient there is 0, and 0 * NaN is NaN.
            x = x.where(observed_steps(lengths, x.shape[2]), 0)
        for layer in self.layers:
            x = layer(x, lengths)
        return self.head(x, lengths)

    def _current_fused(self) -> _FusedNetwork:
        fused = self._fused
        if fused is None or not fused.is_current():
            fused = self._fused = _FusedNetwork(self)
        return fused

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the engine, which holds tables of addresses."""
        return {**vars(self), "_fused": None}

    def sparse_modules(self) -> list[SparseModule]:
        """Return the dynamic sparse layers, from input to output."""
        return [module for module in self.layers if isinstance(module, SparseModule)]

    def sparse_convs(self) -> list[SparseConv1d]:
        """Return the sparse convolutions, from input to output."""
        return [module.conv for module in self.sparse_modules()]


class _FusedNetwork:
    """A network on the sparse engine, as long as its modules hold the same tensors.

    What a module computes anew at each look, as a parametrization does, is never the same.
    """

    def __init__(self, network: DSNNetwork) -> None:
        # To ask each module for its tensors would take longer than a small prediction.
        self._holders: list[dict[str, Any]] = [
            held
            for module in network.modules()
            for held in (module._parameters, module._buffers, module._modules)
        ]
        self._held = self._contents()
        modules, head = network.sparse_modules(), network.head
        self._norms = [*(module.norm for module in modules), head.norm]
        self._counts = [norm.num_batches_tracked for norm in self._norms]
        conv, norm = modules[0].conv, head.norm
        self._engine = sparse.Engine(
            [module.fused() for module in modules],
            head.fused(),
            conv.groups.kernel_size,
            conv.padding == "replicate",
            norm.eps,
            norm.momentum,
        )
        known = {id(one) for one in self._held}
        self._is_held = all(one is None or id(one) in known for one in self._engine.tensors)

    def _contents(self) -> list[object]:
        return [one for held in self._holders for one in held.values()]

    def is_current(self) -> bool:
        """Tell whether no module or tensor of the network has been replaced."""
        found = self._contents()
        is_same = len(found) == len(self._held) and all(map(operator.is_, found, self._held))
        return self._is_held and is_same

    def does(self, x: Tensor) -> bool:
        """Tell whether the engine has all that is asked for, gradients included.

        It has those by parameters only, and none with running statistics; and it was made
        for one way to normalise.
        """
        engine, with_gradients = self._engine, torch.is_grad_enabled()
        if x.requires_grad and with_gradients:
            return False
        ways = {(norm.eps, norm.momentum, norm.training) for norm in self._norms}
        if len(ways) > 1:
            return False
        # Training changes the momentum from batch to batch to recompute running statistics.
        eps, engine.momentum, is_training = ways.pop()
        return eps == engine.eps and (is_training or not with_gradients)

    def scores(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Score each class; see :meth:`DSNNetwork.forward`."""
        if not self._norms[0].training:
            return self._engine.predict(x, lengths)
        scores = self._engine.train(x, lengths)
        for count in self._counts:
            count.add_(1)
        return scores

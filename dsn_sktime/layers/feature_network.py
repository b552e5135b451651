"""Networks of convolutional layers, pooling and a head, on the sparse engine or layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from dsn_sktime.kernels import check_backend, sparse, uses_sparse_kernels
from dsn_sktime.layers.batch_norm import MaskedBatchNorm1d, check_statistics
from dsn_sktime.layers.lengths import check_batch, observed_steps
from dsn_sktime.layers.pointwise_conv1d import PointwiseConv1d
from dsn_sktime.layers.pooling import check_pool, pool_features


class FeatureLayer(nn.Module):
    """Layer of an optional 1x1 convolution, a sparse convolution, BatchNorm and ReLU.

    Subclasses set the modules.
    """

    bottleneck: PointwiseConv1d | None
    conv: Any
    norm: MaskedBatchNorm1d

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, L) to (B, out_channels, L)."""
        if self.bottleneck is not None:
            x = self.bottleneck(x)
        return self.norm(self.conv(x, lengths), lengths).relu()

    def block(self) -> sparse.Block | None:
        """Return the layer as the engine takes it, None if its modules must run one by one.

        They must if they have hooks or the dense backend, if one was replaced by another kind of
        module, which a parametrized one is, or if BatchNorm lacks a tensor.
        """
        # Not by attributes: nn.Module looks these up slowly.
        own: dict[str, Any] = self._modules
        if _has_hooks(self):
            return None
        for module in own.values():
            if module is None:
                continue
            if not type(module).__module__.startswith("dsn_sktime.") or _has_hooks(module):
                return None
        conv, norm, bottleneck = own["conv"], own["norm"], own.get("bottleneck")
        weight, bias = norm._parameters["weight"], norm._parameters["bias"]
        mean, variance = norm._buffers["running_mean"], norm._buffers["running_var"]
        if conv.backend == "dense" or norm.momentum is None:
            return None
        if weight is None or bias is None or mean is None:
            return None
        return sparse.Block(
            conv.kernel_index(),
            conv.on_dense_gradient,
            None if bottleneck is None else bottleneck._parameters["weight"],
            conv._parameters["values"],
            weight,
            bias,
            conv._parameters.get("bias"),
            mean,
            variance,
            norm.eps,
            norm.momentum,
            norm.training,
        )


def _has_hooks(module: nn.Module) -> bool:
    """Return True if calling a module would call a hook of its own."""
    forward = module._forward_hooks or module._forward_pre_hooks
    return bool(forward or module._backward_hooks or module._backward_pre_hooks)


class FeatureNetwork(nn.Module):
    """Layers that keep the length of a series, pooling over time, and a head.

    Subclasses set the attributes.

    Attributes
    ----------
    n_variates : int
        Variates (channels) m of a series.
    n_pool : int
        Bins of the pooling before the head.
    kernel_size : int
        Of the largest convolution.
    padding : {"replicate", "zeros"}
    layers : nn.ModuleList
        FeatureLayers, which map (B, C_in, L) and lengths to (B, C_out, L).
    head : nn.Module
        Maps (B, C, n_pool) to the outputs.
    """

    n_variates: int
    n_pool: int
    kernel_size: int
    padding: str
    layers: nn.ModuleList
    head: nn.Module

    def __init__(self, backend: str) -> None:
        super().__init__()
        check_backend(backend)
        self._backend = backend
        self._engine = None if sparse is None else sparse.Engine()

    @property
    def backend(self) -> str:
        """Arithmetic of the network and its layers: "auto", "sparse" or "dense".

        "sparse" raises RuntimeError where "auto" would fall back on dense kernels: without
        numba, on a GPU, for types other than float32. "dense" can be exported.
        """
        return self._backend

    @backend.setter
    def backend(self, backend: str) -> None:
        check_backend(backend)
        self._backend = backend
        for layer in self._feature_layers():
            layer.conv.backend = backend

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the logits.

        Parameters
        ----------
        x : float tensor of shape (B, m, L)
            Series, padded on the right where ``lengths`` says so.
        lengths : int64 tensor of shape (B,), optional
            Time steps of each series; None if none is padded. What the padding holds
            changes neither the logits nor their gradients.

        Returns
        -------
        float tensor of shape (B, c)

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As :meth:`features`.
        """
        return self.head(self.features(x, lengths, pool=self.n_pool))

    def features(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        layers: str = "last",
        pool: int | str | None = 1,
    ) -> Tensor:
        """Compute the layers' activations, pooled over time.

        On the sparse engine if the backend and the call allow. Gradients there are those w.r.t.
        the parameters from the bins of the last layer; other gradients, hooks on layers and
        modules of other types make the layers run one by one.

        Parameters
        ----------
        x, lengths
            As in :meth:`forward`.
        layers : {"last", "all"}, default="last"
            "all" concatenates the channels of all layers, the first layer's first.
        pool : int, "stats" or None, default=1
            An int averages over so many bins that span each series' own length: bin j has
            the time steps from ``floor(j * L / n)`` up to ``ceil((j + 1) * L / n)``. "stats"
            takes mean, maximum and share of positive values. None does not pool.

        Returns
        -------
        float tensor of shape (B, C, n_bins), (B, C, 3) or (B, C, L)
            Without pooling, time steps in the padding are 0.

        Raises
        ------
        TypeError
            If ``x`` does not have the dtype of the weights, or ``lengths`` is not an int64
            tensor.
        ValueError
            If ``x`` or ``lengths`` have another shape, a length lies outside 1..L, or
            ``layers`` or ``pool`` is invalid.
        RuntimeError
            If the backend is "sparse" and the sparse kernels cannot compute ``x``.
        """
        if layers not in ("last", "all"):
            raise ValueError(f"layers must be 'last' or 'all', found {layers!r}.")
        check_pool(pool)
        own = self._feature_layers()
        check_batch(x, lengths, self.n_variates, own[0].conv.values.dtype)
        if uses_sparse_kernels(x, self._backend) and not torch_module._has_any_global_hook():
            blocks = [layer.block() for layer in own]
            if self._engine_supports(blocks, x, layers, pool):
                return self._engine_features(
                    blocks, x, lengths, sparse.Output(layers == "all", pool)
                )
        if lengths is not None:
            # NaN in the padding of the input would reach the first 1x1 convolution's
            # weights on the way back: its gradient there is 0, and 0 * NaN is NaN.
            x = x.where(observed_steps(lengths, x.shape[2]), 0)
        found = []
        for layer in own:
            x = layer(x, lengths)
            if layers == "all" or layer is own[-1]:
                found.append(pool_features(x, pool, lengths))
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def _feature_layers(self) -> list[Any]:
        # Not by an attribute: nn.Module looks it up slowly.
        return list(self._modules["layers"]._modules.values())  # type: ignore[union-attr]

    def _engine_features(
        self, blocks: list[sparse.Block], x: Tensor, lengths: Tensor | None, output: sparse.Output
    ) -> Tensor:
        training = blocks[0].training
        if training and len(x) == 1:
            check_statistics(x, lengths)
        replicate = self.padding == "replicate"
        found = self._engine.features(blocks, self.kernel_size, replicate, x, lengths, output)
        if training:
            for layer in self._feature_layers():
                layer.norm.num_batches_tracked.add_(1)
        return found

    def _engine_supports(
        self, blocks: list[sparse.Block | None], x: Tensor, layers: str, pool: int | str | None
    ) -> bool:
        """Return True if the engine supports this call.

        Unsupported: layers that it cannot take, BatchNorm layers in different modes, gradients
        w.r.t. the input or in eval mode, gradients of other features than the bins of the last
        layer.
        """
        modes = {None if block is None else block.training for block in blocks}
        if None in modes or len(modes) > 1:
            return False
        (training,) = modes
        if not torch.is_grad_enabled():
            return True
        if x.requires_grad:
            return False
        if training and layers == "last" and isinstance(pool, int):
            return True
        return not any(parameter.requires_grad for parameter in self.layers.parameters())

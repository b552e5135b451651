"""The Dynamic Sparse Network, top to bottom (Xiao et al., NeurIPS 2022, figure 2)."""

from __future__ import annotations

import torch
from torch import nn

from dsn_sktime.layers import (
    HEADS,
    ClassHead,
    FeatureNetwork,
    LinearHead,
    SparseConv1d,
    SparseModule,
)

__all__ = ["DSNNetwork"]


class DSNNetwork(FeatureNetwork):
    """Stack of dynamic sparse layers, pooling over time, and a head.

    Parameters
    ----------
    n_variates : int
        Variates (channels) m of a series.
    n_classes : int
        Number c of classes: outputs of the head.
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
        Bins of the pooling over time before the head; "linear" pools to one.
    n_bottleneck : int or None, default=None
        Channels after the 1x1 convolutions; None is ``n_filters``.
    generator : torch.Generator, optional
        Draws all weights; torch's global one if None.
    head : {"bins", "linear"} or nn.Module, default="bins"
        "bins" is the paper's, :class:`dsn_sktime.layers.ClassHead`; "linear" is
        :class:`dsn_sktime.layers.LinearHead` on the average over time. A module maps
        (B, n_filters * n_kernel_groups, n_pool) to the outputs.
    backend : {"auto", "sparse", "dense"}, default="auto"
        Arithmetic of the layers: sparse kernels where they can (float32 on the CPU, with
        numba) and else dense ones; always sparse ones; always dense ones, which
        ``torch.export`` and ``torch.onnx`` can export.

    Raises
    ------
    ValueError
        As :class:`dsn_sktime.layers.SparseConv1d`, if a count is below 1, or if ``head`` is no
        choice.

    Examples
    --------
    >>> import torch
    >>> from dsn_sktime.network import DSNNetwork
    >>> network = DSNNetwork(n_variates=1, n_classes=2, n_filters=4, kernel_size=9).eval()
    >>> x = torch.zeros(5, 1, 60)
    >>> network.features(x, layers="all", pool="stats").shape
    torch.Size([5, 48, 3])
    >>> torch.equal(network(x), network.head(network.features(x, pool=network.n_pool)))
    True
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
        head: str | nn.Module = "bins",
        backend: str = "auto",
    ) -> None:
        super().__init__(backend)
        self.n_variates, self.kernel_size, self.padding = n_variates, kernel_size, padding
        counts = {"n_variates": n_variates, "n_classes": n_classes, "n_layers": n_layers}
        n_bottleneck = n_filters if n_bottleneck is None else n_bottleneck
        counts |= {"n_filters": n_filters, "n_bottleneck": n_bottleneck, "n_pool": n_pool}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}.")
        n_channels = n_filters * n_kernel_groups
        shape = n_filters, kernel_size, n_kernel_groups, sparsity, padding, topology_init
        self.layers = nn.ModuleList(
            SparseModule(
                n_variates if layer == 0 else n_channels,
                n_bottleneck if layer > 0 or n_variates > 1 else None,
                *shape,
                generator,
                backend,
            )
            for layer in range(n_layers)
        )
        self.n_pool = 1 if isinstance(head, str) and head == "linear" else n_pool
        if isinstance(head, nn.Module):
            self.head = head
        elif isinstance(head, str) and head in HEADS:
            heads = {"bins": ClassHead, "linear": LinearHead}
            self.head = heads[head](n_channels, n_classes, generator)
        else:
            raise ValueError(f"head must be one of {HEADS} or an nn.Module, found {head!r}.")

    def sparse_modules(self) -> list[SparseModule]:
        """Return the dynamic sparse layers, from input to output."""
        return [module for module in self.layers if isinstance(module, SparseModule)]

    def sparse_convs(self) -> list[SparseConv1d]:
        """Return the sparse convolutions, from input to output."""
        return [module.conv for module in self.sparse_modules()]

    @property
    def n_activated(self) -> int:
        """Activated weights of the sparse convolutions."""
        return sum(conv.groups.n_activated for conv in self.sparse_convs())

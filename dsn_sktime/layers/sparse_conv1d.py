"""SparseConv1d: a 1-D convolution that stores its activated weights only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import KernelIndex, check_backend, sparse_conv1d
from dsn_sktime.layers.kernel_index_cache import KernelIndexCache
from dsn_sktime.layers.lengths import check_batch, observed_steps
from dsn_sktime.topology import KernelGroups, initial_topology

PADDINGS = ("replicate", "zeros")


class SparseConv1d(nn.Module):
    """Sparse 1-D convolution with kernel groups, stride 1, no bias, same length.

    Its parameter is the vector of activated weights; which weights these are is the
    buffer ``index``. Both are in the state dict. The output has the input's length.

    Parameters
    ----------
    in_channels, out_channels : int
        ``out_channels`` must be a multiple of ``n_kernel_groups``.
    kernel_size : int
        Taps of a kernel (k), at least ``n_kernel_groups``.
    n_kernel_groups : int, default=1
        Number N of groups of output channels; group i = 1..N may activate the first
        ``i * (k // N)`` taps.
    sparsity : float in [0, 1), default=0.8
        Share of each group's exploration region that is not activated.
    padding : {"replicate", "zeros"}, default="replicate"
        "replicate" repeats the last time step k - 1 times on the right; "zeros" pads
        (k - 1) // 2 zeros on the left and k // 2 on the right.
    topology_init : {"first", "random"}, default="first"
        First activated weights: the first taps of each region, or drawn uniformly.
    generator : torch.Generator, optional
        Draws the weights, and the topology if random; torch's global one if None.
    backend : {"auto", "sparse", "dense"}, default="auto"
        Kernels that compute the layer: sparse ones where they can (float32 on the CPU, with
        numba) and else dense ones, always sparse ones, or always dense ones.

    Attributes
    ----------
    values : Parameter of shape (n_activated,)
        The activated weights, uniform in +-1/sqrt(in_channels * kernel_size) at first,
        as in the dense layer of ``torch.nn.Conv1d``.
    index : int32 buffer of shape (n_activated,)
        Sorted positions of the values in the flattened (C_out, C_in, k) kernels.
    groups : KernelGroups
        Shapes, exploration regions and budgets.
    keep_dense_gradient : bool
        If True, each backward pass leaves the gradient w.r.t. every weight of the dense
        kernels in ``dense_gradient``.
    dense_gradient : tensor of shape (C_out, C_in, k) or None
        Beyond the exploration regions it is undefined.

    Raises
    ------
    ValueError
        If an argument is out of its range, or a kernel group would have no weight.

    References
    ----------
    .. [1] Xiao et al., "Dynamic Sparse Network for Time Series Classification: Learning
       What to 'See'", NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from dsn_sktime.layers import SparseConv1d
    >>> layer = SparseConv1d(2, 6, kernel_size=9, n_kernel_groups=3, sparsity=0.5)
    >>> layer(torch.zeros(4, 2, 50)).shape
    torch.Size([4, 6, 50])
    >>> layer.groups.budgets
    (6, 12, 18)
    """

    values: nn.Parameter
    index: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        n_kernel_groups: int = 1,
        sparsity: float = 0.8,
        padding: str = "replicate",
        topology_init: str = "first",
        generator: torch.Generator | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_backend(backend)
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {PADDINGS}, found {padding!r}.")
        self.groups = KernelGroups(
            in_channels, out_channels, kernel_size, n_kernel_groups, sparsity
        )
        self.padding = padding
        self.backend = backend
        self.topology_init = topology_init
        n = self.groups.n_activated
        self.values = nn.Parameter(torch.empty(n, device="cpu", dtype=torch.float32))
        self.register_buffer("index", torch.empty(n, device="cpu", dtype=torch.int32))
        self.keep_dense_gradient = False
        self.dense_gradient: Tensor | None = None
        self._kernel_index = KernelIndexCache()
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights and the topology anew.

        Parameters
        ----------
        generator : torch.Generator, optional
            torch's global one if None.
        """
        bound = (self.groups.in_channels * self.groups.kernel_size) ** -0.5
        nn.init.uniform_(self.values, -bound, bound, generator=generator)
        seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
        index = initial_topology(self.groups, self.topology_init, np.random.default_rng(seed))
        self.index.copy_(torch.from_numpy(index))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convolve a batch.

        Parameters
        ----------
        x : float tensor of shape (B, in_channels, L)
        lengths : int tensor of shape (B,), optional
            Lengths of the series in a padded batch, 1..L. Each series is padded from its
            own last time step on, so its output is the one it has alone.

        Returns
        -------
        float tensor of shape (B, out_channels, L)

        Raises
        ------
        TypeError
            If ``x`` does not have the dtype of the weights, or ``lengths`` is not int64.
        ValueError
            If ``x`` or ``lengths`` have another shape, or a length lies outside 1..L.
        RuntimeError
            If the backend is "sparse" and the sparse kernels cannot compute ``x``.
        """
        check_batch(x, lengths, self.groups.in_channels, self.values.dtype)
        return sparse_conv1d(
            self.pad(x, lengths),
            self.values,
            self.index,
            self.groups.shape,
            self.kernel_index,
            self.groups.taps,
            self.on_dense_gradient,
            self.backend,
        )

    def pad(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pad a batch as the kernels read it.

        Parameters
        ----------
        x, lengths
            As in :meth:`forward`, but not checked.

        Returns
        -------
        float tensor of shape (B, in_channels, L + k - 1)
        """
        k = self.groups.kernel_size
        if self.padding == "zeros":
            if lengths is not None:
                x = x.where(observed_steps(lengths, x.shape[2]), 0)
            return F.pad(x, ((k - 1) // 2, k // 2))
        if lengths is not None:
            # Not by take_along_dim, which torch.export takes for one of fixed sizes.
            last = x.gather(2, (lengths - 1)[:, None, None].expand(-1, x.shape[1], 1))
            x = x.where(observed_steps(lengths, x.shape[2]), last)
        return F.pad(x, (0, k - 1), mode="replicate")

    @property
    def on_dense_gradient(self) -> Callable[[Tensor], None] | None:
        """Called by a backward pass with the dense gradient; None to compute none."""
        return partial(setattr, self, "dense_gradient") if self.keep_dense_gradient else None

    def kernel_index(self) -> KernelIndex:
        """Return the topology as the sparse kernels read it."""
        return self._kernel_index(self._buffers["index"], self.groups.shape)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *others: Any) -> None:
        """Load values and index, or neither: the kernels trust the index."""
        index, values = (state_dict.get(prefix + name) for name in ("index", "values"))
        try:
            if index is not None:
                self.groups.check_topology(index.cpu().numpy())
            if values is not None and values.shape != self.values.shape:
                raise ValueError(
                    f"this layer has values of shape {tuple(self.values.shape)}, found "
                    f"{tuple(values.shape)}."
                )
        except ValueError as error:
            *_, error_messages = others
            error_messages.append(f"{prefix}index and {prefix}values do not fit: {error}")
            return
        super()._load_from_state_dict(state_dict, prefix, *others)

    @torch.no_grad()
    def move_weights(self, index: Tensor, source: Tensor) -> None:
        """Apply a topology update in place: grown weights are 0, the others keep their values.

        Parameters
        ----------
        index, source : int tensors of shape (n_activated,)
            Those of a :class:`dsn_sktime.topology.TopologyUpdate`, which is trusted.
        """
        self.index.copy_(index)
        self.values.copy_(self.values[source.clamp(min=0)].masked_fill(source < 0, 0))

    def dense_mask(self) -> Tensor:
        """Return the topology as a bool tensor of shape (C_out, C_in, k)."""
        mask = torch.zeros(self.groups.n_dense, dtype=torch.bool, device=self.index.device)
        mask[self.index.long()] = True
        return mask.view(self.groups.shape)

    def extra_repr(self) -> str:
        """Describe the layer within ``repr``."""
        groups = self.groups
        return (
            f"{groups.in_channels}, {groups.out_channels}, kernel_size={groups.kernel_size}, "
            f"n_kernel_groups={groups.n_kernel_groups}, sparsity={groups.sparsity}, "
            f"padding={self.padding!r}, n_activated={groups.n_activated}/{groups.n_dense}"
        )

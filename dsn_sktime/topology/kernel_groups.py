"""Kernel groups, their exploration regions and their budgets (paper, section 3.2).

The kernels of a layer, an array of shape (C_out, C_in, k), are split along the
output channels into N equal, consecutive groups. Group i = 0..N-1 may activate only
the first ``(i + 1) * (k // N)`` taps: its *exploration region*. Its *budget*, the
number of its activated weights, is a fixed share of that region.

A position (output channel, input channel, tap) is written as one integer, the index
into the flattened (C_out, C_in, k) array. A *topology* is the sorted array of the
activated positions. As groups are consecutive, the positions of a group are a slice
of the topology, and since budgets never change, neither does that slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral

import numpy as np


@dataclass(frozen=True)
class KernelGroups:
    """Shape of a sparse layer's kernels and their split into groups.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after the layer, at least 1. ``out_channels`` must be a
        multiple of ``n_kernel_groups``.
    kernel_size : int
        Taps of a kernel (k), at least ``n_kernel_groups``.
    n_kernel_groups : int, default=1
        Number of kernel groups (N), at least 1.
    sparsity : float in [0, 1), default=0.0
        Share of each exploration region that is not activated.

    Raises
    ------
    ValueError
        If an argument is out of its range, or a group's budget would be zero weights.
    TypeError
        If a number of channels, taps or groups is not an integer.
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    n_kernel_groups: int = 1
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "kernel_size", "n_kernel_groups"):
            value = getattr(self, name)
            if not isinstance(value, Integral):
                raise TypeError(f"{name} must be an integer, found {value!r}.")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}.")
        if self.kernel_size < self.n_kernel_groups:
            raise ValueError(
                "kernel_size must be at least n_kernel_groups, so that each group has its "
                f"own tap, found kernel_size={self.kernel_size} and "
                f"n_kernel_groups={self.n_kernel_groups}. Enlarge kernel_size or use fewer groups."
            )
        if self.out_channels % self.n_kernel_groups:
            raise ValueError(
                "out_channels must be a multiple of n_kernel_groups, found "
                f"out_channels={self.out_channels} and n_kernel_groups={self.n_kernel_groups}."
            )
        if self.n_dense >= 2**31:
            raise ValueError(
                "positions in the kernels are kept as int32, so out_channels * in_channels * "
                f"kernel_size must stay below 2**31, found {self.n_dense}. Lower n_filters or "
                "kernel_size."
            )
        if not 0 <= self.sparsity < 1:
            raise ValueError(
                f"sparsity must lie in [0, 1), found {self.sparsity}. "
                "It is the share of weights left out: 0 is dense, 0.8 the paper's default."
            )
        if min(self.budgets) == 0:
            raise ValueError(
                f"sparsity={self.sparsity} leaves a kernel group no weight to activate: its "
                f"region of {self.region_size(0)} weights times density "
                f"{1 - self.sparsity:.3g} is below 1. Lower sparsity, or enlarge "
                "n_filters or kernel_size."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C_out, C_in, k) of the kernels as a dense array."""
        return self.out_channels, self.in_channels, self.kernel_size

    @property
    def n_dense(self) -> int:
        """Number of weights of the dense kernels."""
        return self.out_channels * self.in_channels * self.kernel_size

    @property
    def channels_per_group(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.n_kernel_groups

    def region_taps(self, group: int) -> int:
        """Taps at the start of the kernel that ``group`` (0-based) may activate."""
        return (group + 1) * (self.kernel_size // self.n_kernel_groups)

    @property
    def taps(self) -> tuple[int, ...]:
        """Taps of each group's region."""
        return tuple(self.region_taps(group) for group in range(self.n_kernel_groups))

    def region_size(self, group: int) -> int:
        """Weights in the exploration region of ``group``."""
        return self.channels_per_group * self.in_channels * self.region_taps(group)

    @property
    def budgets(self) -> tuple[int, ...]:
        """Activated weights of each group: ``floor((1 - sparsity) * region size)``.

        The decimal that the user wrote counts: 1 - 0.9 in binary floating point is a
        little below 0.1 and would cost a weight whenever the product is whole.
        """
        density = 1 - Fraction(str(self.sparsity))
        return tuple(int(density * self.region_size(i)) for i in range(self.n_kernel_groups))

    @property
    def n_activated(self) -> int:
        """Activated weights of the layer."""
        return sum(self.budgets)

    def value_slice(self, group: int) -> slice:
        """Where the activated weights of ``group`` lie in the topology."""
        start = sum(self.budgets[:group])
        return slice(start, start + self.budgets[group])

    def region(self, group: int) -> np.ndarray:
        """Return the sorted positions of the exploration region of ``group``."""
        c_out, c_in, k = self.channels_per_group, self.in_channels, self.kernel_size
        kernels = np.arange(group * c_out * c_in, (group + 1) * c_out * c_in)
        return (kernels[:, None] * k + np.arange(self.region_taps(group))).ravel()

    def group_of_channel(self) -> np.ndarray:
        """Return the group of each output channel, shape (C_out,)."""
        return np.repeat(np.arange(self.n_kernel_groups), self.channels_per_group)

    def check_topology(self, index: np.ndarray) -> None:
        """Raise ValueError unless ``index`` is a topology of these groups.

        Parameters
        ----------
        index : integer array of shape (n_activated,)
        """
        if index.shape != (self.n_activated,):
            raise ValueError(
                f"a topology of these kernel groups has {self.n_activated} activated "
                f"weights, found an index of shape {index.shape}."
            )
        if np.any(np.diff(index) <= 0):
            raise ValueError("the index of a topology must be strictly increasing.")
        for group in range(self.n_kernel_groups):
            own = index[self.value_slice(group)]
            if not np.isin(own, self.region(group), assume_unique=True).all():
                raise ValueError(
                    f"the index has positions outside the exploration region of kernel "
                    f"group {group}, or not {self.budgets[group]} of them inside: it "
                    "belongs to a layer of another shape, sparsity or grouping."
                )

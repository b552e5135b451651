"""One topology update: drop the smallest weights, grow as many (paper, Algorithm 1).

It is computed where the weights lie, by the same operations on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.topology.kernel_groups import KernelGroups


@dataclass(frozen=True)
class TopologyUpdate:
    """The topology after an update and where each of its weights comes from.

    Attributes
    ----------
    index : int64 tensor of shape (n_activated,)
        The new topology.
    source : int64 tensor of shape (n_activated,)
        For each new position its place in the old topology, or -1 if it was grown. A
        position that was dropped and grown again counts as grown.
    """

    index: Tensor
    source: Tensor

    @property
    def n_grown(self) -> int:
        """Number of grown weights, which is the number of dropped ones."""
        return int((self.source < 0).sum())


def update_topology(
    groups: KernelGroups,
    index: Tensor,
    values: Tensor,
    drop_fraction: float,
    rng: np.random.Generator,
    dense_gradient: Tensor | None = None,
) -> TopologyUpdate:
    """Drop the smallest activated weights of each group and grow as many.

    Each group drops ``ceil(drop_fraction * budget)`` weights, ties broken by position,
    and grows the same number inside its exploration region, among all positions that
    are then inactive, those just dropped included. A group whose region is full
    (sparsity 0) has nowhere to grow and stays as it is.

    Parameters
    ----------
    groups : KernelGroups
    index : int tensor of shape (n_activated,)
        The topology: sorted positions.
    values : float tensor of shape (n_activated,)
        The weights at these positions, without gradients.
    drop_fraction : float in [0, 1]
    rng : numpy Generator
        Draws the grown positions where ``dense_gradient`` is None; the same ones, from the
        same weights, on every device.
    dense_gradient : float tensor of shape (C_out, C_in, k), optional
        If given, positions with the largest absolute gradient grow (RigL).

    Returns
    -------
    TopologyUpdate

    Raises
    ------
    ValueError
        If ``drop_fraction`` lies outside [0, 1].
    """
    if not 0 <= drop_fraction <= 1:
        raise ValueError(f"drop_fraction must lie in [0, 1], found {drop_fraction}.")
    index = index.long()
    new_index, new_source = [], []
    for group, budget in enumerate(groups.budgets):
        part = groups.value_slice(group)
        places = torch.arange(part.start, part.stop, device=index.device)
        grown = index[:0]
        if budget < groups.region_size(group):
            n_drop = math.ceil(drop_fraction * budget)
            smallest_first = values[part].abs().argsort(stable=True)
            places = places[smallest_first[n_drop:].sort().values]
            free = _inactive(groups, group, index[places])
            grown = _grow(free, n_drop, rng, dense_gradient)
        positions = torch.cat([index[places], grown])
        sources = torch.cat([places, torch.full_like(grown, -1)])
        order = positions.argsort()
        new_index.append(positions[order])
        new_source.append(sources[order])
    return TopologyUpdate(torch.cat(new_index), torch.cat(new_source))


def _inactive(groups: KernelGroups, group: int, activated: Tensor) -> Tensor:
    """Return the sorted positions of a group's region other than those given."""
    n_kernels = groups.channels_per_group * groups.in_channels
    first = group * n_kernels * groups.kernel_size
    is_free = activated.new_zeros(n_kernels, groups.kernel_size, dtype=torch.bool)
    is_free[:, : groups.region_taps(group)] = True
    is_free.view(-1)[activated - first] = False
    return is_free.view(-1).nonzero().view(-1) + first


def _grow(free: Tensor, n: int, rng: np.random.Generator, dense_gradient: Tensor | None) -> Tensor:
    if dense_gradient is None:
        drawn = rng.choice(len(free), n, replace=False, shuffle=False)
        return free[torch.from_numpy(drawn).to(free.device)]
    magnitude = dense_gradient.reshape(-1)[free].abs()
    return free[magnitude.neg().argsort(stable=True)[:n]]

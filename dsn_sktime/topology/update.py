"""One topology update: drop the smallest weights, grow as many (paper, Algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsn_sktime.topology.kernel_groups import KernelGroups

__all__ = ["TopologyUpdate", "update_topology"]


@dataclass(frozen=True)
class TopologyUpdate:
    """The topology after an update and where each of its weights comes from.

    Attributes
    ----------
    index : int64 array of shape (n_activated,)
        The new topology.
    source : int64 array of shape (n_activated,)
        For each new position its place in the old topology, or -1 if it was grown. A
        position that was dropped and grown again counts as grown.
    """

    index: np.ndarray
    source: np.ndarray

    @property
    def n_grown(self) -> int:
        """Number of grown weights, which is the number of dropped ones."""
        return int(np.count_nonzero(self.source < 0))


def update_topology(
    groups: KernelGroups,
    index: np.ndarray,
    values: np.ndarray,
    drop_fraction: float,
    rng: np.random.Generator,
    dense_gradient: np.ndarray | None = None,
) -> TopologyUpdate:
    """Drop the smallest activated weights of each group and grow as many.

    Each group drops ``ceil(drop_fraction * budget)`` weights, ties broken by position,
    and grows the same number inside its exploration region, among all positions that
    are then inactive, those just dropped included. A group whose region is full
    (sparsity 0) has nowhere to grow and stays as it is.

    Parameters
    ----------
    groups : KernelGroups
    index : int array of shape (n_activated,)
        The topology: sorted positions.
    values : float array of shape (n_activated,)
        The weights at these positions.
    drop_fraction : float in [0, 1]
    rng : numpy Generator
        Draws the grown positions where ``dense_gradient`` is None.
    dense_gradient : float array of shape (C_out, C_in, k), optional
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
    new_index, new_source = [], []
    for group, budget in enumerate(groups.budgets):
        part = groups.value_slice(group)
        places = np.arange(part.start, part.stop)
        region = groups.region(group)
        if budget < len(region):
            n_drop = math.ceil(drop_fraction * budget)
            smallest_first = np.argsort(np.abs(values[part]), kind="stable")
            places = places[np.sort(smallest_first[n_drop:])]
            free = _inactive(groups, region, index[places])
            grown = _grow(free, n_drop, rng, dense_gradient)
        else:
            grown = np.empty(0, dtype=np.int64)
        positions = np.concatenate([index[places], grown])
        sources = np.concatenate([places, np.full(len(grown), -1)])
        order = np.argsort(positions)
        new_index.append(positions[order])
        new_source.append(sources[order])
    return TopologyUpdate(np.concatenate(new_index), np.concatenate(new_source))


def _inactive(groups: KernelGroups, region: np.ndarray, activated: np.ndarray) -> np.ndarray:
    is_activated = np.zeros(groups.n_dense, dtype=bool)
    is_activated[activated] = True
    return region[~is_activated[region]]


def _grow(
    free: np.ndarray, n: int, rng: np.random.Generator, dense_gradient: np.ndarray | None
) -> np.ndarray:
    if dense_gradient is None:
        return rng.choice(free, n, replace=False, shuffle=False)
    magnitude = np.abs(dense_gradient.reshape(-1)[free])
    return free[np.argsort(-magnitude, kind="stable")[:n]]

"""The initial topology."""

from __future__ import annotations

import numpy as np

from dsn_sktime.topology.kernel_groups import KernelGroups

TOPOLOGY_INITS = ("first", "random")


def initial_topology(groups: KernelGroups, init: str, rng: np.random.Generator) -> np.ndarray:
    """Choose the first activated positions of a layer.

    Parameters
    ----------
    groups : KernelGroups
    init : {"first", "random"}
        "first", the authors' choice, activates tap 0 of all channel pairs of a group,
        then tap 1, ... until the budget is spent. "random" draws uniformly from the
        exploration region.
    rng : numpy Generator
        Used by "random" only.

    Returns
    -------
    int64 array of shape (n_activated,)
        Sorted positions in the flattened (C_out, C_in, k) array.

    Raises
    ------
    ValueError
        If ``init`` is none of the two.
    """
    if init not in TOPOLOGY_INITS:
        raise ValueError(f"topology_init must be one of {TOPOLOGY_INITS}, found {init!r}.")
    chosen = []
    for group, budget in enumerate(groups.budgets):
        region = groups.region(group)
        if init == "first":
            by_tap = np.argsort(region % groups.kernel_size, kind="stable")
            chosen.append(np.sort(region[by_tap[:budget]]))
        else:
            chosen.append(np.sort(rng.choice(region, budget, replace=False, shuffle=False)))
    return np.concatenate(chosen)

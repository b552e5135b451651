"""Times two pieces of code in one run, so that both see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["median_seconds"]

# The first turns compile, fill caches, wake threads and capture graphs.
_N_UNTIMED = 2


def _nothing() -> None:
    pass


def median_seconds(
    one: Callable[[], object],
    other: Callable[[], object],
    n_repeats: int,
    n_in_a_row: int,
    synchronize: Callable[[], object] = _nothing,
) -> tuple[float, float]:
    """Let two functions take turns, and return the median time of a call of each.

    Parameters
    ----------
    one, other : callable
    n_repeats : int
        Timed turns of each.
    n_in_a_row : int
        Timed calls of a turn. One goes before them, so that each finds its own data in the
        caches, not the other's: training and prediction make thousands of calls in a row.
    synchronize : callable, optional
        Waits until a device has done all that was launched on it.

    Returns
    -------
    one, other : float
        Seconds.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(n_repeats + _N_UNTIMED):
        for run, kept in zip((one, other), times, strict=True):
            run()
            synchronize()
            started = time.perf_counter()
            for _ in range(n_in_a_row):
                run()
            synchronize()
            if turn >= _N_UNTIMED:
                kept.append((time.perf_counter() - started) / n_in_a_row)
    first, second = (statistics.median(kept) for kept in times)
    return first, second

"""Interleaved timing of pieces of code, so that all see the same machine."""

import statistics
import time
from collections.abc import Callable

# The first turns compile, fill caches, wake threads and capture graphs.
_N_UNTIMED = 2


def median_seconds(
    *functions: Callable[[], object],
    n_repeats: int,
    n_in_a_row: int,
    synchronize: Callable[[], object] = lambda: None,
) -> list[float]:
    """Run functions in turns and return the median time of a call of each.

    A timed turn is ``n_in_a_row`` calls after one untimed, so that each finds its own data in the
    caches, not the others': training and prediction make thousands of calls in a row.
    ``synchronize`` waits until a device has done all that was launched on it.
    """
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(n_repeats + _N_UNTIMED):
        for run, kept in zip(functions, times, strict=True):
            run()
            synchronize()
            started = time.perf_counter()
            for _ in range(n_in_a_row):
                run()
            synchronize()
            if turn >= _N_UNTIMED:
                kept.append((time.perf_counter() - started) / n_in_a_row)
    return [statistics.median(one) for one in times]

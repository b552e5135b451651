"""Shares rows among threads.

Neither numba's nor OpenMP's thread pool: the one is not made for two callers at once, the
other not for fork. Compiled functions release the interpreter, so Python's will do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from threading import Barrier

import numpy as np
import torch

__all__ = ["for_rows", "kernel_threads"]

# Multiply-adds, about 0.2 ms: waking a thread takes nearly as long.
_WORTH_A_THREAD = 20_000_000

_n_threads: ContextVar[int | None] = ContextVar("n_threads", default=None)
# By process: a forked child has the parent's pool, but none of its threads.
_pools: dict[int, ThreadPoolExecutor] = {}


@contextmanager
def kernel_threads(n: int) -> Iterator[None]:
    """Run the kernels called inside on ``n`` threads; outside it is torch's number."""
    token = _n_threads.set(n)
    try:
        yield
    finally:
        _n_threads.reset(token)


def for_rows(work: Callable[[int, int], None], cost: np.ndarray) -> None:
    """Call ``work(first, last)`` on parts of the rows, at the same time.

    Parameters
    ----------
    work : callable
        Does rows ``first <= row < last``, whoever does the others.
    cost : array of shape (n_rows + 1,)
        Cumulative multiply-adds of the rows, from 0: the parts are to cost the same.
    """
    n_threads = min(_n_threads.get() or torch.get_num_threads(), cost[-1] // _WORTH_A_THREAD)
    if n_threads <= 1:
        work(0, len(cost) - 1)
        return
    shares = [cost[-1] * part // n_threads for part in range(1, n_threads)]
    bounds = [0, *cost.searchsorted(shares), len(cost) - 1]
    parts = [(first, last) for first, last in pairwise(bounds) if first < last]
    others = [_pool().submit(work, first, last) for first, last in parts[1:]]
    work(*parts[0])
    for other in others:
        # Giving way again and again: to be woken would take longer than most waits do.
        while not other.done():
            time.sleep(0)
        other.result()


def _pool() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _pools:
        # Threads that meet here all take the pool of the first.
        _pools.setdefault(process, _started_pool())
    return _pools[process]


def _started_pool() -> ThreadPoolExecutor:
    """Return a pool whose threads run, and in which torch computes on one thread each.

    Else a matrix product in one of them would be shared with torch's own threads: slower,
    and summed in another order.
    """
    n = os.cpu_count() or 1
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n, "dsn-kernel", torch.set_num_threads, (1,))
    everyone = Barrier(n)
    for started in [pool.submit(everyone.wait) for _ in range(n)]:
        started.result()
    # Any other new thread starts with the number that was set last.
    torch.set_num_threads(before)
    return pool

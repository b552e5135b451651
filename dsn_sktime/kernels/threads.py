"""Run a compiled function on several threads.

Not on numba's thread pool, which allows one caller at a time, nor on OpenMP's, which does not
survive a fork. Compiled functions release the interpreter lock, so Python threads suffice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Barrier

import torch

# Multiply-adds of a call per thread: about 0.2 ms, as long as it takes to wake one.
_WORTH_A_THREAD = 10_000_000

_n_threads: ContextVar[int | None] = ContextVar("n_threads", default=None)
# One pool per process: a forked child has the parent's pool, but none of its threads.
_pools: dict[int, ThreadPoolExecutor | None] = {}


@contextmanager
def kernel_threads(n: int) -> Iterator[None]:
    """Run the kernels called inside on ``n`` threads; outside it is torch's number."""
    token = _n_threads.set(n)
    try:
        yield
    finally:
        _n_threads.reset(token)


def threads_worth(cost: int) -> int:
    """Return how many threads are worth waking for ``cost`` multiply-adds."""
    return max(1, min(_n_threads.get() or torch.get_num_threads(), cost // _WORTH_A_THREAD))


def run_on_threads(work: Callable[[int], None], n_threads: int) -> None:
    """Call ``work(thread)`` for each ``thread < n_threads``, at the same time.

    The call for thread 0 must be able to do all of the work, should the others come late:
    those that have not begun when it returns are never called. Where the system grants no
    more threads, there are fewer of them.
    """
    others: list[Future] = []
    try:
        # Within, or an interrupt here would let go of memory that others still work on.
        pool = _pool() if n_threads > 1 else None
        if pool is not None:
            for thread in range(1, n_threads):
                others.append(pool.submit(work, thread))
        work(0)
    finally:
        _wait_for(others)
    for other in others:
        if not other.cancelled():
            other.result()


def _wait_for(calls: Sequence[Future]) -> None:
    try:
        for call in calls:
            # Giving way again and again: to be woken would take longer than this wait does.
            while not call.cancel() and not call.done():
                time.sleep(0)
    except BaseException:  # of a signal handler
        _wait_for(calls)
        raise


def _pool() -> ThreadPoolExecutor | None:
    process = os.getpid()
    if process not in _pools:
        # Threads that meet here all take the pool of the first.
        _pools.setdefault(process, _started_pool())
    return _pools[process]


def _started_pool() -> ThreadPoolExecutor | None:
    """Return a pool all of whose threads run: the first calls would wait for them to start.

    It has as many threads as the system grants, or is None: a call that is submitted to a
    pool that cannot start its thread would be left behind.
    """
    for n in range(os.cpu_count() or 1, 0, -1):
        pool, everyone = ThreadPoolExecutor(n, "dsn-kernel"), Barrier(n)
        try:
            wait([pool.submit(everyone.wait) for _ in range(n)])
        except RuntimeError:  # "can't start new thread"
            everyone.abort()
            pool.shutdown(cancel_futures=True)
        else:
            return pool
    return None

"""How torch computes: its threads, and switches that the caller may have set."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import inf

import numpy as np
import torch
from joblib import effective_n_jobs
from threadpoolctl import threadpool_limits

from dsn_sktime.kernels import kernel_threads

_lock = threading.Lock()
_blas_lock = threading.Lock()
_thread_state = threading.local()
_n_active = 0
_n_threads_before = 1


def n_threads(n_jobs: int | None) -> int:
    """Return the number of threads for ``n_jobs``; None is torch's number."""
    return torch.get_num_threads() if n_jobs is None else effective_n_jobs(n_jobs)


@contextmanager
def compute_threads(n: int) -> Iterator[None]:
    """Run the sparse kernels on ``n`` threads inside, and torch on one.

    Results of the sparse kernels do not depend on the number of threads. torch's do: it sums the
    weight gradient of a convolution in an order that depends on them. And its thread pool would
    spin while the kernels run. May be entered by several threads at once, and again by one that
    is inside.
    """
    global _n_active, _n_threads_before
    if getattr(_thread_state, "inside", False):
        with kernel_threads(n):
            yield
        return
    with _lock:
        # torch has a count per thread; a new thread starts with the one set last. Where
        # that is our 1, the count from before is what the thread should have had.
        before = torch.get_num_threads()
        if before == 1 and _n_active > 0:
            before = _n_threads_before
        _n_threads_before = before
        _n_active += 1
        torch.set_num_threads(1)
    _thread_state.inside = True
    try:
        with kernel_threads(n):
            yield
    finally:
        _thread_state.inside = False
        with _lock:
            _n_active -= 1
            torch.set_num_threads(before)


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Run numpy's BLAS on one thread inside.

    The limit is that of the process, so only one thread may be inside at a time.
    """
    with _blas_lock, threadpool_limits(limits=1, user_api="blas"):
        yield


def _forget_other_threads() -> None:
    """Reset in a forked process: another thread may have held a lock."""
    global _lock, _blas_lock, _n_active
    _lock, _blas_lock = threading.Lock(), threading.Lock()
    _n_active = int(getattr(_thread_state, "inside", False))


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget_other_threads)


@contextmanager
def default_switches() -> Iterator[None]:
    """Compute inside as in a new process, ignoring what the caller has set in torch and numpy.

    Gradients, inference mode, autocast, default device and numpy's floating point errors
    belong to a thread and are restored afterwards. torch's default dtype belongs to the
    process, so it is not touched: all that creates tensors here names their dtype.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.is_autocast_enabled():  # on CUDA
            stack.enter_context(torch.autocast("cuda", enabled=False))
        stack.enter_context(np.errstate(all="warn", under="ignore"))
        if not _creates_on_cpu():
            # Not always: it slows down every call of torch.
            stack.enter_context(torch.device("cpu"))
        yield


def _creates_on_cpu() -> bool:
    # torch.get_default_device does not see a device set by a context in old versions, and
    # raises as this does where the default device does not exist.
    try:
        return torch.empty(0).device.type == "cpu"
    except Exception:
        return False


def memory_size(device: torch.device) -> float:
    """Return the bytes of memory that a device has in all, infinity if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # on Windows
        return inf

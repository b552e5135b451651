"""Where torch computes: on which device, on how many threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from joblib import effective_n_jobs

from dsn_sktime.kernels import kernel_threads

__all__ = ["compute_threads", "n_threads", "resolve_device"]

_lock = threading.Lock()
_here = threading.local()
_n_inside = 0
_n_threads_outside = 1


def n_threads(n_jobs: int | None) -> int:
    """Return how many threads ``n_jobs`` stands for: torch's number for None."""
    return torch.get_num_threads() if n_jobs is None else effective_n_jobs(n_jobs)


@contextmanager
def compute_threads(n: int) -> Iterator[None]:
    """Run the sparse kernels on ``n`` threads inside, and torch on one.

    The kernels' results do not depend on their threads. torch's do, and its thread pool
    would wait busily beside theirs; it has little to do here.
    """
    with _single_torch_thread(), kernel_threads(n):
        yield


@contextmanager
def _single_torch_thread() -> Iterator[None]:
    """Run torch on one thread inside, and on as many as before afterwards.

    torch sums the weight gradient of a convolution in an order that depends on its
    threads, so two thread counts give two models. May be entered by several threads at
    once, and again by one that is inside.
    """
    global _n_inside, _n_threads_outside
    if getattr(_here, "inside", False):
        yield
        return
    with _lock:
        # torch has a count per thread; a new thread starts with the one set last. Where
        # that is our 1, the count from before is what the thread should have had.
        before = torch.get_num_threads()
        if before == 1 and _n_inside > 0:
            before = _n_threads_outside
        _n_threads_outside = before
        _n_inside += 1
        torch.set_num_threads(1)
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False
        with _lock:
            _n_inside -= 1
            torch.set_num_threads(before)


def _forget_other_threads() -> None:
    """Start afresh in a forked process: another thread may have held the lock."""
    global _lock, _n_inside
    _lock = threading.Lock()
    _n_inside = int(getattr(_here, "inside", False))


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget_other_threads)


def resolve_device(device: str) -> torch.device:
    """Return the torch device that a ``device`` parameter names.

    Parameters
    ----------
    device : str
        "auto" is CUDA if there is a GPU, else the CPU; else what torch understands.

    Raises
    ------
    ValueError
        If torch does not know the name or CUDA is asked for where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or another torch device, found {device!r}."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} asks for CUDA, but torch sees no CUDA device here. Use "
            "device='auto' or 'cpu', or install a CUDA build of torch."
        )
    try:
        torch.zeros(1, device=resolved).cpu()
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} cannot compute here ({error}). Use device='auto' or 'cpu'."
        ) from error
    return resolved

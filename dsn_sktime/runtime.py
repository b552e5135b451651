"""Where torch computes: on which device, on how many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["resolve_device", "single_torch_thread"]

_lock = threading.Lock()
_here = threading.local()
_n_inside = 0
_n_threads_outside = 1


@contextmanager
def single_torch_thread() -> Iterator[None]:
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
    return resolved

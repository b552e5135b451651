"""Memory for time-batch matrices, used again instead of given back.

A step needs the same dozen matrices each time. Fresh memory of their size is mapped and
zeroed by the operating system page by page, which takes a tenth of a training step.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

# Maximum size of the cache without its largest buffer, in float32 elements.
_LIMIT = 2**26

# Re-entrant: garbage may be collected, and given back, while it is held.
_lock = threading.RLock()
_unused: dict[int, list[Tensor]] = defaultdict(list)
_n_unused = 0


def empty_matrix(*shape: int) -> np.ndarray:
    """Return an uninitialized float32 array, aligned to cache lines.

    Its memory is used again once the array and all that shares its memory are gone.
    """
    global _n_unused
    n = math.prod(shape)
    capacity = _capacity(n)
    with _lock:
        buffer = _unused[capacity].pop() if _unused[capacity] else None
        if buffer is not None:
            _n_unused -= capacity
    if buffer is None:
        # torch aligns to cache lines: vectors that straddle them load half as fast.
        buffer = torch.empty(capacity, dtype=torch.float32, device="cpu")
    # A view of this array refers to it, not to the tensor below, so it dies last.
    array = buffer.numpy()
    weakref.finalize(array, _give_back, buffer, capacity).atexit = False
    return array[:n].reshape(shape)


def _capacity(n: int) -> int:
    """Round up to one of four sizes per power of two, so that few sizes are in use."""
    unit = 1 << max(n.bit_length() - 3, 4)
    return -(-n // unit) * unit


def release_memory() -> None:
    """Give unused memory back to the operating system."""
    global _n_unused
    with _lock:
        _unused.clear()
        _n_unused = 0


def _forget() -> None:
    """Start afresh in a forked process: another thread may have held the lock."""
    global _lock
    _lock = threading.RLock()
    release_memory()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget)


def _give_back(buffer: Tensor, capacity: int) -> None:
    global _n_unused
    with _lock:
        _unused[capacity].append(buffer)
        _n_unused += capacity
        if _n_unused > _LIMIT and _n_unused - max(filter(_unused.get, _unused)) > _LIMIT:
            # Sizes of batches that are no longer met, most likely.
            release_memory()
            _unused[capacity].append(buffer)
            _n_unused += capacity

"""Work sharing: threads claim the chunks of each phase from atomic counters.

All threads run the same compiled function. Its work comes in phases, and a phase in
independent chunks. Each thread claims the next chunk by an atomic increment; a phase ends
when all of its chunks are done. A late or missing thread never blocks the others.
"""

from __future__ import annotations

import platform
import sys

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from dsn_sktime.kernels.simd import int64_intrinsic

# Chunks claimed and chunks done, 128 bytes apart, so that processors do not contend for lines.
_DONE, _PER_PHASE = 16, 32

# Reads of a counter before the thread yields its core; some ten microseconds.
_SPINS = 2000

_INT64 = ir.IntType(64)
_HAS_PAUSE = platform.machine() in ("x86_64", "AMD64")


def new_counters(n_phases: int) -> np.ndarray:
    """Return zeroed counters for a call of so many phases."""
    return np.zeros(n_phases * _PER_PHASE, dtype=np.int64)


def _address(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, _INT64.as_pointer())


@int64_intrinsic(types.int64)
def _fetch_and_increment(builder, address):
    """Increment the number at an address atomically; return what it was before."""
    return builder.atomic_rmw("add", _address(builder, address), ir.Constant(_INT64, 1), "acq_rel")


@int64_intrinsic(types.int64)
def _load_acquire(builder, address):
    """Load the number at an address with acquire ordering."""
    return builder.load_atomic(_address(builder, address), "acquire", 8)


@int64_intrinsic()
def _pause(builder):
    """Hint to the processor that this is a spin-wait loop."""
    if _HAS_PAUSE:
        _call(builder, "llvm.x86.sse2.pause", ir.VoidType())


@int64_intrinsic()
def _yield_core(builder):
    """Yield the core to other threads."""
    _call(builder, "SwitchToThread" if sys.platform == "win32" else "sched_yield", ir.IntType(32))


def _call(builder: ir.IRBuilder, name: str, result: ir.Type) -> None:
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, []), name)
    builder.call(function, [])


# Not kept on disk: numba cannot compile a caller of a generator that it has read from there.
@njit(nogil=True)
def claim_chunks(counters, phase, n_chunks):
    """Yield the chunks of a phase that this thread claims; return when all are done.

    ``counters`` is the address of the array from :func:`new_counters`, the same for all threads:
    numba's generators never release arguments that are arrays.
    """
    claimed = counters + 8 * phase * _PER_PHASE
    done = claimed + 8 * _DONE
    chunk = _fetch_and_increment(claimed)
    while chunk < n_chunks:
        yield chunk
        _fetch_and_increment(done)
        chunk = _fetch_and_increment(claimed)
    n_looks = 0
    while _load_acquire(done) < n_chunks:
        n_looks += 1
        if n_looks < _SPINS:
            _pause()
        else:
            _yield_core()

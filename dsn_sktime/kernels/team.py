"""Threads that go through the phases of a compiled function together.

All threads of a team run the same function. Its work comes in phases, and a phase in parts
that do not depend on each other: each thread claims the next part by counting up, and a
phase is over when all of its parts are done, by whichever thread. Nobody waits for a thread
that has not come yet, so a late one costs nothing, and one that never comes is not missed.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dsn_sktime.kernels.jit import compiled

__all__ = ["counters", "share"]

# Parts claimed and parts done, 128 bytes apart, so that processors do not contend for lines.
_DONE, _PER_PHASE = 16, 32

# Looks at a counter before giving way to other threads; some ten microseconds.
_SPINS = 2000

_INT64 = ir.IntType(64)
_HAS_PAUSE = platform.machine() in ("x86_64", "AMD64")


def counters(n_phases: int) -> np.ndarray:
    """Return the counters of a team that is about to start."""
    return np.zeros(n_phases * _PER_PHASE, dtype=np.int64)


def _address(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, _INT64.as_pointer())


@intrinsic
def _count_up(typing_context: Any, address: Any) -> Any:
    """Return the number at an address, and add 1 to it, as one step for all threads."""

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place = _address(builder, arguments[0])
        return builder.atomic_rmw("add", place, ir.Constant(_INT64, 1), "acq_rel")

    return types.int64(types.int64), emit_code


@intrinsic
def _look_at(typing_context: Any, address: Any) -> Any:
    """Return the number at an address, and see all that was written before it was."""

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_address(builder, arguments[0]), "acquire", 8)

    return types.int64(types.int64), emit_code


@intrinsic
def _pause(typing_context: Any) -> Any:
    """Let the processor know that this thread only waits."""

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if _HAS_PAUSE:
            nothing = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, name), [])
        return context.get_dummy_value()

    return types.void(), emit_code


@intrinsic
def _give_way(typing_context: Any) -> Any:
    """Let other threads run on this core."""

    def emit_code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        signature = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [])
        return context.get_dummy_value()

    return types.void(), emit_code


@compiled()
def share(team, phase, n_parts):
    """Yield the parts of a phase that this thread is to do; end when all are done.

    Parameters
    ----------
    team : int64 array
        From :func:`counters`, the same for all threads.
    phase : int
    n_parts : int
    """
    claimed = team.ctypes.data + 8 * phase * _PER_PHASE
    done = claimed + 8 * _DONE
    part = _count_up(claimed)
    while part < n_parts:
        yield part
        _count_up(done)
        part = _count_up(claimed)
    n_looks = 0
    while _look_at(done) < n_parts:
        n_looks += 1
        if n_looks < _SPINS:
            _pause()
        else:
            _give_way()

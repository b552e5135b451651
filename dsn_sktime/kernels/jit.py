"""How the kernels are compiled: without the interpreter's lock, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit

__all__ = ["compiled"]


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    # The inner loops are LLVM code: there is no plain Python to fall back on.
    raise ImportError("NUMBA_DISABLE_JIT is set")


def _digest_of_sources() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


_SOURCES = _digest_of_sources()


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a function at its first call.

    numba keeps the machine code beside the source or in the user's cache folder, and takes
    it up again as long as no source of this folder has changed. Where neither folder can be
    written, each process compiles anew.

    Parameters
    ----------
    fastmath : bool or set of str, default=False
        LLVM's liberties with floating point.
    """

    def decorate(function: Callable) -> Any:
        try:
            dispatcher: Any = njit(nogil=True, cache=True, fastmath=fastmath, error_model="numpy")(
                function
            )
        except RuntimeError:
            return njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
        # numba looks at the function's own file only, but it inlines what others hold.
        dispatcher._cache._cache_file._source_stamp = _SOURCES
        return dispatcher

    return decorate

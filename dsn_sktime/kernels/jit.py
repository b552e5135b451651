"""How the kernels are compiled: without the interpreter's lock, kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a function at its first call.

    numba keeps the machine code beside the source or in the user's cache folder, and takes
    it up again as long as that source file is unchanged: what a function inlines belongs
    into its own file. Where neither folder can be written, each process compiles anew.

    Parameters
    ----------
    fastmath : bool or set of str, default=False
        LLVM's liberties with floating point.
    """

    def decorate(function: Callable) -> Any:
        try:
            return njit(nogil=True, cache=True, fastmath=fastmath)(function)
        except RuntimeError:
            return njit(nogil=True, fastmath=fastmath)(function)

    return decorate

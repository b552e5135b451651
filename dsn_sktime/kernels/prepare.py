"""Compile the kernels before they are needed."""

from __future__ import annotations

from dsn_sktime.kernels import adam
from dsn_sktime.kernels.dispatch import sparse

__all__ = ["compile_kernels"]


def compile_kernels() -> None:
    """Compile the kernels of training and prediction, or load them where they are kept on disk.

    Does nothing without numba.
    """
    if sparse is None:
        return
    # Needs numba.
    from numba import float32, int64

    from dsn_sktime.kernels.engine import compile_passes

    compile_passes()
    adam._update.compile((int64[:, ::1], int64[::1], float32[:, ::1], *[float32] * 5))

"""Compile the kernels before they are needed."""

from __future__ import annotations

from dsn_sktime.kernels import adam
from dsn_sktime.kernels.dispatch import sparse


def compile_kernels(every_length: bool = False) -> None:
    """Compile the kernels of training and prediction, or load them where they are kept on disk.

    Does nothing without numba.

    Parameters
    ----------
    every_length : bool, default=False
        True for the convolutions of every length of series, else each when it is needed.
    """
    if sparse is None:
        return
    # Needs numba.
    from numba import float32, int64

    from dsn_sktime.kernels import loops
    from dsn_sktime.kernels.engine import compile_passes
    from dsn_sktime.kernels.simd import MAX_VECTORS

    compile_passes()
    if every_length:
        loops.convolutions(range(1, MAX_VECTORS + 1))
    adam._update.compile((int64[:, ::1], int64[::1], float32[:, ::1], *[float32] * 5))

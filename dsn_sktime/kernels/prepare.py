"""Compile the kernels before they are needed."""

from __future__ import annotations

import numpy as np

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
    from numba import float32, int64, typeof

    from dsn_sktime.kernels import engine, loops
    from dsn_sktime.kernels.plan import BATCH, LAYER
    from dsn_sktime.kernels.simd import MAX_VECTORS

    records = (typeof(np.empty(1, kind)) for kind in (LAYER, BATCH))
    signature = *records, int64, int64
    for function in (engine.forward, engine.backward, engine.predict):
        function.compile(signature)
    if every_length:
        loops.convolutions(range(1, MAX_VECTORS + 1))
    adam._update.compile((int64[:, ::1], int64[::1], float32[:, ::1], *[float32] * 5))

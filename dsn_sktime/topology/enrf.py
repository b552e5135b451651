"""Effective neighbour receptive fields: how far a kernel's activated taps reach."""

from __future__ import annotations

import numpy as np


def enrf_sizes(index: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the effective neighbour receptive field (eNRF) of each kernel.

    It is the distance in time steps between a kernel's first and last activated tap, both
    counted, and 0 for a kernel without any (paper, section 3.1). ``index`` holds the sorted
    positions in flattened kernels of a shape (C_out, C_in, k); the result is int64 (C_out, C_in).
    """
    kernel, tap = np.divmod(index, shape[2])
    first = np.full(shape[0] * shape[1], shape[2])
    last = np.full(shape[0] * shape[1], -1)
    np.minimum.at(first, kernel, tap)
    np.maximum.at(last, kernel, tap)
    return np.where(last < 0, 0, last - first + 1).reshape(shape[:2])


def stack_receptive_fields(fractions: np.ndarray, enrf: np.ndarray) -> np.ndarray:
    """Return the receptive fields after one more layer, as shares of all paths.

    A path takes one kernel with activated taps in each layer; every kernel may follow
    every other, as the 1x1 convolutions between them are dense. Its receptive field is
    the sum of its eNRFs minus (layers - 1).

    Entry r of ``fractions``, and of the result, is the share of paths with a receptive field of
    r time steps; all are 0 if no kernel of the layer has an activated tap. ``enrf`` holds the
    eNRFs of the layer's kernels.
    """
    counts = np.bincount(enrf[enrf > 0])
    shares = counts / max(counts.sum(), 1)
    # Both count from 0 and a path of n layers overlaps in n - 1 steps: hence [1:].
    return np.convolve(fractions, shares)[1:]

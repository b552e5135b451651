"""Adaptive average pooling of whole vectors, as products of small matrices with vectors.

A vector holds one time step of several lanes whose bins have the same borders. A tile may begin
in the middle of bins: what it adds to these is its *carry*, which is added later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dsn_sktime.kernels.simd import TILE_ROWS

__all__ = ["BinTables", "bin_tables"]


class BinTables(NamedTuple):
    """Products that pool tiles to bins, and the gradient of bins back to time steps.

    Attributes
    ----------
    products : int32 array of shape (n_products, 5)
        Rows of the matrix, first vector read, vectors read, first element of the matrix in
        ``matrices``, first vector written.
    matrices : float32 array
    tile_products, carry_products : int32 arrays of shape (n_tiles,)
        First product of each tile for the bins that begin in it, and for its carries.
    first_backward : int
        First product of the gradient; they go on to the end.
    carry_bins : int32 array of shape (n_carries,)
        Bin of each carry.
    """

    products: np.ndarray
    matrices: np.ndarray
    tile_products: np.ndarray
    carry_products: np.ndarray
    first_backward: int
    carry_bins: np.ndarray


def bin_tables(n_steps: int, n_bins: int, n_tiles: int) -> BinTables:
    """Return the tables for bins ``floor(j * n_steps / n_bins)..ceil((j + 1) * n_steps / n_bins)``.

    Parameters
    ----------
    n_steps : int
        Vectors of a group.
    n_bins : int
    n_tiles : int
        Tiles that cut them, tile i from ``i * n_steps // n_tiles`` on.
    """
    every = np.arange(n_bins)
    starts, stops = every * n_steps // n_bins, -(-(every + 1) * n_steps // n_bins)
    products: list[tuple[int, int, int, int, int]] = []
    matrices: list[np.ndarray] = []

    def add(first: int, last: int, step: int, end: int, to: int) -> None:
        """Pool steps ``step..end-1`` to bins ``first..last-1``, written from ``to`` on."""
        for row in range(first, last, TILE_ROWS):
            own = slice(row, min(row + TILE_ROWS, last))
            begin, stop = max(step, int(starts[row])), min(end, int(stops[own][-1]))
            matrix = _weights(starts[own], stops[own], begin, stop)
            _append(matrix, begin - step, to + row - first)

    def _append(matrix: np.ndarray, first: int, to: int) -> None:
        place = sum(one.size for one in matrices[-1:]) + (products[-1][3] if products else 0)
        products.append((len(matrix), first, matrix.shape[1], place, to))
        matrices.append(matrix)

    tile_products, carry_products, carry_bins = [], [], list[int]()
    for tile in range(n_tiles):
        step, end = tile * n_steps // n_tiles, (tile + 1) * n_steps // n_tiles
        own, last = (int(np.searchsorted(starts, border)) for border in (step, end))
        first = int(np.searchsorted(stops, step, "right"))
        tile_products.append(len(products))
        add(own, last, step, end, own)
        carry_products.append(len(products))
        add(first, own, step, end, len(carry_bins))
        carry_bins += range(first, own)
    first_backward = len(products)
    for step in range(0, n_steps, TILE_ROWS):
        end = min(step + TILE_ROWS, n_steps)
        first = int(np.searchsorted(stops, step, "right"))
        bins = slice(first, int(np.searchsorted(starts, end)))
        _append(_weights(starts[bins], stops[bins], step, end).T, first, step)
    tables = products, tile_products, carry_products, carry_bins
    found = [np.array(table, np.int32) for table in tables]
    flat = np.concatenate([matrix.ravel() for matrix in matrices]).astype(np.float32)
    return BinTables(found[0], flat, found[1], found[2], first_backward, found[3])


def _weights(starts: np.ndarray, stops: np.ndarray, step: int, end: int) -> np.ndarray:
    """Return the weights (n_bins, end - step) of time steps in bins."""
    steps = np.arange(step, end)
    inside = (steps >= starts[:, None]) & (steps < stops[:, None])
    return inside / (stops - starts)[:, None]

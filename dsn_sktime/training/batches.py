"""Batches of the training series, and the random streams that they are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.panel import Panel


class Use(IntEnum):
    """What randomness is used for."""

    SHUFFLING = 0
    GROWTH = 1
    BATCH_NORM = 2
    AUGMENTATION = 3
    VALIDATION = 4
    RIDGE_HEAD = 5


def random_stream(seed: int, use: Use, epoch: int) -> np.random.Generator:
    """Return the generator of one use in one epoch.

    Each has its own stream, so a resumed run draws the same numbers as an uninterrupted one.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(use), epoch)))


class Batch(NamedTuple):
    """Training series with their targets.

    Attributes
    ----------
    values : float tensor of shape (B, m, L)
    lengths : int64 tensor of shape (B,) or None
    target : tensor of shape (B, ...)
    sample_weight : float tensor of shape (B,) or None
    """

    values: Tensor
    lengths: Tensor | None
    target: Tensor
    sample_weight: Tensor | None

    @property
    def panel(self) -> Panel:
        """The series alone."""
        return Panel(self.values, self.lengths)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch._make(None if one is None else one.to(device) for one in self)


# Maps a batch and a random stream to a batch of the same shapes.
Augmentation = Callable[[Batch, np.random.Generator], Batch]


def take(data: Batch, rows: Tensor) -> Batch:
    """Return the batch of some rows of all training series."""
    series = data.panel.take(rows)
    weight = None if data.sample_weight is None else data.sample_weight[rows]
    return Batch(series.values, series.lengths, data.target[rows], weight)


def shuffled_rows(
    n: int, batch_size: int, rng: np.random.Generator, device: torch.device
) -> Iterator[Tensor]:
    """Yield the shuffled row numbers of each batch of ``n`` training series.

    BatchNorm needs more than one series for a variance, so a last single row is added to the
    batch before it.
    """
    # Copied to the device once, not batch by batch.
    order = torch.from_numpy(rng.permutation(n)).to(device)
    starts = [start for start in range(0, n, batch_size) if start == 0 or start < n - 1]
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:stop]

"""Arrays among NaN: a stray read makes a result NaN, a stray write is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

GUARD = 4096
UNTOUCHED = np.float32(np.nan).view(np.uint32)


def is_untouched(zone: np.ndarray) -> bool:
    """Tell whether the NaN of a zone are those that were put there."""
    return bool((zone.view(np.uint32) == UNTOUCHED).all())


class Memory:
    """Arrays that lie in larger ones, with a zone of NaN on both sides."""

    def __init__(self) -> None:
        self._buffers: list[tuple[np.ndarray, int]] = []

    def empty(self, *shape: int) -> np.ndarray:
        n = math.prod(shape)
        buffer = np.full(n + 2 * GUARD, np.nan, dtype=np.float32)
        self._buffers.append((buffer, n))
        return buffer[GUARD : GUARD + n].reshape(shape)

    def holding(self, values: Any) -> np.ndarray:
        array = self.empty(*np.shape(values))
        array[...] = values
        return array

    def normal(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        return self.holding(rng.normal(size=shape))

    def tensor(self, values: Tensor) -> Tensor:
        return torch.from_numpy(self.holding(values.detach().numpy()))

    @staticmethod
    def integers(values: Sequence[int] | np.ndarray, dtype: type) -> np.ndarray:
        """Place integers among zeros: what a stray read finds is no place out of bounds."""
        buffer = np.zeros(len(values) + 2 * GUARD, dtype)
        buffer[GUARD : GUARD + len(values)] = values
        return buffer[GUARD : GUARD + len(values)]

    def is_intact(self) -> bool:
        return all(
            is_untouched(buffer[:GUARD]) and is_untouched(buffer[GUARD + n :])
            for buffer, n in self._buffers
        )


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def only(array: np.ndarray, *places: Any) -> np.ndarray:
    """Copy an array, with NaN at all other places."""
    copied = np.full_like(array, np.nan)
    copied[places] = array[places]
    return copied

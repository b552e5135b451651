"""Time that a training run may take."""

from __future__ import annotations

import time

import torch

__all__ = ["TimeBudget"]

# Computing outputs takes about a third of the time of an optimizer step.
_FORWARD_SHARE = 1 / 3
_LARGEST_FIRST_SHARE = 0.5
# At least this share of the time is for optimizer steps.
_LEAST_SHARE = 0.5


class TimeBudget:
    """Share of a training time that is used.

    The first optimizer step, which may have to compile kernels, is not counted if it takes more
    than half of the time.

    Parameters
    ----------
    seconds : float
        Time of the whole run.
    used : float
        Share of it that was used before, by a run that is resumed.
    n_closing : int
        Batches whose outputs are computed after the last optimizer step. Their time is
        estimated from the optimizer steps, and set aside.
    device : torch.device
        Where the steps are computed.
    """

    def __init__(self, seconds: float, used: float, n_closing: int, device: torch.device) -> None:
        self._seconds = seconds
        self._used = used
        self._n_closing = n_closing
        self._device = device
        self._started = time.perf_counter()
        self._first_end = 0.0
        self._n_steps = 0

    def count_step(self) -> float:
        """Count an optimizer step, and return the share of the time that is used."""
        if self._device.type == "cuda":  # Its steps are queued.
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._n_steps == 0:
            self._first_end = now
            if now - self._started > _LARGEST_FIRST_SHARE * self._seconds:
                self._started = now
        seconds_per_step = (now - self._first_end) / max(self._n_steps, 1)
        self._n_steps += 1
        closing = self._n_closing * _FORWARD_SHARE * seconds_per_step
        available = max(self._seconds - closing, _LEAST_SHARE * self._seconds)
        return self._used + (now - self._started) / available

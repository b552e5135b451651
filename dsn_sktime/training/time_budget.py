"""Time that a fit may take, and that of each training run in it."""

from __future__ import annotations

import time
import uuid
from functools import lru_cache

import torch

# Computing outputs takes about a third of the time of an optimizer step.
_FORWARD_SHARE = 1 / 3
_MAX_FIRST_SHARE = 0.5
# Until this many steps are counted, one slow step must not set all of the time aside.
_FEW_STEPS = 10
_MIN_SHARE = 0.5
# Where no time is left for training, one optimizer step is still taken.
_MIN_SECONDS = 1e-3


@lru_cache(maxsize=64)
def _started(identity: str) -> float:
    """Return when this process first asked for the start of a fit."""
    return time.perf_counter()


class Deadline:
    """End of a fit that trains networks in turn, and the time of each.

    Processes that train networks of the same fit each get a copy. In each, the time begins with
    its first network: a new process imports for seconds, and has a clock of its own.

    Parameters
    ----------
    seconds : float
        Time of the whole fit.
    n_turns : int
        Networks that one process trains, one after another.
    """

    def __init__(self, seconds: float, n_turns: int) -> None:
        self._identity = uuid.uuid4().hex
        self._seconds = seconds
        self._n_turns = n_turns

    def end_of(self, turn: int) -> float:
        """Return when the network whose turn it is, counted from 0, must be complete.

        The time that is left is divided evenly, so a network that took too long does not delay
        the end of the fit. What one did not need is not given to others: training ended early.
        """
        end, now = _started(self._identity) + self._seconds, time.perf_counter()
        return now + min((end - now) / (self._n_turns - turn), self._seconds / self._n_turns)


def seconds_until(end: float) -> float:
    """Return the seconds until ``end``, at least ``_MIN_SECONDS``."""
    return max(end - time.perf_counter(), _MIN_SECONDS)


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
        if self._seconds <= _MIN_SECONDS:
            return 1.0
        if self._device.type == "cuda":  # Its steps are queued.
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._n_steps == 0:
            self._first_end = now
            if now - self._started > _MAX_FIRST_SHARE * self._seconds:
                self._started = now
        seconds_per_step = (now - self._first_end) / max(self._n_steps, 1)
        self._n_steps += 1
        closing = self._n_closing * _FORWARD_SHARE * seconds_per_step
        least = _MIN_SHARE * self._seconds if self._n_steps <= _FEW_STEPS else _MIN_SECONDS
        available = max(self._seconds - closing, least)
        return self._used + (now - self._started) / available

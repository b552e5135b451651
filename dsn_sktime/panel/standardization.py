"""Mean and standard deviation of each variate over a training panel."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.user_warning import warn_user

# Values that quartiles are estimated from, of all variates together.
_SAMPLE_SIZE = 2**20
# Ratio of the standard deviation to the width of the middle half of the values. float32
# resolves 1 / 2**23 of a value, so at this ratio that half has no shape left.
_HIDES = 1e6
# At this ratio, fill values such as -999 already cost accuracy. The largest ratio in 57
# training panels of the archive is 3.3.
_DWARFS = 20


class Standardization(NamedTuple):
    """Map x to (x - mean) / scale.

    Attributes
    ----------
    mean, scale : float64 arrays of shape (m,)
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def identity(cls, n_variates: int) -> Self:
        """Return a standardization that changes no value."""
        return cls(np.zeros(n_variates), np.ones(n_variates))

    @classmethod
    def fit(cls, raw: RawPanel) -> Self:
        """Compute the statistics over all observed steps of all series.

        Sums are computed series by series, so they do not depend on the container or on
        the padding. ``mean`` is 0 for a variate that is missing throughout, ``scale`` 1 for one
        that is constant up to rounding. Single values that are so large that float32 does not
        resolve the others raise ValueError.
        """
        sums = np.zeros((len(raw), raw.n_variates))
        n_observed = np.zeros_like(sums)
        low, high = np.full((2, raw.n_variates), [[np.inf], [-np.inf]])
        for rows, chunk in raw.chunks():
            missing = np.isnan(chunk)
            n_observed[rows] = chunk.shape[2] - missing.sum(2)
            low = np.fmin(low, np.fmin.reduce(chunk, axis=(0, 2)))
            high = np.fmax(high, np.fmax.reduce(chunk, axis=(0, 2)))
            chunk[missing] = 0
            sums[rows] = chunk.sum(2)
        is_absent = n_observed.sum(0) == 0
        _warn_of(raw, is_absent, "are missing in all series")
        n = np.maximum(n_observed.sum(0), 1)
        is_constant = ~(low < high)
        mean = np.where(low == high, low, sums.sum(0) / n)

        # In units of the largest, so that no square over- or underflows.
        largest = np.where(is_constant, 1.0, np.maximum(high - mean, mean - low))
        for rows, chunk in raw.chunks():
            chunk -= mean[:, None]
            chunk /= largest[:, None]
            chunk[np.isnan(chunk)] = 0
            sums[rows] = np.square(chunk, out=chunk).sum(2)
        scale = largest * np.sqrt(sums.sum(0) / n)
        # The deviations of a constant that was computed in different ways are rounding errors.
        is_constant |= scale <= 8 * np.finfo(np.float64).eps * np.abs(mean)
        _warn_of(raw, is_constant & ~is_absent, "have the same value in all series")
        fitted = cls(mean, np.where(is_constant, 1.0, scale))
        fitted._check_outliers(raw, low, high, np.flatnonzero(~is_constant))
        return fitted

    def apply(self, chunk: np.ndarray) -> None:
        """Standardize an array of shape (k, m, length) in place."""
        chunk -= self.mean[:, None]
        chunk /= self.scale[:, None]

    def _check_outliers(
        self, raw: RawPanel, low: np.ndarray, high: np.ndarray, variates: np.ndarray
    ) -> None:
        """Detect values so extreme that the others become nearly constant."""
        n_sampled = min(len(raw), max(1, _SAMPLE_SIZE // (raw.n_variates * raw.lengths.max())))
        rows = np.linspace(0, len(raw) - 1, n_sampled).astype(int)
        sample = [np.asarray(raw.series[row], dtype=np.float64) for row in rows]
        spreads = np.array([_spread(sample, variate) for variate in variates])
        ratios = self.scale[variates] / spreads
        if len(variates) == 0 or not (ratios > _DWARFS).any():
            return
        worst = int(ratios.argmax())
        variate = variates[worst]
        ends = low[variate], high[variate]
        # The mean is nearer to most values than to the extreme.
        extreme = max(ends, key=lambda end: abs(end - self.mean[variate]))
        found = (
            f"{extreme:g} in {raw.place(_find(raw, variate, extreme), variate)}, while half of its "
            f"values lie within {spreads[worst]:.2g} of one another"
        )
        remedy = "Mark fill values as missing (NaN), or take the logarithm of such a variate."
        if ratios[worst] > _HIDES:
            raise ValueError(
                "X must have values that single precision can resolve next to the largest, found "
                f"{found}. {remedy}"
            )
        n_dwarfed = int((ratios > _DWARFS).sum())
        warn_user(
            f"{n_dwarfed} of {raw.n_variates} variates of X have values that dwarf the others: "
            f"{found}. {remedy}"
        )


def _warn_of(raw: RawPanel, is_useless: np.ndarray, why: str) -> None:
    """Warn of variates that a network cannot learn from."""
    found = np.flatnonzero(is_useless)
    if len(found):
        first = raw.variate_label(found[0]) or f"number {found[0]} (counted from 0)"
        warn_user(
            f"{len(found)} of {len(is_useless)} variates of X {why}, the first is {first}. They "
            "hold no information, and other values may mislead predictions: remove them."
        )


def _spread(sample: list[np.ndarray], variate: int) -> float:
    """Return the width of the middle half of a variate's values; inf if unknown."""
    values = np.concatenate([one[variate] for one in sample])
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return np.inf
    tail, quarter, three, head = np.quantile(values, [0.05, 0.25, 0.75, 0.95])
    # Fall back to the tails where half of the values are equal.
    return (three - quarter) or (head - tail) or np.inf


def _find(raw: RawPanel, variate: int, value: float) -> int:
    """Return the first series that holds a value."""
    return next(
        rows.start + int((chunk[:, variate] == value).any(1).argmax())
        for rows, chunk in raw.chunks()
        if (chunk[:, variate] == value).any()
    )

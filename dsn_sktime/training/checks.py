"""Checks of arguments: one sentence with the name, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

_MAX_REPR = 80


def brief_repr(value: object) -> str:
    """Return ``repr(value)`` on one line, shortened where it is long."""
    text = " ".join(repr(value).split())
    if len(text) <= _MAX_REPR:
        return text
    return f"{text[:_MAX_REPR]}... ({type(value).__name__})"


def check_integer(name: str, value: Any, least: int, or_else: str = "") -> None:
    """Raise unless a parameter is an integer of at least ``least``."""
    message = f"{name} must be an integer of at least {least}{or_else}, found {brief_repr(value)}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if int(value) < least:
        raise ValueError(message)
    if int(value) >= 2**63:
        raise ValueError(f"{name} must be below 2**63, found {brief_repr(value)}.")


def check_number(name: str, value: Any, interval: str) -> None:
    """Raise if ``value`` is not a number in ``interval``, for example "[0, inf)"; NaN never is.

    A bound may be named: "[0, lr=0.1]".
    """
    lower, upper = (float(bound.split("=")[-1]) for bound in interval[1:-1].split(","))
    message = f"{name} must be a number in {interval}, found {brief_repr(value)}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    try:
        number = float(value)
        is_inside = lower <= number if interval[0] == "[" else lower < number
        is_inside &= number <= upper if interval[-1] == "]" else number < upper
    except OverflowError:
        is_inside = False
    if not is_inside:
        raise ValueError(message)


def check_choice(name: str, value: object, choices: Sequence[str | int | None]) -> None:
    """Raise unless a parameter is one of the choices."""
    # By type first: an array or pd.NA has no truth value when compared.
    if not isinstance(value, str | Integral | np.bool_ | None) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, found {brief_repr(value)}.")

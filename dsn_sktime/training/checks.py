"""Checks of arguments: one sentence with the name, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

__all__ = ["check_choice", "check_integer", "check_number"]


def check_integer(name: str, value: Any, least: int, or_else: str = "") -> None:
    """Raise unless a parameter is an integer of at least ``least``."""
    message = f"{name} must be an integer of at least {least}{or_else}, found {_shown(value)}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if int(value) < least:
        raise ValueError(message)


def check_number(name: str, value: Any, interval: str, holds: Callable[[Any], bool]) -> None:
    """Raise unless a parameter is a number in an interval, which NaN never is."""
    message = f"{name} must be a number in {interval}, found {_shown(value)}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    if not holds(value):
        raise ValueError(message)


def check_choice(name: str, value: object, choices: Sequence[str | bool | None]) -> None:
    """Raise unless a parameter is one of the choices."""
    # By type first: an array or pd.NA has no truth value when compared.
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, found {_shown(value)}.")


def _shown(value: object) -> str:
    """Return a repr on one line, and not a long one: arrays and frames have many."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 80 else f"{shown[:80]}..."

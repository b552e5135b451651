"""Checks of parameters: each raises with the name, the value found and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from numbers import Integral, Real
from typing import Any

from sklearn.utils import check_random_state

from dsn_sktime.training import Callback, Checkpoint

__all__ = [
    "check_callbacks",
    "check_choice",
    "check_class_weight",
    "check_integer",
    "check_n_jobs",
    "check_number",
    "check_seed",
]


def check_integer(name: str, value: object, least: int, or_else: str = "") -> None:
    """Raise unless a parameter is an integer of at least ``least``."""
    message = f"{name} must be an integer of at least {least}{or_else}, found {value!r}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(message)
    if value < least:
        raise ValueError(message)


def check_number(name: str, value: Any, interval: str, holds: Callable[[Any], bool]) -> None:
    """Raise unless a number lies in an interval, which NaN never does."""
    message = f"{name} must be a number in {interval}, found {value!r}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    if not holds(value):
        raise ValueError(message)


def check_class_weight(class_weight: object) -> None:
    """Raise unless ``class_weight`` is None, "balanced" or a dict of positive weights."""
    if isinstance(class_weight, dict):
        for label, weight in class_weight.items():
            # Not 0: a batch of such series only would have no mean loss.
            name = f"class_weight[{label!r}]"
            check_number(name, weight, "(0, inf)", lambda weight: 0 < weight < inf)
    elif class_weight is not None and str(class_weight) != "balanced":
        raise ValueError(
            "class_weight must be None, 'balanced' or a dict of label to weight, found "
            f"{class_weight!r}."
        )


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise unless a parameter is one of the choices."""
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, found {value!r}.")


def check_callbacks(callbacks: object, random_state: object) -> None:
    """Raise unless ``callbacks`` are callbacks, and the seed such that they can work."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise TypeError(f"callbacks must be a list of Callback or None, found {callbacks!r}.")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must hold instances of dsn_sktime.training.Callback, found "
                f"{callback!r}. Derive its class from Callback."
            )
        if isinstance(callback, Checkpoint) and not isinstance(random_state, Integral):
            raise ValueError(
                "random_state must be an integer where callbacks has a Checkpoint, found "
                f"{random_state!r}: a checkpoint is identified by its seed."
            )


def check_n_jobs(n_jobs: object) -> None:
    """Raise unless ``n_jobs`` is what joblib takes."""
    message = f"n_jobs must be None or an integer other than 0, found {n_jobs!r}. -1 is all cores."
    if n_jobs is not None and not isinstance(n_jobs, Integral):
        raise TypeError(message)
    if n_jobs == 0:
        raise ValueError(message)


def check_seed(random_state: Any) -> None:
    """Raise unless ``random_state`` is what scikit-learn takes."""
    try:
        check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            "random_state must be an integer from 0 to 2**32 - 1, a numpy RandomState or "
            f"None, found {random_state!r}."
        ) from error

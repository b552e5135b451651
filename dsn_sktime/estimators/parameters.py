"""Checks of the parameters of estimators."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from dsn_sktime.training import Callback, Checkpoint
from dsn_sktime.training.checks import brief_repr, check_number


def check_class_weight(class_weight: object) -> None:
    """Raise unless ``class_weight`` is None, "balanced" or a dict of positive weights."""
    if isinstance(class_weight, dict):
        for label, weight in class_weight.items():
            # Not 0: a batch with only such series would have no mean loss.
            name = f"class_weight[{label!r}]"
            check_number(name, weight, "(0, inf)")
    elif class_weight is not None and not (
        isinstance(class_weight, str) and class_weight == "balanced"
    ):
        raise ValueError(
            "class_weight must be None, 'balanced' or a dict of label to weight, found "
            f"{brief_repr(class_weight)}."
        )


def check_callbacks(callbacks: object, random_state: object) -> None:
    """Raise unless ``callbacks`` is a list of callbacks that work with the seed."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            f"callbacks must be a list of Callback or None, found {brief_repr(callbacks)}."
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must hold instances of dsn_sktime.training.Callback, found "
                f"{brief_repr(callback)}. Derive its class from Callback."
            )
        if isinstance(callback, Checkpoint) and not isinstance(random_state, Integral):
            raise ValueError(
                "random_state must be an integer where callbacks has a Checkpoint, found "
                f"{brief_repr(random_state)}: a checkpoint is identified by its seed."
            )


def check_n_jobs(n_jobs: object) -> None:
    """Raise unless ``n_jobs`` is what joblib takes."""
    message = (
        f"n_jobs must be None or an integer other than 0, found {brief_repr(n_jobs)}. -1 is all "
        "cores."
    )
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral | None):
        raise TypeError(message)
    if n_jobs == 0:
        raise ValueError(message)


def check_seed(random_state: Any) -> None:
    """Raise unless ``random_state`` is an integer, a RandomState or None."""
    try:
        if random_state is np.random:  # scikit-learn takes it, but a module has no copy.
            raise TypeError("a module")
        check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "random_state must be an integer from 0 to 2**32 - 1, a numpy RandomState or "
            f"None, found {brief_repr(random_state)}."
        ) from error


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the torch device that a ``device`` parameter names; raise unless it can compute."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu', 'cuda' or another torch device, found "
            f"{brief_repr(device)}."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} needs CUDA, but torch finds no CUDA device here. Use "
            "device='auto' or 'cpu', or install a CUDA build of torch."
        )
    try:
        # Statistics and heads are computed in double precision.
        torch.zeros(1, dtype=torch.float64, device=resolved).cpu()
    except Exception as error:  # Each backend raises its own.
        reason = str(error).split("\n")[0].split(". ")[0]
        raise ValueError(
            f"device={device!r} cannot compute here ({reason}). Use device='auto' or 'cpu'."
        ) from error
    return resolved

"""Warnings that name the line of the user's code."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

import sktime

# Code between the user's call and the warning.
_INSIDE = (str(Path(__file__).parents[1]), str(Path(sktime.__file__).parent), contextlib.__file__)


def warn_user(message: str) -> None:
    """Warn with a UserWarning at the line that called the package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)

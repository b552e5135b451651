"""Warnings that name the line of the user's code."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

# Code between the user's call and the warning. sktime is not imported here: that takes long.
_SKTIME = getattr(find_spec("sktime"), "submodule_search_locations", None) or ()
_FOLDERS = (Path(__file__).parents[1], *_SKTIME)
_INSIDE = (contextlib.__file__, *(f"{folder}{os.sep}" for folder in _FOLDERS))


def warn_user(message: str) -> None:
    """Warn with a UserWarning at the line that called the package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)

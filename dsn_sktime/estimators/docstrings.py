"""Parameters that several classes share are documented once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

__all__ = ["shares_parameters"]

_SECTION = re.compile(r"(?<=\nParameters\n----------\n).*?(?=\n\n\w+\n-+\n)", re.S)
_ENTRY = re.compile(r"^(\w+)(?=[ ,:]).*\n(?: {4}.*\n?|\n)*", re.M)


def shares_parameters(source: type) -> Callable[[type], type]:
    """Return a class decorator that completes the parameters of a numpydoc docstring.

    Parameters of the constructor that the class does not describe are described as in
    ``source``. They are put into the order of the constructor.
    """

    def decorate(cls: type) -> type:
        if not cls.__doc__ or not source.__doc__:  # python -OO
            return cls
        entries = _entries(source) | _entries(cls)
        names = list(inspect.signature(cls).parameters)
        section = "".join(entries[name] for name in names).rstrip("\n")
        cls.__doc__ = _SECTION.sub(lambda _: section, inspect.cleandoc(cls.__doc__), count=1)
        return cls

    return decorate


def _entries(cls: type) -> dict[str, str]:
    (section,) = _SECTION.findall(inspect.cleandoc(cls.__doc__ or ""))
    return {entry[1]: entry[0].rstrip("\n") + "\n" for entry in _ENTRY.finditer(section)}

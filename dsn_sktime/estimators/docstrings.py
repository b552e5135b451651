"""Parameters and attributes that several classes share are documented once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection

_SECTION = r"(?<=\n{}\n----------\n).*?(?=\n\n[\w ]+\n-+\n)"
_ENTRY = re.compile(r"^(\w+)(?=[ ,:]).*\n(?: {4}.*\n?|\n)*", re.M)


def shares_docs(source: type, without: Collection[str] = ()) -> Callable[[type], type]:
    """Return a class decorator that completes parameters and attributes of a numpydoc docstring.

    What the class does not describe is described as in ``source``: the parameters of its
    constructor, in their order, and all attributes but those in ``without``.
    """

    def decorate(cls: type) -> type:
        if not cls.__doc__ or not source.__doc__:  # python -OO
            return cls
        doc = inspect.cleandoc(cls.__doc__)
        for title in ("Parameters", "Attributes"):
            entries = _entries(title, source) | _entries(title, cls)
            names = [name for name in entries if name not in without]
            if title == "Parameters":
                names = list(inspect.signature(cls).parameters)
            section = "".join(entries[name] for name in names).rstrip("\n")
            (before,) = re.findall(_SECTION.format(title), doc, re.S)
            doc = doc.replace(before, section)
        cls.__doc__ = doc
        return cls

    return decorate


def _entries(title: str, cls: type) -> dict[str, str]:
    (section,) = re.findall(_SECTION.format(title), inspect.cleandoc(cls.__doc__ or ""), re.S)
    return {entry[1]: entry[0].rstrip("\n") + "\n" for entry in _ENTRY.finditer(section + "\n")}

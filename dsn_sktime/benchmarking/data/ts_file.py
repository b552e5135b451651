"""Reader of the archives' ``.ts`` files whose errors name file and line.

sktime's loader (1.2) lower-cases labels, so that those that differ by case only become one,
and fails on byte order marks and on comments among the data without saying where.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_WANTED = "a .ts file must have @classLabel true with labels, @data and one line per series, "
_WANTED += "its label last"
_NO_UTF8 = re.compile("[\udc80-\udcff]")


@dataclass
class Shape:
    """Series, variates, time steps of the longest, labels declared, and counts of those used."""

    n_series: int = 0
    n_variates: int = 0
    longest: int = 0
    declared: set[str] = field(default_factory=set)
    labels: Counter[str] = field(default_factory=Counter)


def scan(path: Path) -> Shape:
    """Return the shape of a file without parsing its values; raise ValueError as :func:`read`."""
    shape = Shape()
    for number, variates, label in _series(path, shape):
        lengths = {values.count(",") + 1 for values in variates}
        if len(lengths) > 1:
            raise _error(path, number, f"variates have {sorted(lengths)} time steps, not as many")
        shape.n_series += 1
        shape.longest = max(shape.longest, *lengths)
        shape.labels[label] += 1
    return shape


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Return each series as float64 (variates, time steps), NaN where missing, and the labels.

    Raise ValueError with file and line if it is not a file of labeled series of finite numbers.
    """
    panel, labels = [], []
    for number, variates, label in _series(path, Shape()):
        try:
            if any("_" in text for text in variates):  # 1_000 is a number to Python only
                raise ValueError("found '_'")
            series = np.stack([np.array(_.replace("?", "nan").split(","), float) for _ in variates])
        except ValueError as error:
            raise _error(path, number, f"values must be numbers or '?' ({error})") from error
        if np.isinf(series).any():
            raise _error(path, number, "values must be finite, found an infinite one")
        panel.append(series)
        labels.append(label)
    return panel, labels


def _series(path: Path, shape: Shape) -> Iterator[tuple[int, list[str], str]]:
    """Yield line number, variates and label of each series; fill in declared labels, variates."""
    in_data, is_empty = False, True
    for number, line in _lines(path):
        if not in_data:
            in_data = _read_header(path, number, line, shape)
            continue
        *variates, label = (part.strip() for part in line.split(":"))
        if not variates:
            raise _error(path, number, f"no label found; {_WANTED}")
        if label not in shape.declared:
            listed = ", ".join(map(repr, sorted(shape.declared)))
            raise _error(path, number, f"label {label!r} is not declared: @classLabel has {listed}")
        shape.n_variates = shape.n_variates or len(variates)
        if len(variates) != shape.n_variates:
            found = f"expected {shape.n_variates} variates as before, found {len(variates)}"
            raise _error(path, number, found)
        is_empty = False
        yield number, variates, label
    if is_empty:
        raise ValueError(f"{path} is malformed: {_WANTED}.")


def _read_header(path: Path, number: int, line: str, shape: Shape) -> bool:
    """Take in a line of the header; return whether data follow."""
    tag, *words = line.lower().split()
    if not tag.startswith("@"):
        raise _error(path, number, f"no tag such as @data; {_WANTED}")
    if tag == "@classlabel" and words[:1] == ["true"]:
        shape.declared = set(line.split()[2:])
    if tag == "@timestamps" and words[:1] == ["true"]:
        raise _error(path, number, "time stamps cannot be read: remove them")
    if tag == "@data" and not shape.declared:
        raise _error(path, number, f"no labels are declared before; {_WANTED}")
    return tag == "@data"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is neither blank nor a comment."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(map(str.strip, file), start=1):
                if not line.isascii() and _NO_UTF8.search(line):
                    raise _error(path, number, "not UTF-8 text: save the file as UTF-8")
                if line and not line.startswith(("#", "%")):
                    yield number, line
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def _error(path: Path, number: int, what: str) -> ValueError:
    return ValueError(f"{path}, line {number} is malformed: {what}.")

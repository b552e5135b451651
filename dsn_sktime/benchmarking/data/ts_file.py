"""Reader of the archives' ``.ts`` files whose errors name file and line.

sktime's loader (1.2) lower-cases labels, so that those that differ by case only become one,
and fails on byte order marks and on comments among the data without saying where.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

_WANTED = "it must have @classLabel true with labels, @data and then one line per series"


class Line(NamedTuple):
    """A series as text: its line number, a text per variate, and its label."""

    number: int
    variates: list[str]
    label: str

    @property
    def lengths(self) -> set[int]:
        """Time steps of the variates."""
        return {text.count(",") + 1 for text in self.variates}


def read_lines(path: Path) -> tuple[set[str], list[Line]]:
    """Return the labels that a file declares, and its series, whose values are not read yet.

    Raise ValueError, where there is one with the line, if it is not a file of labelled series.
    """
    lines, declared, series = _lines(path), set[str](), list[Line]()
    for _, line in lines:
        tag, *words = line.split()
        if tag.lower() == "@classlabel" and words[:1] != ["false"]:
            declared = set(words[1:])
        if tag.lower() == "@data":
            break
    for number, line in lines:
        *variates, label = map(str.strip, line.split(":"))
        series.append(one := Line(number, variates, label))
        n = len(series[0].variates)
        if label not in declared or len(variates) != n or len(one.lengths) != 1:
            labels = ", ".join(map(repr, sorted(declared)))
            expected = (
                f"{n or 1} variates of one length and then one of the labels {labels or '(none)'}"
            )
            found = f"{len(variates)} of {sorted(one.lengths)} time steps and {label!r}"
            raise _error(path, number, f"expected {expected}, found {found}")
    if not series:
        raise ValueError(f"{path} is malformed: {_WANTED}.")
    return declared, series


def values(path: Path, line: Line) -> np.ndarray:
    """Return a series as float64 (variates, time steps), NaN where values are missing.

    Raise ValueError with file and line if they are not finite numbers.
    """
    try:
        if any("_" in text for text in line.variates):  # 1_000 is a number to Python only
            raise ValueError("found '_'")
        texts = [text.replace("?", "nan").split(",") for text in line.variates]
        found = np.array(texts, dtype=float)
        if np.isinf(found).any():
            raise ValueError("found an infinite one")
    except ValueError as error:
        text = f"values must be finite numbers or '?' ({error})"
        raise _error(path, line.number, text) from error
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is neither blank nor a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        number = 1 + error.object.count(b"\n", 0, error.start)
        raise _error(path, number, "not UTF-8 text: save the file as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if line and not line.startswith(("#", "%")):
            yield number, line


def _error(path: Path, number: int, what: str) -> ValueError:
    return ValueError(f"{path}, line {number} is malformed: {what}.")

"""Data sets of the archives by name: `.ts` files at hand, else what sktime's loader fetches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import sktime.datasets
from sktime.datasets import load_from_tsfile, load_UCR_UEA_dataset
from sktime.datatypes import convert

__all__ = ["Dataset", "Series", "find", "load", "names_in", "names_listed"]

_SKTIME = Path(sktime.datasets.__file__).parent
_SKTIMES_FOLDERS = (_SKTIME / "data", _SKTIME / "local_data")


@dataclass(frozen=True)
class Dataset:
    """Where a data set lies, and its shape as its files state it.

    Attributes
    ----------
    name : str
    train, test : Path
        The `.ts` files of the archive's split.
    n_train, n_test : int
        Series.
    n_variates : int
        Variates m.
    series_length : int
        Time steps of the longest training series.
    n_classes : int
        Class labels that the file declares.
    """

    name: str
    train: Path
    test: Path
    n_train: int
    n_test: int
    n_variates: int
    series_length: int
    n_classes: int


@dataclass(frozen=True)
class Series:
    """A data set in memory: the training series first, then the test series.

    Attributes
    ----------
    X : array of shape (n, m, L), or list of n frames of shape (length, m)
        A list where series differ in length. Missing values are NaN.
    y : array of str of shape (n,)
    n_train : int
    """

    X: np.ndarray | list[Any]
    y: np.ndarray
    n_train: int

    def take(self, rows: np.ndarray) -> np.ndarray | list[Any]:
        """Return the series of these rows."""
        return self.X[rows] if isinstance(self.X, np.ndarray) else [self.X[row] for row in rows]

    @property
    def n_variates(self) -> int:
        """Variates m."""
        return self.X.shape[1] if isinstance(self.X, np.ndarray) else self.X[0].shape[1]

    def longest(self, rows: np.ndarray) -> int:
        """Return the time steps of the longest of these series."""
        if isinstance(self.X, np.ndarray):
            return self.X.shape[2]
        return max(len(self.X[row]) for row in rows)


def names_listed(path: str | Path) -> list[str]:
    """Read the data sets' names from a text file: one a line, `#` starts a comment.

    Raises
    ------
    ValueError
        If the file cannot be read or names none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the list of data sets {path} cannot be read: {error}.") from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise ValueError(f"the list of data sets {path} names none.")
    return names


def names_in(folder: str | Path) -> list[str]:
    """Return the names of all data sets in a folder of `.ts` files, sorted.

    Raises
    ------
    ValueError
        If there is no such folder or it holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    found = [*folder.glob("*/*_TRAIN.ts"), *folder.glob("*_TRAIN.ts")]
    names = {path.name.removesuffix("_TRAIN.ts") for path in found}
    names = {name for name in names if _files(name, folder) is not None}
    if not names:
        raise ValueError(f"{folder} holds no data set NAME/NAME_TRAIN.ts with NAME/NAME_TEST.ts.")
    return sorted(names)


def find(name: str, folder: str | Path | None = None) -> Dataset:
    """Find a data set: in the folder, in sktime's own folders, or by sktime's download.

    Parameters
    ----------
    name : str
        As in the archives.
    folder : str or Path, optional
        Folder of `NAME/NAME_TRAIN.ts` and `NAME/NAME_TEST.ts`, or of these files
        themselves; what is not there is fetched into it. Without it, sktime's own.

    Raises
    ------
    ValueError
        If the data set is nowhere to be had or a file of it is malformed.
    """
    folder = None if folder is None else Path(folder)
    places = [*([] if folder is None else [folder]), *_SKTIMES_FOLDERS]
    for place in places:
        if (files := _files(name, place)) is not None:
            return _described(name, *files)
    _fetch(name, folder)
    files = _files(name, folder or _SKTIMES_FOLDERS[1])
    if files is None:
        raise ValueError(f"data set {name!r} was fetched but has no _TRAIN.ts and _TEST.ts.")
    return _described(name, *files)


def _files(name: str, folder: Path) -> tuple[Path, Path] | None:
    for place in (folder / name, folder):
        train, test = place / f"{name}_TRAIN.ts", place / f"{name}_TEST.ts"
        if train.is_file() and test.is_file():
            return train, test
    return None


def _fetch(name: str, folder: Path | None) -> None:
    if folder is not None:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}.")
        if (folder / name).exists():
            raise ValueError(
                f"data set {name!r} is not complete: {folder / name} must hold {name}_TRAIN.ts and "
                f"{name}_TEST.ts."
            )
    try:
        load_UCR_UEA_dataset(name, "train", extract_path=None if folder is None else str(folder))
    except Exception as error:  # of many kinds: no network, no such archive, a broken archive
        at_hand = "" if folder is None else f"not in {folder} and "
        raise ValueError(
            f"data set {name!r} is {at_hand}not to be fetched ({_one_line(error)})."
            + _hint(name, folder)
        ) from error


def _hint(name: str, folder: Path | None) -> str:
    folders = [*_SKTIMES_FOLDERS, *([] if folder is None else [folder])]
    at_hand = [path.parent.name for place in folders for path in place.glob("*/*_TRAIN.ts")]
    nearest = get_close_matches(name, at_hand, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def _described(name: str, train: Path, test: Path) -> Dataset:
    n_train, n_variates, series_length, n_classes = _scan(train)
    n_test = _scan(test)[0]
    return Dataset(name, train, test, n_train, n_test, n_variates, series_length, n_classes)


def _scan(path: Path) -> tuple[int, int, int, int]:
    """Read series, variates, longest length and classes off a `.ts` file."""
    n_series = n_variates = longest = n_classes = 0
    for line, in_data in _lines(path):
        if in_data:
            variates = line.split(":")[:-1]
            n_series, n_variates = n_series + 1, len(variates)
            longest = max(longest, *(values.count(",") + 1 for values in variates), 0)
        elif line.lower().startswith("@classlabel true"):
            n_classes = len(line.split()) - 2
    if not (n_series and n_variates and n_classes):
        wanted = "@classLabel true with labels, @data and one line per series, its label last"
        raise ValueError(f"{path} is malformed: a .ts file must have {wanted}.")
    return n_series, n_variates, longest, n_classes


def _lines(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each line that says something, and whether it comes after the header."""
    in_data = False
    try:
        with path.open(encoding="utf-8") as file:
            for line in map(str.strip, file):
                if line and not line.startswith(("#", "%")):
                    yield line, in_data
                in_data = in_data or line.lower() == "@data"
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {_one_line(error)}.") from error


# One data set is kept: jobs on the same one follow each other when they take about as long.
@lru_cache(maxsize=1)
def load(dataset: Dataset) -> Series:
    """Read a data set.

    Raises
    ------
    ValueError
        If a file is malformed, or its series have other variates than the first.
    """
    panels, labels = zip(*(_read(path) for path in (dataset.train, dataset.test)), strict=True)
    lengths = {len(series) for panel in panels for row in panel.to_numpy() for series in row}
    if panels[0].shape[1] != panels[1].shape[1]:
        raise ValueError(
            f"data set {dataset.name!r} is malformed: its training series have "
            f"{panels[0].shape[1]} variates, its test series {panels[1].shape[1]}."
        )
    X: np.ndarray | list[Any]
    if len(lengths) == 1:
        X = np.concatenate([convert(panel, "nested_univ", "numpy3D") for panel in panels])
    else:
        X = [series for panel in panels for series in convert(panel, "nested_univ", "df-list")]
    return Series(X, np.concatenate(labels).astype(str), len(labels[0]))


def _read(path: Path) -> tuple[Any, np.ndarray]:
    try:
        return load_from_tsfile(str(path))
    except Exception as error:  # of many kinds, by where the parser stumbles
        raise ValueError(f"{path} is malformed: {_one_line(error)}.") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")

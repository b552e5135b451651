"""Data sets of the archives by name: local ``.ts`` files, else sktime's download."""

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import sktime.datasets
from sktime.datasets import load_UCR_UEA_dataset

from dsn_sktime.benchmarking.data import ts_file

_SKTIME = Path(sktime.datasets.__file__).parent
_SKTIMES_FOLDERS = [_SKTIME / "data", _SKTIME / "local_data"]


@dataclass(frozen=True)
class Dataset:
    """Files of a data set's split into training and test series, and its shape.

    ``series_length`` is that of the longest training series, ``n_classes`` the number of labels
    that the training file declares, ``largest_class`` the series of the most frequent label.
    """

    name: str
    train: Path
    test: Path
    n_train: int
    n_test: int
    n_variates: int
    series_length: int
    n_classes: int
    largest_class: int


@dataclass(frozen=True)
class Series:
    """A data set in memory: the training series first, then the test series.

    ``X`` is an array (n, m, L), or a list of n frames (length, m) where series differ in length;
    missing values are NaN. ``y`` holds n labels as text.
    """

    X: np.ndarray | list[pd.DataFrame]
    y: np.ndarray
    n_train: int

    def take(self, rows: np.ndarray) -> np.ndarray | list[pd.DataFrame]:
        """Return the series of these rows."""
        return self.X[rows] if isinstance(self.X, np.ndarray) else [self.X[row] for row in rows]


def names_listed(path: Path) -> list[str]:
    """Read names from a text file: one a line, ``#`` starts a comment; ValueError if none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the list of data sets {path} cannot be read: {error}.") from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise ValueError(f"the list of data sets {path} names none.")
    return names


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of all data sets in a folder; ValueError if there are none."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    found = [*folder.glob("*/*_TRAIN.ts"), *folder.glob("*_TRAIN.ts")]
    names = {path.name.removesuffix("_TRAIN.ts") for path in found}
    names = {name for name in names if _files(name, folder) is not None}
    if not names:
        raise ValueError(f"{folder} holds no data set NAME/NAME_TRAIN.ts with NAME/NAME_TEST.ts.")
    return sorted(names)


def find(name: str, folder: Path | None = None) -> Dataset:
    """Find a data set in the folder, in sktime's own folders, or by sktime's download into it.

    The folder holds ``NAME/NAME_TRAIN.ts`` and ``NAME/NAME_TEST.ts``, or these files themselves.
    Raise ValueError if the data set cannot be found, or its files are malformed or do not belong
    together; warn if test series have labels that no training series has.
    """
    places = [*([] if folder is None else [folder]), *_SKTIMES_FOLDERS]
    found = next(filter(None, (_files(name, place) for place in places)), None)
    if found is None:
        _fetch(name, folder, places)
        found = _files(name, folder or _SKTIMES_FOLDERS[1])
    if found is None:
        raise ValueError(f"data set {name!r} was fetched but has no _TRAIN.ts and _TEST.ts.")
    train, test = map(ts_file.scan, found)
    if train.n_variates != test.n_variates:
        raise ValueError(
            f"data set {name!r} is malformed: its training series have {train.n_variates} "
            f"variates, its test series {test.n_variates}."
        )
    _check_labels(name, found[1], {*train.labels}, {*test.labels})
    largest_class = max((train.labels + test.labels).values())
    shape = train.n_variates, train.longest, len(train.declared), largest_class
    return Dataset(name, *found, train.n_series, test.n_series, *shape)


def _files(name: str, folder: Path) -> tuple[Path, Path] | None:
    for place in (folder / name, folder):
        train, test = place / f"{name}_TRAIN.ts", place / f"{name}_TEST.ts"
        if train.is_file() and test.is_file():
            return train, test
    return None


def _fetch(name: str, folder: Path | None, places: list[Path]) -> None:
    if folder is not None and not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    if folder is not None and (folder / name).exists():
        wanted = f"{folder / name} must hold {name}_TRAIN.ts and {name}_TEST.ts"
        raise ValueError(f"data set {name!r} is not complete: {wanted}.")
    try:
        load_UCR_UEA_dataset(name, "train", extract_path=None if folder is None else str(folder))
    except Exception as error:  # of many kinds: no network, no such archive, a broken archive
        missing = "" if folder is None else f"is not in {folder} and "
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
        present = [path.parent.name for place in places for path in place.glob("*/*_TRAIN.ts")]
        nearest = get_close_matches(name, present, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(
            f"data set {name!r} {missing}could not be downloaded ({reason}).{hint}"
        ) from error


def _check_labels(name: str, test: Path, known: set[str], used: set[str]) -> None:
    if not (unknown := used - known):
        return
    found = f"{', '.join(map(repr, sorted(unknown)))} in {test}"
    if unknown == used:
        raise ValueError(
            f"data set {name!r} is malformed: no test label is among the training labels "
            f"{', '.join(map(repr, sorted(known)))}, found {found}. Write both files' labels alike."
        )
    warnings.warn(
        f"data set {name!r}: no training series has the test label {found}.", stacklevel=3
    )


# One data set is kept: jobs on the same one follow each other when they take about as long.
@lru_cache(maxsize=1)
def load(dataset: Dataset) -> Series:
    """Read a data set; raise ValueError with file and line if a file is malformed."""
    (train, labels), (test, more) = map(ts_file.read, (dataset.train, dataset.test))
    series, y = [*train, *test], np.array([*labels, *more])
    if len({one.shape[1] for one in series}) == 1:
        return Series(np.stack(series), y, len(train))
    names = [f"dim_{number}" for number in range(len(series[0]))]
    return Series([pd.DataFrame(one.T, columns=names) for one in series], y, len(train))

"""Data sets of the archives by name: local ``.ts`` files, else sktime's download.

sktime's loader (1.2) does not read them: it lower-cases labels, so that those that differ by case
only become one, and fails on byte order marks and on comments without saying where.
"""

import sys
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import sktime.datasets
from sktime.datasets import load_UCR_UEA_dataset
from sktime.datasets.tsc_dataset_names import univariate_equal_length
from tqdm import tqdm

_SKTIMES_FOLDERS = [Path(sktime.datasets.__file__).with_name(n) for n in ("data", "local_data")]
# How the names begin that the archive of 2018 added.
_NEWER = """
ACSF1 BME Chinatown Crop EOG EthanolLevel Freezer Fungi GunPointA GunPointM GunPointO HouseTwenty
InsectEPG MixedShapes Pig PowerCons Rock SemgHand SmoothSubspace UMD
"""

_OLDER = {name for name in univariate_equal_length if not name.startswith(tuple(_NEWER.split()))}
UCR_85 = sorted(_OLDER, key=str.lower)
"""The 85 univariate data sets of the UCR archive of 2015, by their names of 2018."""


class Dataset(NamedTuple):
    """Files of a data set's split into training and test series, and its shape.

    ``series_length`` and ``n_classes`` are of the training series, the former of the longest.
    """

    name: str
    train: Path
    test: Path
    n_train: int
    n_test: int
    n_variates: int
    series_length: int
    n_classes: int


def names_listed(path: Path) -> list[str]:
    """Read names from a text file: one a line, ``#`` starts a comment; ValueError if none."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise ValueError(f"the list of data sets {path} names none.")
    return names


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of all data sets in a folder; ValueError if there are none."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    found = [*folder.glob("*/*_TRAIN.ts"), *folder.glob("*_TRAIN.ts")]
    names = {name for path in found if _files(name := path.name.removesuffix("_TRAIN.ts"), folder)}
    if not names:
        raise ValueError(f"{folder} holds no data set NAME/NAME_TRAIN.ts with NAME/NAME_TEST.ts.")
    return sorted(names)


def find(name: str, folder: Path | None = None) -> Dataset:
    """Find a data set in the folder, in sktime's own folders, or by sktime's download into it.

    The folder holds ``NAME/NAME_TRAIN.ts`` and ``NAME/NAME_TEST.ts``, or these files themselves.
    Raise ValueError if the data set cannot be found, or its files are malformed or do not belong
    together; print a warning if test series have labels that no training series has.
    """
    places = [*([] if folder is None else [folder]), *_SKTIMES_FOLDERS]
    files = next(filter(None, (_files(name, place) for place in places)), None)
    files = files or _fetched(name, folder, places)
    (train, y_train), (test, y_test) = map(read, files)
    known, unknown = {*y_train}, {*y_test} - {*y_train}
    if len(train[0]) != len(test[0]) or unknown == {*y_test}:
        raise ValueError(
            f"the files of data set {name!r} do not belong together: {len(train[0])} and "
            f"{len(test[0])} variates, labels {sorted(known)} and {sorted({*y_test})}."
        )
    if unknown:
        text = f"data set {name!r}: no training series has the test labels {sorted(unknown)}."
        tqdm.write(f"warning: {text}", file=sys.stderr)
    longest = max(one.shape[1] for one in train)
    return Dataset(name, *files, len(train), len(test), len(train[0]), longest, len(known))


# One data set is kept: jobs on the same one follow each other when they take about as long.
@lru_cache(maxsize=1)
def load(dataset: Dataset) -> tuple[np.ndarray | list[pd.DataFrame], np.ndarray]:
    """Return series and labels, the training series first; missing values are NaN.

    Series are an array (n, m, L), or a list of frames (length, m) where they differ in length.
    """
    (train, labels), (test, more) = map(read, (dataset.train, dataset.test))
    series, y = [*train, *test], np.array([*labels, *more])
    if len({one.shape[1] for one in series}) == 1:
        return np.stack(series), y
    return [pd.DataFrame(one.T).add_prefix("dim_") for one in series], y


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Read each series as float64 (variates, time steps), NaN where missing, and the labels.

    Raise ValueError with file and line if it is not a file of labeled series of finite numbers.
    """
    series, labels, declared, in_data = list[np.ndarray](), list[str](), list[str](), False
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}.") from error
    for number, text in enumerate(map(str.strip, lines), start=1):
        if not text or text.startswith(("#", "%")):
            continue
        try:
            if in_data:
                *variates, label = map(str.strip, text.split(":"))
                if label not in declared:
                    raise ValueError(f"label {label!r} is not in @classLabel true {declared}")
                series.append(_series(variates, series))
                labels.append(label)
                continue
            tag, *words = text.split()
            if not tag.startswith("@"):
                raise ValueError("a line before @data must begin with @")
            declared = words[1:] if tag.lower() == "@classlabel" else declared
            in_data = tag.lower() == "@data"
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is malformed: {error}.") from error
    if not series:
        raise ValueError(f"{path} is malformed: it has no series below @data, one a line.")
    return series, labels


def _series(variates: list[str], others: list[np.ndarray]) -> np.ndarray:
    """Read the variates of a series; raise ValueError if it has not as many as the others."""
    texts = [one.replace("?", "nan").split(",") for one in variates]
    if "_" in "".join(variates):  # 1_000 is a number to Python only.
        raise ValueError("values must be numbers or '?', found '_'")
    if len({*map(len, texts)}) != 1:
        raise ValueError(f"variates must have as many time steps, found {[*map(len, texts)]}")
    values = np.array(texts, dtype=float)
    if np.isinf(values).any():
        raise ValueError("values must be finite, found an infinite one")
    if others and len(values) != len(others[0]):
        raise ValueError(f"expected {len(others[0])} variates as before, found {len(values)}")
    return values


def _files(name: str, folder: Path) -> tuple[Path, Path] | None:
    for place in (folder / name, folder):
        train, test = place / f"{name}_TRAIN.ts", place / f"{name}_TEST.ts"
        if train.is_file() and test.is_file():
            return train, test
    return None


def _fetched(name: str, folder: Path | None, places: list[Path]) -> tuple[Path, Path]:
    if folder is not None and not folder.is_dir():
        raise ValueError(f"there is no folder {folder}.")
    if folder is not None and (folder / name).exists():
        raise ValueError(f"{folder / name} must hold {name}_TRAIN.ts and {name}_TEST.ts.")
    try:
        load_UCR_UEA_dataset(name, "train", extract_path=None if folder is None else str(folder))
    except Exception as error:  # of many kinds: no network, no such archive, a broken archive
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
        present = [path.parent.name for place in places for path in place.glob("*/*_TRAIN.ts")]
        hint = "".join(f" Did you mean {near!r}?" for near in get_close_matches(name, present, n=1))
        missing = f"data set {name!r} is not at hand and could not be downloaded"
        raise ValueError(f"{missing} ({reason}).{hint}") from error
    if (files := _files(name, folder or _SKTIMES_FOLDERS[1])) is None:
        raise ValueError(f"data set {name!r} was fetched but has no _TRAIN.ts and _TEST.ts.")
    return files

"""Data sets of a few short series as the archives' ``.ts`` files, and classifiers for them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from sktime.classification.base import BaseClassifier


def write_dataset(
    folder: Path, name: str, m: int = 1, lengths: Any = (16,), **options: Any
) -> None:
    """Write series of cycling lengths and labels, a class to each mean, into two files."""
    for split, n in (("TRAIN", options.get("n_train", 8)), ("TEST", options.get("n_test", 6))):
        path = folder / name / f"{name}_{split}.ts"
        path.parent.mkdir(exist_ok=True)
        path.write_text(ts_text(name, m, lengths, n, **options))


def ts_text(
    name: str, m: int, lengths: Any, n: int, labels: str = "ab", missing: bool = False, **_: Any
) -> str:
    rng = np.random.default_rng(len(name) + n)
    lines = [f"@problemName {name}", "@timeStamps false", f"@univariate {str(m == 1).lower()}"]
    lines += [f"@classLabel true {' '.join(labels)}", "@data"]
    for number in range(n):
        code = number % len(labels)
        values = rng.normal(3 * code, 1, size=(m, lengths[number % len(lengths)])).round(3)
        texts = values.astype(str)
        if missing:
            texts[:, 1] = "?"
        lines.append(":".join([*(",".join(row) for row in texts), labels[code]]))
    return "\n".join(lines) + "\n"


class Logged(BaseClassifier):
    """Predicts the class of the nearest mean; each fit adds a line to a log file.

    Parameters
    ----------
    log : str or None
        Log file.
    seconds : float
        Time that a fit takes at least.
    fails : {"raise", "die"} or None
        What a fit does with seed 1.
    """

    _tags = {
        "X_inner_mtype": "numpy3D",
        "capability:multivariate": True,
        "capability:random_state": True,
    }

    def __init__(
        self,
        log: str | None = None,
        seconds: float = 0.0,
        fails: str | None = None,
        random_state: int | None = None,
    ) -> None:
        self.log = log
        self.seconds = seconds
        self.fails = fails
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> Logged:
        if len(X) > 4:  # not the warm-up
            self._misbehave()
        self.means_ = np.array([X[y == label].mean() for label in self.classes_])
        return self

    def _misbehave(self) -> None:
        if self.fails == "raise" and self.random_state == 1:
            raise RuntimeError("no\nluck")
        if self.fails == "die" and self.random_state == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"fit {self.random_state}\n")

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[abs(X.mean((1, 2))[:, None] - self.means_).argmin(1)]


def logged() -> Logged:
    return Logged(log=os.environ["FIT_LOG"], seconds=0.3)


def raising() -> Logged:
    return Logged(fails="raise")


def dying() -> Logged:
    return Logged(fails="die")

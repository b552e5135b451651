"""Start-up time of a first fit, and memory of large panels, each in a separate process."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

# Nothing of the package is imported before what is timed; torch and sktime are.
_SETUP = """
import pickle
from time import process_time
from timeit import timeit
import numpy as np, torch
import sktime.classification.base

X, y = np.random.default_rng(0).normal(size=(8, 1, 50)), [0, 1] * 4

def fit():
    from dsn_sktime import DSNClassifier
    return DSNClassifier(n_epochs=1, n_jobs=1).fit(X, y)

"""
# timeit pauses the garbage collection, which users have.
_START_UP = "print(timeit(fit, 'gc.enable()', number=1) - timeit(fit, 'gc.enable()', number=1))"
_COLD = {
    "cold first fit": 'pickle.dump(fit(), open({!r}, "wb"))',
    "cold load and predict": 'pickle.load(open({!r}, "rb")).predict(X)',
}
_N_STARTS = 3


def measure(n_series: int = 100_000, n_steps: int = 500) -> list[dict[str, Any]]:
    """Measure start-up and :func:`memory`; return rows with "figure" and "value".

    Start-up is the seconds that the first fit of a process takes longer than its second, the
    least of three. Cold figures are with an empty folder of compiled code.
    """
    starts = [_run(_SETUP + _START_UP)[0] for _ in range(_N_STARTS)]
    values = {"start-up of a first fit, s": min(starts)}
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "classifier.pickle")
        for name, task in _COLD.items():
            timed = f"timeit(lambda: {task.format(path)}, 'gc.enable()', process_time, number=1)"
            (seconds,) = _run(f"{_SETUP}print({timed})", NUMBA_CACHE_DIR=f"{folder}/{name}")
            values[f"{name}, s of processor time"] = seconds
    program = "from dsn_sktime.benchmarking.speed.limits import memory; print(*memory({}, {}))"
    panel = f"{n_series:,} series of {n_steps} steps"
    names = f"memory to predict {panel}", "memory to fit a tenth of them"
    for name, copies in zip(names, _run(program.format(n_series, n_steps)), strict=True):
        values[f"{name}, float32 copies"] = copies
    return [{"figure": name, "value": value} for name, value in values.items()]


def memory(n_series: int, n_steps: int) -> tuple[float, float]:
    """Return the memory that predicting a univariate float64 panel takes, and fitting a tenth.

    It is the highest above what was held before, in float32 copies of the panel; NaN if unknown.
    """
    # Slow to import, and needed in a separate process only.
    from dsn_sktime import DSNClassifier

    X = np.random.default_rng(0).normal(size=(n_series, 1, n_steps))
    y, few = np.arange(n_series) % 2, max(n_series // 10, 2)
    # Fitted once before: what a first fit loads does not count as the panel's memory.
    classifier = DSNClassifier(n_epochs=1, random_state=0).fit(X[:20], y[:20])
    with PeakMemory() as predicting:
        classifier.predict(X)
    with PeakMemory() as fitting:
        DSNClassifier(n_epochs=1, random_state=0).fit(X[:few], y[:few])
    in_copies = 2**20 / (4 * n_steps)
    return in_copies * predicting.risen / n_series, in_copies * fitting.risen / few


def _run(program: str, **variables: str) -> list[float]:
    """Run a program in a process of its own, and return the numbers that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    printed = subprocess.check_output(command, text=True, env={**os.environ, **variables})
    return [float(number) for number in printed.split()]


class PeakMemory:
    """Context whose ``megabytes`` is the process's highest resident memory inside it.

    Earlier libraries and data count as well; other processes, such as those of an ensemble, do
    not. ``risen`` is how far it lies above the resident memory at the start. Both are NaN where
    the kernel's high-water mark cannot be reset, as outside Linux.
    """

    megabytes = risen = _before = nan

    def __enter__(self) -> "PeakMemory":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _resident("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before > 0:
            highest = _resident("VmHWM")
            self.megabytes, self.risen = round(highest, 1), highest - self._before


def _resident(name: str) -> float:
    """Return resident memory in megabytes, now (VmRSS) or at its highest (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1024

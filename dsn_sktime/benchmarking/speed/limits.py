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
_SECONDS = """
import pickle, time
import numpy as np, torch
import sktime.classification.base

X, y = np.random.default_rng(0).normal(size=(8, 1, 50)), [0, 1] * 4

def fit():
    from dsn_sktime import DSNClassifier
    return DSNClassifier(n_epochs=1, n_jobs=1).fit(X, y)

def seconds(call, clock=time.process_time):
    started = clock()
    call()
    return clock() - started

"""
_START_UP = "print(seconds(fit, time.perf_counter) - seconds(fit, time.perf_counter))"
_COLD = {
    "fit": 'import dsn_sktime; print(seconds(lambda: pickle.dump(fit(), open({!r}, "wb"))))',
    "load": 'import dsn_sktime; print(seconds(lambda: pickle.load(open({!r}, "rb")).predict(X)))',
}
_N_STARTS = 3


def measure(n_series: int = 100_000, n_steps: int = 500) -> list[dict[str, Any]]:
    """Measure start-up and :func:`memory`; return rows with "figure" and "value".

    Start-up is the seconds that the first fit of a process takes longer than its second, the
    least of three. Cold figures are with an empty folder of compiled code.
    """
    starts = [_run(_SECONDS + _START_UP)[0] for _ in range(_N_STARTS)]
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "classifier.pickle")
        cold_fit, cold_prediction = (
            _run(_SECONDS + task.format(path), NUMBA_CACHE_DIR=str(Path(folder) / name))[0]
            for name, task in _COLD.items()
        )
    program = "from dsn_sktime.benchmarking.speed.limits import memory; print(*memory({}, {}))"
    predicted, fitted = _run(program.format(n_series, n_steps))
    panel = f"{n_series:,} series of {n_steps} steps"
    values = {
        "start-up of a first fit, s": min(starts),
        "cold first fit, s of processor time": cold_fit,
        "cold load and predict, s of processor time": cold_prediction,
        f"memory to predict {panel}, float32 copies": predicted,
        "memory to fit a tenth of them, float32 copies": fitted,
    }
    return [{"figure": name, "value": value} for name, value in values.items()]


def memory(n_series: int, n_steps: int) -> tuple[float, float]:
    """Return the memory that predicting a univariate float64 panel takes, and fitting a tenth.

    It is the highest over what the process held before, in float32 copies of the panel; NaN where
    unknown.
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

"""Start-up time of a first fit, and memory of large panels, each in a separate process."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dsn_sktime.benchmarking.speed.memory import PeakMemory

_START_UP = """
import time
import numpy as np, torch
import sktime.classification.base

X, y = np.random.default_rng(0).normal(size=(8, 1, 50)), [0, 1] * 4

def fit_seconds():
    started = time.perf_counter()
    from dsn_sktime import DSNClassifier
    DSNClassifier(n_epochs=1).fit(X, y)
    return time.perf_counter() - started

first = fit_seconds()
print(first - fit_seconds())
"""
_COLD = """
import pickle, time
import numpy as np, torch
import sktime.classification.base
from dsn_sktime import DSNClassifier

X, y = np.random.default_rng(0).normal(size=(8, 1, 50)), [0, 1] * 4
"""
_COLD_FIT = (
    _COLD
    + """
started = time.process_time()
classifier = DSNClassifier(n_epochs=1, n_jobs=1).fit(X, y)
print(time.process_time() - started)
pickle.dump(classifier, open({!r}, "wb"))
"""
)
_COLD_PREDICTION = (
    _COLD
    + """
started = time.process_time()
pickle.load(open({!r}, "rb")).predict(X)
print(time.process_time() - started)
"""
)
_MEMORY = "from dsn_sktime.benchmarking.speed import startup_and_memory as own; "
_MEMORY += "own._print_memory({}, {})"
_N_STARTS = 3


def measure(n_series: int = 100_000, n_steps: int = 500) -> list[dict[str, Any]]:
    """Measure start-up and memory; return rows with "figure" and "value".

    Start-up is the seconds that the first fit of a process takes longer than its second, the
    least of three, torch and sktime imported before. Cold figures are seconds of processor time
    with an empty folder of compiled code. Memory is the highest over what the process
    held before, in float32 copies of the univariate float64 panel of ``n_series`` times
    ``n_steps`` that is predicted, and of a tenth of it that is fitted; None where unknown.
    """
    cold_fit, cold_prediction = _cold_seconds()
    starts = [float(_run(_START_UP)) for _ in range(_N_STARTS)]
    predicted, fitted = json.loads(_run(_MEMORY.format(n_series, n_steps)))
    panel = f"{n_series:,} series of {n_steps} steps"
    return [
        {"figure": "start-up of a first fit, s", "value": min(starts)},
        {"figure": "cold first fit, s of processor time", "value": cold_fit},
        {"figure": "cold load and predict, s of processor time", "value": cold_prediction},
        {"figure": f"memory to predict {panel}, float32 copies", "value": predicted},
        {"figure": "memory to fit a tenth of them, float32 copies", "value": fitted},
    ]


def _cold_seconds() -> tuple[float, float]:
    """Time a first fit, and loading and a first prediction, where nothing is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "classifier.pickle")
        programs = {"fit": _COLD_FIT, "prediction": _COLD_PREDICTION}
        fit, prediction = (
            float(_run(program.format(path), NUMBA_CACHE_DIR=str(Path(folder) / name)))
            for name, program in programs.items()
        )
    return fit, prediction


def _run(program: str, **variables: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    ).stdout


def _print_memory(n_series: int, n_steps: int) -> None:
    """Print the memory that predicting and fitting take, as JSON."""
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
    print(json.dumps([_copies(predicting, X), _copies(fitting, X[:few])]))


def _copies(peak: PeakMemory, panel: np.ndarray) -> float | None:
    return None if peak.risen is None else peak.risen * 2**20 / (4 * panel.size)

"""Predictions by DSN beside MiniROCKET's, and the latency of a single series."""

import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from sktime.datatypes import check_is_scitype

from dsn_sktime import DSNClassifier
from dsn_sktime.benchmarking.speed.engine import Call, median_seconds
from dsn_sktime.panel import read_panel

LENGTHS = (100, 300, 500, 700)
# Of a single series, and where sktime's classifier is timed too: it takes over a second each time.
LENGTH = 300
_N_FITTED = 20


def rockets(n_repeats: int, thread_counts: Sequence[int]) -> list[dict[str, Any]]:
    """Time the prediction of 100 univariate series by DSN and MiniROCKET, which take turns.

    Return a row per classifier, thread count and length, with "ms" for all series and "of_lean":
    "ms" relative to MiniROCKET's with 10,000 features without sktime's checks of each feature. With
    these checks it is timed last, and at one length.
    """
    # Slow to import, and needed here only.
    from sktime.classification.kernel_based import RocketClassifier

    from dsn_sktime.benchmarking.estimators.rocket import RocketRidge

    rows = []
    for n_threads, n_steps in product(thread_counts, LENGTHS):
        X, y = _panel(100, n_steps)
        own: dict[str, Any] = {"n_jobs": n_threads, "random_state": 0}
        classifiers: dict[str, Any] = {
            "MiniROCKET": RocketRidge("minirocket", **own),
            "DSN": DSNClassifier(n_epochs=1, **own),
            "DSN, head='bins'": DSNClassifier(n_epochs=1, head="bins", **own),
        }
        if n_steps == LENGTH:
            rocket = RocketClassifier(rocket_transform="minirocket", **own)
            classifiers["sktime's MiniROCKET"] = rocket
        few = X[:_N_FITTED], y[:_N_FITTED]
        calls = [partial(one.fit(*few).predict, X) for one in classifiers.values()]
        # numba's threads spin on after MiniROCKET, and slow down what follows at once.
        turns = [calls[0], partial(time.sleep, 0.1), *calls[1:3]]
        seconds = median_seconds(turns, n_repeats, n_in_a_row=1)
        del seconds[1]
        seconds += median_seconds(calls[3:], n_repeats=3, n_in_a_row=1)
        shape = {"threads": n_threads, "B": len(X), "L": n_steps}
        rows += [
            {"classifier": name, **shape, "ms": 1e3 * each, "of_lean": each / seconds[0]}
            for name, each in zip(classifiers, seconds, strict=True)
        ]
    return rows


def latency(n_repeats: int, thread_counts: Sequence[int]) -> list[dict[str, Any]]:
    """Time ``predict_proba`` of a single univariate series, and what checks its input.

    Return rows with "call", "threads" and "ms". Our own checks are part of ``predict_proba``;
    sktime's, which other classifiers make, are not.
    """
    (X, y), rows = _panel(_N_FITTED, LENGTH), []
    for n_threads in thread_counts:
        default, bins = (
            DSNClassifier(n_epochs=1, head=head, n_jobs=n_threads, random_state=0).fit(X, y)
            for head in ("ridge", "bins")
        )
        calls: dict[str, Call] = {
            "predict_proba": partial(default.predict_proba, X[:1]),
            "predict_proba, head='bins'": partial(bins.predict_proba, X[:1]),
            "own checks, included": partial(read_panel, X[:1]),
            "sktime's checks, not made": partial(check_is_scitype, X[:1], "Panel", True),
        }
        seconds = median_seconds(calls.values(), n_repeats, n_in_a_row=20)
        rows += [
            {"call": name, "threads": n_threads, "ms": 1e3 * each}
            for name, each in zip(calls, seconds, strict=True)
        ]
    return rows


def _panel(n_series: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n_series, 1, n_steps))
    return X, np.arange(n_series) % 2

"""Predictions by DSN beside MiniROCKET's, and the latency of a single series."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from dsn_sktime.benchmarking.speed.timing import median_seconds

LENGTHS = (100, 300, 500, 700)
# Of a single series, and where sktime's classifier is timed too: it takes over a second each time.
LENGTH = 300
_N_SERIES = 100
_N_FITTED = 20
_SKTIME_REPEATS = 3
_IN_A_ROW = 20


def rockets(n_repeats: int, thread_counts: Iterable[int]) -> list[dict[str, Any]]:
    """Time the prediction of univariate series by DSN and MiniROCKET, which take turns.

    Return a row per classifier, thread count and length, with "ms" for all series and "of_lean":
    "ms" relative to MiniROCKET's with 10,000 features without sktime's checks of each feature. With
    these checks it is timed last, and at one length.
    """
    # Slow to import, and needed here only.
    from sktime.classification.kernel_based import RocketClassifier

    from dsn_sktime import DSNClassifier
    from dsn_sktime.benchmarking.estimators.rocket import RocketRidge

    rows = []
    for n_threads, n_steps in product(thread_counts, LENGTHS):
        X, y = _panel(_N_SERIES, n_steps)
        own: dict[str, Any] = {"n_jobs": n_threads, "random_state": 0}
        classifiers: dict[str, Any] = {
            "MiniROCKET": RocketRidge("minirocket", **own),
            "DSN": DSNClassifier(n_epochs=1, **own),
            "DSN, head='bins'": DSNClassifier(n_epochs=1, head="bins", **own),
        }
        few = X[:_N_FITTED], y[:_N_FITTED]
        predict = [partial(one.fit(*few).predict, X) for one in classifiers.values()]
        seconds = median_seconds(*predict, n_repeats=n_repeats, n_in_a_row=1)
        if n_steps == LENGTH:
            classifiers["sktime's MiniROCKET"] = rocket = RocketClassifier(
                rocket_transform="minirocket", **own
            )
            run = partial(rocket.fit(*few).predict, X)
            seconds += median_seconds(run, n_repeats=_SKTIME_REPEATS, n_in_a_row=1)
        shape = {"threads": n_threads, "B": _N_SERIES, "L": n_steps}
        rows += [
            {"classifier": name, **shape, "ms": 1e3 * each, "of_lean": each / seconds[0]}
            for name, each in zip(classifiers, seconds, strict=True)
        ]
    return rows


def latency(n_repeats: int, thread_counts: Iterable[int]) -> list[dict[str, Any]]:
    """Time ``predict_proba`` of a single univariate series, and what checks its input.

    Return rows with "call", "threads" and "ms". Our own checks are part of ``predict_proba``;
    sktime's, which other classifiers make, are not.
    """
    from sktime.datatypes import check_is_scitype

    from dsn_sktime import DSNClassifier
    from dsn_sktime.panel import read_panel

    X, y = _panel(_N_FITTED, LENGTH)
    one = X[:1]
    rows = []
    for n_threads in thread_counts:
        default, bins = (
            DSNClassifier(n_epochs=1, head=head, n_jobs=n_threads, random_state=0).fit(X, y)
            for head in ("ridge", "bins")
        )
        calls: dict[str, Callable[[], object]] = {
            "predict_proba": partial(default.predict_proba, one),
            "predict_proba, head='bins'": partial(bins.predict_proba, one),
            "own checks, included": partial(read_panel, one),
            "sktime's checks, not made": partial(check_is_scitype, one, "Panel", True),
        }
        seconds = median_seconds(*calls.values(), n_repeats=n_repeats, n_in_a_row=_IN_A_ROW)
        rows += [
            {"call": name, "threads": n_threads, "ms": 1e3 * each}
            for name, each in zip(calls, seconds, strict=True)
        ]
    return rows


def _panel(n_series: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n_series, 1, n_steps))
    return X, np.arange(n_series) % 2

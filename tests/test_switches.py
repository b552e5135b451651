"""Results do not depend on what the program around has set in torch, numpy and others."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from joblib import parallel_config
from tiny import panel, tiny_classifier, untraced

from dsn_sktime.explain import baseline, contributions
from dsn_sktime.training import Checkpoint


@contextmanager
def switched(set_: Callable, get: Callable, value: Any) -> Iterator[None]:
    before = get()
    set_(value)
    try:
        yield
    finally:
        set_(before)


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SWITCHES: dict[str, Callable[[], AbstractContextManager]] = {
    "float64": lambda: switched(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "bfloat16": lambda: switched(torch.set_default_dtype, torch.get_default_dtype, torch.bfloat16),
    "no grad": lambda: torch.set_grad_enabled(False),
    "inference mode": torch.inference_mode,
    "device meta": lambda: torch.device("meta"),
    "default device meta": lambda: switched(torch.set_default_device, lambda: None, "meta"),
    # Refused by torch when a tensor is made, not when it is set.
    "default device that is missing": lambda: switched(
        torch.set_default_device, lambda: None, "cuda"
    ),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic": lambda: switched(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "threads": lambda: switched(torch.set_num_threads, torch.get_num_threads, 3),
    "numpy raises": lambda: np.errstate(all="raise"),
    "numpy prints as in 1.13": lambda: np.printoptions(legacy="1.13", precision=1),
    "warnings are errors": warnings_are_errors,
    "pandas copy on write": lambda: pd.option_context("mode.copy_on_write", True),
    "pandas strings": lambda: pd.option_context("future.infer_string", False),
    "scikit-learn": lambda: sklearn.config_context(
        transform_output="pandas", enable_metadata_routing=True
    ),
    "joblib threads": lambda: parallel_config("threading"),
}


def state() -> dict[str, Any]:
    """Return what must be as it was, of all that can be read."""
    return {
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "modes": len(torch.overrides._get_current_function_mode_stack()),
        "numpy": np.geterr(),
        "print": np.get_printoptions(),
        "warnings": len(warnings.filters),
        "sklearn": sklearn.get_config(),
        "random": torch.get_rng_state().tolist(),
        "numpy random": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def brief(tiny: Callable, **parameters: Any) -> Any:
    """Return a classifier with few steps, and an update of its topology between them."""
    return tiny(n_epochs=2, batch_size=16, **parameters)


def frames() -> list[pd.DataFrame]:
    return [pd.DataFrame({"reading": series[0]}) for series in panel()[0]]


@cache
def made_outside(tiny: Callable) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a fitted classifier, its probabilities, and those of one fitted to frames."""
    X, y = panel()
    before = brief(tiny).fit(X, y)
    return before, before.predict_proba(X), brief(tiny).fit(frames(), y).predict_proba(frames())


@pytest.fixture(params=SWITCHES)
def switch(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager]:
    if request.param == "default device that is missing" and torch.cuda.is_available():
        pytest.skip("it is not missing")
    return SWITCHES[request.param]


@untraced
@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:.*copy_on_write")
def test_results_and_switches_stay_as_they_are(
    tiny: Callable, switch: Callable[[], AbstractContextManager], tmp_path: Path
) -> None:
    (X, y), (before, expected, of_frames) = panel(), made_outside(tiny)
    before.save(tmp_path / "saved")
    network = brief(tiny).make_network(1, 24, 2).state_dict()
    with switch():
        outside = state()
        inside = brief(tiny, callbacks=[Checkpoint(tmp_path / "checkpoints")])
        assert np.array_equal(inside.fit(X, y).predict_proba(X), expected)
        assert np.array_equal(inside.fit(X, y).predict_proba(X), expected)  # from the file
        assert np.array_equal(brief(tiny).fit(frames(), y).predict_proba(frames()), of_frames)
        assert np.array_equal(before.predict_proba(X), expected)
        assert np.array_equal(before.predict(X), before.classes_[expected.argmax(1)])
        assert before.score(X, y) == np.mean(before.predict(X) == y)
        assert np.array_equal(brief(tiny).fit_predict_proba(X, y, change_state=False), expected)
        pickled = pickle.dumps(inside)
        loaded = type(before).load_from_path(tmp_path / "saved.zip")
        assert np.array_equal(loaded.predict_proba(X), expected)
        for name, tensor in brief(tiny).make_network(1, 24, 2).state_dict().items():
            assert torch.equal(tensor, network[name])
            assert tensor.dtype == network[name].dtype
        assert state() == outside
    # What was made inside serves outside.
    for classifier in (inside, loaded, pickle.loads(pickled)):
        assert np.array_equal(classifier.predict_proba(X), expected)
        assert np.array_equal(classifier.clone().fit(X, y).predict_proba(X), expected)


@cache
def of_an_ensemble(tiny: Callable) -> np.ndarray:
    X, y = panel()
    return brief(tiny, n_estimators=2).fit(X, y).predict_proba(X)


@untraced
@pytest.mark.parametrize("name", ["float64", "inference mode", "device meta", "joblib threads"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_ensembles_too(tiny: Callable, name: str, n_jobs: int | None) -> None:
    (X, y), expected = panel(), of_an_ensemble(tiny)
    with SWITCHES[name]():
        found = brief(tiny, n_estimators=2, n_jobs=n_jobs).fit(X, y).predict_proba(X)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["float64", "inference mode", "device meta", "numpy raises"])
def test_explanations_too(name: str) -> None:
    X, y = panel()
    classifier = brief(tiny_classifier, head="ridge").fit(X, y)
    expected, of_reference = contributions(classifier, X), baseline(classifier)
    with SWITCHES[name]():
        assert np.array_equal(contributions(classifier, X), expected)
        assert np.array_equal(baseline(classifier), of_reference)


def test_a_refused_fit_leaves_the_switches_too(tiny: Callable) -> None:
    with torch.inference_mode(), np.errstate(all="raise"):
        outside = state()
        with pytest.raises(ValueError, match="y must hold"):
            brief(tiny).fit(panel()[0], None)
        assert state() == outside

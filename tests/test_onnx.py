"""ONNX files give the estimator's predictions, in onnxruntime on the CPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.exceptions import NotFittedError
from tiny import tiny_classifier, tiny_oscnn, tiny_regressor, untraced
from torch import nn

from dsn_sktime import DSNClassifier

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CODES = np.arange(16) % 3


def series(m: int, n: int = 16, n_steps: int = 24) -> np.ndarray:
    """Return series far from 0, as of a sensor: single precision would not resolve them."""
    values = np.random.default_rng(n_steps).normal(size=(n, m, n_steps))
    return 1e6 + 0.1 * (values + np.resize(CODES, n)[:, None, None])


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


DAYS = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], dtype="datetime64[D]")


# Each export takes seconds, and twice as long when traced: those of the tests after these show
# coverage what they all run. One layer where nothing depends on their number.
@untraced
@pytest.mark.parametrize(
    ("m", "classifier", "labels", "metadata"),
    [
        (2, tiny_classifier(n_layers=2, head="ridge"), np.array(["a", "b", "c"]), ["a", "b", "c"]),
        (2, tiny_classifier(n_layers=1, n_pool=7, n_estimators=2), np.array([1, 2, 3]), [1, 2, 3]),
        (2, tiny_oscnn(), np.array([0.5, 1, 2], dtype=object), [0.5, 1, 2]),
    ],
    ids=["ridge", "bins", "OS-CNN"],
)
def test_onnxruntime_gives_the_probabilities(
    m: int, classifier: Any, labels: np.ndarray, metadata: list, tmp_path: Path
) -> None:
    check_export(m, classifier, labels, metadata, tmp_path)


def test_dates_are_labels_as_text(tmp_path: Path) -> None:
    classifier = tiny_classifier(n_layers=1, head="linear", padding="zeros")
    check_export(1, classifier, DAYS, DAYS.astype(str), tmp_path)


# A target far from 0, so that it is seen to be rescaled.
def test_onnxruntime_gives_the_predictions_of_a_regressor(tmp_path: Path) -> None:
    regressor = tiny_regressor(n_layers=1, head="ridge", n_estimators=2)
    session = fitted_session(regressor, 1, 100 + CODES, tmp_path)
    check_predictions(session, "predictions", regressor.predict, 1)
    assert session.get_outputs()[0].shape == ["n"]
    assert "classes" not in session.get_modelmeta().custom_metadata_map


def check_export(
    m: int, classifier: Any, labels: np.ndarray, metadata: list, tmp_path: Path
) -> None:
    session = fitted_session(classifier, m, labels[CODES], tmp_path)
    check_predictions(session, "probabilities", classifier.predict_proba, m)
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == list(metadata)
    assert json.loads(found["variates"]) == names_of(m)
    assert session.get_inputs()[0].shape == ["n", m, "L"]
    assert session.get_outputs()[0].shape == ["n", len(labels)]


def names_of(m: int) -> list[str]:
    return [f"v{number}" for number in range(m)]


def fitted_session(estimator: Any, m: int, y: np.ndarray, folder: Path) -> Any:
    estimator.fit([pd.DataFrame(one.T, columns=names_of(m)) for one in series(m)], y)
    estimator.to_onnx(folder / "model.onnx")
    return session_of(folder / "model.onnx")


def check_predictions(session: Any, output: str, predict: Callable, m: int) -> None:
    assert [one.name for one in session.get_inputs()] == ["series"]
    for n, n_steps in ((16, 24), (1, 24), (5, 7), (2, 101), (1, 1)):
        X = series(m, n, n_steps)
        X[n // 2, 0, n_steps // 2 : n_steps - 1] = np.nan
        X[0, :, n_steps - n_steps // 3 :] = np.nan  # padding
        (found,) = session.run([output], {"series": X})
        np.testing.assert_allclose(found, predict(X), rtol=0, atol=1e-5)


class Doubled(nn.Linear):
    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(pooled.mean(2))


def own_head(classifier: DSNClassifier) -> None:
    classifier.network_.head = nn.Sequential(Doubled(9, 3))


def single_class(classifier: DSNClassifier) -> None:
    with pytest.warns(UserWarning, match="single label"):
        classifier.fit(series(1), np.zeros(16))


def no_onnx(classifier: DSNClassifier) -> None:
    sys.modules["onnx"] = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (own_head, ValueError, r"networks_\[0\]\.head\.0 is a Doubled, which is a module neither"),
        (single_class, NotFittedError, "no trained network, as y had a single class"),
        (no_onnx, ImportError, r"found no onnx\. Install .* pip install dsn-sktime\[onnx\]"),
    ],
)
def test_what_cannot_be_exported_is_named(
    change: Callable, error: type, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = tiny_classifier(n_epochs=1, n_layers=1).fit(series(1), CODES)
    monkeypatch.setitem(sys.modules, "onnx", sys.modules.get("onnx"))
    change(classifier)
    with pytest.raises(error, match=message):
        classifier.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [tiny_classifier, tiny_regressor])
def test_an_unfitted_estimator_is_refused(make: Callable, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="has not been fitted"):
        make().to_onnx(tmp_path / "model.onnx")


def test_a_regressor_of_several_targets_is_refused(tmp_path: Path) -> None:
    y = pd.DataFrame({"a": np.arange(16.0), "b": np.arange(16.0)})
    regressor = tiny_regressor(n_epochs=1, n_layers=1).fit(series(1), y)
    with pytest.raises(NotFittedError, match="several columns"):
        regressor.to_onnx(tmp_path / "model.onnx")

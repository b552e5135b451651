"""Files of fitted estimators: equal predictions, and one sentence for what cannot be stored."""

from __future__ import annotations

import json
import os
import pickle
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from tiny import panel, tiny_classifier, tiny_oscnn
from torch import nn

from dsn_sktime import DSNClassifier, DSNRegressor, OSCNNClassifier
from dsn_sktime.explain import baseline, contributions
from dsn_sktime.training import EarlyStopping

COMMITTED = Path(__file__).parent / "saved"
SERIES = np.random.default_rng(0).normal(size=(16, 1, 24)).round(3)
CODES = np.arange(16) % 2
SERIES[CODES == 1] += 1


def unfitted(**parameters: Any) -> DSNClassifier:
    return tiny_classifier(n_epochs=1, n_layers=1, **parameters)


@pytest.fixture(scope="module")
def fitted() -> DSNClassifier:
    return unfitted(head="ridge").fit(SERIES, CODES)


def round_trip(classifier: Any, folder: Path) -> Any:
    classifier.to_file(folder / "model")
    return type(classifier).from_file(str(folder / "model"))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Change the JSON of a file."""
    with np.load(path) as file:
        arrays = dict(file)
    content = json.loads(arrays["json"].tobytes())
    change(content)
    arrays["json"] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    "classifier",
    [
        tiny_classifier(head="ridge", n_estimators=2, class_weight={"standing": 2.0}),
        tiny_classifier(padding="zeros", growth="gradient", standardize=False, n_jobs=2),
        tiny_classifier(head="linear", n_bottleneck=2, batch_size=np.int64(4), device="cpu"),
        tiny_oscnn(n_estimators=2),
    ],
    ids=["ridge ensemble", "bins", "linear", "OS-CNN"],
)
def test_a_loaded_classifier_is_the_one_that_was_saved(classifier: Any, tmp_path: Path) -> None:
    X, y = panel("multivariate")
    classifier.fit(X, y)
    loaded = round_trip(classifier, tmp_path)
    shorter = [series[:, : 30 + place] for place, series in enumerate(X[:5])]
    for series in (X, shorter):
        assert np.array_equal(loaded.predict_proba(series), classifier.predict_proba(series))
    assert loaded.predict(X).dtype == classifier.predict(X).dtype
    assert loaded.get_params() == classifier.get_params()
    assert loaded.history_ == classifier.history_
    assert loaded.best_epoch_ == classifier.best_epoch_
    assert loaded.get_fitted_params().keys() == classifier.get_fitted_params().keys()
    assert hasattr(loaded, "network_") == (classifier.n_estimators == 1)


def test_a_loaded_classifier_is_as_useful_as_a_fitted_one(
    fitted: DSNClassifier, tmp_path: Path
) -> None:
    loaded = round_trip(fitted, tmp_path)
    again = round_trip(pickle.loads(pickle.dumps(loaded)), tmp_path)
    assert np.array_equal(again.predict_proba(SERIES), fitted.predict_proba(SERIES))
    assert loaded.score(SERIES, CODES) == fitted.score(SERIES, CODES)
    refitted = loaded.fit(SERIES, CODES)
    assert np.array_equal(refitted.predict_proba(SERIES), fitted.predict_proba(SERIES))


@pytest.mark.parametrize("head", ["ridge", "bins"])
def test_a_loaded_regressor_predicts_the_same(head: str, tmp_path: Path) -> None:
    settings = {"n_epochs": 1, "n_layers": 1, "n_filters": 2, "n_estimators": 2}
    regressor = DSNRegressor(**settings, head=head, random_state=0).fit(SERIES, SERIES.mean((1, 2)))
    loaded = round_trip(regressor, tmp_path)
    assert np.array_equal(loaded.predict(SERIES), regressor.predict(SERIES))
    assert np.array_equal(loaded.predict_std(SERIES), regressor.predict_std(SERIES))
    with pytest.raises(ValueError, match="holds a DSNRegressor, not a DSNClassifier"):
        DSNClassifier.from_file(tmp_path / "model")


def test_the_backend_of_a_network_is_kept(tmp_path: Path) -> None:
    classifier = unfitted().fit(SERIES, CODES)
    classifier.network_.backend = "dense"
    loaded = round_trip(classifier, tmp_path)
    assert loaded.network_.backend == "dense"
    assert np.array_equal(loaded.predict_proba(SERIES), classifier.predict_proba(SERIES))


DAYS = np.array(["2026-01-01", "2026-02-01"], dtype="datetime64[D]")


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "ä\U0001f600"]),
        np.array(["a", "b\0"], dtype=object),
        np.array([True, False]),
        np.array([-3, 2**62]),
        np.array([2**70, 1], dtype=object),
        np.array([1, 2], dtype=np.uint8),
        np.array([0.5, 2], dtype=np.float32),
        np.array([b"x", b"y"]),
        DAYS,
        DAYS.astype("datetime64[ns]"),
        DAYS - DAYS[0],
        pd.Series([("a", 1), ("a", 2)]).to_numpy(),
    ],
    ids=lambda labels: f"{labels.dtype} {labels[0]}",
)
def test_labels_keep_their_type(labels: np.ndarray, tmp_path: Path) -> None:
    classifier = unfitted().fit(SERIES, labels[CODES])
    loaded = round_trip(classifier, tmp_path)
    for found, expected in (
        (loaded.classes_, classifier.classes_),
        (loaded.predict(SERIES), classifier.predict(SERIES)),
    ):
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()
        assert [type(one) for one in found] == [type(one) for one in expected]


def test_variates_are_matched_by_name(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_tuples([("left", 1), ("right", 2)])
    frames = [pd.DataFrame(np.c_[one[0], -(one[0] ** 2)], columns=columns) for one in SERIES]
    classifier = unfitted().fit(frames, CODES)
    loaded = round_trip(classifier, tmp_path)
    swapped = [one[columns[::-1]] for one in frames]
    assert np.array_equal(loaded.predict_proba(swapped), classifier.predict_proba(frames))


def test_a_single_class_is_stored(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="single label"):
        classifier = unfitted().fit(SERIES, np.full(16, "only"))
    assert round_trip(classifier, tmp_path).predict(SERIES[:2]).tolist() == ["only", "only"]


def test_callbacks_and_random_states_are_left_out(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    classifier = unfitted(callbacks=[EarlyStopping()], random_state=rng).fit(SERIES, CODES)
    loaded = round_trip(classifier, tmp_path)
    assert loaded.callbacks is None
    assert loaded.random_state is None
    assert np.array_equal(loaded.predict_proba(SERIES), classifier.predict_proba(SERIES))


class Doubled(nn.Linear):
    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(pooled.mean(2))


def own_head(classifier: DSNClassifier) -> None:
    classifier.network_.head = Doubled(9, 2)


def other_type(classifier: DSNClassifier) -> None:
    classifier.network_.double()


def other_parameter(classifier: DSNClassifier) -> None:
    classifier.n_filters = 5


def days(classifier: DSNClassifier) -> None:
    classifier.fit(SERIES, np.array([date(2026, 1, 1), date(2026, 1, 2)])[CODES])


def two_columns(classifier: DSNClassifier) -> None:
    classifier.fit(SERIES, np.c_[CODES, CODES[::-1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (own_head, r"networks_\[0\].head is a Doubled, its parameters give ClassHead"),
        (other_type, r"networks_\[0\] has other tensors than its parameters give"),
        (other_parameter, r"networks_\[0\] has other tensors than its parameters give"),
        (days, r"classes_\[0\] is a date"),
        (two_columns, r"classifiers_ is a DataFrame"),
    ],
)
def test_what_cannot_be_stored_is_named(
    change: Callable, message: str, fitted: DSNClassifier, tmp_path: Path
) -> None:
    classifier = unfitted().fit(SERIES, CODES)
    change(classifier)
    fitted.to_file(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(
        TypeError, match=rf"^this DSNClassifier .*: {message}\. Pickle it instead.$"
    ):
        classifier.to_file(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


def test_an_unfitted_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="has not been fitted"):
        unfitted().to_file(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_truncated_and_other_files_are_refused(fitted: DSNClassifier, tmp_path: Path) -> None:
    path = tmp_path / "model"
    fitted.to_file(path)
    whole = path.read_bytes()
    cut = [whole[:n] for n in (*range(0, len(whole), 997), len(whole) - 1)]
    for content in (*cut, pickle.dumps(fitted), b"\x93NUMPY", b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model' cannot be loaded: it is truncated, or no "):
            DSNClassifier.from_file(path)


def test_a_damaged_file_is_refused_or_the_damage_does_not_matter(
    fitted: DSNClassifier, tmp_path: Path
) -> None:
    path, expected, n_refused = tmp_path / "model", fitted.predict_proba(SERIES), 0
    fitted.to_file(path)
    whole = path.read_bytes()
    places = range(0, len(whole), len(whole) // 40)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            loaded = DSNClassifier.from_file(path)
        except ValueError:
            n_refused += 1
        else:
            assert np.array_equal(loaded.predict_proba(SERIES), expected)
    assert n_refused > len(places) / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(format=3, version="0.9.0"), r"dsn_sktime 0\.9\.0 wrote it, this"),
        (lambda one: one["parameters"].update(color=1), r"with color, which .* lacks\. Update dsn"),
        (lambda one: one["parameters"].update(n_filters=7), "its entries do not fit together"),
        (lambda one: one["parameters"].update(sparsity=2), "its entries do not fit together"),
        (lambda one: one.pop("fitted"), "its entries do not fit together"),
        (lambda one: one.update(shape=[1]), "its entries do not fit together"),
    ],
)
def test_files_of_other_versions_are_refused(
    change: Callable, message: str, fitted: DSNClassifier, tmp_path: Path
) -> None:
    fitted.to_file(tmp_path / "model")
    edit(tmp_path / "model", change)
    with pytest.raises(ValueError, match=f"model' cannot be loaded: .*{message}"):
        DSNClassifier.from_file(tmp_path / "model")


def test_a_file_of_another_class_is_refused(fitted: DSNClassifier, tmp_path: Path) -> None:
    fitted.to_file(tmp_path / "model")
    with pytest.raises(ValueError, match=r"a DSNClassifier, not a OSCNN.*DSNClassifier\.from_file"):
        OSCNNClassifier.from_file(tmp_path / "model")


class Explosive:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


def test_no_code_of_a_file_is_executed(
    fitted: DSNClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted.to_file("model")
    with np.load("model") as file:
        arrays = dict(file)
    arrays["mean_"] = np.array([Explosive()], dtype=object)
    with open("model", "wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match="cannot be loaded"):
        DSNClassifier.from_file("model")
    assert not os.path.exists("exploded")


def test_a_save_that_fails_keeps_the_file(
    fitted: DSNClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            fitted.to_file(path)
    assert [one.name for one in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == b"before"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
def test_a_file_can_be_read_by_those_whom_the_umask_allows(
    fitted: DSNClassifier, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        fitted.to_file(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["dsn_0_1", "dsn_format_2"])
def test_files_of_each_format_are_read_and_written(name: str, tmp_path: Path) -> None:
    """Written by ``tests/saved/write.py``; never write one anew, but add one for a new format."""
    loaded = DSNClassifier.from_file(COMMITTED / f"{name}.npz")
    series = np.sin(np.arange(3)[:, None] + np.arange(20) / 3)
    expected = json.loads((COMMITTED / f"{name}.json").read_text())
    np.testing.assert_allclose(loaded.predict_proba(series), expected, atol=1e-6)
    assert loaded.classes_.tolist() == ["falls", "rises"]
    logits = contributions(loaded, series).sum((2, 3)) + baseline(loaded)
    np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-5)
    loaded.to_file(tmp_path / "again")
    again = DSNClassifier.from_file(tmp_path / "again")
    np.testing.assert_array_equal(again.predict_proba(series), loaded.predict_proba(series))
    again.fit(series, ["a", "b", "a"]).to_file(tmp_path / "again")
    assert DSNClassifier.from_file(tmp_path / "again").classes_.tolist() == ["a", "b"]

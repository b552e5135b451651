"""DSNRegressor: targets, predictions, their spread, and the training control of the core."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import is_regressor
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sktime.exceptions import NotFittedError
from sktime.utils.estimator_checks import check_estimator
from tiny import StopAfter, panel, tiny_regressor, untraced

from dsn_sktime import DSNClassifier, DSNRegressor
from dsn_sktime.training import Checkpoint, EarlyStopping

X, _ = panel()
Y = X.max(axis=(1, 2)) * 1000 - 7


@untraced
def test_passes_every_check_of_sktime() -> None:
    results = check_estimator(DSNRegressor, verbose=False)
    assert len(results) > 100
    assert {name: r for name, r in results.items() if r != "PASSED"} == {}


def test_it_learns_a_property_of_series() -> None:
    rng = np.random.default_rng(0)
    frequency = rng.uniform(1, 6, 120)
    phase = rng.uniform(0, 2 * np.pi, (120, 1))
    series = np.sin(2 * np.pi * frequency[:, None] * np.linspace(0, 1, 40) + phase)
    small = {"n_epochs": 8, "n_layers": 2, "n_filters": 6, "kernel_size": 9, "random_state": 0}
    regressor = DSNRegressor(**small).fit(series[:90], frequency[:90])
    assert regressor.score(series[90:], frequency[90:]) > 0.8


@pytest.mark.parametrize("head", ["ridge", "linear"])
def test_predictions_are_those_of_the_networks_in_units_of_the_target(head: str) -> None:
    regressor = tiny_regressor(n_estimators=2, head=head).fit(X, Y)
    scaled = (X - regressor.mean_[:, None]) / regressor.scale_[:, None]
    series = torch.from_numpy(scaled.astype(np.float32))
    with torch.no_grad():
        outputs = [
            (network(series) if own is None else own(network, series, None)).numpy()[:, 0]
            for network, own in zip(regressor.networks_, regressor.heads_, strict=True)
        ]
    members = np.array([Y.mean() + Y.std() * one.astype(float) for one in outputs])
    assert regressor.predict(X) == pytest.approx(members.mean(0), rel=1e-4)
    assert regressor.predict_std(X) == pytest.approx(members.std(0, ddof=1), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("head", ["ridge", "linear"])
def test_predictions_follow_the_units_of_the_target(head: str) -> None:
    one = tiny_regressor(head=head).fit(X, Y).predict(X)
    other = tiny_regressor(head=head).fit(X, 1e6 + 8 * Y).predict(X)
    assert (other - 1e6) / 8 == pytest.approx(one, rel=1e-3)


def test_mean_and_deviation_of_the_target_are_weighted() -> None:
    weight = np.arange(len(Y)) % 3
    regressor = tiny_regressor(n_epochs=1).fit(X, Y, sample_weight=weight)
    repeated = np.repeat(Y, weight)
    assert regressor.target_mean_ == pytest.approx(repeated.mean())
    assert regressor.target_scale_ == pytest.approx(repeated.std())


@pytest.mark.parametrize("head", ["ridge", "linear"])
@pytest.mark.parametrize("value", [0.1, -1e300, 0.0])
def test_a_constant_target_is_predicted(head: str, value: float) -> None:
    regressor = tiny_regressor(n_epochs=1, head=head).fit(X, np.full(len(X), value))
    assert regressor.predict(X).tolist() == [value] * len(X)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_targets_of_any_size(factor: float) -> None:
    expected = tiny_regressor(n_epochs=1).fit(X, Y).predict(X)
    found = tiny_regressor(n_epochs=1).fit(X, factor * Y).predict(X)
    assert found / factor == pytest.approx(expected, rel=1e-3)


CONTAINERS = [Y.tolist(), pd.Series(Y), Y[:, None], torch.tensor(Y), Y.astype(object)]


@pytest.mark.parametrize("y", CONTAINERS, ids=["list", "Series", "column", "tensor", "objects"])
def test_containers_of_targets(y: Any) -> None:
    expected = tiny_regressor(n_epochs=1).fit(X, Y).predict(X)
    np.testing.assert_array_equal(tiny_regressor(n_epochs=1).fit(X, y).predict(X).ravel(), expected)


def test_columns_of_a_target_are_fitted_one_by_one() -> None:
    both = pd.DataFrame({"a": Y, "b": -Y})
    regressor = tiny_regressor(n_epochs=1).fit(X, both)
    found = regressor.predict(X)
    for name in both:
        alone = tiny_regressor(n_epochs=1).fit(X, both[name]).predict(X)
        np.testing.assert_array_equal(found[name], alone)
    with pytest.raises(ValueError, match="one column"):
        regressor.predict_std(X)


BAD_TARGETS = {
    "strings": (["a", "b"] * 10, TypeError, "found str such as 'a'. Use a classifier"),
    "mixed": (["a", 1.0] * 10, TypeError, "found str such as 'a'"),
    "complex": (Y + 1j, TypeError, "found complex"),
    "dates": (np.array(["2020-01-01"] * 20, "M8[D]"), TypeError, "found Timestamp such as"),
    "nanoseconds": (np.array([5] * 20, "m8[ns]"), TypeError, "found Timedelta such as"),
    "missing": ([np.nan, *Y[1:]], ValueError, "one number per series, found 1 missing numbers"),
    "infinite": ([np.inf, *Y[1:]], ValueError, "one finite number per series"),
    "too few": (Y[1:], ValueError, "20 series in X and 19 numbers in y"),
    "none": (None, ValueError, "one number per series, found None"),
    "3-D": (Y[:, None, None], ValueError, r"found shape \(20, 1, 1\)"),
}


@pytest.mark.parametrize(("y", "kind", "told"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets_are_told_and_change_nothing(y: Any, kind: type, told: str) -> None:
    regressor = tiny_regressor(n_epochs=1).fit(X, Y)
    expected = regressor.predict(X)
    with pytest.raises(kind, match=told):
        regressor.fit(X, y)
    np.testing.assert_array_equal(regressor.predict(X), expected)


def test_the_history_has_losses_only() -> None:
    regressor = tiny_regressor(validation_fraction=0.25).fit(X, Y)
    names = {"network", "epoch", "loss", "val_loss", "lr", "seconds"}
    topology = {"drop_fraction", "n_dropped", "n_grown"}
    assert all(set(record) == names | topology for record in regressor.history_)
    losses = [record["val_loss"] for record in regressor.history_]
    assert losses[regressor.best_epoch_] == min(losses)


def test_validation_loss_is_that_of_the_standardized_target() -> None:
    regressor = tiny_regressor(keep="last", update_bn=False, n_epochs=1)
    regressor.fit(X[:15], Y[:15], validation_data=(X[15:], Y[15:]))
    errors = (regressor.predict(X[15:]) - Y[15:]) / Y[:15].std()
    assert regressor.history_[0]["val_loss"] == pytest.approx((errors**2).mean(), rel=1e-4)


def test_early_stopping_follows_losses_and_knows_no_accuracy() -> None:
    stopping = EarlyStopping("val_loss", patience=1, min_delta=1e9)
    settings = {"validation_fraction": 0.25, "n_epochs": 9}
    assert len(tiny_regressor(**settings, callbacks=[stopping]).fit(X, Y).history_) == 2
    with pytest.raises(ValueError, match="monitor='accuracy' needs a classifier"):
        tiny_regressor(callbacks=[EarlyStopping("accuracy")]).fit(X, Y)


def test_one_series_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="validation_fraction must be 0"):
        tiny_regressor(validation_fraction=0.5).fit(X[:1], Y[:1])


def test_the_history_can_be_plotted() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from dsn_sktime.plotting import plot_history

    regressor = tiny_regressor().fit(X, Y)
    ax = plot_history(regressor)
    losses = [record["loss"] for record in regressor.history_]
    assert ax.lines[0].get_ydata().tolist() == losses
    assert len(ax.figure.axes) == 1  # none for an accuracy


def test_progress_is_shown(capsys: pytest.CaptureFixture) -> None:
    tiny_regressor(n_epochs=1, verbose=2, validation_fraction=0.25).fit(X, Y)
    printed = capsys.readouterr().out
    assert "val_loss=" in printed
    assert "accuracy" not in printed


def test_reruns_processes_and_pickles_agree() -> None:
    settings = {"n_estimators": 2, "head": "ridge", "n_epochs": 2}
    one = tiny_regressor(**settings, n_jobs=1).fit(X, Y)
    two = tiny_regressor(**settings, n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    copied = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(copied.predict_std(X), one.predict_std(X))


def test_an_interrupted_fit_is_fitted_and_a_resumed_one_is_whole(tmp_path: Any) -> None:
    whole = tiny_regressor(head="ridge").fit(X, Y)
    regressor = tiny_regressor(head="ridge", callbacks=[Checkpoint(tmp_path, 1), StopAfter(1)])
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        regressor.fit(X, Y)
    assert np.isfinite(regressor.predict(X)).all()
    resumed = tiny_regressor(head="ridge", callbacks=[Checkpoint(tmp_path, 1)]).fit(X, Y)
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))


def test_a_time_limit_ends_training() -> None:
    regressor = tiny_regressor(max_seconds=1e-6, n_epochs=50).fit(X, Y)
    assert len(regressor.history_) < 50
    assert regressor.history_[-1]["progress"] == 1


def test_spread_needs_an_ensemble() -> None:
    with pytest.raises(ValueError, match="n_estimators of at least 2"):
        tiny_regressor(n_epochs=1).fit(X, Y).predict_std(X)
    with pytest.raises(NotFittedError, match="not been fitted"):
        tiny_regressor(n_estimators=2).predict_std(X)
    columns = tiny_regressor(n_epochs=1, n_estimators=2).fit(X, np.column_stack([Y, Y]))
    with pytest.raises(NotFittedError, match=r"no trained network, as y had .* several columns"):
        columns.predict_std(X)


def test_scikit_learn_takes_it_for_a_regressor() -> None:
    assert is_regressor(tiny_regressor())
    found = cross_val_score(tiny_regressor(n_epochs=1), X, Y, cv=[(range(10), range(10, 20))])
    alone = tiny_regressor(n_epochs=1).fit(X[:10], Y[:10])
    weight = np.arange(10) + 1.0
    expected = r2_score(Y[10:], alone.predict(X[10:]), sample_weight=weight)
    assert found == [alone.score(X[10:], Y[10:])]
    assert alone.score(X[10:], Y[10:], sample_weight=weight) == pytest.approx(expected)


def test_every_parameter_is_described_and_shared_ones_as_in_the_classifier() -> None:
    names = inspect.signature(DSNRegressor).parameters
    assert set(inspect.signature(DSNClassifier).parameters) - set(names) == {
        "class_weight",
        "label_smoothing",
    }
    section = (DSNRegressor.__doc__ or "").partition("Parameters\n")[2].partition("Attributes\n")[0]
    described = [line.partition(" : ")[0] for line in section.splitlines() if " : " in line]
    assert [name for name in described if name in names] == list(names)
    assert "Peak of the learning rate" in section
    assert "label" not in section

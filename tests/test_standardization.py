"""Scale and offset of the series, and values that arithmetic cannot bear."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import panel, tiny_classifier, tiny_oscnn, untraced

from dsn_sktime import DSNClassifier, OSCNNClassifier
from dsn_sktime.panel import Panel, Standardization, read_panel

Y = np.arange(60) % 2
X = np.random.default_rng(0).normal(size=(60, 1, 50)) + 2 * (Y[:, None, None] - 0.5)


def learner(kind: str) -> DSNClassifier | OSCNNClassifier:
    if kind == "DSN":
        return DSNClassifier(n_epochs=15, n_layers=2, n_filters=8, lr=3e-3, random_state=0)
    sizes = {"max_kernel_size": 5, "layer_budgets": (32, 500)}
    return OSCNNClassifier(n_epochs=10, **sizes, random_state=0)


@untraced
@pytest.mark.parametrize("kind", ["DSN", "OS-CNN"])
@pytest.mark.parametrize(
    ("factor", "offset"),
    [(1, 0), (1, -1e6), (1, 1e9), (1e6, 1e12), (-3, 5), (1e-150, 0), (1e-4, 1e6)],
)
def test_scale_and_offset_change_no_accuracy(kind: str, factor: float, offset: float) -> None:
    moved = X * factor + offset
    classifier = learner(kind).fit(moved, Y)
    assert classifier.score(moved, Y) == 1
    assert classifier.history_[classifier.best_epoch_]["accuracy"] > 0.95


@cache
def fitted_as_it_is(tiny: Callable) -> DSNClassifier | OSCNNClassifier:
    return tiny().fit(X, Y)


@pytest.mark.parametrize("exponent", [-60, 40])
def test_powers_of_two_change_nothing_at_all(tiny: Callable, exponent: int) -> None:
    moved = X * 2.0**exponent
    expected = fitted_as_it_is(tiny).predict_proba(X)
    assert np.array_equal(tiny().fit(moved, Y).predict_proba(moved), expected)


def test_each_variate_has_its_own_scale(tiny: Callable) -> None:
    series, labels = panel("multivariate")
    factors = 10.0 ** np.arange(-6, 6, 2)[:, None]
    moved = series * factors + 3 * factors
    classifier = tiny().fit(moved, labels)
    assert np.allclose(classifier.mean_, moved.mean((0, 2)), rtol=1e-12)
    assert np.allclose(classifier.scale_, moved.std((0, 2)), rtol=1e-12)
    assert classifier.mean_.dtype == classifier.scale_.dtype == np.float64
    expected = tiny().fit(series, labels).predict_proba(series)
    assert np.allclose(classifier.predict_proba(moved), expected, atol=1e-3)


def test_what_standardization_does_is_what_the_series_are(tiny: Callable) -> None:
    series, labels = panel("multivariate")
    classifier = tiny().fit(series, labels)
    by_hand = (series - classifier.mean_[:, None]) / classifier.scale_[:, None]
    plain = tiny(standardize=False).fit(by_hand, labels)
    assert np.array_equal(plain.predict_proba(by_hand), classifier.predict_proba(series))
    assert np.array_equal(plain.mean_, np.zeros(6))
    assert np.array_equal(plain.scale_, np.ones(6))


def test_test_series_are_moved_as_the_training_series_were(tiny: Callable) -> None:
    series, labels = panel("multivariate")
    classifier = tiny().fit(series, labels)
    alone = np.concatenate([classifier.predict_proba(series[i : i + 1]) for i in range(5)])
    assert np.allclose(alone, classifier.predict_proba(series)[:5], rtol=0, atol=1e-6)
    assert not np.allclose(classifier.predict_proba(series + 5), classifier.predict_proba(series))


def test_the_recipe_of_the_paper_scales_nothing() -> None:
    assert DSNClassifier.paper().standardize is False
    assert DSNClassifier().standardize is OSCNNClassifier().standardize is True


@pytest.mark.parametrize("value", ["yes", None, 2])
def test_other_choices_are_refused(tiny: Callable, value: object) -> None:
    with pytest.raises(ValueError, match=r"standardize must be one of True, False, found"):
        tiny(standardize=value).fit(X, Y)


def test_a_pickled_classifier_scales_as_before(tiny: Callable) -> None:
    classifier = tiny().fit(X + 1e6, Y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(X + 1e6), classifier.predict_proba(X + 1e6))


def test_statistics_do_not_depend_on_n_jobs(tiny: Callable) -> None:
    one, other = (tiny(n_jobs=n, n_estimators=2).fit(X * 7 + 1e5, Y) for n in (1, 2))
    assert np.array_equal(one.mean_, other.mean_)
    assert np.array_equal(one.scale_, other.scale_)


def test_checkpoints_of_other_scalings_are_other_files(tmp_path, tiny: Callable) -> None:
    from dsn_sktime.training import Checkpoint

    for standardize in (True, False, True):
        tiny(standardize=standardize, callbacks=[Checkpoint(tmp_path)]).fit(X, Y)
    assert len(list(tmp_path.iterdir())) == 2


# Statistics against numpy.


@st.composite
def panels(draw: st.DrawFn) -> list[np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 300), min_size=1, max_size=6))
    offset, scale = draw(st.sampled_from([0, 1e6, -1e9])), draw(st.sampled_from([1, 1e-3, 1e5]))
    missing = draw(st.sampled_from([0, 0.3]))
    series = [rng.normal(offset, scale, (m, length)) for length in lengths]
    for one in series:
        one[:, :-1][rng.random(one[:, :-1].shape) < missing] = np.nan
    return series


@settings(deadline=None, derandomize=True)
@given(panels())
def test_statistics_are_those_of_all_observed_steps(series: list[np.ndarray]) -> None:
    found = Standardization.fit(read_panel(series))
    together = np.concatenate(series, axis=1).astype(np.longdouble)
    assert np.allclose(found.mean, np.nanmean(together, 1).astype(float), rtol=1e-12)
    deviation = np.nanstd(together, 1).astype(float)
    expected = np.where(deviation == 0, 1, deviation)
    assert np.allclose(found.scale, expected, rtol=1e-5)
    longest = max(one.shape[1] for one in series)
    padded = np.full((len(series), len(series[0]), longest), np.nan)
    for row, one in zip(padded, series, strict=True):
        row[:, : one.shape[1]] = one
    for again in (padded, [pd.DataFrame(one.T) for one in series]):
        same = Standardization.fit(read_panel(again))
        assert np.array_equal(same.mean, found.mean)
        assert np.array_equal(same.scale, found.scale)


@pytest.mark.parametrize("n", [3, 5000])
@pytest.mark.parametrize("value", [0.1, -7, 1e6 + 0.1, 1e-300, 0])
def test_constant_variates_have_deviation_one(n: int, value: float) -> None:
    series = np.random.default_rng(0).normal(size=(n, 3, 40))
    series[:, 1] = value
    series[:, 2] = np.nan
    with pytest.warns(UserWarning, match="missing in all series"):
        found = Standardization.fit(read_panel(series))
    assert found.mean[1] == value
    assert found.mean[2] == 0
    assert found.scale[1:].tolist() == [1, 1]
    values = Panel.from_raw(read_panel(series), found).values
    assert (values[:, 1:] == 0).all()


def test_a_variate_that_is_missing_throughout_is_named(tiny: Callable) -> None:
    series = np.concatenate([X, np.full_like(X, np.nan)], axis=1)
    with pytest.warns(UserWarning, match=r"1 of 2 .* the first is number 1 .*remove") as caught:
        tiny(n_estimators=2).fit(series, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("dtype", "factor", "offset"),
    [("int8", 10, 0), ("int16", 100, 20_000), ("uint64", 1e3, 1e12), ("float32", 1, 1e6)],
)
def test_counters_and_converters_of_any_dtype(dtype: str, factor: float, offset: float) -> None:
    counts = (X * factor + offset).astype(dtype)
    assert learner("DSN").fit(counts, Y).score(counts, Y) == 1


def test_constant_variates_are_told() -> None:
    X, y = panel("multivariate")
    stuck = X.copy()
    stuck[:, 2] = 5
    with pytest.warns(UserWarning, match="1 of 6 variates .* same value in all series.* number 2 "):
        tiny_classifier(n_epochs=1).fit(stuck, y)


def test_constants_up_to_rounding_are_constant() -> None:
    series = np.full((20, 1, 30), 0.3)
    series[::2] = 0.1 + 0.2
    assert Standardization.fit(read_panel(series)).scale.tolist() == [1]


def test_lengths_of_single_steps_and_single_series() -> None:
    assert Standardization.fit(read_panel([[3.0]])).mean.tolist() == [3]
    assert Standardization.fit(read_panel(np.array([[[1.0, 3.0]]]))).scale.tolist() == [1]


# Values that are too large.


def with_fill(value: float, where: tuple = (slice(None, None, 3), 0, 3)) -> np.ndarray:
    filled = X.copy()
    filled[where] = value
    return filled


@cache
def fitted_with(standardize: bool) -> DSNClassifier:
    return tiny_classifier(standardize=standardize).fit(X, Y)


@untraced
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (with_fill(1e20), "1e+20 in series 0, variate 0"),
        (with_fill(-9.97e36), "-9.97e+36 in series 0, variate 0"),
        (with_fill(1e300, (7, 0, 3)), "1e+300 in series 7, variate 0"),
        (with_fill(np.finfo(np.float64).max, (7, 0, 3)), "in series 7, variate 0"),
        (with_fill(2e15, (59, 0, 49)), "2e+15 in series 59, variate 0"),
        (X * 1e19, "in series 0, variate 0"),
        (np.concatenate([X, X * 1e25], axis=1), "in series 0, variate 1"),
        (np.full((60, 1, 50), np.iinfo(np.int64).min), "-9.22337e+18 in series 0"),
    ],
    ids=["1e20", "netCDF", "1e300", "largest", "last", "all", "variate", "integers"],
)
@pytest.mark.parametrize("hold", [lambda x: x, list, lambda x: [pd.DataFrame(s.T) for s in x]])
def test_fit_refuses_what_float32_cannot_square(
    bad: np.ndarray, where: str, hold: Callable, standardize: bool
) -> None:
    classifier = copy.deepcopy(fitted_with(standardize))
    expected = classifier.predict_proba(X)
    message = f"{where}.*counted from 0.*Mark fill values as missing".replace("+", r"\+")
    with pytest.raises(ValueError, match=message):
        classifier.fit(hold(bad), Y)
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("value", [-1e9, 1e10, 1e14])
@pytest.mark.parametrize("where", [(slice(None, None, 3), 0, 3), (slice(None), 0, 0), (5, 0, 5)])
def test_fit_refuses_what_hides_the_other_values(
    tiny: Callable, value: float, where: tuple
) -> None:
    classifier = copy.deepcopy(fitted_as_it_is(tiny))
    expected = classifier.predict_proba(X)
    filled = with_fill(value, where)
    with pytest.raises(ValueError, match=r"in series [05], variate 0 .*Mark fill values"):
        classifier.fit(filled, Y)
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("value", [-999, -9999, 9999, 99999, 1e5])
@pytest.mark.parametrize("levels", [None, 3])
def test_fill_values_that_dwarf_the_others_are_named(value: float, levels: int | None) -> None:
    filled = with_fill(value)
    if levels is not None:  # Most values are equal.
        filled = np.where(filled == value, value, (X > 1).astype(float) + (X > 1.5))
    message = rf"{value:g} in series 0, variate 0".replace("+", r"\+")
    with pytest.warns(UserWarning, match=message):
        tiny_classifier().fit(filled, Y)


def test_honest_series_are_neither_refused_nor_named(rng: np.random.Generator) -> None:
    heavy_tails = rng.standard_t(2, size=X.shape) * 1e5
    spikes = np.where(rng.random(X.shape) < 0.01, 40, 0) + X
    levels = X + 1e4 * (np.arange(60) % 3)[:, None, None]
    rare = (rng.random(X.shape) < 0.02).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for series in (X * 1e6, X + 1e6, X * 1e12, heavy_tails, spikes, levels, rare, np.exp(X)):
            tiny_classifier().fit(series, Y)


def test_predict_refuses_what_fit_does(tiny: Callable) -> None:
    classifier, filled = fitted_as_it_is(tiny), with_fill(1e20)
    for call in (classifier.predict, classifier.predict_proba):
        with pytest.raises(ValueError, match=r"1e\+20 in series 0, variate 0"):
            call(filled)
    with pytest.raises(ValueError, match=r"1e\+20 in series 0, variate 0"):
        classifier.score(filled, Y)


def test_predict_refuses_what_is_too_large_on_the_scale_of_the_training_series() -> None:
    classifier = tiny_classifier().fit(X * 1e-9, Y)
    message = r"up to 1e\+12, found 20000 in series 5, variate 0 .*which is .*e\+13 on the scale"
    with pytest.raises(ValueError, match=message):
        classifier.predict(with_fill(2e4, (5, 0, 3)))


@pytest.mark.parametrize("make", [tiny_classifier, tiny_oscnn])
def test_probabilities_are_never_nan(make: Callable) -> None:
    classifier = make(n_estimators=2).fit(X, Y)
    for value in (1e3, 1e6, 1e9, 1e11):
        p = classifier.predict_proba(with_fill(value))
        assert np.isfinite(p).all()
        assert np.allclose(p.sum(1), 1)


def test_a_network_that_overflows_names_the_series(tiny: Callable) -> None:
    classifier = copy.deepcopy(fitted_as_it_is(tiny))
    with torch.no_grad():
        for parameter in classifier.network_.parameters():
            parameter.mul_(1e20)
    for call in (classifier.predict, classifier.predict_proba):
        with pytest.raises(FloatingPointError, match=r"X must have .*series \d+ \(counted from 0"):
            call(X)


@pytest.mark.parametrize("kind", ["DSN", "OS-CNN"])
def test_recomputed_statistics_bear_an_offset_without_standardization(kind: str) -> None:
    moved = X + 1e3
    classifier = learner(kind).set_params(standardize=False).fit(moved, Y)
    assert classifier.history_[classifier.best_epoch_]["accuracy"] > 0.95
    assert classifier.score(moved, Y) > 0.95

"""Labels reach the series they belong to, and variates the place they were trained in."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import (
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sktime.classification.model_evaluation import evaluate
from sktime.datatypes import convert_to
from tiny import one_epoch, panel

from dsn_sktime import DSNClassifier, DSNRegressor, DSNTransformer
from dsn_sktime.panel import match_variates, read_panel

N = 80
IDS = pd.Index([f"T{i}" for i in range(1, N + 1)])
LABELS = np.arange(N) % 2
SERIES = np.random.default_rng(0).normal(size=(N, 1, 24)) + 2 * (LABELS[:, None, None] - 0.5)
FOLDS = StratifiedKFold(2)


def long_frame(ids: pd.Index) -> pd.DataFrame:
    X = convert_to(SERIES, "pd-multiindex", "Panel")
    return X.set_index(pd.MultiIndex.from_arrays([np.repeat(ids, 24), np.tile(range(24), N)]))


def nested_frame(ids: pd.Index) -> pd.DataFrame:
    return convert_to(SERIES, "nested_univ", "Panel").set_index(ids)


def wide_frame(ids: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(SERIES[:, 0], index=ids)


def column_of_series(ids: pd.Index) -> pd.Series:
    return nested_frame(ids).iloc[:, 0]


@pytest.fixture(params=[long_frame, nested_frame, wide_frame, column_of_series])
def hold(request: pytest.FixtureRequest) -> Callable:
    """Hold the series in a container with ids."""
    return request.param


@cache
def numbered() -> DSNClassifier:
    """Return the classifier that is expected of all series with their labels."""
    return one_epoch().fit(SERIES, LABELS)


@cache
def expected() -> np.ndarray:
    return numbered().predict_proba(SERIES)


@cache
def expected_of_folds() -> np.ndarray:
    return one_epoch().fit_predict(SERIES, LABELS, cv=FOLDS)


SHUFFLED = np.random.default_rng(1).permutation(N)


def frame_of_labels(labels: np.ndarray, index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"class": labels}, index=index)


DAYS = pd.date_range("2026-01-01", periods=N)
PAIRS = pd.MultiIndex.from_product([["p", "q"], range(N // 2)])


@pytest.mark.parametrize(
    ("as_labels", "ids"),
    [
        (pd.Series, IDS),
        (pd.Series, pd.Index(range(100, 100 + N))),
        (pd.Series, pd.Index(SHUFFLED)),
        (pd.Series, DAYS),
        (frame_of_labels, IDS),
    ],
)
def test_labels_in_another_order(hold: Callable, ids: pd.Index, as_labels: Callable) -> None:
    y = as_labels(LABELS, index=ids).sample(frac=1, random_state=0)
    classifier = one_epoch().fit(hold(ids), y)
    assert np.array_equal(classifier.predict_proba(hold(ids)), expected())
    right = np.mean(classifier.predict(SERIES) == LABELS)
    assert classifier.score(hold(ids), y) == right


@pytest.mark.parametrize("hold", [nested_frame, column_of_series])
def test_ids_of_two_levels(hold: Callable) -> None:
    X, y = hold(PAIRS), pd.Series(LABELS, index=PAIRS)
    for labels in (y, y.sample(frac=1, random_state=0), y.reset_index(drop=True)):
        classifier = one_epoch().fit(X, labels)
        assert np.array_equal(classifier.predict_proba(SERIES), expected())
    with pytest.raises(ValueError, match=r"none for 1 .* such as \('p', 3\)"):
        one_epoch().fit(X, y.drop(("p", 3)))
    with pytest.raises(ValueError, match=r"y\.groupby\(level=\[0, 1\], sort=False\)"):
        one_epoch().fit(X, pd.concat([y, y]))
    with pytest.raises(ValueError, match="y must have the labels of the series in X"):
        one_epoch().fit(X, pd.Series(LABELS, index=IDS))
    with pytest.raises(ValueError, match="sample_weight must have"):
        one_epoch().fit(X, y, sample_weight=pd.Series(1.0 + LABELS, index=IDS))


def test_folds_of_labels_in_another_order(hold: Callable) -> None:
    y = pd.Series(LABELS, index=IDS).sort_index()
    found = one_epoch().fit_predict(hold(IDS), y, cv=FOLDS)
    assert np.array_equal(found, expected_of_folds())


def test_columns_of_labels_in_another_order(hold: Callable) -> None:
    y = pd.DataFrame({"a": LABELS, "b": LABELS[::-1]}, index=IDS).sort_index()
    found = one_epoch().fit(hold(IDS), y).predict(SERIES)
    assert np.array_equal(found["a"], numbered().predict(SERIES))


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.tolist(),
        pd.Series(LABELS),
        pd.Series(LABELS, index=IDS),
        pd.DataFrame({"class": LABELS}),
    ],
    ids=["array", "list", "numbered", "same ids", "numbered frame"],
)
def test_labels_in_the_order_of_the_series(hold: Callable, y: Any) -> None:
    classifier = one_epoch().fit(hold(IDS), y)
    assert np.array_equal(classifier.predict_proba(SERIES), expected())


@pytest.mark.parametrize("index", [IDS, range(7, 7 + N), SHUFFLED])
def test_labels_of_series_without_ids_are_taken_by_position(index: Any) -> None:
    y = pd.Series(LABELS, index=index)
    for X in (SERIES, list(SERIES[:, 0]), [pd.DataFrame(series.T) for series in SERIES]):
        assert np.array_equal(one_epoch().fit(X, y).predict_proba(SERIES), expected())


def test_series_that_are_drawn_twice_with_their_labels(hold: Callable) -> None:
    if hold is long_frame:
        pytest.skip("an id there is one series")
    rows = np.r_[np.arange(N // 2), np.arange(N // 2)]
    X, y = hold(IDS).iloc[rows], pd.Series(LABELS, index=IDS).iloc[rows]
    found = one_epoch().fit(X, y).predict_proba(SERIES)
    assert np.array_equal(found, one_epoch().fit(SERIES[rows], LABELS[rows]).predict_proba(SERIES))


@pytest.mark.parametrize(
    ("ids", "y", "words"),
    [
        (IDS, pd.Series(LABELS, index="U" + IDS), ["for 80", "'T1'", "y.to_numpy()"]),
        (IDS, pd.Series(LABELS, index=[*IDS[:-1], "T99"]), ["for 1 ", "'T80'", "y.to_numpy()"]),
        (IDS, pd.Series(LABELS, index=range(5, N + 5)), ["for 80", "'T1'"]),
        (IDS, pd.Series(LABELS, index=[*IDS[:-1], "T1"]), ["without duplicates", "1 ids"]),
        (pd.Index(SHUFFLED), pd.Series(LABELS), ["numbers from 0", "y.to_numpy()"]),
        (pd.RangeIndex(N), pd.Series(LABELS, index=SHUFFLED), ["numbers from 0", "y.to_numpy()"]),
    ],
    ids=["others", "another", "numbers", "twice", "numbered labels", "numbered series"],
)
def test_labels_of_other_series(hold: Callable, ids: Any, y: pd.Series, words: list[str]) -> None:
    X = hold(ids)
    classifier = copy.deepcopy(numbered())
    for call in (
        classifier.fit,
        classifier.score,
        classifier.fit_predict,
        lambda X, y: classifier.fit_predict_proba(X, y, cv=2),
    ):
        with pytest.raises(ValueError, match="y must") as caught:
            call(X, y)
        assert not [word for word in words if word not in str(caught.value)], caught.value
    assert np.array_equal(classifier.predict_proba(SERIES), expected())


@pytest.mark.parametrize(
    "call",
    [
        lambda X, y: one_epoch().fit(X, y),
        lambda X, y: one_epoch().fit_predict(X, y),
        lambda X, y: one_epoch().fit(X, LABELS, sample_weight=y + 1.0),
        lambda X, y: one_epoch().fit(X, LABELS, validation_data=(X, y)),
        lambda X, y: DSNRegressor(n_epochs=1, n_layers=1, n_filters=2).fit(X, y),
        lambda X, y: DSNTransformer(one_epoch()).fit(X, y),
    ],
    ids=["fit", "fit_predict", "weights", "validation", "regressor", "transformer"],
)
def test_labels_numbered_from_0_beside_ids_in_another_order_are_warned_of(call: Callable) -> None:
    X = long_frame(IDS[::-1])
    with pytest.warns(UserWarning, match="order in which the series first occur") as caught:
        call(X, pd.Series(LABELS))
    assert [one.filename for one in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(X, pd.Series(LABELS, index=IDS[::-1]))


def test_ids_of_another_type_and_ids_that_occur_twice_are_named() -> None:
    X = long_frame(pd.RangeIndex(1, N + 1))
    with pytest.raises(ValueError, match=r"It has them as .*str.* and X as int64"):
        one_epoch().fit(X, pd.Series(LABELS, index=[str(one) for one in range(1, N + 1)]))
    y = pd.Series([*LABELS, LABELS[0]], index=[*range(1, N + 1), 7])
    with pytest.raises(ValueError, match="The index of y has 7 several times"):
        one_epoch().fit(X, y)


@pytest.mark.parametrize("cv", [KFold(2), ShuffleSplit(2, random_state=0)], ids=["folds", "drawn"])
@pytest.mark.parametrize("ids", [range(N), range(1, N + 1), range(N, 0, -1), IDS])
@pytest.mark.filterwarnings("ignore:.*sktime's evaluation:UserWarning")
def test_sktimes_evaluation_takes_labels_without_ids(ids: Any, cv: Any) -> None:
    X, y = long_frame(pd.Index(ids)), np.asarray(LABELS)
    expected = evaluate(one_epoch(), cv, SERIES, y, error_score="raise")["test_accuracy_score"]
    for labels in (y, pd.Series(y, name="state")):
        found = evaluate(one_epoch(), cv, X, labels, error_score="raise")
        assert found["test_accuracy_score"].tolist() == expected.tolist()


def test_cross_fitted_labels_that_numpy_would_merge_stay_apart() -> None:
    y = [("a", "a\0")[label] for label in LABELS]
    found = one_epoch().fit_predict(SERIES, y, cv=2)
    assert set(found) == {"a", "a\0"}


@pytest.mark.parametrize("kind", [float, object, "S1"])
def test_folds_are_stratified_whatever_the_type_of_the_labels(kind: Any) -> None:
    # In order and not shuffled: folds that are not stratified would train on one class.
    order = np.argsort(LABELS, kind="stable")
    y = (LABELS[order] + 0.5 if kind is float else LABELS[order]).astype(kind)
    found = one_epoch().fit_predict_proba(SERIES[order], y, cv=2)
    expected = one_epoch().fit_predict_proba(SERIES[order], LABELS[order], cv=2)
    assert np.array_equal(found, expected)


def test_numbers_beside_ids_that_are_a_series_or_have_two_levels_are_refused() -> None:
    X = long_frame(pd.Index(range(100, 100 + N)))
    levels = pd.MultiIndex.from_product([["p"], range(N)])
    for index in (range(1, N + 1), levels):
        with pytest.raises(ValueError, match="y must have the labels of the series in X"):
            one_epoch().fit(X, pd.Series(LABELS, index=index))


def test_a_column_of_ids_is_no_target() -> None:
    table = pd.DataFrame({"recording": IDS, "state": LABELS}).sample(frac=1, random_state=0)
    remedy = r"ids .* in its column 'recording'\. Use y\.set_index\('recording'\)\['state'\]"
    with pytest.raises(ValueError, match=remedy):
        one_epoch().fit(long_frame(IDS), table)
    y = table.set_index("recording")["state"]
    assert np.array_equal(one_epoch().fit(long_frame(IDS), y).predict_proba(SERIES), expected())


def test_a_ranking_of_the_series_may_be_a_target() -> None:
    ranks = pd.DataFrame({"rank": np.arange(N)[::-1], "state": LABELS})
    regressor = DSNRegressor(n_epochs=1, n_layers=1, n_filters=2, head="bins")
    assert regressor.fit(pd.DataFrame(SERIES[:, 0]), ranks).predict(SERIES).shape == (N, 2)


def test_a_series_without_a_label_is_named() -> None:
    y = pd.Series(LABELS, index=IDS)
    with pytest.raises(ValueError, match=r"80 series in X and 79 .* none for 1 .* such as 'T3'"):
        one_epoch().fit(long_frame(IDS), y.drop("T3"))


def test_labels_of_each_row_of_a_long_frame() -> None:
    X = long_frame(IDS)
    y = pd.Series(np.repeat(LABELS, 24), index=X.index)
    with pytest.raises(ValueError, match=r"80 series in X and 1920 .*y\.groupby\(level=0, sort"):
        one_epoch().fit(X, y)
    found = one_epoch().fit(X, y.groupby(level=0, sort=False).first())
    assert np.array_equal(found.predict_proba(SERIES), expected())


def test_cross_validation_of_series_with_ids() -> None:
    y = pd.Series(LABELS, index=IDS)
    found = cross_val_score(one_epoch(), wide_frame(IDS), y, cv=FOLDS, error_score="raise")
    assert np.array_equal(found, cross_val_score(one_epoch(), SERIES, LABELS, cv=FOLDS))


@pytest.mark.parametrize(
    "y",
    [range(N), torch.tensor(LABELS), list(torch.tensor(LABELS)), LABELS[:, None]],
    ids=["range", "tensor", "list of tensors", "column"],
)
def test_labels_in_any_container(y: Any) -> None:
    classifier = one_epoch().fit(SERIES, y)
    assert classifier.n_classes_ == len(set(np.asarray(y).flat))
    assert 0 <= classifier.score(SERIES, y) <= 1


@pytest.mark.parametrize("hold", [pd.DataFrame, lambda y: y[:, None]], ids=["frame", "array"])
def test_a_column_of_labels_is_one_label_per_series(hold: Callable) -> None:
    y = hold(LABELS)
    classifier = one_epoch().fit(SERIES, y, validation_data=(SERIES, y))
    assert np.array_equal(classifier.predict_proba(SERIES), expected())
    by_fold = one_epoch().fit_predict(SERIES, y, cv=2)
    assert np.array_equal(by_fold, one_epoch().fit_predict(SERIES, LABELS, cv=2))


MIXED = [1, "a"] * (N // 2)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (dict(zip(IDS, LABELS, strict=True)), ["found a dict", "pandas.Series(y)"]),
        (set(range(N)), ["found a set"]),
        ((label for label in LABELS), ["found a generator"]),
        (MIXED, ["can be sorted", "int and str"]),
        ([float("nan"), "a"] * (N // 2), ["found 40 missing labels"]),
        ([[1], [2]] * (N // 2) + [[1, 2]], ["lists of unequal length"]),
        (pd.Series([[1], [2]] * (N // 2)), ["can be sorted", "found list"]),
        (LABELS[:, None, None], ["found shape (80, 1, 1)"]),
        (np.zeros((N, 0)), ["found shape (80, 0)"]),
        (pd.DataFrame([[0, 1]] * N, columns=["a", "a"]), ["columns of the same name"]),
        (pd.Series([*LABELS, 0], index=[*IDS, "T81"]), ["80 series", "81 labels", "y.loc[ids]"]),
    ],
    ids=lambda value: None if isinstance(value, list) else type(value).__name__,
)
def test_what_are_no_labels(y: Any, words: list[str]) -> None:
    classifier = copy.deepcopy(numbered())
    for call in (classifier.fit, classifier.score):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(wide_frame(IDS), y)
        message = str(caught.value)
        assert not [word for word in words if word not in message], message
        assert len(message) < 350
    assert np.array_equal(classifier.predict_proba(SERIES), expected())


def test_splits_of_frames_keep_ids_and_labels_together(hold: Callable) -> None:
    if hold is long_frame:
        pytest.skip("scikit-learn splits it by rows")
    X, y = hold(IDS), pd.Series(LABELS, index=IDS).sample(frac=1, random_state=0)
    train, test = train_test_split(np.arange(N), random_state=0)
    parts = X.iloc[train], X.iloc[test]
    classifier = one_epoch().fit(parts[0], y.loc[IDS[train][::-1]])
    by_number = one_epoch().fit(SERIES[train], LABELS[train])
    assert np.array_equal(classifier.predict_proba(SERIES), by_number.predict_proba(SERIES))
    assert classifier.score(parts[1], y.loc[IDS[test][::-1]]) == by_number.score(
        SERIES[test], LABELS[test]
    )


def test_some_series_of_a_long_frame() -> None:
    X = long_frame(IDS)
    classifier = one_epoch().fit(X, LABELS)
    chosen = IDS[[7, 3, 40]]
    rows = IDS.get_indexer(chosen)
    assert np.array_equal(
        classifier.predict_proba(X.loc[chosen]), classifier.predict_proba(SERIES[rows])
    )


# Names of variates.

NAMES = ["ax", "ay", "az", "gx", "gy", "gz"]
MOTIONS, FOUR_LABELS = panel("multivariate")


def frames(names: list) -> list[pd.DataFrame]:
    return [pd.DataFrame(series.T, columns=names) for series in MOTIONS]


NAMED = {
    "frames": frames,
    "long": lambda names: pd.concat(dict(enumerate(frames(names)))),
    "nested": lambda names: convert_to(MOTIONS, "nested_univ", "Panel").set_axis(names, axis=1),
}


@cache
def fitted_to_names(named: Callable) -> DSNClassifier:
    return one_epoch().fit(named(NAMES), FOUR_LABELS)


@pytest.fixture(params=NAMED.values(), ids=NAMED)
def named(request: pytest.FixtureRequest) -> Callable:
    """Hold the series in a container with names of variates."""
    return request.param


def reordered(X: Any) -> Any:
    return [x[x.columns[::-1]] for x in X] if isinstance(X, list) else X[X.columns[::-1]]


@pytest.mark.parametrize("names", [NAMES, [3, 1, 4, 15, 9, 2], [("a", i) for i in range(6)]])
def test_variates_are_found_by_their_names(tiny: Callable, named: Callable, names: list) -> None:
    if names[0] == ("a", 0):
        names = pd.Index(names, tupleize_cols=False)
    X = named(names)
    classifier = tiny().fit(X, FOUR_LABELS)
    assert list(classifier.variate_names_) == list(names)
    assert np.array_equal(classifier.predict_proba(reordered(X)), classifier.predict_proba(X))
    assert np.array_equal(classifier.predict_proba(X), classifier.predict_proba(MOTIONS))
    assert classifier.score(reordered(X), FOUR_LABELS) == classifier.score(X, FOUR_LABELS)


@pytest.mark.parametrize("others", [NAMED["frames"], NAMED["long"], NAMED["nested"]])
def test_names_are_those_of_any_container(named: Callable, others: Callable) -> None:
    classifier, X = fitted_to_names(named), reordered(others(NAMES))
    assert np.array_equal(classifier.predict_proba(X), classifier.predict_proba(MOTIONS))


def test_other_names_are_refused(tiny: Callable, named: Callable) -> None:
    classifier = tiny().fit(named(NAMES), FOUR_LABELS)
    before = classifier.predict_proba(MOTIONS)
    X = named(["ax", "ay", "az", "gx", "gy", "temperature"])
    for call in (classifier.predict, classifier.predict_proba):
        with pytest.raises(ValueError, match=r"found unexpected 'temperature' and no 'gz'\."):
            call(X)
    assert np.array_equal(classifier.predict_proba(MOTIONS), before)


def test_more_or_fewer_names_are_listed() -> None:
    classifier = fitted_to_names(frames)
    more = [frame.assign(temperature=0.0) for frame in frames(NAMES)]
    fewer = [frame.drop(columns=["ay", "gz"]) for frame in frames(NAMES)]
    for X, message in [(more, r"unexpected 'temperature'\."), (fewer, r"found no 'ay', 'gz'\.")]:
        with pytest.raises(ValueError, match=message):
            classifier.predict(X)


@pytest.mark.parametrize("fitted", [None, "var_{}", "dim_{}", "{}"])
def test_names_that_containers_make_up_match_any(named: Callable, fitted: str | None) -> None:
    made_up = list(range(6)) if fitted is None else [fitted.format(i) for i in range(6)]
    classifier = one_epoch().fit(named(made_up), FOUR_LABELS)
    expected = classifier.predict_proba(MOTIONS)
    assert np.array_equal(classifier.predict_proba(named(NAMES)), expected)
    assert np.array_equal(classifier.predict_proba(reordered(named(made_up))), expected)
    assert np.array_equal(fitted_to_names(named).predict_proba(named(made_up)), expected)


def test_frames_of_a_list_that_disagree() -> None:
    X = frames(NAMES)
    expected = fitted_to_names(frames).predict_proba(X)
    mixed = [x[NAMES[::-1]] if i % 3 else x for i, x in enumerate(X)]
    classifier = one_epoch().fit(mixed, FOUR_LABELS)
    assert np.array_equal(classifier.predict_proba(mixed), expected)
    mixed[5] = mixed[5].rename(columns={"gz": "temperature"})
    message = r"first series, found unexpected 'temperature' and no 'gz' in series 5\."
    for call in (
        lambda: classifier.fit(mixed, FOUR_LABELS),
        lambda: classifier.predict(mixed),
        lambda: classifier.fit_predict(mixed, FOUR_LABELS, cv=2),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.array_equal(classifier.predict_proba(X), expected)


def test_arrays_have_no_names() -> None:
    assert one_epoch().fit(MOTIONS, FOUR_LABELS).variate_names_ is None


def test_names_in_folds() -> None:
    X = frames(NAMES)
    mixed = [x[NAMES[::-1]] if i % 3 else x for i, x in enumerate(X)]
    found = one_epoch().fit_predict_proba(mixed, FOUR_LABELS, cv=FOLDS)
    expected = one_epoch().fit_predict_proba(MOTIONS, FOUR_LABELS, cv=FOLDS)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"a", b"b"),
        (0.5, 1.5),
        (1, 2.5),
        (date(2020, 1, 1), date(2021, 1, 1)),
        (pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2021", tz="UTC")),
        (pd.Period("2020-01"), pd.Period("2021-01")),
        (Decimal(1), Decimal(2)),
        (2**70, 2**70 + 1),
        (2.0**53, 2**53 + 1),
        ("a", "a\0"),
        ("", " "),
    ],
)
@pytest.mark.parametrize("hold", [list, partial(pd.Series, dtype=object)])
def test_labels_of_any_type_are_scored(hold: Callable, first: Any, second: Any) -> None:
    y = [(first, second)[label] for label in LABELS]
    classifier = one_epoch().fit(SERIES, hold(y))
    assert list(classifier.classes_) == [first, second]
    assert classifier.score(SERIES, hold(y)) == numbered().score(SERIES, LABELS)


@pytest.mark.parametrize(
    "hold",
    [
        lambda y: torch.tensor(y).bfloat16(),
        lambda y: torch.tensor(y * 1.0, requires_grad=True),
        lambda y: np.asmatrix(y).T,
    ],
)
def test_labels_in_tensors_and_matrices(hold: Callable) -> None:
    predicted = one_epoch().fit(SERIES, hold(LABELS)).predict(SERIES)
    np.testing.assert_array_equal(predicted, numbered().predict(SERIES))


@pytest.mark.parametrize("y", [torch.tensor(LABELS).to_sparse(), np.zeros(N, dtype="i4,i4")])
def test_labels_that_are_no_plain_array(y: Any) -> None:
    with pytest.raises(TypeError, match=r"y must .* Use "):
        one_epoch().fit(SERIES, y)


@pytest.mark.parametrize("y", [LABELS.astype(str), pd.Series(LABELS).astype(str), LABELS * 1j])
def test_labels_of_another_type_are_not_scored(y: Any) -> None:
    with pytest.raises(TypeError, match=r"y must hold labels of the type that was fitted, number"):
        numbered().score(SERIES, y)


def test_scores_of_other_columns_of_labels() -> None:
    with pytest.raises(ValueError, match="y must have 1 columns, as in fit, found 2"):
        numbered().score(SERIES, np.eye(2)[LABELS])


def test_names_that_became_text() -> None:
    names = pd.DataFrame(np.zeros((4, 2)), columns=[0, 1])
    frames = [names + np.array([1, 2])] * 2
    read = read_panel([frame[[1, 0]].rename(columns=str) for frame in frames])
    matched = match_variates(read, 2, (0, 1), "classifier")
    np.testing.assert_array_equal(matched.series[0][:, 0], [1, 2])

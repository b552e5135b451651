"""Whatever people hold series in: the same right answer, or one sentence that says what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_japanese_vowels
from sktime.datatypes import convert_to
from tiny import fitted_once, one_epoch, panel, tiny_oscnn

from dsn_sktime import DSNClassifier
from dsn_sktime.panel import read_panel

UNIVARIATE, LABELS = panel()
MULTIVARIATE, FOUR_LABELS = panel("multivariate")
FOLDS = StratifiedKFold(2)


def masked(X: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.MaskedArray(X, mask=False)


def nested_of_arrays(X: np.ndarray) -> pd.DataFrame:
    columns = {f"dim_{i}": list(X[:, i]) for i in range(X.shape[1])}
    return pd.DataFrame({name: pd.Series(cells) for name, cells in columns.items()})


def objects(X: np.ndarray) -> np.ndarray:
    held = np.empty(len(X), dtype=object)
    held[:] = list(X)
    return held


OF_UNIVARIATE = {
    "rows": lambda X: X[:, 0],
    "wide frame": lambda X: pd.DataFrame(X[:, 0]),
    "named steps": lambda X: pd.DataFrame(X[:, 0]).rename(columns="t{}".format),
    "nullable": lambda X: pd.DataFrame(X[:, 0]).convert_dtypes(),
    "ids": lambda X: pd.DataFrame(X[:, 0], index=[f"T{i}" for i in range(len(X))]),
    "1-D arrays": lambda X: list(X[:, 0]),
    "lists of numbers": lambda X: X[:, 0].tolist(),
    "Series": lambda X: [pd.Series(x) for x in X[:, 0]],
    "column of series": lambda X: nested_of_arrays(X)["dim_0"],
    "2-D tensor": lambda X: torch.tensor(X[:, 0]),
    "masked rows": lambda X: masked(X[:, 0]),
    "array of arrays": lambda X: objects(X[:, 0]),
}
OF_ALL = {
    "2-D arrays": list,
    "tuple of arrays": tuple,
    "nested lists": lambda X: X.tolist(),
    "tensor": torch.tensor,
    "tensor with gradient": lambda X: torch.tensor(X, requires_grad=True),
    "list of tensors": lambda X: [torch.tensor(x) for x in X],
    "masked array": masked,
    "list of masked arrays": lambda X: [masked(x) for x in X],
    "array of arrays": objects,
    "nested arrays": nested_of_arrays,
    "Series of frames": lambda X: pd.Series([pd.DataFrame(x.T) for x in X]),
    "nested frame": lambda X: convert_to(X, "nested_univ", "Panel"),
    "long frame": lambda X: convert_to(X, "pd-multiindex", "Panel"),
    "list of frames": lambda X: convert_to(X, "df-list", "Panel"),
    "swapped view": lambda X: np.ascontiguousarray(X.transpose(2, 1, 0)).transpose(2, 1, 0),
}


@cache
def fitted_to_unequal_lengths() -> tuple[list[pd.DataFrame], np.ndarray, DSNClassifier]:
    frames, y = load_japanese_vowels("train", return_type="df-list")
    frames, y = frames[::9], y[::9]
    return frames, y, one_epoch().fit(frames, y)


def assert_same_as_the_array(hold: Callable, name: str) -> None:
    X, y = panel(name)
    held, expected = hold(X), fitted_once(one_epoch, name)
    found = one_epoch().fit(held, y)
    assert np.array_equal(found.predict_proba(held), expected.predict_proba(X))
    assert np.array_equal(expected.predict_proba(held), expected.predict_proba(X))
    assert np.array_equal(expected.predict(held), expected.predict(X))
    assert expected.score(held, y) == expected.score(X, y)


@pytest.mark.parametrize("hold", OF_UNIVARIATE.values(), ids=OF_UNIVARIATE)
def test_univariate_series_in_any_container(hold: Callable) -> None:
    assert_same_as_the_array(hold, "univariate")


@pytest.mark.parametrize("hold", OF_ALL.values(), ids=OF_ALL)
def test_multivariate_series_in_any_container(hold: Callable) -> None:
    assert_same_as_the_array(hold, "multivariate")


@pytest.mark.parametrize("hold", (OF_UNIVARIATE | OF_ALL).values(), ids=OF_UNIVARIATE | OF_ALL)
def test_folds_of_series_in_any_container(hold: Callable) -> None:
    found = one_epoch().fit_predict_proba(hold(UNIVARIATE), LABELS, cv=FOLDS)
    assert np.array_equal(found, out_of_folds())


@cache
def out_of_folds() -> np.ndarray:
    return one_epoch().fit_predict_proba(UNIVARIATE, LABELS, cv=FOLDS)


def test_half_precision_tensors() -> None:
    X = torch.tensor(MULTIVARIATE).to(torch.bfloat16)
    expected = one_epoch().fit(X.double().numpy(), FOUR_LABELS)
    found = one_epoch().fit(X, FOUR_LABELS)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X.float().numpy()))


@pytest.mark.parametrize("kind", ["2-D arrays", "tensors", "frames", "lists", "long", "nested"])
def test_series_of_unequal_length(kind: str) -> None:
    frames, y, expected = fitted_to_unequal_lengths()
    held = {
        "2-D arrays": [frame.to_numpy().T for frame in frames],
        "tensors": [torch.tensor(frame.to_numpy().T.copy()) for frame in frames],
        "frames": frames,
        "lists": [frame.to_numpy().T.tolist() for frame in frames],
        "long": pd.concat(dict(enumerate(frames))),
        "nested": pd.DataFrame([[frame[name].to_numpy() for name in frame] for frame in frames]),
    }[kind]
    found = one_epoch().fit(held, y)
    assert np.array_equal(found.predict_proba(held), expected.predict_proba(frames))
    assert np.array_equal(expected.predict_proba(held), expected.predict_proba(frames))


def test_univariate_series_of_unequal_length() -> None:
    X = [series[0, : 10 + i % 5] for i, series in enumerate(UNIVARIATE)]
    frames = [pd.DataFrame(series) for series in X]
    expected = one_epoch().fit(frames, LABELS).predict_proba(frames)
    assert np.array_equal(one_epoch().fit(X, LABELS).predict_proba(X), expected)


def test_frames_of_a_pipeline(tiny: Callable) -> None:
    scaler = StandardScaler().set_output(transform="pandas")
    X = UNIVARIATE[:, 0]
    expected = make_pipeline(StandardScaler(), tiny()).fit(X, LABELS).predict_proba(X)
    pipeline = make_pipeline(scaler, tiny())
    assert np.array_equal(pipeline.fit(X, LABELS).predict_proba(X), expected)
    # Labels of a split are numbered otherwise than the new frame, which has no ids.
    y = pd.Series(LABELS, index=np.arange(20)[::-1] + 7)
    assert np.array_equal(pipeline.fit(X, y).predict_proba(X), expected)


def test_a_series_of_frames_keeps_their_names_and_its_ids(rng: np.random.Generator) -> None:
    frames = [pd.DataFrame(rng.normal(size=(9, 2)), columns=["x", "y"]) for _ in range(3)]
    found = read_panel(pd.Series(frames, index=["a", "b", "c"]))
    assert found.variate_names == ("x", "y")
    assert list(found.ids) == ["a", "b", "c"]


def test_ids_and_times_among_the_variates_are_warned_of(rng: np.random.Generator) -> None:
    X = [
        pd.DataFrame({"machine_id": one, "timestamp": np.arange(9), "x": rng.normal(size=9)})
        for one in range(4)
    ]
    with pytest.warns(UserWarning, match="'machine_id', 'timestamp'.*Leave them out"):
        one_epoch().fit(X, [0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for names in (["speed", "way"], ["target", "T"]):
            renamed = [frame.set_axis([*names, "x"], axis=1) for frame in X]
            for frame in renamed:
                frame[names[0]] += 0.5
            one_epoch().fit(renamed, [0, 1, 0, 1])


@pytest.mark.parametrize("hold", [pd.concat, list], ids=["long", "list"])
def test_two_variates_of_one_name_are_refused(hold: Callable) -> None:
    frames = {one: pd.DataFrame(np.ones((5, 2)), columns=["a", "a"]) for one in "bc"}
    with pytest.raises(ValueError, match="columns of different names, found 'a'"):
        read_panel(hold(frames) if hold is pd.concat else list(frames.values()))


def test_what_a_list_holds_is_named_by_series_and_column() -> None:
    frames = [pd.DataFrame({"a": [1.0, 2.0], "b": values}) for values in ([3, 4], ["x", "y"])]
    with pytest.raises(TypeError, match="in column 'b' in series 1 "):
        read_panel(frames)
    with pytest.raises(TypeError, match=r"\[frame for _, frame in X\]"):
        read_panel(frames[0].groupby("a"))


def test_cross_validation_of_a_wide_frame_and_of_lists() -> None:
    wide = pd.DataFrame(UNIVARIATE[:, 0])
    expected = cross_val_score(one_epoch(), UNIVARIATE, LABELS, cv=FOLDS)
    for X, y in [(wide, LABELS), (wide, pd.Series(LABELS)), (list(UNIVARIATE), LABELS)]:
        found = cross_val_score(one_epoch(), X, y, cv=FOLDS, error_score="raise")
        assert np.array_equal(found, expected)


def test_a_single_series() -> None:
    classifier = fitted_once(one_epoch, "multivariate")
    expected = classifier.predict_proba(MULTIVARIATE[:1])
    one = MULTIVARIATE[0]
    for X in ([one], one[None], [pd.DataFrame(one.T)], [torch.tensor(one)]):
        assert np.array_equal(classifier.predict_proba(X), expected)


def test_the_data_stay_as_they_are() -> None:
    X = np.ma.MaskedArray(UNIVARIATE.copy(), mask=np.zeros(UNIVARIATE.shape, dtype=bool))
    X.mask[2, 0, 4] = X.mask[3, 0, -5:] = True
    before = X.copy()
    tensor = torch.tensor(UNIVARIATE)
    one_epoch().fit(X, LABELS).predict(tensor)
    assert np.array_equal(X.data, before.data)
    assert np.array_equal(X.mask, before.mask)
    assert np.array_equal(tensor.numpy(), UNIVARIATE)


def test_a_single_class_in_any_container() -> None:
    classifier = one_epoch().fit(list(UNIVARIATE), ["a"] * 20)
    assert classifier.predict(pd.DataFrame(UNIVARIATE[:3, 0])).tolist() == ["a"] * 3
    assert classifier.predict_proba(list(UNIVARIATE[:3])).tolist() == [[1.0]] * 3


def test_several_columns_of_labels_with_a_wide_frame() -> None:
    y = pd.DataFrame({"a": LABELS, "b": LABELS[::-1]})
    wide = pd.DataFrame(UNIVARIATE[:, 0])
    expected = one_epoch().fit(UNIVARIATE, y).predict(UNIVARIATE)
    pd.testing.assert_frame_equal(one_epoch().fit(wide, y).predict(wide), expected)


# Time.


def test_rows_of_a_long_frame_are_put_into_the_order_of_time(rng: np.random.Generator) -> None:
    long = convert_to(MULTIVARIATE, "pd-multiindex", "Panel")
    expected = fitted_once(one_epoch, "multivariate").predict_proba(MULTIVARIATE)
    interleaved = long.sort_index(level=1, kind="stable")
    shuffled = pd.concat(
        long.loc[[i]].iloc[rng.permutation(MULTIVARIATE.shape[2])] for i in range(40)
    )
    for X in (interleaved, shuffled):
        found = one_epoch().fit(X, FOUR_LABELS).predict_proba(X)
        assert np.array_equal(found, expected)


def test_rows_of_frames_are_put_into_the_order_of_time() -> None:
    frames = [pd.DataFrame(series.T) for series in MULTIVARIATE]
    backward = [frame.iloc[::-1] for frame in frames]
    classifier = one_epoch().fit(frames, FOUR_LABELS)
    assert np.array_equal(classifier.predict_proba(backward), classifier.predict_proba(frames))


def twice() -> pd.DataFrame:
    long = convert_to(UNIVARIATE, "pd-multiindex", "Panel")
    return pd.concat([long.loc[:9], long.loc[:9]])


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (twice(), ["one row per series and time", "series 0 and time 0", "share an id"]),
        (
            twice().set_index(pd.MultiIndex.from_tuples([(None, i) for i in range(480)])),
            ["without missing values", "series id"],
        ),
        (
            twice().set_index(pd.MultiIndex.from_tuples([(0, f"t{i}") for i in range(480)])),
            ["numbers or time stamps", "second level"],
        ),
        (
            twice().set_index(
                pd.MultiIndex.from_arrays([range(480), range(480)], names=["time", "device_id"])
            ),
            ["['time', 'device_id']", "X.swaplevel()"],
        ),
        (pd.concat({"day": twice()}), ["two levels (series, time)", "found 3", "droplevel"]),
        (
            [pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2, 3]}, index=[0, 1, 0])],
            ["increasing time index", "series 1", "reset_index(drop=True)"],
        ),
        (
            [pd.DataFrame({"a": [1.0, 2, 3]}, index=["t9", "t10", "t11"])],
            ["numbers or time stamps", "series 0", "pandas.to_datetime"],
        ),
    ],
    ids=["twice", "no id", "words", "swapped", "three levels", "double index", "words in frames"],
)
def test_time_that_gives_no_order(X: Any, words: list[str]) -> None:
    assert_refused(X, words)


# Masked and missing values.


def test_masked_values_are_missing(tiny: Callable) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(MULTIVARIATE.shape) < 0.1
    junk = np.where(mask, 7e5, MULTIVARIATE)
    missing = np.where(mask, np.nan, MULTIVARIATE)
    expected = tiny().fit(missing, FOUR_LABELS).predict_proba(missing)
    X = np.ma.MaskedArray(junk, mask)
    lists = [np.ma.MaskedArray(*pair) for pair in zip(junk, mask, strict=True)]
    for held in (X, lists):
        assert np.array_equal(tiny().fit(held, FOUR_LABELS).predict_proba(held), expected)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32"])
def test_masked_values_of_any_dtype(dtype: str) -> None:
    X = (UNIVARIATE % 3).astype(dtype)
    mask = np.zeros(X.shape, dtype=bool)
    mask[:, 0, 3] = True
    expected = np.where(mask, np.nan, X.astype(float))
    held = np.ma.MaskedArray(X, mask)
    found = one_epoch().fit(held, LABELS).predict_proba(held)
    assert np.array_equal(found, one_epoch().fit(expected, LABELS).predict_proba(expected))


def test_values_beyond_all_bounds_may_be_masked() -> None:
    X = UNIVARIATE.copy()
    X[::3, 0, 3] = 1e20
    held = np.ma.masked_greater(X, 1e15)
    assert np.isfinite(one_epoch().fit(held, LABELS).predict_proba(held)).all()


def test_masked_labels(tiny: Callable) -> None:
    y = np.ma.MaskedArray(np.arange(20) % 2, mask=np.arange(20) == 7)
    classifier = tiny().fit(UNIVARIATE, LABELS)
    for call in (classifier.fit, classifier.score, classifier.fit_predict):
        with pytest.raises(ValueError, match=r"y must .* found 1 masked labels\. Remove"):
            call(UNIVARIATE, y)
    y.mask = False
    assert tiny().fit(UNIVARIATE, y).score(UNIVARIATE, y) <= 1


def test_nullable_columns_with_missing_values() -> None:
    wide = pd.DataFrame(UNIVARIATE[:, 0]).convert_dtypes()
    wide.iloc[2, 5] = pd.NA
    expected = UNIVARIATE.copy()
    expected[2, 0, 5] = np.nan
    found = one_epoch().fit(wide, LABELS).predict_proba(wide)
    assert np.array_equal(found, one_epoch().fit(expected, LABELS).predict_proba(expected))


# Padding.


def padded(frames: list[pd.DataFrame], longest: int) -> np.ndarray:
    X = np.full((len(frames), frames[0].shape[1], longest), np.nan)
    for row, frame in zip(X, frames, strict=True):
        row[:, : len(frame)] = frame.to_numpy().T
    return X


@pytest.mark.parametrize(
    "hold",
    [
        lambda X: X,
        list,
        lambda X: np.ma.masked_invalid(X),
        torch.tensor,
        lambda X: [pd.DataFrame(x.T) for x in X],
        nested_of_arrays,
        lambda X: convert_to(X, "pd-multiindex", "Panel"),
    ],
    ids=["array", "list", "masked", "tensor", "frames", "nested", "long"],
)
def test_padding_is_no_part_of_a_series(hold: Callable) -> None:
    frames, y, expected = fitted_to_unequal_lengths()
    X = hold(padded(frames, 40))  # longer than the longest, too
    with pytest.warns(
        UserWarning, match=r"30 of 30 series end in steps .* treated as padding"
    ) as caught:
        classifier = one_epoch().fit(X, y)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(classifier.predict_proba(X), expected.predict_proba(frames))
        assert np.array_equal(expected.predict_proba(X), expected.predict_proba(frames))


def test_rows_of_a_padded_wide_frame() -> None:
    X = UNIVARIATE[:, 0].copy()
    X[3, 20:], X[9, 7:] = np.nan, np.nan
    lists = [series[~np.isnan(series)] for series in X]
    expected = one_epoch().fit(lists, LABELS).predict_proba(lists)
    with pytest.warns(UserWarning, match=r"2 of 20 series"):
        found = one_epoch().fit(pd.DataFrame(X), LABELS).predict_proba(pd.DataFrame(X))
    assert np.array_equal(found, expected)


def test_padding_is_said_once_for_all_folds() -> None:
    X = UNIVARIATE.copy()
    X[3, 0, 20:] = np.nan
    with pytest.warns(UserWarning, match="1 of 20 series") as caught:
        one_epoch(n_estimators=2).fit_predict(X, LABELS, cv=FOLDS)
    assert len(caught) == 1


def test_a_variate_that_ends_early_is_missing_there() -> None:
    X = MULTIVARIATE.copy()
    X[4, 2, 50:] = X[5, :, :9] = np.nan
    raw = read_panel(X)
    assert raw.n_padded == 0
    assert set(raw.lengths) == {100}


@pytest.mark.parametrize("hold", [lambda X: X, list, lambda X: [pd.DataFrame(x.T) for x in X]])
def test_a_series_without_any_value(hold: Callable) -> None:
    X = MULTIVARIATE.copy()
    X[4] = np.nan
    words = ["not missing", "1 (the first is number 4, counted from 0)", "Remove"]
    assert_refused(hold(X), words, y=FOUR_LABELS)


# Axes.


@pytest.mark.parametrize(
    "hold", [lambda X: X, list, lambda X: [pd.DataFrame(x.T) for x in X], torch.tensor]
)
def test_axes_that_look_swapped_are_named(tiny: Callable, hold: Callable) -> None:
    swapped = hold(MULTIVARIATE[:, :, :50].transpose(0, 2, 1).copy())
    message = r"50 variates and series of at most 6 .*X\.transpose\(0, 2, 1\)"
    with pytest.warns(UserWarning, match=message) as caught:
        classifier = tiny().fit(swapped, FOUR_LABELS)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict(swapped)
        tiny().fit(MULTIVARIATE[:, :, :6], FOUR_LABELS)


# What is refused.


def assert_refused(X: Any, words: list[str], y: Any = LABELS) -> None:
    """Fit, predict and their kin raise one sentence or two and leave a fitted classifier."""
    name = "multivariate" if y is FOUR_LABELS else "univariate"
    X_good, classifier = panel(name)[0], fitted_once(one_epoch, name)
    expected = classifier.predict_proba(X_good)
    calls = [
        lambda: classifier.fit(X, y),
        lambda: classifier.predict(X),
        lambda: classifier.predict_proba(X),
        lambda: classifier.score(X, y),
        lambda: classifier.fit_predict(X, y),
        lambda: classifier.fit_predict(X, y, cv=2),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        message = str(caught.value)
        assert not [word for word in words if word not in message], message
        assert len(message) < 350, message
    assert np.array_equal(classifier.predict_proba(X_good), expected)


def sensor_table(**more: Any) -> pd.DataFrame:
    n, length = 20, 12
    table = {
        "id": np.repeat(np.arange(n), length),
        "timestamp": np.tile(np.arange(length), n),
        "ax": np.sin(np.arange(n * length)),
        "ay": np.cos(np.arange(n * length)),
    }
    return pd.DataFrame({**table, **more})


def test_a_sensor_table_is_read_with_the_line_that_its_refusal_names(tiny: Callable) -> None:
    table = sensor_table()
    assert_refused(table, ["table", "'id', 'timestamp'", "X.set_index(['id', 'timestamp'])"])
    long = table.set_index(["id", "timestamp"])
    X = table[["ax", "ay"]].to_numpy().reshape(20, 12, 2).transpose(0, 2, 1)
    expected = tiny().fit(X, LABELS).predict_proba(X)
    assert np.array_equal(tiny().fit(long, LABELS).predict_proba(long), expected)


DATES = np.tile(pd.date_range("2026-01-01", periods=12), 20)
NAMES = np.repeat([f"T{i}" for i in range(20)], 12)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (sensor_table(timestamp=DATES), ["X.set_index(['id', 'timestamp'])"]),
        (sensor_table(id=NAMES, timestamp=DATES), ["X.set_index(['id', 'timestamp'])"]),
        (
            sensor_table(id=NAMES, label=np.repeat(["a", "b"], 120)),
            ["X.set_index(['id', 'timestamp'])[['ax', 'ay']]"],
        ),
        (
            sensor_table().rename(columns={"id": "machine", "timestamp": "tick"}),
            ["X.set_index(['machine', 'tick'])"],
        ),
        (sensor_table().set_axis(range(4), axis=1), ["X.set_index([0, 1])"]),
        (sensor_table().rename(columns={"timestamp": "t"}), ["X.set_index(['id', 't'])"]),
        (
            sensor_table().rename(columns={"id": "p", "timestamp": "q"}).astype(float),
            ["X.set_index(['p', 'q'])"],
        ),
        (
            pd.DataFrame(UNIVARIATE[:, 0]).reset_index(names="Unnamed: 0"),
            ["X.drop(columns=['Unnamed: 0'])"],
        ),
        (sensor_table().rename(columns={"id": "Subject ID"}), ["'Subject ID', 'timestamp'"]),
        (sensor_table().drop(columns="id"), ["'timestamp'", "<series id>"]),
        (sensor_table().set_index("id"), ["<series id>", "'timestamp'"]),
        (
            pd.DataFrame(UNIVARIATE[:, 0]).assign(label=LABELS),
            ["Labels are passed as y", "X.drop(columns=['label'])"],
        ),
        (pd.DataFrame(UNIVARIATE[:, 0]).assign(id=range(20)), ["X.drop(columns=['id'])"]),
        (pd.DataFrame(UNIVARIATE[:, 0]).astype(str), ["real numbers", "X.astype(float)"]),
        (pd.DataFrame(UNIVARIATE[:, 0]).astype(object), ["real numbers", "X.astype(float)"]),
        (
            convert_to(UNIVARIATE, "pd-multiindex", "Panel").assign(label="a"),
            ["column 'label'", "X.drop(columns=['label'])"],
        ),
        (pd.DataFrame({"level": np.arange(24.0)}), ["single series", "use [X]"]),
        (
            pd.concat({"a": pd.DataFrame(UNIVARIATE[:, 0])}, axis=1),
            ["columns", "X.stack()", "found 1 and 2"],
        ),
        (pd.DataFrame({"a": [np.zeros(3), 4.0]}), ["series in each cell", "row 1"]),
        (
            pd.DataFrame({"a": [pd.DataFrame(np.zeros((3, 2)))] * 20}),
            ["univariate series in each cell", "row 0", "from a list"],
        ),
        (pd.DataFrame(), ["at least one series", "(0, 0)"]),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join(map(str, value.columns[:3])),
)
def test_tables_that_are_no_panels(table: pd.DataFrame, words: list[str]) -> None:
    assert_refused(table, words)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (None, ["found None", "From sensor tables to panels"]),
        ("series.csv", ["found 'series.csv'"]),
        (3, ["found 3"]),
        (dict(enumerate(UNIVARIATE)), ["found dict", "list(X.values())"]),
        ((series for series in UNIVARIATE), ["found generator", "list(X)"]),
        (dict(enumerate(UNIVARIATE)).values(), ["found dict_values", "list(X)"]),
        (scipy.sparse.csr_matrix(UNIVARIATE[:, 0]), ["found csr_matrix", "X.toarray()"]),
        (torch.tensor(UNIVARIATE).to_sparse(), ["dense tensor", "X.to_dense()"]),
        (torch.zeros(20, 1, 24, device="meta"), ["dense tensor that holds its values"]),
        (torch.nested.nested_tensor(list(torch.tensor(UNIVARIATE))), ["X.unbind()"]),
        (UNIVARIATE[0, 0], ["found shape (24,)", "X[None, None]"]),
        (torch.tensor(UNIVARIATE[0, 0]), ["found shape (24,)", "X[None, None]"]),
        (UNIVARIATE[0, 0].tolist(), ["list of float", "[X]"]),
        (pd.Series(UNIVARIATE[0, 0]), ["found Series", "[X]"]),
        (UNIVARIATE.astype(str), ["real numbers", "X.astype(float)"]),
        (UNIVARIATE.astype(complex), ["real numbers", "imaginary"]),
        ([series.astype(str) for series in UNIVARIATE], ["real numbers", "X.astype(float)"]),
        (["a"] * 20, ["list of str"]),
        ([None] * 20, ["list of NoneType"]),
        ([{"a": 1}] * 20, ["list of dict"]),
        (list(UNIVARIATE[:, :, :, None]), ["found shape (1, 24, 1) as series 0"]),
        ([[1.0, 2.0], [[1.0], [2.0, 3.0]]], ["found list as series 1"]),
        ([[[1.0, 2.0, 3.0], [2.0, 3.0]]] * 20, ["found list as series 0"]),
        ([torch.tensor(1.0)] * 20, ["found shape ()"]),
        ([[]] * 20, ["20 empty series"]),
        (
            [series[:, : 10 + i].T for i, series in enumerate(MULTIVARIATE[:20])],
            ["same number of variates", "[x.T for x in X]"],
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else type(value).__name__,
)
def test_what_is_no_panel(X: Any, words: list[str]) -> None:
    assert_refused(X, words)


@pytest.mark.parametrize("columns", [list("abcdef"), list("fedcba")])
def test_a_single_window_of_the_variates_that_were_fitted(columns: list[str]) -> None:
    frames = [pd.DataFrame(series.T, columns=list("abcdef")) for series in MULTIVARIATE]
    classifier = tiny_oscnn().fit(frames, FOUR_LABELS)
    with pytest.raises(ValueError, match=r"single series .* use \[X\]"):
        classifier.predict(frames[0][columns])
    assert len(classifier.predict([frames[0][columns]])) == 1


def test_a_wide_frame_of_integers_is_none_of_ids() -> None:
    X = np.random.default_rng(0).integers(0, 3, (200, 30))
    X = X[np.argsort(X[:, 0])]  # blocks of equal numbers in the first column
    assert read_panel(pd.DataFrame(X)).series.shape == (200, 1, 30)


def test_counts_and_dates_are_fine_names_of_steps() -> None:
    X = UNIVARIATE[:, 0, :12]
    months = pd.DataFrame(X, columns=list("JFMAmjJaSOND"))
    days = pd.DataFrame(X, columns=pd.date_range("2026-01-01", periods=12))
    for held in (months, days, days.rename(index=lambda i: pd.Timestamp(2020 + i, 1, 1))):
        assert read_panel(held).series.shape == (20, 1, 12)


def test_masks_within_lists() -> None:
    X = np.ma.masked_greater(np.random.default_rng(0).normal(size=(4, 2, 9)), 0.5)
    expected = read_panel(list(X)).series
    for one, other in zip(read_panel([list(series) for series in X]).series, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensors_within_lists_and_of_eight_bits() -> None:
    X = torch.ones((3, 2, 9), requires_grad=True)
    nested = read_panel([list(series) for series in X])
    np.testing.assert_array_equal(nested.series, np.ones((3, 2, 9)))
    eight_bits = read_panel(X.detach().to(torch.float8_e4m3fn))
    np.testing.assert_array_equal(eight_bits.series, np.ones((3, 2, 9)))


@pytest.mark.parametrize(
    "hold",
    [
        lambda one: [one],
        lambda one: pd.DataFrame({"a": [one]}),
        lambda one: pd.DataFrame({"a": [one], "b": [one]}),
        lambda one: [pd.concat({"id": one.to_frame()})],
    ],
)
def test_a_series_out_of_order_is_put_into_the_order_of_its_index(hold: Callable) -> None:
    one = pd.Series([2.0, 0.0, 1.0], index=[2, 0, 1])
    np.testing.assert_array_equal(read_panel(hold(one)).series[0][0], [0, 1, 2])


def test_cells_with_times_that_occur_twice() -> None:
    cell = pd.Series([1.0, 2.0], index=[0, 0])
    with pytest.raises(ValueError, match=r"occur twice .* series 0 "):
        read_panel(pd.DataFrame({"a": [cell], "b": [pd.Series([1.0, 2.0])]}))


@pytest.mark.parametrize(
    "names",
    [
        range(12),
        [f"t{step}" for step in range(12)],
        pd.date_range("2020", periods=12),
        [0.5 * step for step in range(12)],
    ],
)
def test_columns_of_a_wide_frame_are_put_into_the_order_of_their_numbers(names: Any) -> None:
    X = pd.DataFrame(np.arange(24.0).reshape(2, 12), columns=names)
    shuffled = X.sample(frac=1, axis=1, random_state=0)
    np.testing.assert_array_equal(np.stack(read_panel(shuffled).series)[:, 0], X.to_numpy())


def test_columns_of_a_wide_frame_without_numbers_stay() -> None:
    X = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["jan", "feb", "mar"])
    np.testing.assert_array_equal(read_panel(X).series[0][0], [1, 2, 3])

"""Each mistake gets a message with the name, the value and the remedy, and costs no fit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection import ShuffleSplit
from sklearn.utils.validation import check_is_fitted
from sktime.datatypes import convert_to
from sktime.exceptions import NotFittedError
from tiny import StopAfter, fitted_once, panel, tiny_classifier

from dsn_sktime import DSNClassifier
from dsn_sktime.training import Callback

INTEGERS = [
    "n_epochs",
    "n_layers",
    "n_filters",
    "n_bottleneck",
    "kernel_size",
    "n_kernel_groups",
    "delta_t",
    "n_pool",
    "n_estimators",
]


@pytest.fixture
def fitted() -> DSNClassifier:
    return fitted_once()


def frames() -> list[pd.DataFrame]:
    return [pd.DataFrame(series.T) for series in panel()[0]]


def assert_says(error: BaseException, words: list[str]) -> None:
    missing = [word for word in words if word not in str(error)]
    assert not missing, f"{missing} not in: {error}"


def assert_unchanged(fitted: DSNClassifier) -> None:
    expected = fitted_once()
    assert fitted.is_fitted
    assert np.array_equal(fitted.predict_proba(panel()[0]), expected.predict_proba(panel()[0]))
    assert fitted.history_[-1]["loss"] == expected.history_[-1]["loss"]


def assert_fit_fails(
    fitted: DSNClassifier, X: Any, y: Any, kind: type[Exception], words: list[str]
) -> None:
    """Check the message, and that the classifier is still what it was."""
    with pytest.raises(kind) as caught:
        fitted.fit(X, y)
    assert_says(caught.value, words)
    assert_unchanged(fitted)


def assert_parameter_fails(
    fitted: DSNClassifier, name: str, value: Any, kind: type[Exception], words: list[str]
) -> None:
    # set_params unfits, which is sktime's and not our business.
    before = getattr(fitted, name)
    setattr(fitted, name, value)
    with pytest.raises(kind) as caught:
        fitted.fit(*panel())
    assert_says(caught.value, [name, *words])
    assert getattr(fitted, name) is value
    setattr(fitted, name, before)
    assert_unchanged(fitted)


# Parameters.


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_integers_below_one_or_of_another_type(
    fitted: DSNClassifier, name: str, value: object, kind: type[Exception]
) -> None:
    words = ["integer of at least 1", f"found {value!r}"]
    assert_parameter_fails(fitted, name, value, kind, words)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, ValueError),
        (0, ValueError),
        (-1, ValueError),
        (4.0, TypeError),
        ("all", TypeError),
        (None, TypeError),
    ],
)
def test_batch_size(fitted: DSNClassifier, value: object, kind: type[Exception]) -> None:
    words = ["integer of at least 2", f"found {value!r}"]
    assert_parameter_fails(fitted, "batch_size", value, kind, words)


@pytest.mark.parametrize(
    ("name", "value", "interval"),
    [
        ("sparsity", 1, "[0, 1)"),
        ("sparsity", 1.0, "[0, 1)"),
        ("sparsity", -0.1, "[0, 1)"),
        ("sparsity", float("nan"), "[0, 1)"),
        ("alpha", -0.1, "[0, 1]"),
        ("alpha", 1.1, "[0, 1]"),
        ("alpha", float("nan"), "[0, 1]"),
        ("lr", 0, "(0, inf)"),
        ("lr", -1e-3, "(0, inf)"),
        ("lr", float("inf"), "(0, inf)"),
        ("lr", float("nan"), "(0, inf)"),
        ("lr_min", -1e-5, "[0, lr=0.003]"),
        ("lr_min", 1e-2, "[0, lr=0.003]"),
    ],
)
def test_numbers_outside_their_interval(
    fitted: DSNClassifier, name: str, value: float, interval: str
) -> None:
    words = [f"number in {interval}", f"found {value!r}"]
    assert_parameter_fails(fitted, name, value, ValueError, words)


@pytest.mark.parametrize("name", ["sparsity", "alpha", "lr", "lr_min"])
@pytest.mark.parametrize("value", ["0.5", None, True, 0.5j])
def test_what_is_no_number(fitted: DSNClassifier, name: str, value: object) -> None:
    words = ["must be a number in", f"found {value!r}"]
    assert_parameter_fails(fitted, name, value, TypeError, words)


def test_lr_below_lr_min_names_both() -> None:
    with pytest.raises(
        ValueError, match=r"lr_min must be a number in \[0, lr=1e-05\], found 0.0001"
    ):
        tiny_classifier(schedule="cosine", lr=np.float64(1e-5)).fit(*panel())


def test_a_schedule_that_ends_at_zero_ignores_lr_min() -> None:
    X, y = panel()
    found = [
        tiny_classifier(schedule="one_cycle", lr=1e-5, lr_min=lr_min).fit(X, y).predict_proba(X)
        for lr_min in (0.0, 1e-4)
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("growth", ["'random'", "'gradient'", "None"]),
        ("padding", ["'replicate'", "'zeros'"]),
        ("topology_init", ["'first'", "'random'"]),
        ("class_weight", ["None", "'balanced'", "dict"]),
        ("device", ["'auto'", "'cpu'", "'cuda'"]),
        ("verbose", ["0", "1", "2"]),
    ],
)
@pytest.mark.parametrize("value", ["nonesuch", 7])
def test_unknown_choices(
    fitted: DSNClassifier, name: str, value: object, choices: list[str]
) -> None:
    assert_parameter_fails(fitted, name, value, ValueError, [*choices, f"found {value!r}"])


def test_class_weight_as_an_array(fitted: DSNClassifier) -> None:
    words = ["a dict of label to weight", "found array([1, 2])"]
    assert_parameter_fails(fitted, "class_weight", np.array([1, 2]), ValueError, words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(fitted: DSNClassifier) -> None:
    words = ["'cuda'", "no CUDA device", "'cpu'"]
    assert_parameter_fails(fitted, "device", "cuda", ValueError, words)


@pytest.mark.parametrize("value", [3, "EarlyStopping", print])
def test_callbacks_that_are_no_list(fitted: DSNClassifier, value: object) -> None:
    words = ["list of Callback or None", f"found {value!r}"]
    assert_parameter_fails(fitted, "callbacks", value, TypeError, words)


def test_callbacks_that_are_none(fitted: DSNClassifier) -> None:
    words = ["dsn_sktime.training.Callback", f"found {print!r}", "Derive its class"]
    assert_parameter_fails(fitted, "callbacks", [print], TypeError, words)


@pytest.mark.parametrize(("value", "kind"), [(0, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_n_jobs(fitted: DSNClassifier, value: object, kind: type[Exception]) -> None:
    words = ["None or an integer other than 0", f"found {value!r}"]
    assert_parameter_fails(fitted, "n_jobs", value, kind, words)


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "seed"])
def test_random_state(fitted: DSNClassifier, value: object) -> None:
    words = ["integer from 0 to 2**32 - 1", f"found {value!r}"]
    assert_parameter_fails(fitted, "random_state", value, ValueError, words)


def test_numpys_global_generator_is_no_random_state(fitted: DSNClassifier) -> None:
    words = ["integer from 0 to 2**32 - 1", "found <module 'numpy.random'"]
    assert_parameter_fails(fitted, "random_state", np.random, ValueError, words)


def test_more_kernel_groups_than_taps(fitted: DSNClassifier) -> None:
    words = ["at least n_kernel_groups", "kernel_size=2", "n_kernel_groups=3", "Enlarge"]
    assert_parameter_fails(fitted, "kernel_size", 2, ValueError, words)


def test_no_weight_left_in_the_hidden_layers(fitted: DSNClassifier) -> None:
    # A region of 3 x 3 kernels with 3 taps: 27 weights.
    words = ["sparsity=0.97", "27 weights", "Lower sparsity", "n_filters or kernel_size"]
    assert_parameter_fails(fitted, "sparsity", 0.97, ValueError, words)


def test_no_weight_left_in_the_first_layer(fitted: DSNClassifier) -> None:
    # Univariate series are read by 3 kernels with 3 taps: 9 weights.
    words = ["sparsity=0.9", "9 weights", "Lower sparsity", "n_filters or kernel_size"]
    assert_parameter_fails(fitted, "sparsity", 0.9, ValueError, words)


def test_the_first_layer_of_multivariate_series_reads_more() -> None:
    X, y = panel("multivariate")
    assert tiny_classifier(sparsity=0.9).fit(X, y).n_activated_ > 0


# Series.


def with_value(value: float) -> np.ndarray:
    X = panel()[0].copy()
    X[3, 0, 4] = value
    return X


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values(fitted: DSNClassifier, value: float) -> None:
    X = with_value(value)
    words = ["X must be finite", f"found {value} in series 3, variate 0", "Replace"]
    assert_fit_fails(fitted, X, panel()[1], ValueError, words)
    with pytest.raises(ValueError, match="X must be finite"):
        fitted.predict(X)


def test_infinite_values_in_data_frames(fitted: DSNClassifier) -> None:
    X = frames()
    X[2].iloc[5] = np.inf
    assert_fit_fails(fitted, X, panel()[1], ValueError, ["X must be finite", "series 2, variate 0"])


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        (complex, "real and the imaginary part as two variates"),
        (object, "X.astype(float)"),
        (str, "X.astype(float)"),
        ("M8[s]", "X.astype(float)"),
    ],
)
def test_values_that_are_no_real_numbers(fitted: DSNClassifier, dtype: Any, remedy: str) -> None:
    X = panel()[0].astype(dtype)
    words = ["X must hold real numbers", f"found dtype {X.dtype}", remedy]
    assert_fit_fails(fitted, X, panel()[1], TypeError, words)
    with pytest.raises(TypeError, match="X must hold real numbers"):
        fitted.predict(X)


def test_objects_in_data_frames(fitted: DSNClassifier) -> None:
    X = [frame.astype(object) for frame in frames()]
    words = ["X must hold real numbers", "found dtype object", "astype(float)"]
    assert_fit_fails(fitted, X, panel()[1], TypeError, words)


@pytest.mark.parametrize(
    ("X", "found"),
    [
        (np.zeros((0, 1, 24)), "found shape (0, 1, 24)"),
        (np.zeros((20, 0, 24)), "found shape (20, 0, 24)"),
        (np.zeros((20, 1, 0)), "found shape (20, 1, 0)"),
        (np.zeros((0, 24)), "found shape (0, 24)"),
        ([], "found an empty list"),
    ],
    ids=["no series", "no variates", "no time steps", "no rows", "empty list"],
)
def test_empty_panels(fitted: DSNClassifier, X: Any, found: str) -> None:
    words = ["X must have at least one series, one variate and one time step", found]
    assert_fit_fails(fitted, X, panel()[1][: len(X)], ValueError, words)
    with pytest.raises(ValueError, match="X must have at least one series"):
        fitted.predict(X)


def test_a_series_of_length_zero(fitted: DSNClassifier) -> None:
    X = frames()
    X[3] = X[3].iloc[:0]
    words = ["X must have at least one time step per series", "number 3", "Remove"]
    assert_fit_fails(fitted, X, panel()[1], ValueError, words)
    with pytest.raises(ValueError, match="number 3"):
        fitted.predict(X)


def test_series_with_different_variates(fitted: DSNClassifier) -> None:
    X = frames()
    X[2] = X[2].assign(other=0.0)
    words = ["same number of variates", "1 as in the first", "number 2", "Add or remove"]
    assert_fit_fails(fitted, X, panel()[1], ValueError, words)


@pytest.mark.parametrize("X", [None, 3, "series"])
def test_what_is_no_panel(fitted: DSNClassifier, X: Any) -> None:
    words = ["X must be an array", "a list", "a frame", f"found {X!r}"]
    assert_fit_fails(fitted, X, panel()[1], TypeError, words)
    with pytest.raises(TypeError, match="X must be an array"):
        fitted.predict(X)


@pytest.mark.parametrize("shape", [(20,), (20, 1, 24, 1)])
def test_an_array_of_other_axes(fitted: DSNClassifier, shape: tuple[int, ...]) -> None:
    words = ["X must have the axes (series, variates, time steps)", str(shape)]
    assert_fit_fails(fitted, np.zeros(shape), panel()[1], ValueError, words)


@pytest.mark.parametrize("mtype", ["nested_univ", "pd-multiindex", "df-list"])
def test_fewer_labels_than_series_in_any_container(fitted: DSNClassifier, mtype: str) -> None:
    X, y = panel()
    words = ["X and y must be of the same length", f"{len(X)} series", f"{len(y) - 1} labels"]
    assert_fit_fails(fitted, convert_to(X, mtype, "Panel"), y[:-1], ValueError, words)


@pytest.mark.parametrize("convert", [lambda X: X, lambda X: convert_to(X, "df-list", "Panel")])
def test_other_variates_at_predict_than_at_fit(fitted: DSNClassifier, convert: Callable) -> None:
    X = convert(np.zeros((3, 2, 24)))
    for predict in (fitted.predict, fitted.predict_proba):
        with pytest.raises(ValueError, match="X must have") as caught:
            predict(X)
        assert_says(caught.value, ["the 1 variates", "DSNClassifier", "found 2", "series"])


def test_a_loss_that_is_no_longer_finite() -> None:
    class Spoil(Callback):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            trainer.network.head.classes.weight.data.fill_(float("nan"))

    with pytest.raises(FloatingPointError) as caught:
        tiny_classifier(callbacks=[Spoil()]).fit(*panel())
    assert_says(caught.value, ["training loss", "nan", "epoch 1", "Scale the series", "lower lr"])


def test_an_error_during_training_costs_no_earlier_fit(fitted: DSNClassifier) -> None:
    fitted.callbacks = [StopAfter(1, ZeroDivisionError)]
    with pytest.raises(ZeroDivisionError):
        fitted.fit(*panel("multivariate"))
    fitted.callbacks = None
    assert_unchanged(fitted)


# Labels.


@pytest.mark.parametrize("container", ["numpy3D", "df-list"])
@pytest.mark.parametrize("n_labels", [5, 21])
def test_more_or_fewer_labels_than_series(
    fitted: DSNClassifier, n_labels: int, container: str
) -> None:
    X = convert_to(panel()[0], container, "Panel")
    y = np.arange(n_labels) % 2
    words = ["X and y must be of the same length", "20 series", f"{n_labels} labels"]
    assert_fit_fails(fitted, X, y, ValueError, words)


@pytest.mark.parametrize("container", ["nested_univ", "pd-multiindex"])
def test_more_or_fewer_labels_than_series_in_a_data_frame(
    fitted: DSNClassifier, container: str
) -> None:
    X = convert_to(panel()[0], container, "Panel")
    assert_fit_fails(fitted, X, panel()[1][:5], ValueError, ["20", "5", "y"])


@pytest.mark.parametrize(
    "y",
    [
        np.array([0.0, np.nan] * 10),
        [0.0, float("nan")] * 10,
        np.array(["a", None] * 10, dtype=object),
        pd.Series(["a", None] * 10),
        pd.Series(["a", None] * 10, dtype="category"),
    ],
    ids=["array", "list", "objects", "Series", "categorical"],
)
def test_missing_labels(fitted: DSNClassifier, y: Any) -> None:
    words = ["y must hold one class label per series", "found 10 missing", "Remove"]
    assert_fit_fails(fitted, panel()[0], y, ValueError, words)


@pytest.mark.parametrize("y", [None, 1, "a"])
def test_no_labels(fitted: DSNClassifier, y: Any) -> None:
    words = ["y must hold one class label per series", f"found {y!r}"]
    assert_fit_fails(fitted, panel()[0], y, ValueError, words)


def test_labels_that_cannot_be_sorted(fitted: DSNClassifier) -> None:
    y = np.array([1, "b"] * 10, dtype=object)
    words = ["y must", "can be sorted", "int and str", "one type", "astype(str)"]
    assert_fit_fails(fitted, panel()[0], y, TypeError, words)


def test_class_weight_without_any_label_of_y(fitted: DSNClassifier) -> None:
    words = ["labels of y", "['1', '2']", "found only [1, 'c']", "left out has weight 1"]
    assert_parameter_fails(fitted, "class_weight", {1: 2.0, "c": 3.0}, ValueError, words)


@pytest.mark.parametrize(
    ("weight", "kind"),
    [(0, ValueError), (-1.0, ValueError), (float("nan"), ValueError), ("2", TypeError)],
)
def test_weights_that_are_not_positive(
    fitted: DSNClassifier, weight: object, kind: type[Exception]
) -> None:
    words = ["class_weight['2']", "number in (0, inf)", f"found {weight!r}"]
    assert_parameter_fails(fitted, "class_weight", {"2": weight}, kind, words)


# Order of calls, and folds.


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predict_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError, match=r"DSNClassifier has not been fitted yet.*`fit`"):
        getattr(tiny_classifier(), method)(panel()[0])


@pytest.mark.parametrize("method", ["fit_predict", "fit_predict_proba"])
def test_folds_that_are_no_partition(fitted: DSNClassifier, method: str) -> None:
    X, y = panel()
    expected = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="cv must hold each series once") as caught:
        getattr(fitted, method)(X, y, cv=ShuffleSplit(3, test_size=0.5, random_state=0))
    assert_says(caught.value, ["in none", "in several", "Use KFold"])
    assert np.array_equal(fitted.predict_proba(X), expected)


def test_folds_of_several_columns_of_labels(fitted: DSNClassifier) -> None:
    X, y = panel()
    with pytest.raises(ValueError, match=r"y must be 1-D.*\(20, 2\).*once per column"):
        fitted.fit_predict(X, np.column_stack([y, y]), cv=2)


def test_a_device_that_holds_no_numbers(fitted: DSNClassifier) -> None:
    expected = fitted.predict_proba(panel()[0])
    fitted.device = "meta"
    with pytest.raises(ValueError, match=r"device='meta' cannot compute here.*Use device='auto'"):
        fitted.fit(*panel())
    fitted.device = "cpu"
    assert np.array_equal(fitted.predict_proba(panel()[0]), expected)


# A classifier that was fitted before.


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_refused_fit_of_a_copy(fitted: DSNClassifier, copied: Callable) -> None:
    other = copied(fitted)
    other.sparsity = 2
    with pytest.raises(ValueError, match="sparsity"):
        other.fit(*panel())
    assert_unchanged(fitted)
    other.sparsity = fitted.sparsity
    assert_unchanged(other)
    assert not fitted.clone().is_fitted


def test_an_unknown_parameter_costs_no_fit(fitted: DSNClassifier) -> None:
    with pytest.raises(ValueError, match="n_epoch"):
        fitted.set_params(n_epoch=3)
    assert_unchanged(fitted)


def test_a_value_that_set_params_takes_is_refused_by_fit(fitted: DSNClassifier) -> None:
    # set_params unfits, which is sktime's rule; the parameters can be mended.
    fitted.set_params(n_epochs="many")
    with pytest.raises(TypeError, match="n_epochs must be an integer"):
        fitted.fit(*panel())
    assert_unchanged(fitted.set_params(n_epochs=3).fit(*panel()))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "score"])
def test_not_fitted_is_an_error_of_both_libraries(method: str) -> None:
    arguments = panel() if method == "score" else panel()[:1]
    for error in (NotFittedError, SklearnNotFittedError):
        with pytest.raises(error, match="DSNClassifier has not been fitted yet"):
            getattr(tiny_classifier(), method)(*arguments)
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(tiny_classifier())


def test_scikit_learn_knows_what_is_fitted(fitted: DSNClassifier) -> None:
    check_is_fitted(fitted)

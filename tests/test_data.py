"""What users bring: series of any shape and length, labels of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from sktime.datasets import load_japanese_vowels
from tiny import panel, tiny_classifier, untraced

pytestmark = untraced

ZERO_ONE = np.arange(20) % 2


def probabilities(X: Any, y: Any, **parameters: Any) -> np.ndarray:
    """Fit, and predict the training series."""
    return tiny_classifier(**parameters).fit(X, y).predict_proba(X)


def assert_probabilities(p: np.ndarray, n: int, n_classes: int) -> None:
    assert p.shape == (n, n_classes)
    assert p.dtype == np.float64
    assert np.allclose(p.sum(1), 1)
    assert (p >= 0).all()


def imbalanced() -> tuple[np.ndarray, np.ndarray]:
    X, y = panel()
    return X[:14], y[:14]


# Variates and lengths.


def test_learns_what_is_easy() -> None:
    X, y = panel("multivariate")
    X_test, y_test = panel("multivariate", "test")
    classifier = tiny_classifier(n_epochs=20, n_filters=8, lr=3e-3).fit(X, y)
    assert classifier.score(X_test, y_test) > 0.8


def test_each_variate_counts(tiny: Callable) -> None:
    X, y = panel("multivariate")
    classifier = tiny().fit(X, y)
    expected = classifier.predict_proba(X)
    for variate in range(X.shape[1]):
        changed = X.copy()
        changed[:, variate] += 1
        assert not np.array_equal(classifier.predict_proba(changed), expected)


def test_unequal_lengths_of_a_real_set() -> None:
    X, y = load_japanese_vowels("train", return_type="nested_univ")
    few = np.arange(0, len(y), 9)
    p = probabilities(X.iloc[few], y[few])
    assert_probabilities(p, len(few), len(set(y)))


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_a_series_predicts_alone_as_among_longer_ones(padding: str) -> None:
    X, y = load_japanese_vowels("train", return_type="df-list")
    X, y = X[::9], y[::9]
    classifier = tiny_classifier(padding=padding).fit(X, y)
    lengths = [len(series) for series in X]
    shortest = int(np.argmin(lengths))
    assert lengths[shortest] < max(lengths)
    together = classifier.predict_proba(X)[shortest]
    alone = classifier.predict_proba([X[shortest]])[0]
    assert np.allclose(together, alone, rtol=0, atol=1e-6)


def test_another_length_at_predict_than_at_fit(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny().fit(X, y)
    assert_probabilities(classifier.predict_proba(X[:, :, :17]), 20, 2)
    assert_probabilities(classifier.predict_proba(np.tile(X, 3)), 20, 2)


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("length", [1, 2, 8, 49])
def test_series_shorter_than_the_kernel_and_the_bins(length: int, padding: str) -> None:
    X, y = panel("multivariate")
    short = X[:, :, :length]
    assert_probabilities(probabilities(short, y, kernel_size=12, padding=padding), 40, 4)


def test_series_of_length_one_among_longer_ones() -> None:
    X, y = panel()
    frames = [pd.DataFrame(series.T) for series in X]
    frames[4] = frames[4].iloc[:1]
    assert_probabilities(probabilities(frames, y), 20, 2)


def test_constant_series_are_told_apart_by_their_level() -> None:
    level = np.where(ZERO_ONE, 1.0, -1.0)
    X = np.broadcast_to(level[:, None, None], (20, 1, 24))
    classifier = tiny_classifier(n_epochs=30, lr=1e-2).fit(X, ZERO_ONE)
    assert classifier.score(X, ZERO_ONE) == 1


def test_series_that_are_all_the_same() -> None:
    p = probabilities(np.ones((20, 1, 24)), ZERO_ONE)
    assert_probabilities(p, 20, 2)
    assert np.allclose(p, p[0])


def test_one_series_per_class() -> None:
    X, _ = panel()
    assert_probabilities(probabilities(X[:3], ["a", "b", "c"]), 3, 3)


@pytest.mark.parametrize(("n", "batch_size"), [(5, 2), (9, 4), (17, 16), (3, 2)])
def test_a_last_batch_of_one_series_is_avoided(tiny: Callable, n: int, batch_size: int) -> None:
    X, _ = panel()
    classifier = tiny(batch_size=batch_size).fit(X[:n], ZERO_ONE[:n])
    assert_probabilities(classifier.predict_proba(X), 20, 2)
    assert all(np.isfinite(record["loss"]) for record in classifier.history_)


def test_batches_of_single_values_are_avoided() -> None:
    X, _ = panel()
    # BatchNorm in the head would see one value per class, and refuse it.
    p = probabilities(X[:5, :, :1], ZERO_ONE[:5], n_pool=1, batch_size=2)
    assert_probabilities(p, 5, 2)


def test_a_batch_larger_than_the_panel_is_the_panel() -> None:
    X, y = panel()
    assert np.array_equal(probabilities(X, y, batch_size=1000), probabilities(X, y, batch_size=20))


@pytest.mark.parametrize(("rule", "size"), [("auto", 8), ("paper", 6)])
def test_rules_of_the_batch_size(rule: str, size: int) -> None:
    X, y = panel("italy")  # 67 series: a tenth is 6.
    found = probabilities(X, y, batch_size=rule)
    assert np.array_equal(found, probabilities(X, y, batch_size=size))


def test_predictions_do_not_depend_on_the_other_series(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny().fit(X, y)
    together = classifier.predict_proba(X)
    alone = np.concatenate([classifier.predict_proba(X[i : i + 1]) for i in range(len(X))])
    assert np.allclose(together, alone, rtol=0, atol=1e-6)


def test_many_series_are_predicted_in_parts() -> None:
    X, y = panel()
    classifier = tiny_classifier().fit(X, y)
    many = classifier.predict_proba(np.tile(X, (200, 1, 1)))  # 4,000 x 24 steps
    assert np.allclose(many, np.tile(classifier.predict_proba(X), (200, 1)), rtol=0, atol=1e-6)


# Values.


def test_missing_values_are_zero_as_in_the_authors_code(
    tiny: Callable, rng: np.random.Generator
) -> None:
    X, y = panel("multivariate")
    missing = rng.random(X.shape) < 0.2
    missing[:, 0, -1] = False
    with_nan, with_zero = np.where(missing, np.nan, X), np.where(missing, 0, X)
    found = tiny(standardize=False).fit(with_nan, y).predict_proba(with_nan)
    expected = tiny(standardize=False).fit(with_zero, y).predict_proba(with_zero)
    assert np.array_equal(found, expected)


def test_missing_values_are_the_mean_of_their_variate_where_it_is_known(tiny: Callable) -> None:
    X, y = (part.copy() for part in panel("multivariate"))
    X[3, 2, 5:9] = np.nan
    classifier = tiny().fit(X, y)
    assert np.allclose(classifier.mean_, np.nanmean(X, axis=(0, 2)))
    filled = np.where(np.isnan(X), classifier.mean_[:, None], X)
    assert np.array_equal(classifier.predict_proba(X), classifier.predict_proba(filled))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int8", "uint8", "bool", ">f8"])
def test_any_real_dtype_is_the_same_numbers(dtype: str) -> None:
    X, y = panel()
    X = np.clip(X / 10, 0, 127).astype(dtype)
    as_double = X.astype(float)
    assert np.array_equal(probabilities(X, y), probabilities(as_double, y))


def test_memory_layout_does_not_matter() -> None:
    X, y = panel("multivariate")
    strided = np.repeat(X, 2, axis=2)[:, :, ::2]
    expected = probabilities(X, y)
    assert np.array_equal(probabilities(np.asfortranarray(X), y), expected)
    assert np.array_equal(probabilities(strided, y), expected)


def test_read_only_arrays_are_fine() -> None:
    X, y = panel()
    assert not X.flags.writeable
    assert not y.flags.writeable
    assert np.array_equal(probabilities(X, y), probabilities(X.copy(), y.copy()))


def test_data_are_unchanged_afterwards() -> None:
    X, y = (array.copy() for array in panel())
    X[0, 0, 0] = np.nan
    before = X.copy(), y.copy()
    tiny_classifier().fit(X, y).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_data_frames_are_unchanged_afterwards() -> None:
    X, y = panel()
    frames = [pd.DataFrame(series.T) for series in X]
    frames[0].iloc[0] = np.nan
    before = [frame.copy() for frame in frames]
    tiny_classifier().fit(frames, y).predict(frames)
    for frame, former in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, former)


def test_a_fitted_classifier_keeps_no_view_of_the_data() -> None:
    X, y = (array.copy() for array in panel())
    classifier = tiny_classifier().fit(X, y)
    expected = classifier.predict_proba(panel()[0])
    X[:], y[:] = 0, "2"
    assert np.array_equal(classifier.predict_proba(panel()[0]), expected)
    assert classifier.classes_.tolist() == ["1", "2"]


# Labels.


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["1", "2"]),
        np.array([3, -7]),
        np.array([0, 1], dtype=np.int8),
        np.array([False, True]),
        np.array([0.5, 1.5]),
        np.array(["b", "a"], dtype=object),
    ],
    ids=lambda labels: f"{labels.dtype}-{labels[0]}",
)
def test_labels_keep_their_dtype(labels: np.ndarray) -> None:
    # Two levels with noise, which any training tells apart.
    X = (2 * ZERO_ONE - 1)[:, None, None] + np.random.default_rng(0).normal(size=(20, 1, 24))
    y = labels[ZERO_ONE]
    classifier = tiny_classifier(n_epochs=20, lr=1e-2).fit(X, y)
    predicted = classifier.predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) == set(labels)
    assert np.array_equal(classifier.classes_, np.sort(labels))
    order = classifier.predict_proba(X).argmax(1)
    assert np.array_equal(classifier.classes_[order], predicted)


def test_the_names_of_the_labels_do_not_matter() -> None:
    X, _ = panel()
    expected = probabilities(X, ZERO_ONE)
    for low, high in [("a", "b"), (-0.5, 2.0), (False, True), (10, 11)]:
        assert np.array_equal(probabilities(X, np.array([low, high])[ZERO_ONE]), expected)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        tuple,
        pd.Series,
        lambda y: pd.Series(y, index=np.arange(100, 120)),
        lambda y: pd.Series(y, dtype="category"),
        pd.Categorical,
        pd.Index,
        lambda y: pd.DataFrame({"label": y}),
        lambda y: y[:, None],
    ],
    ids=[
        "list",
        "tuple",
        "Series",
        "Series with another index",
        "categorical Series",
        "Categorical",
        "Index",
        "DataFrame",
        "column",
    ],
)
def test_containers_of_labels(convert: Callable) -> None:
    X, y = panel()
    classifier = tiny_classifier().fit(X, convert(y))
    assert np.array_equal(classifier.predict_proba(X), probabilities(X, y))
    assert classifier.predict(X).tolist() == tiny_classifier().fit(X, y).predict(X).tolist()


def test_a_list_of_python_numbers_and_booleans() -> None:
    X, _ = panel()
    for labels in ([0, 1], [False, True], [0.0, 1.0]):
        y = [labels[i] for i in ZERO_ONE]
        assert tiny_classifier().fit(X, y).predict(X).dtype == np.asarray(labels).dtype


@pytest.mark.filterwarnings("ignore:only single label")
@pytest.mark.parametrize("label", ["only", 3, True])
def test_a_single_class_is_always_predicted(label: object) -> None:
    X, _ = panel()
    classifier = tiny_classifier().fit(X, np.array([label] * 20))
    assert classifier.predict(X).tolist() == [label] * 20
    assert classifier.predict_proba(X).tolist() == [[1]] * 20
    assert not hasattr(classifier, "networks_")


# Class weights.


def test_without_class_weight_each_series_weighs_the_same() -> None:
    X, y = imbalanced()
    assert np.array_equal(
        probabilities(X, y), probabilities(X, y, class_weight={"1": 1.0, "2": 1.0})
    )


def test_balanced_is_the_equivalent_dict() -> None:
    X, y = imbalanced()
    weights = compute_class_weight("balanced", classes=np.unique(y), y=y)
    expected = probabilities(X, y, class_weight=dict(zip(["1", "2"], weights, strict=True)))
    assert np.array_equal(probabilities(X, y, class_weight="balanced"), expected)
    assert not np.array_equal(probabilities(X, y), expected)


@pytest.mark.parametrize("favored", [0, 1])
@pytest.mark.parametrize(
    "labels",
    [np.array(["1", "2"]), np.array(["a", "b"]), np.array([0.5, 0.7]), np.array([False, True])],
    ids=lambda labels: f"{labels.dtype}-{labels[0]}",
)
def test_a_huge_weight_decides_the_predictions(labels: np.ndarray, favored: int) -> None:
    X, _ = panel()
    X, y = X / X.std(), labels[ZERO_ONE]
    weights = {labels[favored].item(): 1e4, labels[1 - favored].item(): 1.0}
    # Batches of half the panel hold both classes.
    classifier = tiny_classifier(class_weight=weights, n_epochs=40, lr=1e-2, batch_size=10)
    predicted = classifier.fit(X, y).predict(X)
    assert np.array_equal(predicted, np.full(20, labels[favored]))


def test_a_label_left_out_of_the_weights_has_weight_one() -> None:
    X, y = imbalanced()
    expected = probabilities(X, y, class_weight={"1": 5.0, "2": 1.0})
    assert np.array_equal(probabilities(X, y, class_weight={"1": 5}), expected)
    assert not np.array_equal(probabilities(X, y), expected)


def test_the_weights_are_unchanged_afterwards() -> None:
    weights = {"1": 2.0}
    tiny_classifier(class_weight=weights).fit(*imbalanced())
    assert weights == {"1": 2.0}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_auto_takes_the_gpu_and_pickles_to_the_cpu() -> None:
    classifier = tiny_classifier().fit(*panel())
    assert next(classifier.network_.parameters()).device.type == "cuda"
    networks = classifier.__getstate__()["networks_"]
    assert next(networks[0].parameters()).device.type == "cpu"

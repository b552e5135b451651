"""Arguments of any type and size: one sentence with the parameter's name, and no fit is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import fitted_once, panel, tiny_classifier, tiny_oscnn, untraced

from dsn_sktime import DSNClassifier, OSCNNClassifier
from dsn_sktime.training import Checkpoint

# Nothing of this is a value of any parameter.
ODD = {
    "array": np.arange(3),
    "0-d array": np.array(2),
    "long array": np.arange(10_000.0),
    "texts": np.array(["auto", "first"]),
    "Series": pd.Series([1, 2, 3], name="odd"),
    "frame": pd.DataFrame(np.eye(3)),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "NaN": float("nan"),
    "numpy NaN": np.float32("nan"),
    "inf": float("inf"),
    "set": {1, 2},
    "frozenset": frozenset({"auto"}),
    "complex": 1j,
    "bytes": b"auto",
    "type": int,
    "object": object(),
    "tensor": torch.arange(3),
    "empty text": "",
    "negative": -5,
    "nested": [[1], [2, [3]]],
    "range": range(3),
    "generator": np.random.default_rng(0),
}
# Some of the above are values of these.
VALUES = {("n_jobs", "negative"), ("max_kernel_size", "inf")}
CLASSIFIERS = {"DSN": tiny_classifier, "OS-CNN": tiny_oscnn}


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return {kind: fitted_once(make) for kind, make in CLASSIFIERS.items()}


def assert_one_sentence(message: str, *words: str) -> None:
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert len(message) < 400
    assert message.endswith(".")
    assert "truth value" not in message


@untraced
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, make in CLASSIFIERS.items() for name in make().get_params()],
)
def test_an_argument_of_another_type(fitted: dict, kind: str, name: str) -> None:
    X, y = panel()
    classifier, expected = copy.copy(fitted[kind]), fitted[kind].predict_proba(X)
    for odd, value in ODD.items():
        if (name, odd) in VALUES:
            continue
        print(odd)  # which one it is if this fails
        setattr(classifier, name, value)
        with pytest.raises((TypeError, ValueError)) as caught:
            classifier.fit(X, y)
        assert_one_sentence(str(caught.value), name, "found")
    # None of what was refused is needed to predict, other than where to compute.
    setattr(classifier, name, getattr(fitted[kind], name))
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_numbers_of_other_types_are_those_of_python(make: Callable) -> None:
    X, y = panel()
    expected = make(batch_size=4, lr=0.25).fit(X, y).predict_proba(X)
    for integer, number in [(np.int8, np.float32), (np.uint64, np.longdouble)]:
        given = {"batch_size": integer(4), "lr": number(0.25), "n_epochs": integer(3)}
        assert np.array_equal(make(**given).fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_a_device_may_be_an_object_of_torch(tiny: Callable, device: Any) -> None:
    X, y = panel()
    classifier = tiny(device=device, n_estimators=2).clone().fit(X, y)
    expected = tiny(n_estimators=2).fit(X, y).predict_proba(X)
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("device", ["meta", "cuda:99", "mps", "hpu", "xla:3", 5, None, "", "cpu:x"])
def test_a_device_that_cannot_compute(tiny: Callable, device: Any) -> None:
    with pytest.raises(ValueError, match="device") as caught:
        tiny(device=device).fit(*panel())
    assert_one_sentence(str(caught.value), "device", repr(device), "'cpu'")


TOO_LARGE = [
    (tiny_classifier, "n_layers", 10**9),
    (tiny_classifier, "n_filters", 10**7),
    (tiny_classifier, "n_bottleneck", 10**11),
    (tiny_classifier, "kernel_size", 10**12),
    (tiny_classifier, "n_pool", 10**11),
    (tiny_classifier, "n_estimators", 10**11),
    (tiny_oscnn, "layer_budgets", (22, 10**14)),
    (tiny_oscnn, "layer_budgets", (10**9, 10**15)),
    (tiny_oscnn, "n_estimators", 10**11),
]


@pytest.mark.parametrize(("make", "name", "value"), TOO_LARGE)
def test_a_size_beyond_memory_names_the_parameter_and_the_bytes(
    make: Callable, name: str, value: Any
) -> None:
    fitted = fitted_once(make)
    expected = fitted.predict_proba(panel()[0])
    setattr(fitted, name, value)
    with pytest.raises(ValueError, match=name) as caught:
        fitted.fit(*panel())
    assert_one_sentence(str(caught.value), f"{name}={value!r}", "GiB of memory", f"Lower {name}")
    assert np.array_equal(fitted.predict_proba(panel()[0]), expected)
    with pytest.raises(ValueError, match=f"{name}.*GiB"):
        make(**{name: value}).make_network(1, 24, 2)


def test_of_several_large_sizes_the_one_that_counts_is_named() -> None:
    with pytest.raises(ValueError, match=r"^n_filters=10000000 needs .* Lower n_filters\.$"):
        tiny_classifier(n_filters=10**7, n_pool=500, n_layers=5).fit(*panel())


def test_a_default_that_does_not_go_with_other_parameters_is_no_remedy() -> None:
    # The default budgets leave no filter for kernels as large as these.
    large = OSCNNClassifier(max_kernel_size=97, layer_budgets=(10**9, 10**15))
    with pytest.raises(ValueError, match=r"^layer_budgets=.* Lower layer_budgets\.$"):
        large.make_network(1, 400, 2)
    # Those of the default kernels do not fit into these budgets.
    small = {"max_kernel_size": 3, "layer_budgets": (50, 200)}
    with pytest.raises(ValueError, match=r"^n_estimators=.* Lower n_estimators\.$"):
        OSCNNClassifier(**small, n_estimators=10**11).make_network(1, 400, 2)


def test_a_linear_head_has_no_bins_that_need_memory() -> None:
    classifier = tiny_classifier(head="linear", n_pool=10**11).fit(*panel())
    assert classifier.predict(panel()[0]).shape == (20,)


@pytest.mark.parametrize("name", ["n_epochs", "n_layers", "n_filters", "batch_size", "n_pool"])
def test_integers_of_any_number_of_digits(name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        tiny_classifier(**{name: 10**400}).fit(*panel())
    assert_one_sentence(str(caught.value), f"{name} must be below 2**63")


def test_a_batch_larger_than_the_panel_is_the_panel(tiny: Callable) -> None:
    X, y = panel()
    all_at_once = tiny(batch_size=len(X)).fit(X, y).predict_proba(X)
    assert np.array_equal(tiny(batch_size=10**12).fit(X, y).predict_proba(X), all_at_once)


@pytest.mark.parametrize("classifier", [DSNClassifier, OSCNNClassifier])
def test_the_defaults_fit_into_memory_for_a_year_of_minutes(classifier: type) -> None:
    network = classifier().make_network(n_variates=10, n_steps=525_600, n_outputs=100)
    assert sum(parameter.numel() for parameter in network.parameters()) > 100_000


def test_how_numbers_are_written_does_not_name_another_checkpoint(tmp_path: Path) -> None:
    X, y = panel()
    settings = {"callbacks": [Checkpoint(tmp_path)], "n_epochs": 2}
    for weight, budgets in [(np.float64(2), np.int64(200)), (2.0, 200)]:
        weighted = {"class_weight": {"2": weight}, "layer_budgets": (22, budgets)}
        tiny_oscnn(**weighted, **settings).fit(X, y)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (tiny_classifier, "n_variates"),
        (tiny_classifier, "n_steps"),
        (tiny_classifier, "n_outputs"),
        (tiny_oscnn, "n_variates"),
        (tiny_oscnn, "n_outputs"),
    ],
)
def test_make_network_refuses_a_shape_beyond_memory(make: Callable, name: str) -> None:
    shape = {"n_variates": 1, "n_steps": 24, "n_outputs": 2, name: 10**15}
    with pytest.raises(ValueError, match=name) as caught:
        make().make_network(**shape)
    assert_one_sentence(str(caught.value), f"{name}=1000000000000000", "GiB of memory")


@pytest.mark.parametrize(
    ("weights", "limits"),
    [
        ({"1": 1e300}, {"2": 1e-30}),
        ({"1": 1e-300}, {"1": 1e-30}),
        ({"1": 1e-300, "2": 1e300}, {"1": 1e-30}),
        ({"1": 5e-324}, {"1": 1e-30}),
    ],
)
def test_class_weights_beyond_single_precision(tiny: Callable, weights: dict, limits: dict) -> None:
    X, y = panel()
    found = tiny(class_weight=weights).fit(X, y).predict_proba(X)
    assert np.array_equal(found, tiny(class_weight=limits).fit(X, y).predict_proba(X))


@pytest.mark.parametrize("cv", [np.array([1, 2]), [1, 2], {1: 2}, 1.5j])
def test_what_is_no_splitter(fitted: dict, cv: Any) -> None:
    for classifier in fitted.values():
        with pytest.raises((TypeError, ValueError), match="cv") as caught:
            classifier.fit_predict(*panel(), cv=cv)
        assert "\n" not in str(caught.value)
        assert classifier.is_fitted


def test_n_jobs_is_checked_by_predict_too(fitted: dict) -> None:
    classifier = copy.copy(fitted["DSN"])
    classifier.n_jobs = "all"
    with pytest.raises(TypeError, match="n_jobs must be None or an integer"):
        classifier.predict(panel()[0])

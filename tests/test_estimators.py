"""The benchmark's classifiers by name, and what they are known to cost."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from processes import run_python
from sktime.classification.compose import ColumnEnsembleClassifier
from sktime.classification.dummy import DummyClassifier

from dsn_sktime import DSNClassifier
from dsn_sktime.benchmarking.estimators import registry as estimators
from dsn_sktime.benchmarking.estimators.registry import costs, make, n_epochs_of, parameters_json


@pytest.mark.parametrize("name", estimators.ESTIMATORS)
def test_every_name_makes_a_classifier_that_is_set_as_asked(name):
    if "hydra" in name:
        pytest.importorskip("aeon")
    classifier = make(name, seed=7, n_jobs=2, n_epochs=5)
    own = classifier.get_params(deep=False)
    assert own.get("random_state", 7) == 7
    assert own.get("n_jobs", 2) == 2
    assert n_epochs_of(own) in (5, None)
    assert n_epochs_of(own) == own.get("n_epochs", own.get("num_epochs"))


def test_networks_keep_their_own_epochs_unless_asked():
    assert n_epochs_of(make("dsn-paper", seed=0).get_params()) == 1000
    assert n_epochs_of(make("inceptiontime", seed=0).get_params()) == 1500
    assert n_epochs_of(make("minirocket", seed=0, n_epochs=5).get_params()) is None


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dsn", {}),
        ("dsn-fix", {"growth": None}),
        ("dsn-grad", {"growth": "gradient"}),
        ("dsn-nogroups", {"n_kernel_groups": 1, "n_filters": 141, "n_bottleneck": 47}),
        ("dsn-dense", {"n_kernel_groups": 1, "n_filters": 141, "n_bottleneck": 47, "sparsity": 0}),
        ("dsn-ens5", {"n_estimators": 5}),
    ],
)
def test_the_variants_differ_from_dsn_in_what_they_say(name, settings):
    made = DSNClassifier if name in ("dsn", "dsn-ens5") else DSNClassifier.paper
    expected = made(n_jobs=1, random_state=0, **settings).get_params()
    assert make(name, seed=0).get_params() == expected


def test_an_unknown_name_is_told_with_all_names_and_the_nearest():
    with pytest.raises(ValueError, match="unknown estimator 'minirokcet'") as told:
        make("minirokcet", seed=0)
    assert "Did you mean 'minirocket'?" in str(told.value)
    assert all(name in str(told.value) for name in estimators.ESTIMATORS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere:Thing", "ModuleNotFoundError"),
        ("sktime.classification.dummy:Thing", "AttributeError"),
        ("sktime.classification.compose:ClassifierPipeline", "TypeError"),
        ("sklearn.dummy:DummyClassifier", "must make an sktime classifier, found DummyClassifier"),
    ],
)
def test_a_factory_that_makes_no_classifier_is_told(name, told):
    with pytest.raises(ValueError, match=told):
        make(name, seed=0)


def test_any_factory_is_taken():
    classifier = make("archive:raising", seed=3)
    assert type(classifier).__name__ == "Logged"
    assert classifier.random_state == 3


def composite() -> ColumnEnsembleClassifier:
    return ColumnEnsembleClassifier([("a", DSNClassifier(), 0), ("b", DummyClassifier(), 0)])


def test_seeds_reach_the_parts_of_a_composite():
    assert make(f"{__name__}:composite", seed=5).get_params()["a__random_state"] == 5


def test_parameters_are_the_same_text_in_each_process():
    printed = run_python(
        """
        from test_estimators import composite, parameters_json
        print(parameters_json(composite()))
        """
    )
    assert printed.strip() == parameters_json(composite())


def test_parameters_are_all_there_as_json():
    given = DSNClassifier(lr=np.float64(0.5), class_weight={"a": np.int64(2)}, random_state=0)
    read = json.loads(parameters_json(given))
    assert read.keys() == given.get_params().keys()
    assert (read["lr"], read["class_weight"]) == (0.5, {"a": 2})
    # Keys that JSON cannot write or sort.
    one = DSNClassifier(class_weight={np.int64(1): 2.0, "a": 1.0})
    assert json.loads(parameters_json(one))["class_weight"] == {"1": 2.0, "a": 1.0}
    nested = json.loads(parameters_json(ColumnEnsembleClassifier([("one", one, 0)])))
    assert nested["estimators"][0][1]["class_weight"] == {"1": 2.0, "a": 1.0}
    assert " at 0x" not in parameters_json(DSNClassifier(callbacks=[object()]))


def test_costs_of_dsn_are_the_papers():
    assert (*costs(make("dsn", 0), 9, 128, 6).values(),) == (160126, 20284220)
    # Dense, the same: 47 -> 141 channels, 39 taps.
    assert costs(make("dsn-dense", 0), 1, 96, 2)["n_parameters"] == 802153
    assert (*costs(make("dsn-ens5", 0), 9, 128, 6).values(),) == (5 * 160126, 5 * 20284220)


@pytest.mark.parametrize("length", [30, 96])
def test_costs_of_a_torch_network_of_sktime(length):
    # FCN: convolutions 1 -> 128 (8 taps) -> 256 (5) -> 128 (3) with biases and BatchNorm,
    # then a linear layer to 2 classes.
    weights = 8 * 128 + 5 * 128 * 256 + 3 * 256 * 128
    found = costs(make("fcn", 0), 1, length, 2)
    assert found["n_parameters"] == weights + 3 * (128 + 256 + 128) + 2 * (128 + 1)
    assert found["multiply_adds"] == weights * length + 128 * 2


def test_costs_of_what_is_no_network_are_unknown():
    assert costs(make("minirocket", 0), 1, 96, 2) == {}


def test_costs_need_no_training_and_change_nothing():
    classifier = make("inceptiontime", 0)
    costs(classifier, 2, 30, 3)
    assert classifier.num_epochs == 1500
    assert not classifier.is_fitted


def test_costs_of_oscnn_are_those_of_its_network():
    """The published 235,741 is that of kernels up to 89 steps, so of series from 356 on."""
    assert costs(make("oscnn", 0), 1, 356, 2)["n_parameters"] == 235741


def test_rocket_predicts_what_sktimes_classifier_predicts():
    """In plain Python: numba would compile for two minutes."""
    run_python(
        """
        import os
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        import numpy as np
        from sktime.classification.kernel_based import RocketClassifier
        from sktime.datatypes import convert_to
        from dsn_sktime.benchmarking.estimators.rocket import RocketRidge

        rng = np.random.default_rng(0)
        y = np.array(["a", "b"] * 4)
        for n_variates in (1, 2):
            X = rng.normal(size=(8, n_variates, 12)) + (y == "a")[:, None, None]
            X.setflags(write=False)
            for name in ("rocket", "minirocket", "multirocket"):
                settings = {"num_kernels": 84, "random_state": 1}
                ours = RocketRidge(name, **settings).fit(X[:6], y[:6])
                theirs = RocketClassifier(rocket_transform=name, **settings).fit(X[:6], y[:6])
                assert (ours.predict(X) == theirs.predict(X)).all(), (name, n_variates)
                assert (ours.predict_proba(X).max(1) == 1).all()
        """
    )


def test_hydra_without_aeon_says_what_to_install():
    if find_spec("aeon") is None:
        with pytest.raises(ValueError, match=r"ModuleNotFoundError: .*aeon"):
            make("hydra", seed=0)


@pytest.mark.parametrize("name", ["hydra", "multirocket-hydra"])
def test_hydra_is_aeons(name):
    module = pytest.importorskip("aeon.classification.convolution_based")
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 6)
    X = rng.normal(size=(12, 2, 30)) + (y == "a")[:, None, None]
    ours = make(name, seed=1).fit(X, y)
    expected = getattr(module, ours.name)(random_state=1).fit(X, y)
    assert (ours.predict(X) == expected.predict(X)).all()
    assert (ours.predict_proba(X).max(1) == 1).all()

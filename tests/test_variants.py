"""Variants of the default recipe that only the studies use."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from dsn_sktime import DSNClassifier
from dsn_sktime.benchmarking.estimators import variants
from dsn_sktime.benchmarking.estimators.registry import READINGS
from dsn_sktime.benchmarking.estimators.variants import Ensemble, OtherHead

rng = np.random.default_rng(0)
Y = np.repeat(["a", "b", "c"], 8)
X = rng.normal(size=(24, 2, 50))
X += 0.5 * np.sin(np.arange(50) * np.arange(1, 4).repeat(8)[:, None])[:, None]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    def small(**settings):
        return DSNClassifier(**{"n_epochs": 2, "n_filters": 5, "n_layers": 2, **settings})

    monkeypatch.setattr(variants, "DSNClassifier", small)
    monkeypatch.setattr(variants, "_trained", {})
    return small


def test_readings_are_of_the_default_networks(small_networks):
    readings = [entry.settings["reading"] for entry in READINGS.values()]
    found = {one: OtherHead(one, random_state=3).fit(X, Y).predict_proba(X[:9]) for one in readings}
    default = small_networks(random_state=3).fit(X, Y)
    own = small_networks(random_state=3, head="bins").fit(X, Y).predict_proba(X[:9])
    np.testing.assert_allclose(found["own"], own, atol=1e-6)
    parts = [found[one] for one in ("own", "ridge", "untrained")]
    logits = np.mean([np.log(one) for one in parts], axis=0)
    np.testing.assert_allclose(softmax(logits, axis=1), default.predict_proba(X[:9]), atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], np.mean(parts, axis=0), atol=1e-12)
    for one in ("one_ridge", "logistic"):
        assert (found[one].argmax(1) == np.searchsorted(["a", "b", "c"], Y[:9])).all()


def test_more_untrained_networks_are_averaged_in_logits(small_networks):
    one, three = (
        OtherHead(name, random_state=3).fit(X, Y) for name in ("ridge", "three_untrained")
    )
    assert [len(one._more), len(three._more)] == [0, 2]
    assert np.abs(three.predict_proba(X[:9]).sum(1) - 1).max() < 1e-12
    assert (three.predict(X[:9]) == Y[:9]).all()


@pytest.mark.parametrize("members", ["alike", "settings", "heads", "differences"])
def test_an_ensemble_averages_five_networks_that_differ(small_networks, members):
    found = Ensemble(members, random_state=5).fit(X, Y).predict_proba(X[:4])
    alone, others = small_networks(random_state=5).fit(X, Y).predict_proba(X[:4]), []
    for place, (view, settings) in enumerate(variants._MEMBERS[members][1:], start=1):
        network = small_networks(random_state=5 + 1000 * place, **settings).fit(view(X), Y)
        others.append(network.predict_proba(view(X[:4])))
        assert np.abs(others[-1] - alone).max() > 1e-3
    np.testing.assert_allclose(found, np.mean([alone, *others], axis=0), atol=1e-12)


def test_differences_keep_the_kind_of_container():
    frames = [pd.DataFrame({"a": [1.0, 3.0, 6.0]}), pd.DataFrame({"a": [2.0, 2.5]})]
    assert [one["a"].tolist() for one in variants._differences(frames)] == [[2.0, 3.0], [0.5]]
    assert variants._differences(np.array([[[1.0, 3.0, 6.0]]])).tolist() == [[[2.0, 3.0]]]

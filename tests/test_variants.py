"""Variants of the default recipe that only the studies use."""

import numpy as np
import pytest
from scipy.special import softmax

from dsn_sktime import DSNClassifier
from dsn_sktime.benchmarking.estimators import variants
from dsn_sktime.benchmarking.estimators.registry import ESTIMATORS
from dsn_sktime.benchmarking.estimators.variants import OtherHead

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
    settings = [entry.settings for entry in ESTIMATORS.values()]
    readings = [one["reading"] for one in settings if "reading" in one]
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

"""The parts of the recipe, the head and the backend as parameters of the classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny import fitted_once, panel, tiny_classifier, tiny_oscnn

RECIPES = [
    {"schedule": "one_cycle"},
    {"schedule": "plateau"},
    {"weight_decay": 0.5},
    {"label_smoothing": 0.2},
    {"keep": "average"},
    {"update_bn": False},
    {"head": "ridge"},
    {"head": "linear"},
    {"validation_fraction": 0.3},
    {"max_seconds": 1e9},  # The rate is then annealed from step to step.
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_each_part_of_the_recipe_changes_the_model(recipe: dict[str, Any]) -> None:
    X, y = panel()
    expected = tiny_classifier(n_epochs=6).fit(X, y).predict_proba(X)
    found = tiny_classifier(n_epochs=6, **recipe).fit(X, y).predict_proba(X)
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("make", [tiny_classifier, tiny_oscnn])
def test_the_last_epoch_is_kept_on_request(make: Any) -> None:
    X, y = panel()
    assert make(n_epochs=5, keep="last").fit(X, y).best_epoch_ == 4


def test_the_epoch_with_the_lowest_loss_is_kept() -> None:
    X, y = panel()
    # A learning rate that is far too large: the last epoch is not the best.
    classifier = tiny_classifier(n_epochs=8, lr=3.0).fit(X, y)
    losses = [record["loss"] for record in classifier.history_]
    assert classifier.best_epoch_ == np.argmin(losses) < 7


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("schedule", "linear"),
        ("schedule", None),
        ("head", "pool"),
        ("backend", "numpy"),
        ("keep", "worst"),
        ("keep", ["best"]),
        ("update_bn", "yes"),
        ("weight_decay", -0.1),
        ("weight_decay", float("nan")),
        ("label_smoothing", 1.0),
        ("label_smoothing", "a"),
        ("validation_fraction", 1.0),
        ("validation_fraction", -0.1),
        ("validation_fraction", None),
        ("max_seconds", 0),
        ("max_seconds", float("inf")),
        ("max_seconds", "5"),
        ("verbose", 3),
    ],
)
def test_other_values_are_refused_by_name(parameter: str, value: Any) -> None:
    (X, y), classifier = panel(), fitted_once()
    expected = classifier.predict_proba(X)
    setattr(classifier, parameter, value)
    with pytest.raises((TypeError, ValueError), match=f"^{parameter} must be"):
        classifier.fit(X, y)
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("make", [tiny_classifier, tiny_oscnn])
def test_backends_agree_and_can_be_changed_after_the_fit(make: Any) -> None:
    X, y = panel()
    sparse = make(backend="sparse").fit(X, y)
    expected = sparse.predict_proba(X)
    dense = make(backend="dense").fit(X, y)
    assert dense.network_.backend == "dense"
    np.testing.assert_allclose(dense.predict_proba(X), expected, atol=1e-3)
    sparse.network_.backend = "dense"
    np.testing.assert_allclose(sparse.predict_proba(X), expected, atol=1e-5)

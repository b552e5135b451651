"""What sktime and scikit-learn take for granted, and what the class promises itself."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sktime.utils.estimator_checks import check_estimator
from tiny import TINY, panel, tiny_classifier, untraced

from dsn_sktime import DSNClassifier, OSCNNClassifier
from dsn_sktime.training import Callback

# Xiao et al., NeurIPS 2022, section 4.1 and the authors' code.
PAPER = {
    "n_epochs": 1000,
    "max_seconds": None,
    "batch_size": "paper",
    "lr": 3e-4,
    "lr_min": 1e-4,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "keep": "best",
    "update_bn": False,
    "validation_fraction": 0.0,
    "n_layers": 4,
    "n_filters": 47,
    "n_bottleneck": None,
    "kernel_size": 39,
    "n_kernel_groups": 3,
    "sparsity": 0.8,
    "growth": "random",
    "alpha": 0.5,
    "delta_t": 5,
    "topology_init": "first",
    "padding": "replicate",
    "n_pool": 50,
    "head": "bins",
    "standardize": False,
    "class_weight": None,
    "n_estimators": 1,
    "diverse": False,
    "callbacks": None,
}
# What the paper does not fix: it changes no result but through the seed.
NOT_IN_PAPER = {"n_jobs", "device", "backend", "verbose", "random_state"}
RECORD = {
    "network",
    "epoch",
    "loss",
    "accuracy",
    "lr",
    "drop_fraction",
    "n_dropped",
    "n_grown",
    "seconds",
}


def defaults() -> dict[str, object]:
    signature = inspect.signature(DSNClassifier.__init__)
    return {name: p.default for name, p in signature.parameters.items() if name != "self"}


@untraced
@pytest.mark.parametrize("classifier", [DSNClassifier, OSCNNClassifier])
def test_passes_every_check_of_sktime(classifier: type) -> None:
    results = check_estimator(classifier, verbose=False)
    assert len(results) > 200
    assert {name: r for name, r in results.items() if r != "PASSED"} == {}


def test_asks_sktime_to_skip_no_check(tiny: Callable) -> None:
    for tag in ("tests:skip_all", "tests:skip_by_name"):
        assert not type(tiny()).get_class_tag(tag)
        assert not tiny().get_tag(tag)


def test_constructor_stores_its_arguments_and_does_nothing_else() -> None:
    arguments = {name: object() for name in defaults()}
    classifier = DSNClassifier(**arguments)
    assert all(getattr(classifier, name) is value for name, value in arguments.items())


def test_constructor_takes_three_arguments_by_position() -> None:
    assert DSNClassifier(7, 8, 0.5).get_params() == {
        **defaults(),
        "n_epochs": 7,
        "batch_size": 8,
        "lr": 0.5,
    }
    with pytest.raises(TypeError, match="positional"):
        DSNClassifier(7, 8, 0.5, 0.1)


def test_get_params_returns_what_was_given() -> None:
    assert DSNClassifier().get_params() == defaults()
    assert tiny_classifier().get_params() == {**defaults(), **TINY}


def test_set_params_replaces_and_unfits() -> None:
    classifier = tiny_classifier().fit(*panel())
    assert classifier.set_params(n_epochs=2, sparsity=0.5) is classifier
    assert classifier.get_params() == {**defaults(), **TINY, "n_epochs": 2, "sparsity": 0.5}
    assert not classifier.is_fitted
    assert len(classifier.fit(*panel()).history_) == 2


def test_set_params_rejects_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="n_epoch"):
        tiny_classifier().set_params(n_epoch=2)


@pytest.mark.parametrize("copy", [clone, lambda classifier: classifier.clone()])
def test_clone_copies_parameters_but_no_fitted_state(tiny: Callable, copy) -> None:
    copied = copy(tiny(n_estimators=2).fit(*panel()))
    assert copied.get_params() == tiny(n_estimators=2).get_params()
    assert not copied.is_fitted
    assert not hasattr(copied, "networks_")


def test_fit_changes_no_parameter(tiny: Callable) -> None:
    classifier = tiny(class_weight="balanced")
    before = classifier.get_params()
    assert classifier.fit(*panel()).get_params() == before


def test_paper_is_the_recipe_of_the_paper() -> None:
    parameters = DSNClassifier.paper().get_params()
    assert {name: parameters[name] for name in PAPER} == PAPER
    assert set(parameters) - set(PAPER) == NOT_IN_PAPER


def test_defaults_are_those_of_the_paper_but_for_recipe_head_scale_and_diversity() -> None:
    recipe = {"n_epochs": 50, "batch_size": "auto", "lr": 3e-3, "schedule": "one_cycle"}
    others = {"keep": "average", "head": "ridge", "standardize": True, "update_bn": True}
    others["diverse"] = True
    assert {name: defaults()[name] for name in PAPER} == {**PAPER, **recipe, **others}


@pytest.mark.parametrize("override", [{"n_epochs": 5}, {"n_filters": 59, "random_state": 3}])
def test_overrides_of_paper_win(override: dict) -> None:
    expected = {**DSNClassifier.paper().get_params(), **override}
    assert DSNClassifier.paper(**override).get_params() == expected


def test_paper_does_not_follow_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    init = DSNClassifier.__init__
    monkeypatch.setattr(init, "__defaults__", (10, 4, 0.1))
    others = dict.fromkeys(init.__kwdefaults__, "other")
    monkeypatch.setattr(init, "__kwdefaults__", others)
    assert DSNClassifier().n_epochs == 10
    assert DSNClassifier().padding == "other"
    parameters = DSNClassifier.paper().get_params()
    assert {name: parameters[name] for name in PAPER} == PAPER


def test_paper_of_a_subclass_is_the_subclass() -> None:
    class Narrow(DSNClassifier):
        pass

    assert type(Narrow.paper()) is Narrow


def test_n_activated_counts_the_activated_weights() -> None:
    classifier = tiny_classifier().fit(*panel())
    # Layer 1 reads the series, 3 groups of 3 x 1 kernels with 3, 6 and 9 taps; layer 2
    # reads 3 channels. A fifth of each region, rounded down.
    assert classifier.n_activated_ == (1 + 3 + 5) + (5 + 10 + 16)
    stored = [conv.values.numel() for conv in classifier.network_.sparse_convs()]
    assert classifier.n_activated_ == sum(stored)


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_history_has_a_record_per_network_and_epoch(n_estimators: int) -> None:
    classifier = tiny_classifier(n_estimators=n_estimators).fit(*panel())
    assert all(set(record) == RECORD for record in classifier.history_)
    numbered = [(record["network"], record["epoch"]) for record in classifier.history_]
    assert numbered == [(i, epoch) for i in range(n_estimators) for epoch in range(3)]


def test_history_tells_what_happened() -> None:
    classifier = tiny_classifier(n_epochs=4, delta_t=2).fit(*panel())
    column = {name: [record[name] for record in classifier.history_] for name in RECORD}
    assert column["lr"][0] == classifier.lr
    assert column["lr"] == sorted(column["lr"], reverse=True)
    assert all(0 <= accuracy <= 1 for accuracy in column["accuracy"])
    assert all(np.isfinite(loss) and loss > 0 for loss in column["loss"])
    assert all(seconds > 0 for seconds in column["seconds"])
    # The only update is after epoch 1: every second epoch, but not after the last.
    assert [n > 0 for n in column["n_dropped"]] == [False, True, False, False]
    assert column["n_grown"] == column["n_dropped"]


def test_best_epoch_is_that_of_lowest_loss() -> None:
    classifier = tiny_classifier(n_epochs=6, lr=0.3, lr_min=0.3).fit(*panel())
    losses = [record["loss"] for record in classifier.history_]
    assert losses[classifier.best_epoch_] == min(losses)
    assert isinstance(classifier.best_epoch_, int)


def test_the_model_is_that_of_the_best_epoch() -> None:
    class KeepAndSpoil(Callback):
        def __init__(self) -> None:
            self.states: list[dict] = []

        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            state = trainer.network.state_dict()
            self.states.append({name: tensor.clone() for name, tensor in state.items()})
            if record["epoch"] == 3:
                # Confidently wrong from here on, at a rate too small to recover.
                trainer.network.head.norm.weight.data.mul_(-100)

    keep = KeepAndSpoil()
    parameters = {"n_epochs": 8, "lr": 1e-4, "lr_min": 1e-4, "growth": None, "update_bn": False}
    classifier = tiny_classifier(**parameters, callbacks=[keep]).fit(*panel())
    assert classifier.best_epoch_ <= 3
    best, model = keep.states[classifier.best_epoch_], classifier.network_.state_dict()
    assert all(torch.equal(model[name], best[name]) for name in model)
    assert any(not torch.equal(model[name], keep.states[-1][name]) for name in model)


def test_one_network_is_reachable_both_ways(tiny: Callable) -> None:
    classifier = tiny().fit(*panel())
    assert classifier.networks_ == [classifier.network_]
    assert not classifier.network_.training


def test_an_ensemble_has_a_list_of_networks_only(tiny: Callable) -> None:
    classifier = tiny(n_estimators=3).fit(*panel())
    assert len(classifier.networks_) == len(classifier.best_epoch_) == 3
    assert not hasattr(classifier, "network_")


def test_fitted_attributes_of_sktime() -> None:
    X, y = panel("multivariate")
    classifier = tiny_classifier().fit(X, y)
    assert classifier.is_fitted
    assert classifier.classes_.tolist() == ["badminton", "running", "standing", "walking"]
    assert classifier.n_classes_ == 4
    assert classifier.n_variates_ == 6
    fitted = classifier.get_fitted_params()
    assert {"network", "networks", "history", "n_activated", "best_epoch"} <= set(fitted)


def test_fit_returns_self_and_score_is_accuracy(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny()
    assert classifier.fit(X, y) is classifier
    assert classifier.score(X, y) == np.mean(classifier.predict(X) == y)


def test_importing_the_package_imports_neither_torch_nor_sktime() -> None:
    code = "import dsn_sktime, sys; print(*({'torch', 'sktime', 'sklearn'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_the_package_has_no_other_attributes() -> None:
    import dsn_sktime

    with pytest.raises(AttributeError, match="NoSuchClassifier"):
        dsn_sktime.NoSuchClassifier  # noqa: B018


def test_the_package_lists_its_estimators() -> None:
    import dsn_sktime

    names = {"DSNClassifier", "DSNRegressor", "DSNTransformer", "OSCNNClassifier", "__version__"}
    assert names <= set(dir(dsn_sktime))


def network_of_fit(classifier: Any, X: np.ndarray, y: np.ndarray) -> torch.nn.Module:
    """Return the network of a fit that changes no weight but by rounding."""
    kept = {"n_epochs": 1, "lr": 1e-30, "lr_min": 0}
    return classifier.set_params(**kept).fit(X, y).network_


@pytest.mark.parametrize("name", ["univariate", "multivariate"])
def test_make_network_is_the_network_that_fit_starts_from(tiny: Callable, name: str) -> None:
    X, y = panel(name)
    network = tiny().make_network(*X.shape[1:], n_outputs=len(set(y)))
    trained = dict(network_of_fit(tiny(), X, y).named_parameters())
    for parameter_name, parameter in network.named_parameters():
        assert torch.allclose(parameter, trained[parameter_name], rtol=0, atol=1e-20)
    assert network(torch.tensor(X, dtype=torch.float32)).shape == (len(X), len(set(y)))


def test_make_network_changes_nothing(tiny: Callable) -> None:
    seed = np.random.RandomState(3)
    classifier = tiny(random_state=seed).fit(*panel())
    before, global_state = seed.get_state()[1].tolist(), torch.get_rng_state()
    expected = classifier.predict_proba(panel()[0])
    classifier.make_network(1, 24, 2)
    assert seed.get_state()[1].tolist() == before
    assert torch.equal(torch.get_rng_state(), global_state)
    assert np.array_equal(classifier.predict_proba(panel()[0]), expected)
    assert not tiny().is_fitted


@pytest.mark.parametrize("name", ["n_variates", "n_steps", "n_outputs"])
@pytest.mark.parametrize("size", [0, -1, 2.0, "3", None, True])
def test_make_network_names_the_size_that_is_wrong(tiny: Callable, name: str, size: Any) -> None:
    shape = {"n_variates": 1, "n_steps": 24, "n_outputs": 2, name: size}
    with pytest.raises((TypeError, ValueError), match=f"{name} must be an integer of at least 1"):
        tiny().make_network(**shape)


def test_make_network_checks_the_parameters() -> None:
    with pytest.raises(ValueError, match=r"sparsity must be a number in \[0, 1\)"):
        tiny_classifier(sparsity=2).make_network(1, 24, 2)


def test_many_short_series_are_predicted_as_each_alone(tiny):
    X, y = panel()
    classifier = tiny().fit(X, y)
    many = np.tile(X, (8, 1, 1))[:150] + np.random.default_rng(0).normal(size=(150, 1, 24))
    together = classifier.predict_proba(many)
    alone = np.concatenate([classifier.predict_proba(series[None]) for series in many])
    assert together == pytest.approx(alone, abs=1e-6)

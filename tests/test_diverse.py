"""Ensembles whose networks differ in settings as well as in seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import panel, tiny_classifier
from torch import nn

from dsn_sktime import DSNClassifier, DSNRegressor
from dsn_sktime.analysis import count_flops, count_parameters
from dsn_sktime.benchmarking.estimators.registry import costs

WAYS = [
    {"kernel_size": 9, "padding": "replicate", "topology_init": "first"},
    {"kernel_size": 9, "padding": "zeros", "topology_init": "first"},
    {"kernel_size": 6, "padding": "replicate", "topology_init": "first"},
    {"kernel_size": 12, "padding": "replicate", "topology_init": "first"},
    {"kernel_size": 9, "padding": "replicate", "topology_init": "random"},
]


def settings_of(network: nn.Module) -> dict[str, Any]:
    conv = network.sparse_convs()[0]
    size = conv.groups.kernel_size
    return {"kernel_size": size, "padding": conv.padding, "topology_init": conv.topology_init}


@pytest.fixture(scope="module")
def ensemble() -> DSNClassifier:
    return tiny_classifier(n_estimators=6, n_epochs=1, head="ridge").fit(*panel())


def test_five_networks_have_five_settings_and_a_sixth_the_first_ones(ensemble):
    assert [settings_of(network) for network in ensemble.networks_] == [*WAYS, WAYS[0]]


def test_the_untrained_network_of_the_ridge_head_differs_alike(ensemble):
    found = [settings_of(head.untrained) for head in ensemble.heads_]
    assert found == [{**one, "topology_init": "random"} for one in [*WAYS, WAYS[0]]]


def test_settings_that_are_given_are_the_first_networks():
    given = {"padding": "zeros", "topology_init": "random", "kernel_size": 10, "n_kernel_groups": 2}
    classifier = tiny_classifier(n_estimators=5, **given)
    found = [settings_of(classifier.make_network(1, 24, 2, number)) for number in range(5)]
    first = {"kernel_size": 10, "padding": "zeros", "topology_init": "random"}
    assert found == [
        first,
        {**first, "padding": "replicate"},
        {**first, "kernel_size": 6},
        {**first, "kernel_size": 14},
        {**first, "topology_init": "first"},
    ]


@pytest.mark.parametrize(
    "classifier",
    [tiny_classifier(n_estimators=5, diverse=False), DSNClassifier.paper(n_estimators=5)],
)
def test_networks_may_differ_in_their_seeds_alone(classifier):
    networks = [classifier.make_network(1, 24, 2, number) for number in range(5)]
    assert [settings_of(one) for one in networks] == 5 * [settings_of(networks[0])]
    first, second = (one.sparse_convs()[0].values for one in networks[:2])
    assert not torch.equal(first, second)


def test_the_first_network_is_that_of_a_single_one(ensemble):
    single = tiny_classifier(n_epochs=1, head="ridge").fit(*panel())
    for one, other in (
        (single.network_, ensemble.networks_[0]),
        (single.heads_[0], ensemble.heads_[0]),
    ):
        state, expected = one.state_dict(), other.state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_make_network_is_the_network_that_fit_starts_from():
    # Changes weights by no more than rounding, and none is dropped.
    still = tiny_classifier(n_estimators=5, n_epochs=1, lr=1e-30, lr_min=0, growth=None)
    for number, network in enumerate(still.fit(*panel()).networks_):
        made = still.make_network(1, 24, 2, number)
        for conv, trained in zip(made.sparse_convs(), network.sparse_convs(), strict=True):
            assert torch.equal(conv.index, trained.index)
            assert torch.allclose(conv.values, trained.values, rtol=0, atol=1e-20)


@pytest.mark.parametrize(
    ("number", "message"),
    [(2, "number must lie from 0 to n_estimators - 1, 1, found 2"), (1.0, "number must be an int")],
)
def test_a_number_that_no_network_has_is_refused(number, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tiny_classifier(n_estimators=2).make_network(1, 24, 2, number)


def test_a_varied_kernel_without_weights_is_told():
    settings = {"n_filters": 2, "kernel_size": 9, "sparsity": 0.8}
    tiny_classifier(n_estimators=2, **settings).make_network(1, 24, 2)
    message = "network 3 of n_estimators=3, which diverse=True gives kernel_size=6. With diverse=Fa"
    with pytest.raises(ValueError, match=message):
        tiny_classifier(n_estimators=3, **settings).make_network(1, 24, 2)
    tiny_classifier(n_estimators=3, diverse=False, **settings).make_network(1, 24, 2)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_file_has_all_of_them(tmp_path: Path, n_jobs: int):
    classifier = tiny_classifier(n_estimators=4, n_epochs=1, head="ridge", n_jobs=n_jobs)
    classifier.fit(*panel()).to_file(tmp_path / "model")
    loaded = DSNClassifier.from_file(tmp_path / "model")
    series = panel(split="test")[0]
    assert np.array_equal(loaded.predict_proba(series), classifier.predict_proba(series))
    # Networks that Ctrl-C left out in between, where processes train several.
    for names in ("networks_", "heads_", "_network_numbers"):
        del getattr(loaded, names)[1]
    loaded.to_file(tmp_path / "fewer")
    fewer = DSNClassifier.from_file(tmp_path / "fewer")
    assert [settings_of(network) for network in fewer.networks_] == [WAYS[0], *WAYS[2:4]]
    assert np.array_equal(fewer.predict_proba(series), loaded.predict_proba(series))


def test_regressors_have_them_too():
    regressor = DSNRegressor(n_estimators=2, n_epochs=1, n_layers=1, n_filters=2, random_state=0)
    regressor.fit(panel()[0], np.arange(20))
    assert [settings_of(network)["padding"] for network in regressor.networks_] == [
        "replicate",
        "zeros",
    ]


def test_a_kernel_too_small_to_vary_is_not_varied():
    classifier = tiny_classifier(n_estimators=4, kernel_size=3, sparsity=0.2)
    sizes = [settings_of(classifier.make_network(1, 24, 2, number)) for number in range(4)]
    assert [one["kernel_size"] for one in sizes] == [3, 3, 3, 3]


def test_costs_are_those_of_each_network(ensemble):
    networks = [ensemble.make_network(1, 24, 2, number) for number in range(6)]
    found = costs(ensemble, n_variates=1, series_length=24, n_classes=2)
    assert found["n_parameters"] == sum(count_parameters(one).activated for one in networks)
    assert found["multiply_adds"] == sum(count_flops(one, 24).activated for one in networks)


def test_other_values_are_refused():
    with pytest.raises((TypeError, ValueError), match="diverse must be one of"):
        tiny_classifier(diverse="very").fit(*panel())


def test_networks_of_any_kernel_size_have_as_many_features():
    X = np.random.default_rng(0).normal(size=(12, 6, 30))
    sizes = {"n_layers": 2, "n_filters": 3, "kernel_size": 9, "n_epochs": 1}
    classifier = DSNClassifier(**sizes, n_estimators=3).fit(X, np.arange(12) % 2)
    assert classifier.transform(X).shape == (12, len(classifier.get_feature_names_out()))

"""Contributions: sums, a plain-loop oracle, padding, and a pattern that they must find."""

import naive
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import softmax
from sktime.exceptions import NotFittedError
from tiny import panel, tiny_classifier, tiny_oscnn, untraced
from torch import nn

from dsn_sktime import DSNClassifier
from dsn_sktime.explain import baseline, contributions
from dsn_sktime.panel import Panel, Standardization, read_panel

KINDS = ("univariate", "multivariate", "unequal")


def series(kind):
    """Return series of a kind, with a missing value, and their labels."""
    X, y = panel("univariate" if kind == "univariate" else "multivariate")
    X = X[..., :30].copy()
    X[0, 0, 3] = np.nan
    if kind != "unequal":
        return X, y
    return [one[:, : 12 + 3 * (place % 5)] for place, one in enumerate(X)], y


def network_inputs(classifier, X):
    standardization = Standardization(classifier.mean_, classifier.scale_)
    read = Panel.from_raw(read_panel(X), standardization)
    return read.values, read.lengths


def logits_of(classifier, X):
    """Return the mean of the networks' logits."""
    inputs = network_inputs(classifier, X)
    with torch.no_grad():
        found = [
            network(*inputs) if head is None else head(network, *inputs)
            for network, head in zip(classifier.networks_, classifier.heads_, strict=True)
        ]
    return sum(found).numpy() / len(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", ["ridge", "bins", "linear"])
def test_contributions_and_baseline_are_the_logits(head, kind):
    X, y = series(kind)
    padding = "zeros" if head == "bins" else "replicate"
    # Of 7 bins, those of a series of 12 or 24 steps overlap.
    classifier = tiny_classifier(head=head, n_pool=7, padding=padding).fit(X, y)
    found = contributions(classifier, X)
    n_classes = len(classifier.classes_)
    assert found.shape == (len(X), n_classes, len(X[0]), max(one.shape[1] for one in X))
    logits = found.sum((2, 3)) + baseline(classifier)
    assert logits == pytest.approx(logits_of(classifier, X), abs=1e-5)
    assert softmax(logits, axis=1) == pytest.approx(classifier.predict_proba(X), abs=1e-5)


@pytest.mark.parametrize("head", ["ridge", "bins"])
def test_an_ensemble_has_the_mean_of_its_networks_logits(head):
    X, y = series("univariate")
    classifier = tiny_classifier(head=head, n_estimators=2).fit(X, y)
    found = contributions(classifier, X).sum((2, 3)) + baseline(classifier)
    assert found == pytest.approx(logits_of(classifier, X), abs=1e-5)


def naive_propagate(relevance, weight, inputs):
    """Propagate relevance (C_out, L) of a convolution (C_out, C_in, k) to its inputs (C_in, L)."""
    found = np.zeros(inputs.shape)
    n_steps = inputs.shape[1]
    for out_channel, step in np.ndindex(relevance.shape):
        # Beyond its end a series has its last value.
        read = [
            (in_channel, min(step + tap, n_steps - 1), weight[out_channel, in_channel, tap])
            for in_channel, tap in zip(*np.nonzero(weight[out_channel]), strict=True)
        ]
        powers = [(one * inputs[channel, at]) ** 4 for channel, at, one in read]
        if sum(powers) == 0:
            found[:, step] += relevance[out_channel, step] / len(found)
            continue
        for (channel, at, _), power in zip(read, powers, strict=True):
            found[channel, at] += relevance[out_channel, step] * power / sum(powers)
    return found


def naive_variates(relevance, kernels, x):
    """Propagate relevance (C_out, L) to the series (m, L), first to its variates."""
    n_steps = x.shape[1]
    added = np.zeros((len(x), *relevance.shape))
    for variate, channel, step in np.ndindex(added.shape):
        for tap, weight in enumerate(kernels[channel, variate]):
            added[variate, channel, step] += weight * x[variate, min(step + tap, n_steps - 1)]
    total = (added**4).sum(0)
    shares = np.where(total > 0, added**4 / np.where(total > 0, total, 1), 1 / len(x))
    rows = [
        naive_propagate(relevance * shares[variate], kernels[:, [variate]], x[[variate]])
        for variate in range(len(x))
    ]
    return np.concatenate(rows)


def naive_reference(norm):
    """Return mean, maximum and share of positive values of rectified normal values, (C, 3)."""
    found = []
    for mean, deviation in zip(norm.bias.tolist(), norm.weight.tolist(), strict=True):
        before = stats.norm(mean, abs(deviation))
        rectified = before.expect(lambda value: value, lb=0)
        largest = max(mean + 1.5 * abs(deviation), 0)
        found.append([rectified, largest, before.sf(0)])
    return np.array(found)


def naive_parts(activations, coef, norm):
    """Split the class's part of the logit of one layer's statistics over channels and steps."""
    n_steps = activations.shape[1]
    parts = np.zeros(activations.shape)
    for channel, (row, reference) in enumerate(
        zip(activations, naive_reference(norm), strict=True)
    ):
        mean_coef, max_coef, share_coef = coef[channel]
        for step, value in enumerate(row):
            parts[channel, step] += mean_coef * (value - reference[0]) / n_steps
            parts[channel, step] += share_coef * ((value > 0) - reference[2]) / n_steps
        steps_of_largest = np.flatnonzero(row == row.max())
        parts[channel, steps_of_largest] += (
            max_coef * (row.max() - reference[1]) / len(steps_of_largest)
        )
    found = np.zeros(parts.shape)
    for step in range(n_steps):
        squares = parts[:, step] ** 2
        if squares.sum() > 0:
            found[:, step] = parts[:, step].sum() * squares / squares.sum()
    return found


def test_contributions_are_those_of_plain_loops():
    X, y = series("multivariate")
    classifier = tiny_classifier(head="ridge").fit(X, y)
    (network,), (head,) = classifier.networks_, classifier.heads_
    with torch.no_grad():
        # Weights of either sign, and a channel that is nowhere positive.
        network.layers[0].norm.weight[1] *= -1
        network.layers[1].norm.weight[0] = 0.01
        network.layers[1].norm.bias[0] = -1
    x = network_inputs(classifier, X)[0][:1]
    norm = network.head.norm
    own = (
        network.head.classes.weight * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None]
    )
    expected = np.zeros((2, *x.shape[1:]))
    values = x[0].double().numpy()
    n_channels = 3 * head.networks[0].sparse_convs()[0].groups.channels_per_group
    # Two layers of 9 channels of the trained network, one of each untrained one.
    places = [9, 18, *range(18 + n_channels, 18 + len(values) * n_channels, n_channels)]
    first, second, *others = np.split(
        head.coef.numpy().reshape(-1, 3, head.coef.shape[1]) / 3, places
    )
    second[:, 0] += own.detach().numpy().T / 3
    with torch.no_grad():
        trained = network.features(x, layers="all", pool=None)[0].double().numpy()
    layer, last = network.layers
    (kernels, mixing), (more_kernels, more_mixing) = map(weights_of, network.layers)
    for number in range(2):
        relevance = naive_parts(trained[9:], second[:, :, number], last.norm)
        relevance = naive_propagate(relevance, more_kernels, more_mixing @ trained[:9])
        relevance = naive_propagate(relevance, more_mixing[:, :, None], trained[:9])
        relevance += naive_parts(trained[:9], first[:, :, number], layer.norm)
        mixed = np.einsum("kjt,jv->kvt", kernels, mixing)
        expected[number] += naive_variates(relevance, mixed, values)
    for variate, (untrained, coef) in enumerate(zip(head.networks, others, strict=True)):
        part = slice(variate, variate + 1)
        with torch.no_grad():
            found = untrained.features(x[:, part], layers="all", pool=None)[0].double().numpy()
        kernels = naive.dense_kernels(untrained.layers[0].conv)
        for number in range(2):
            relevance = naive_parts(found, coef[:, :, number], untrained.layers[0].norm)
            expected[number, part] += naive_variates(relevance, kernels, values[part])
    assert contributions(classifier, X[:1])[0, :2] == pytest.approx(expected, abs=1e-6)


def weights_of(layer):
    """Return kernels (C_out, C_in, k) and the 1x1 convolution of a layer."""
    mixing = layer.bottleneck.weight.detach().double().numpy()
    return naive.dense_kernels(layer.conv), mixing


def test_a_series_has_its_contributions_whatever_comes_with_it():
    X, y = series("unequal")
    classifier = tiny_classifier(head="ridge").fit(X, y)
    together = contributions(classifier, X)
    for row in (0, 4):
        n_steps = X[row].shape[1]
        alone = contributions(classifier, [X[row]])[0]
        assert together[row, :, :, :n_steps] == pytest.approx(alone, abs=1e-6)
        assert not together[row, :, :, n_steps:].any()


@pytest.mark.filterwarnings("ignore:only single label")
def test_what_cannot_be_explained_is_refused_by_name():
    X, y = series("univariate")
    with pytest.raises(TypeError, match="found OSCNNClassifier"):
        contributions(tiny_oscnn().fit(X, y), X)
    with pytest.raises(NotFittedError):
        contributions(tiny_classifier(), X)
    with pytest.raises(NotFittedError, match="no trained network, as y had a single class"):
        baseline(tiny_classifier().fit(X, np.ones(len(X))))
    classifier = tiny_classifier().fit(X, y)
    classifier.networks_[0].head = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(TypeError, match="found Sequential"):
        contributions(classifier, X)
    with pytest.raises(ValueError, match="1 variates"):
        contributions(tiny_classifier().fit(X, y), np.zeros((2, 3, 30)))


def planted(n, kind, seed):
    """Return noise with a wave of 20 steps in one variate, its labels, and the waves' starts."""
    rng = np.random.default_rng(seed)
    labels, time = np.arange(n) % 3, np.linspace(0, 2 * np.pi, 20)
    waves = 4 * np.sin(time), 4 * np.sign(np.cos(time)), 4 * np.cos(2 * time)
    X, starts = [], []
    for label in labels:
        n_steps = rng.integers(70, 100) if kind == "unequal" else 90
        one = rng.normal(size=(2 if kind == "multivariate" else 1, n_steps))
        starts.append(rng.integers(0, n_steps - 20))
        one[-1, starts[-1] : starts[-1] + 20] += waves[label]
        X.append(one)
    return (X if kind == "unequal" else np.array(X)), labels, starts


@untraced
@pytest.mark.parametrize("kind", KINDS)
def test_most_of_what_supports_the_predicted_class_lies_on_a_planted_pattern(kind):
    X, y, _ = planted(120 if kind == "multivariate" else 60, kind, seed=0)
    classifier = DSNClassifier(n_epochs=20, n_filters=16, random_state=0).fit(X, y)
    X, y, starts = planted(100, kind, seed=1)
    found = contributions(classifier, X)[np.arange(100), classifier.predict(X)].clip(min=0)
    on_pattern = [
        one[-1, start : start + 20].sum() for one, start in zip(found, starts, strict=True)
    ]
    assert np.count_nonzero(on_pattern > found.sum((1, 2)) / 2) >= 95


def test_replaced_layers_and_heads_are_refused():
    of_layer, of_norm, of_head = (
        DSNClassifier(n_epochs=1, n_layers=1, n_filters=2).fit(*panel()) for _ in "abc"
    )
    of_layer.network_.layers[0] = nn.Identity()
    of_norm.network_.layers[0].norm = nn.Identity()
    for classifier, found in ((of_layer, "Identity"), (of_norm, "SparseModule")):
        with pytest.raises(TypeError, match=f"layers with BatchNorm can be .*, found {found}"):
            contributions(classifier, panel()[0])
    of_head.heads_[0] = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="linear in pooled features can be explained, found Linear"):
        contributions(of_head, panel()[0])

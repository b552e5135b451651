"""The ridge head: its solver against scikit-learn and plain loops, and its logits by hand."""

import naive
import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import RidgeCV

from dsn_sktime import DSNClassifier
from dsn_sktime.estimators import ridge_head
from dsn_sktime.estimators.ridge_head import RidgeHeadFit, center_kernels, fit_ridge
from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.training import Callback, Checkpoint

ALPHAS = np.logspace(-3, 3, 10)
TINY = {"n_epochs": 2, "n_layers": 2, "n_filters": 3, "kernel_size": 9}


def make_problem(n, p, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    class_indices = np.arange(n) % n_classes
    features = rng.normal(size=(n, p)) * rng.uniform(0.1, 10, p) + rng.normal(size=p)
    features[:, 0] += class_indices
    return features, signs(class_indices, n_classes), rng.uniform(0.2, 3, n)


def signs(class_indices, n_classes=3):
    return 2.0 * np.eye(n_classes)[class_indices] - 1


def standardized(features, share):
    mean = share @ features
    scale = np.sqrt(share @ (features - mean) ** 2)
    return (features - mean) / scale


@pytest.mark.parametrize("shape", [(20, 7), (12, 30), (9, 9)])
def test_solution_is_that_of_scikit_learn(shape):
    features, targets, weight = make_problem(*shape)
    share = weight / weight.sum()
    x = standardized(features, share)
    oracle = RidgeCV(ALPHAS).fit(x, targets, sample_weight=share * len(x))
    found = fit_ridge(features, targets, weight)
    outputs = features @ found.coef + found.intercept
    assert outputs == pytest.approx(oracle.predict(x), abs=1e-6)


@pytest.mark.parametrize("shape", [(20, 7), (12, 30)])
def test_held_out_outputs_are_those_of_fits_without_the_series(shape):
    features, targets, weight = make_problem(*shape)
    share = weight / weight.sum()
    root = np.sqrt(share * len(features))
    x = np.column_stack([standardized(features, share), np.ones(len(features))])

    def without(row, alpha):
        kept = np.arange(len(x)) != row
        a, b = root[kept, None] * x[kept], root[kept, None] * targets[kept]
        penalty = alpha * np.diag([1.0] * (x.shape[1] - 1) + [0.0])
        return x[row] @ np.linalg.solve(a.T @ a + penalty, a.T @ b)

    each = {alpha: np.array([without(row, alpha) for row in range(len(x))]) for alpha in ALPHAS}
    best = min(ALPHAS, key=lambda alpha: share @ ((each[alpha] - targets) ** 2).sum(1))
    found = fit_ridge(features, targets, weight)
    assert found.held_out == pytest.approx(each[best], abs=1e-5)


def test_only_ratios_of_weights_count():
    features, targets, weight = make_problem(15, 8)
    one, other = (fit_ridge(features, targets, factor * weight) for factor in (1, 1e6))
    assert one.coef == pytest.approx(other.coef, rel=1e-9)


def test_a_feature_that_varies_by_rounding_only_is_not_magnified():
    features, targets, weight = make_problem(20, 7)
    noise = np.random.default_rng(1).normal(size=20)
    features[:, 3] = 5e-3 + 4e-7 * noise
    fit = fit_ridge(features, targets, weight)
    assert np.abs(fit.coef[3]).max() < 1e-3


def test_constant_features_and_absent_classes_change_nothing():
    features, targets, weight = make_problem(15, 8)
    constant = np.full((15, 2), [0.1, 1e7])
    plain = fit_ridge(features, targets, weight)
    absent = np.column_stack([targets, np.full(15, -1.0)])
    more = fit_ridge(np.hstack([features, constant]), absent, weight)
    assert more.coef[:8, :3] == pytest.approx(plain.coef, rel=1e-6)
    assert np.abs(more.coef[8:]).max() == 0
    assert more.held_out[:, 3] == pytest.approx(-1)
    assert np.abs(more.coef[:, 3]).max() < 1e-12


def random_networks():
    generator = torch.Generator().manual_seed(0)
    sizes = {"n_layers": 2, "n_filters": 3, "kernel_size": 9, "generator": generator}
    return [DSNNetwork(2, 3, **sizes).eval() for _ in range(2)]


@pytest.mark.parametrize("lengths", [None, torch.tensor([24, 9, 15, 24, 11, 20, 24, 17, 13])])
def test_logits_are_the_mean_of_three_classifiers(lengths):
    trained, untrained = random_networks()
    values = torch.randn(9, 2, 24, generator=torch.Generator().manual_seed(1))
    panel, targets = Panel(values, lengths), signs(np.arange(9) % 3)
    rng = np.random.default_rng(0)
    head = RidgeHeadFit([untrained], panel, targets, np.ones(9), True, rng).finish(trained)
    with torch.no_grad():
        found = head(trained, values, lengths).numpy()
        own = trained(values, lengths).double().numpy()
        stats = [
            network.features(values, lengths, layers="all", pool="stats").flatten(1).numpy()
            for network in (trained, untrained)
        ]
    first, second = (fit_ridge(one, targets, np.ones(9)) for one in stats)
    outputs = sum(
        one @ fit.coef + fit.intercept for one, fit in zip(stats, (first, second), strict=True)
    )
    # Bins of 24 steps in 50 overlap unevenly: the network's own logits differ a little.
    ridge = 3 * found - own
    factor = np.vdot(ridge, outputs) / np.vdot(outputs, outputs)
    assert 0.1 < factor < 200
    assert np.abs(ridge - factor * outputs).max() < 0.05 * np.abs(ridge).max()


@pytest.mark.parametrize("lengths", [None, torch.tensor([24, 9, 15, 24, 11, 20, 24, 17, 13])])
def test_each_untrained_network_reads_its_variate(lengths):
    trained, sizes = random_networks()[0], {"n_layers": 1, "n_filters": 3, "kernel_size": 9}
    untrained = [DSNNetwork(1, 1, **sizes) for _ in range(2)]
    values = torch.randn(9, 2, 24, generator=torch.Generator().manual_seed(1))
    targets = signs(np.arange(9) % 3)
    fit = RidgeHeadFit(
        untrained, Panel(values, lengths), targets, np.ones(9), True, np.random.default_rng(0)
    )
    head = fit.finish(trained)
    ends = [24] * 9 if lengths is None else lengths.tolist()
    with torch.no_grad():
        for variate, network in enumerate(untrained):
            convolved = network.layers[0].conv(values[:, [variate]], lengths)
            steps = torch.cat([one[:, :end] for one, end in zip(convolved, ends, strict=True)], 1)
            assert network.layers[0].norm.running_mean == pytest.approx(steps.mean(1), abs=1e-5)
        found = head.features(trained, values, lengths)
        expected = [trained.features(values, lengths, "all", "stats")]
        for variate, network in enumerate(untrained):
            expected.append(network.features(values[:, [variate]], lengths, "all", "stats"))
    assert torch.equal(found, torch.cat(expected, 1))


def test_outputs_of_a_regression_are_the_mean_of_three_predictions():
    trained, untrained = random_networks()
    values = torch.randn(12, 2, 24, generator=torch.Generator().manual_seed(1))
    rng, targets = np.random.default_rng(0), np.random.default_rng(1).normal(size=(12, 3))
    fit = RidgeHeadFit([untrained], Panel(values, None), targets, np.ones(12), False, rng)
    head = fit.finish(trained)
    with torch.no_grad():
        found = head(trained, values, None).numpy()
        stats = [
            network.features(values, None, layers="all", pool="stats").flatten(1).numpy()
            for network in (trained, untrained)
        ]
        means = trained.features(values, None, pool=1)
        expected = trained.head(means).double().numpy()
    for one in stats:
        x = standardized(one[:, np.ptp(one, axis=0) > 1e-4], np.full(12, 1 / 12))
        expected += RidgeCV(ALPHAS).fit(x, targets).predict(x)
    assert found == pytest.approx(expected / 3, abs=1e-4)


def test_every_second_channel_of_the_untrained_network_has_kernels_of_mean_zero():
    network, drawn = random_networks()[0], random_networks()[0]
    center_kernels(network, first=0)
    for convs in zip(network.sparse_convs(), drawn.sparse_convs(), strict=True):
        pairs = zip(*map(naive.dense_kernels, convs), strict=True)
        for channel, (kernel, weights) in enumerate(pairs):
            for one, before in zip(kernel, weights, strict=True):
                is_activated = before != 0
                expected = before.copy()
                if channel % 2 == 0 and is_activated.any():
                    expected[is_activated] -= before[is_activated].mean()
                assert one == pytest.approx(expected, abs=1e-6)


def test_half_of_the_untrained_channels_do_not_see_the_level_of_a_series():
    X, y = make_panel()
    classifier = DSNClassifier(**TINY, standardize=False, random_state=0).fit(X, y)
    layer = classifier.heads_[0].untrained.layers[0]
    series = torch.from_numpy(X[:2].astype(np.float32))
    with torch.no_grad():
        change = (layer.conv(series + 3) - layer.conv(series)).abs().amax((0, 2))
    assert (change[::2] < 1e-5).all()
    assert (change[1::2] > 1e-3).any()


@pytest.mark.parametrize("n_variates", [1, 3])
def test_untrained_networks_have_one_layer_for_each_variate(n_variates):
    X, y = make_panel()
    X = np.repeat(X, n_variates, axis=1) + np.arange(n_variates)[:, None]
    sizes = {"n_epochs": 1, "kernel_size": 9, "random_state": 0}
    # With 2 filters, a kernel group of the network with the smallest kernel would have 0.8 weights.
    for n_layers, n_filters, expected in [(4, 5, -(-20 // n_variates)), (1, 2, 3)]:
        classifier = DSNClassifier(n_layers=n_layers, n_filters=n_filters, **sizes).fit(X, y)
        found = [network.sparse_convs() for network in classifier.heads_[0].networks]
        assert len(found) == n_variates
        for (conv,) in found:
            assert (conv.groups.in_channels, conv.groups.channels_per_group) == (1, expected)


def test_features_of_an_untrained_network_are_those_of_its_variate():
    X, y = make_panel()
    X = np.concatenate([X, X[::-1], 2 * X], axis=1)
    classifier = DSNClassifier(**TINY, random_state=0).fit(X, y)
    names = classifier.get_feature_names_out()
    other = X.copy()
    other[:, 1] += np.random.default_rng(0).normal(size=other[:, 1].shape)
    changed = names[(classifier.transform(other) != classifier.transform(X)).any(0)]
    assert {name.split("_layer")[0] for name in changed} == {
        "member0_trained",
        "member0_untrained_variate1",
    }


def make_panel(n=24, n_steps=30):
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"])[np.arange(n) % 2]
    X = rng.normal(size=(n, 1, n_steps))
    X[y == "b"] += np.sin(np.arange(n_steps))
    return X, y


def test_probabilities_are_the_softmax_of_the_mean_logits():
    X, y = make_panel()
    classifier = DSNClassifier(**TINY, random_state=0).fit(X, y)
    (network,), (head,) = classifier.networks_, classifier.heads_
    scaled = (X - classifier.mean_[:, None]) / classifier.scale_[:, None]
    with torch.no_grad():
        logits = head(network, torch.from_numpy(scaled.astype(np.float32)), None)
    assert classifier.predict_proba(X) == pytest.approx(softmax(logits.numpy(), axis=1), abs=1e-6)


def test_noise_is_classified_with_little_confidence():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 1, 30)), np.arange(40) % 2
    classifier = DSNClassifier(**{**TINY, "n_epochs": 20}, random_state=0).fit(X, y)
    assert classifier.predict_proba(rng.normal(size=(40, 1, 30))).max(1).mean() < 0.9


def test_other_heads_leave_the_logits_to_the_network():
    X, y = make_panel()
    for head in ("bins", "linear"):
        classifier = DSNClassifier(**TINY, head=head, random_state=0).fit(X, y)
        assert classifier.heads_ == [None]


def test_head_does_not_depend_on_threads_and_survives_saving(tmp_path):
    X, y = make_panel()
    one = DSNClassifier(**TINY, n_estimators=2, n_jobs=1, random_state=0).fit(X, y)
    two = DSNClassifier(**TINY, n_estimators=2, n_jobs=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    one.save(tmp_path / "model")
    loaded = DSNClassifier.load_from_path(tmp_path / "model.zip")
    np.testing.assert_array_equal(loaded.predict_proba(X), one.predict_proba(X))


def test_the_head_follows_the_backend_of_the_network():
    X, y = make_panel()
    classifier = DSNClassifier(**TINY, random_state=0).fit(X, y)
    sparse = classifier.predict_proba(X)
    classifier.network_.backend = "dense"
    assert classifier.predict_proba(X) == pytest.approx(sparse, abs=1e-5)
    assert classifier.heads_[0].untrained.backend == "dense"


def test_weights_reach_the_head():
    X, y = make_panel()
    plain = DSNClassifier(**TINY, random_state=0).fit(X, y)
    weighted = DSNClassifier(**TINY, class_weight={"a": 10.0}, random_state=0).fit(X, y)
    noise = np.random.default_rng(5).normal(size=(50, 1, 30))
    assert weighted.predict_proba(noise)[:, 0].mean() > plain.predict_proba(noise)[:, 0].mean()


def test_a_resumed_fit_has_the_head_of_an_uninterrupted_one(tmp_path):
    X, y = make_panel()
    settings = {**TINY, "n_epochs": 6, "random_state": 0}
    whole = DSNClassifier(**settings).fit(X, y)

    class Stop(Callback):
        def on_epoch_end(self, trainer, record):
            if record["epoch"] == 3:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        DSNClassifier(**settings, callbacks=[Checkpoint(tmp_path), Stop()]).fit(X, y)
    DSNClassifier(**settings, callbacks=[Checkpoint(tmp_path)]).fit(X, y)
    resumed = DSNClassifier(**settings, callbacks=[Checkpoint(tmp_path)]).fit(X, y)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


def test_statistics_of_an_untrained_network_are_those_of_its_series_however_long():
    # So long that a chunk has a single one.
    panel = Panel(3 + torch.randn(3, 1, 40_000))
    untrained = DSNNetwork(1, 1, n_layers=1, n_filters=1, kernel_size=18)
    targets, weight = signs(np.arange(3) % 2, 2), np.ones(3)
    RidgeHeadFit([untrained], panel, targets, weight, True, np.random.default_rng(0))
    kernels = untrained.sparse_convs()[0](panel.values).detach()
    norm = untrained.layers[0].norm
    assert norm.running_mean.numpy() == pytest.approx(kernels.mean((0, 2)).numpy(), abs=1e-3)
    assert norm.running_var.numpy() == pytest.approx(kernels.var((0, 2)).numpy(), rel=0.05)


def test_some_series_of_a_rare_class_are_drawn(monkeypatch):
    monkeypatch.setattr(ridge_head, "_MAX_SERIES", 100)
    class_indices = np.zeros(5000, dtype=int)
    class_indices[[70, 4000]] = 1
    rng, targets = np.random.default_rng(0), signs(class_indices, 2)
    rows, weight = ridge_head._sample_rows(targets, np.ones(5000), True, rng)
    assert len(rows) == len(set(rows)) == 100
    assert {70, 4000} <= set(rows)
    # By weight, it is as rare as before.
    assert weight[class_indices[rows] == 1].sum() / weight.sum() == pytest.approx(2 / 5000)


def test_series_of_unequal_length_with_missing_values():
    X, y = make_panel()
    unequal = [series[:, : 15 + number % 9].copy() for number, series in enumerate(X)]
    unequal[3][0, 4] = np.nan
    classifier = DSNClassifier(**TINY, random_state=0).fit(unequal, y)
    together = classifier.predict_proba(unequal)
    alone = np.concatenate([classifier.predict_proba([series]) for series in unequal])
    assert np.isfinite(together).all()
    assert alone == pytest.approx(together, abs=1e-6)

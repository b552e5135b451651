"""The Omni-Scale CNN: its kernel sizes, network, schedule and classifier."""

from __future__ import annotations

import inspect
import math
import pickle
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from sklearn.model_selection import GridSearchCV
from sktime.datasets import load_japanese_vowels
from tiny import StopAfter, fitted_once, panel, tiny_oscnn
from torch import nn
from torch.nn import functional as F

from dsn_sktime import OSCNNClassifier
from dsn_sktime.analysis import Count, count_flops, count_parameters
from dsn_sktime.oscnn import (
    MultiSizeConv1d,
    OSCNNNetwork,
    OSLayerShape,
    os_layer_shapes,
    prime_sizes,
)
from dsn_sktime.plotting import plot_history
from dsn_sktime.training import Checkpoint, Recipe, Trainer
from dsn_sktime.training.adam import Adam

BUDGETS = (1024, 229376)  # The authors': 8 * 128, and 5 * 128 * 256 + 2 * 256 * 128.
LENGTHS = [12, 1, 3, 7]


# Kernel sizes and budgets


def test_sizes_are_one_and_the_primes() -> None:
    for largest in range(1, 100):
        expected = [
            size
            for size in range(1, largest + 1)
            if sum(size % divisor == 0 for divisor in range(1, size + 1)) <= 2
        ]
        assert list(prime_sizes(largest)) == expected


def test_kernels_are_those_that_the_authors_published_for_a_length_of_100() -> None:
    # Their notebook on the structure: up to 100 / 4 = 25, 10 sizes that sum to 101.
    # 1024 // 101 = 10 filters, and 229376 // (100 * 101) = 22.
    sizes = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23)
    assert os_layer_shapes(1, 25, BUDGETS) == [
        OSLayerShape(1, 10, sizes),
        OSLayerShape(100, 22, sizes),
        OSLayerShape(220, 100, (1, 2)),
    ]


@pytest.mark.parametrize("n_variates", [2, 9])
def test_the_number_of_channels_does_not_depend_on_the_variates(n_variates: int) -> None:
    # The authors' example for multivariate data multiplies the first budget by their number.
    first, *others = os_layer_shapes(n_variates, 25, BUDGETS)
    assert first == OSLayerShape(n_variates, 10, prime_sizes(25))
    assert others == os_layer_shapes(1, 25, BUDGETS)[1:]


@given(
    largest=st.integers(1, 89),
    n_variates=st.integers(1, 5),
    first=st.integers(964, 5000),
    second=st.integers(200_000, 300_000),
)
@settings(max_examples=50, deadline=None)
def test_budgets_are_spent_as_far_as_whole_filters_go(
    largest: int, n_variates: int, first: int, second: int
) -> None:
    try:
        shapes = os_layer_shapes(n_variates, largest, (first, second))
    except ValueError:
        # So many channels in the first layer that one filter of each size is too much.
        assert first // sum(prime_sizes(largest)) * len(prime_sizes(largest)) > 200
        return
    for shape, budget in zip(shapes[:2], (first * n_variates, second), strict=True):
        of_one_filter = shape.in_channels * sum(shape.kernel_sizes)
        assert shape.n_weights <= budget < shape.n_weights + of_one_filter
    assert shapes[2].n_filters == shapes[0].out_channels == shapes[1].in_channels


def test_the_published_number_of_parameters() -> None:
    # "number of parameter of OS_CNN = 235741" in the authors' notebook that compares sizes. It
    # takes 2 classes and length 96, but kernels of all primes up to 89, not to a quarter of
    # the length. 25 sizes sum to 964; 1024 // 964 = 1 filter, 229376 // (25 * 964) = 9.
    weights = 964 + 25 * 9 * 964 + 225 * 25 * (1 + 2)
    channels = 25 + 225 + 50  # Each has a bias, and a scale and a shift of BatchNorm.
    expected = weights + 3 * channels + 50 * 2 + 2
    assert expected == 235_741
    network = OSCNNNetwork(1, 2, largest_kernel_size=89)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert count_parameters(network).activated == expected


def test_parameters_for_length_96_with_kernels_up_to_a_quarter() -> None:
    # Up to 24: as for a length of 100.
    weights = 10 * 101 + 100 * 22 * 101 + 220 * 100 * (1 + 2)
    expected = weights + 3 * (100 + 220 + 200) + 200 * 2 + 2
    assert expected == 291_172
    X = np.random.default_rng(0).normal(size=(4, 1, 96))
    classifier = OSCNNClassifier(n_epochs=1, random_state=0).fit(X, [0, 1, 0, 1])
    assert count_parameters(classifier.network_).activated == expected


def test_counts_beside_kernels_of_the_largest_size() -> None:
    network = OSCNNNetwork(3, 4, largest_kernel_size=3, layer_budgets=(12, 100))
    # Sizes 1, 2, 3: 2 filters each from 3 variates, 6 channels; 100 // (6 * 6) = 2 each.
    weights = 3 * 2 * 6 + 6 * 2 * 6 + 6 * 6 * 3
    dense = 6 * 3 * 3 + 6 * 6 * 3 + 12 * 6 * 2
    others = 3 * (6 + 6 + 12) + 12 * 4 + 4
    assert count_parameters(network) == Count(weights + others, dense + others)
    assert count_flops(network, 10) == Count(10 * weights + 48, 10 * dense + 48)


@pytest.mark.parametrize(
    ("length", "largest"), [(1, 1), (7, 1), (8, 2), (96, 23), (355, 83), (356, 89), (999, 89)]
)
def test_kernels_go_up_to_a_quarter_of_the_length_but_not_above_89(
    length: int, largest: int
) -> None:
    class Look(StopAfter):
        def on_train_begin(self, trainer: Any) -> None:
            sizes = [conv.shape.kernel_sizes for conv in trainer.network.convs()]
            assert sizes == [prime_sizes(largest)] * 2 + [(1, 2)]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OSCNNClassifier(callbacks=[Look()]).fit(np.zeros((4, 1, length)), [0, 1, 0, 1])


def test_the_quarter_is_that_of_the_longest_training_series() -> None:
    X = [pd.DataFrame(np.zeros((length, 1))) for length in (4, 12, 3, 5)]
    network = tiny_oscnn().fit(X, [0, 1, 0, 1]).network_
    assert network.convs()[0].shape.kernel_sizes == (1, 2, 3)


# Convolution


def some_conv(in_channels: int = 3, sizes: tuple[int, ...] = (1, 2, 3, 5)) -> MultiSizeConv1d:
    return MultiSizeConv1d(OSLayerShape(in_channels, 2, sizes))


def list_of_convolutions(conv: MultiSizeConv1d, x: torch.Tensor) -> torch.Tensor:
    each = []
    for k, kernels, bias in conv.convolutions():
        each.append(F.conv1d(F.pad(x, ((k - 1) // 2, k // 2)), kernels, bias))
    return torch.cat(each, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_steps", [1, 2, 4, 11])
def test_one_masked_convolution_is_the_list_of_small_ones(n_steps: int, dtype: torch.dtype) -> None:
    conv = some_conv().to(dtype)
    x = torch.randn(4, 3, n_steps, dtype=dtype)
    expected = [
        np.concatenate(
            [
                naive.convolve(series, kernels.double().numpy(), "zeros")
                + bias.double().numpy()[:, None]
                for _, kernels, bias in conv.convolutions()
            ]
        )
        for series in x.double().numpy()
    ]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert naive.relative_error(conv(x).detach(), expected) < tolerance


def test_the_masks_hold_while_adam_steps() -> None:
    conv, x = some_conv(), torch.randn(5, 3, 9)
    optimizer = Adam(conv.parameters(), 0.1)
    before = conv.values.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        conv(x).square().sum().backward()
        optimizer.step()
    assert (conv.values != before).all()
    # All that there is of the layer: the small kernels and nothing outside them.
    assert torch.allclose(conv(x), list_of_convolutions(conv, x), atol=1e-4)
    assert sum(p.numel() for p in conv.parameters()) == 3 * 2 * (1 + 2 + 3 + 5) + 8


def test_gradients_are_those_of_the_small_convolutions() -> None:
    conv, x = some_conv(), torch.randn(4, 3, 7)
    upstream = torch.randn(4, 8, 7)
    conv(x).backward(upstream)
    found, found_bias = conv.values.grad, conv.bias.grad
    begin = 0
    for number, (k, kernels, bias) in enumerate(conv.convolutions()):
        kernels = kernels.clone().requires_grad_()
        y = F.conv1d(F.pad(x, ((k - 1) // 2, k // 2)), kernels, bias)
        y.backward(upstream[:, 2 * number : 2 * number + 2])
        part = found[begin : begin + kernels.numel()].view_as(kernels)
        assert torch.allclose(part, kernels.grad, atol=1e-4)
        begin += kernels.numel()
    assert torch.allclose(found_bias, upstream.sum((0, 2)), atol=1e-4)


def test_first_weights_have_the_bounds_of_each_size() -> None:
    conv = MultiSizeConv1d(OSLayerShape(4, 50, (1, 2, 7)))
    for k, kernels, bias in conv.convolutions():
        bound = 1 / math.sqrt(4 * k)
        for drawn in (kernels, bias):
            assert drawn.abs().max() <= bound
            assert drawn.abs().max() > 0.9 * bound
        assert abs(kernels.mean()) < 0.2 * bound


# Network


def small_network(n_variates: int = 2) -> OSCNNNetwork:
    """Sizes 1, 2, 3, 5; statistics and scales not at their start."""
    network = OSCNNNetwork(n_variates, 3, largest_kernel_size=6, layer_budgets=(11, 100))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network


def as_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()


def naive_scores(network: OSCNNNetwork, series: list[np.ndarray]) -> np.ndarray:
    layers = [
        {
            "convolutions": [(as_array(w), as_array(b)) for _, w, b in layer.conv.convolutions()],
            "norm": {
                name: as_array(getattr(layer.norm, name))
                for name in ("weight", "bias", "running_mean", "running_var")
            },
        }
        for layer in network.layers
    ]
    classes = {name: as_array(tensor) for name, tensor in network.head.linear.named_parameters()}
    return naive.omni_scale_scores(series, layers, classes, network.training)


def padded(
    rng: np.random.Generator, lengths: list[int], n_variates: int = 2
) -> tuple[list[np.ndarray], torch.Tensor, torch.Tensor]:
    """Random series, and the same as a batch that is NaN where it is padded."""
    series = [rng.normal(size=(n_variates, length)) for length in lengths]
    batch = torch.full((len(lengths), n_variates, max(lengths)), math.nan, dtype=torch.float64)
    for row, one in zip(batch, series, strict=True):
        row[:, : one.shape[1]] = torch.from_numpy(one)
    return series, batch, torch.tensor(lengths)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [[9, 9, 9], LENGTHS], ids=["equal", "unequal"])
@pytest.mark.parametrize("n_variates", [1, 2])
def test_scores_match_the_naive_network(
    rng: np.random.Generator,
    n_variates: int,
    lengths: list[int],
    training: bool,
    dtype: torch.dtype,
) -> None:
    network = small_network(n_variates).to(dtype).train(training)
    series, batch, tensor = padded(rng, lengths, n_variates)
    expected = naive_scores(network, series)
    given_lengths = None if min(lengths) == max(lengths) else tensor
    found = network(batch.to(dtype), given_lengths)
    assert naive.relative_error(found.detach(), expected) < (1e-11 if dtype.itemsize == 8 else 2e-4)


def test_padding_reaches_no_gradient(rng: np.random.Generator) -> None:
    network = small_network().double()
    _, batch, lengths = padded(rng, LENGTHS)
    zeroed = batch.nan_to_num(0)
    gradients = []
    for x in (batch, torch.cat([zeroed, torch.ones(4, 2, 3)], 2)):
        network.zero_grad()
        network(x, lengths).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one.isfinite().all()
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_generator_decides_all_weights_and_the_global_one_is_untouched() -> None:
    before = torch.get_rng_state()
    one, same, other = (
        OSCNNNetwork(1, 2, 5, (22, 200), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in one.named_parameters():
        assert torch.equal(tensor, same.get_parameter(name))
        is_drawn = "norm" not in name
        assert torch.equal(tensor, other.get_parameter(name)) is not is_drawn


def test_networks_and_their_states_can_be_copied() -> None:
    network, x = small_network().eval(), torch.randn(2, 2, 8)
    expected = network(x)
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), expected)
    fresh = small_network()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh.eval()(x), expected)
    assert "MultiSizeConv1d(2, 4, n_filters=1, kernel_sizes=(1, 2, 3, 5))" in repr(network)


@pytest.mark.parametrize("name", ["n_variates", "n_classes", "largest_kernel_size"])
def test_counts_of_a_network_are_positive(name: str) -> None:
    counts = {"n_variates": 1, "n_classes": 2, "largest_kernel_size": 5, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found 0"):
        OSCNNNetwork(**counts)


@pytest.mark.parametrize("x", [torch.zeros(2, 1, 8), torch.zeros(2, 8)])
def test_input_of_another_shape(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"shape \(B, 2, L\)"):
        small_network()(x)


# Training


def plateau_recipe(n_epochs: int, lr: float, lr_min: float, factor: float, patience: int) -> Recipe:
    return Recipe(
        n_epochs=n_epochs,
        batch_size=2,
        lr=lr,
        lr_min=lr_min,
        schedule="plateau",
        lr_factor=factor,
        patience=patience,
    )


@given(
    losses=st.lists(st.sampled_from([0.5, 0.7, 0.9, 0.50003, 0.4999]), max_size=40),
    patience=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5]),
)
@settings(max_examples=50, deadline=None)
def test_the_schedule_is_that_of_torch(losses: list[float], patience: int, factor: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "min", factor=factor, patience=patience, min_lr=1e-4
    )
    recipe = plateau_recipe(50, 1e-3, 1e-4, factor, patience)
    history: list[dict[str, Any]] = []
    for loss in losses:
        assert recipe.learning_rate(0.0, history) == optimizer.param_groups[0]["lr"]
        history.append({"loss": loss})
        torchs.step(loss)
    assert recipe.learning_rate(0.0, history) == optimizer.param_groups[0]["lr"]


def test_a_plateau_halves_the_learning_rate_down_to_its_bound() -> None:
    recipe = plateau_recipe(50, 1e-3, 3e-4, 0.5, 2)
    flat = [{"loss": 1.0}] * 9
    # The first loss is the lowest; of the others every third is one too many.
    expected = [1e-3] * 4 + [5e-4] * 3 + [3e-4] * 3
    assert [recipe.learning_rate(0.0, flat[:n]) for n in range(10)] == pytest.approx(expected)


def test_history_and_trainer_know_nothing_of_topologies() -> None:
    class Look(StopAfter):
        def on_train_begin(self, trainer: Any) -> None:
            assert type(trainer) is Trainer

        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            pass

    classifier = tiny_oscnn(callbacks=[Look()], n_estimators=2).fit(*panel())
    fields = {"network", "epoch", "loss", "accuracy", "lr", "seconds"}
    assert all(set(record) == fields for record in classifier.history_)
    assert len(classifier.history_) == 6
    assert not hasattr(classifier, "n_activated_")


def test_the_learning_rate_follows_the_losses() -> None:
    parameters = {"n_epochs": 12, "lr": 0.2, "lr_min": 0.03, "patience": 0}
    classifier = tiny_oscnn(**parameters).fit(*panel())
    recipe = plateau_recipe(12, 0.2, 0.03, 0.5, 0)
    rates = [record["lr"] for record in classifier.history_]
    history = classifier.history_
    assert rates == [recipe.learning_rate(epoch / 12, history[:epoch]) for epoch in range(12)]
    assert rates[0] == 0.2
    assert rates[-1] < 0.2


def test_the_model_is_that_of_the_epoch_with_the_lowest_loss() -> None:
    states: list[dict] = []

    class Keep(StopAfter):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            state = trainer.network.state_dict()
            states.append({name: tensor.clone() for name, tensor in state.items()})
            if record["epoch"] == 2:
                # Confidently wrong from here on, at a rate too small to recover.
                trainer.network.head.linear.weight.data.mul_(-100)

    parameters = {"n_epochs": 5, "lr": 1e-4, "update_bn": False, "callbacks": [Keep()]}
    classifier = tiny_oscnn(**parameters).fit(*panel())
    assert classifier.best_epoch_ <= 2
    model = classifier.network_.state_dict()
    assert all(torch.equal(model[name], states[classifier.best_epoch_][name]) for name in model)


@pytest.mark.parametrize("patience", [0, 50])
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path: Path, patience: int) -> None:
    X, y = panel()
    parameters = {"n_epochs": 8, "lr": 0.2, "patience": patience}
    expected = tiny_oscnn(**parameters).fit(X, y)
    checkpoint = Checkpoint(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        tiny_oscnn(**parameters, callbacks=[checkpoint, StopAfter(4)]).fit(X, y)
    resumed = tiny_oscnn(**parameters, callbacks=[checkpoint, StopAfter(-1)]).fit(X, y)
    assert np.array_equal(resumed.predict_proba(X), expected.predict_proba(X))
    assert [r["lr"] for r in resumed.history_] == [r["lr"] for r in expected.history_]


# Classifier


def test_defaults_are_those_of_the_authors() -> None:
    parameters = inspect.signature(OSCNNClassifier.__init__).parameters
    defaults = {name: p.default for name, p in parameters.items() if name != "self"}
    assert OSCNNClassifier().get_params() == defaults
    # max_epoch, Adam's and ReduceLROnPlateau's arguments, Max_kernel_size and
    # paramenter_number_of_layer_list of OS_CNN_easy_use.
    published = {
        "n_epochs": 2000,
        "lr": 1e-3,
        "lr_min": 1e-4,
        "lr_factor": 0.5,
        "patience": 50,
        "max_kernel_size": 89,
        "layer_budgets": BUDGETS,
        "batch_size": "paper",
    }
    assert {name: defaults[name] for name in published} == published


@pytest.mark.parametrize(("n", "batch_size"), [(5, 2), (20, 2), (39, 3), (160, 16), (999, 16)])
def test_automatic_batch_size_is_that_of_the_authors(n: int, batch_size: int) -> None:
    # max(int(min(n / 10, 16)), 2)
    assert OSCNNClassifier()._recipe(n).batch_size == batch_size
    assert OSCNNClassifier(batch_size=7)._recipe(n).batch_size == 7


def test_learns_what_is_easy() -> None:
    X, y = panel("multivariate")
    X_test, y_test = panel("multivariate", "test")
    classifier = tiny_oscnn(n_epochs=20, lr=3e-3, layer_budgets=(44, 800)).fit(X, y)
    assert classifier.score(X_test, y_test) > 0.8


def test_unequal_lengths_of_a_real_set() -> None:
    X, y = load_japanese_vowels("train", return_type="df-list")
    X, y = X[::9], y[::9]
    classifier = tiny_oscnn().fit(X, y)
    lengths = [len(series) for series in X]
    shortest = int(np.argmin(lengths))
    assert lengths[shortest] < max(lengths)
    together = classifier.predict_proba(X)
    assert np.allclose(together.sum(1), 1)
    alone = classifier.predict_proba([X[shortest]])[0]
    assert np.allclose(together[shortest], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_very_short_series(length: int) -> None:
    X, y = panel("multivariate")
    p = tiny_oscnn().fit(X[:, :, :length], y).predict_proba(X[:, :, :length])
    assert p.shape == (40, 4)
    assert np.isfinite(p).all()


def test_class_weights_shape_the_model() -> None:
    X, y = panel()
    p = tiny_oscnn(class_weight={"2": 1e6}, n_epochs=20).fit(X, y).predict(X)
    assert set(p) == {"2"}


@pytest.mark.parametrize("random_state", [0, None])
def test_global_generators_are_untouched(random_state: int | None) -> None:
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    X, y = panel()
    tiny_oscnn(random_state=random_state).fit(X, y).predict(X)
    for found, expected in zip(np.random.get_state(), numpy_state, strict=True):  # noqa: NPY002
        assert np.array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_grid_search_over_numpy_numbers_and_lists() -> None:
    grid = {
        "max_kernel_size": np.array([2, 3]),
        "layer_budgets": [[22, 200], (np.int64(22), np.int64(100))],
        "patience": np.arange(2),
    }
    search = GridSearchCV(tiny_oscnn(n_epochs=2), grid, cv=2, error_score="raise").fit(*panel())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_fitted_classifier_can_be_saved(tmp_path: Path) -> None:
    X, y = panel()
    classifier = tiny_oscnn(n_estimators=2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))


def test_a_progress_bar_says_which_network(capfd: pytest.CaptureFixture) -> None:
    tiny_oscnn(verbose=1, n_estimators=2).fit(*panel())
    assert "OS-CNN 2/2" in capfd.readouterr().err


def test_its_history_can_be_drawn() -> None:
    ax = plot_history(tiny_oscnn().fit(*panel()))
    assert len(ax.lines[0].get_xdata()) == 3
    plt.close(ax.figure)


# Errors


def assert_refused(name: str, value: Any, kind: type[Exception], words: list[str]) -> None:
    (X, y), classifier = panel(), fitted_once(tiny_oscnn)
    expected = classifier.predict_proba(X)
    before = getattr(classifier, name)
    setattr(classifier, name, value)
    with pytest.raises(kind) as caught:
        classifier.fit(X, y)
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    setattr(classifier, name, before)
    assert np.array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("n_epochs", 0, ValueError, ["integer of at least 1", "found 0"]),
        ("batch_size", 1, ValueError, ["at least 2, 'auto' or 'paper'", "found 1"]),
        ("patience", -1, ValueError, ["integer of at least 0", "found -1"]),
        ("patience", 1.5, TypeError, ["integer of at least 0", "found 1.5"]),
        ("max_kernel_size", 0, ValueError, ["integer of at least 1", "found 0"]),
        ("max_kernel_size", "9", TypeError, ["integer", "found '9'"]),
        ("lr_factor", 1.0, ValueError, ["(0, 1)", "found 1.0"]),
        ("lr_factor", math.nan, ValueError, ["(0, 1)", "found nan"]),
        ("lr_min", 1.0, ValueError, ["[0, lr=0.001]", "found 1.0"]),
        ("layer_budgets", 1024, ValueError, ["first layer per variate", "found 1024"]),
        ("layer_budgets", (1024,), ValueError, ["the second", "found (1024,)"]),
        ("layer_budgets", (1024, 0), ValueError, ["layer_budgets[1]", "found 0"]),
        ("layer_budgets", (10.0, 99), TypeError, ["layer_budgets[0]", "found 10.0"]),
        ("callbacks", [print], TypeError, ["Callback", "Derive"]),
        ("class_weight", {"c": 2.0}, ValueError, ["labels of y", "found only ['c']"]),
    ],
)
def test_parameters_that_are_refused(
    name: str, value: Any, kind: type[Exception], words: list[str]
) -> None:
    assert_refused(name, value, kind, [name, *words])


def test_budgets_that_leave_no_filter() -> None:
    # 24 steps: sizes 1, 2, 3, 5 sum to 11. Two filters each in layer 1 are 8 channels.
    words = ["layer 1", "up to 5 takes 11 weights", "Raise layer_budgets or lower max_kernel_size"]
    assert_refused("layer_budgets", (10, 200), ValueError, ["layer_budgets=(10, 200)", *words])
    words = ["layer 2", "up to 5 takes 88 weights", "Raise"]
    assert_refused("layer_budgets", (22, 87), ValueError, words)

from __future__ import annotations

import copy
import math

import naive
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from dsn_sktime.layers import PADDINGS
from dsn_sktime.network import DSNNetwork

LENGTHS = [12, 1, 3, 7]


def small_network(n_variates=2, padding="replicate", **options):
    """Two layers of 2 x 3 channels, kernels of 7 taps, 5 bins, statistics not at the start."""
    options = {"n_layers": 2, "n_filters": 3, "kernel_size": 7, "n_kernel_groups": 2} | options
    network = DSNNetwork(
        n_variates, 3, sparsity=0.6, padding=padding, topology_init="random", n_pool=5, **options
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network.double()


def panel(rng, lengths, n_variates=2, filler=math.nan):
    """Random series: (list of (m, L_b), padded batch, lengths)."""
    series = [rng.normal(size=(n_variates, length)) for length in lengths]
    batch = torch.full((len(lengths), n_variates, max(lengths)), filler, dtype=torch.float64)
    for row, one in zip(batch, series, strict=True):
        row[:, : one.shape[1]] = torch.from_numpy(one)
    return series, batch, torch.tensor(lengths)


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


# The naive network with the weights of ours


def as_array(tensor):
    return tensor.detach().double().numpy().copy()


def norm_arrays(norm):
    names = ("weight", "bias", "running_mean", "running_var")
    return {name: as_array(getattr(norm, name)) for name in names}


def naive_parts(network):
    layers = []
    for module in network.layers:
        kernels = np.zeros(module.conv.groups.n_dense)
        kernels[module.conv.index.numpy()] = as_array(module.conv.values)
        layers.append(
            {
                "bottleneck": module.bottleneck and as_array(module.bottleneck.weight),
                "kernels": kernels.reshape(module.conv.groups.shape),
                "norm": norm_arrays(module.norm),
            }
        )
    head = {
        "classes": as_array(network.head.classes.weight),
        "norm": norm_arrays(network.head.norm),
    }
    return layers, head


def naive_scores(network, series):
    layers, head = naive_parts(network)
    padding = network.layers[0].conv.padding
    return naive.network_scores(series, layers, head, padding, network.n_pool, network.training)


# Number of parameters. With c_in channels into a sparse convolution of 3 groups of 47
# kernels, the regions have 47 c_in (13, 26, 39) weights, the budgets are a fifth of that.
#   c_in = 1:   floor(122.2) + floor(244.4) + floor(366.6) = 732
#   c_in = 47:  5,743 + 11,486 + 17,230 = 34,459
# 1x1 convolution between layers: 141 * 47 = 6,627. BatchNorm of a layer: 2 * 141 = 282.
BATCH_NORMS = 4 * 282
LATER_LAYERS = 3 * (6_627 + 34_459)


def test_parameters_of_the_univariate_network_with_two_classes():
    # Head: 141 * 2 weights and BatchNorm over 2 classes.
    expected = 732 + LATER_LAYERS + BATCH_NORMS + 141 * 2 + 2 * 2
    assert expected == 125_404
    assert n_parameters(DSNNetwork(1, 2)) == expected


def test_parameters_of_the_network_for_nine_variates_and_six_classes():
    # The first layer has a 1x1 convolution from 9 to 47 channels, and 34,459 weights.
    expected = 9 * 47 + 34_459 + LATER_LAYERS + BATCH_NORMS + 141 * 6 + 2 * 6
    assert expected == 160_126
    assert n_parameters(DSNNetwork(9, 6)) == expected


def test_dense_kernels_of_the_univariate_network():
    # All 39 taps: 141 * 39 weights in the first layer, 47 * 141 * 39 in each later one.
    network = DSNNetwork(1, 2)
    left_out = sum(conv.groups.n_dense - conv.groups.n_activated for conv in network.sparse_convs())
    expected = 141 * 39 + 3 * (6_627 + 47 * 141 * 39) + BATCH_NORMS + 141 * 2 + 2 * 2
    assert expected == 802_153
    assert n_parameters(network) + left_out == expected


def test_parameters_of_the_dense_network():
    dense = DSNNetwork(1, 2, n_filters=141, n_bottleneck=47, n_kernel_groups=1, sparsity=0)
    # The sparse layers whole, 141 * 39 + 3 * 141 * 47 * 39; the rest as above.
    assert n_parameters(dense) == 5_499 + 3 * 258_453 + 19_881 + 282 + 1_132 == 802_153


def test_only_multivariate_input_passes_a_first_1x1_convolution():
    univariate, multivariate = DSNNetwork(1, 2), DSNNetwork(2, 2)
    assert univariate.layers[0].bottleneck is None
    assert multivariate.layers[0].bottleneck.weight.shape == (47, 2)
    assert univariate.layers[1].bottleneck.weight.shape == (47, 141)
    assert [conv.groups.shape for conv in univariate.sparse_convs()] == [
        (141, 1, 39),
        *[(141, 47, 39)] * 3,
    ]


# Forward


@pytest.mark.parametrize("n_variates", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_steps", [1, 3, 12])
def test_scores_match_the_naive_network(rng, n_steps, training, padding, n_variates):
    network = small_network(n_variates, padding).train(training)
    series, batch, _ = panel(rng, [n_steps] * 3, n_variates)
    expected = naive_scores(network, series)
    assert naive.relative_error(network(batch).detach(), expected) < 1e-9


@pytest.mark.parametrize("n_variates", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("training", [True, False])
def test_scores_of_unequal_lengths_match_the_naive_network(rng, training, padding, n_variates):
    network = small_network(n_variates, padding).train(training)
    series, batch, lengths = panel(rng, LENGTHS, n_variates)
    expected = naive_scores(network, series)
    assert naive.relative_error(network(batch, lengths).detach(), expected) < 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_single_precision_is_close_to_the_naive_network(rng, training):
    network = small_network().float().train(training)
    _, batch, lengths = panel(rng, LENGTHS)
    batch = batch.float()
    series = [as_array(row[:, :length]) for row, length in zip(batch, LENGTHS, strict=True)]
    expected = naive_scores(network, series)
    assert naive.relative_error(network(batch, lengths).detach(), expected) < 1e-5


@pytest.mark.parametrize("padding", PADDINGS)
def test_series_has_the_same_scores_alone_and_padded_in_a_batch(rng, padding):
    network = small_network(padding=padding).eval()
    _, batch, lengths = panel(rng, LENGTHS)
    scores = network(batch, lengths).detach()
    for row, length in enumerate(LENGTHS):
        alone = network(batch[row : row + 1, :, :length]).detach()
        assert naive.relative_error(scores[row : row + 1], alone) < 1e-6


@pytest.mark.parametrize("n_variates", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_what_stands_in_the_padding_changes_nothing(rng, training, n_variates):
    series, _, lengths = panel(rng, LENGTHS, n_variates)
    network = small_network(n_variates).train(training)
    found = []
    for filler in (0, 1e30, math.nan, -math.inf):
        batch = torch.full((len(LENGTHS), n_variates, max(LENGTHS)), filler, dtype=torch.float64)
        for row, one in zip(batch, series, strict=True):
            row[:, : one.shape[1]] = torch.from_numpy(one)
        one = copy.deepcopy(network)
        scores = one(batch, lengths)
        F.cross_entropy(scores, torch.tensor([0, 1, 2, 0])).backward()
        found.append([scores, *(p.grad for p in one.parameters()), *one.buffers()])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_eval_mode_changes_no_state(rng):
    network = small_network().eval()
    before = copy.deepcopy(network.state_dict())
    network(*panel(rng, LENGTHS)[1:])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


# Gradients: the network once more, series by series, of torch's own functions


def reference_scores(network, parameters, batch, lengths):
    def parameter(name):
        return parameters[name]

    def norm(series, name):
        joined = torch.cat([one.T for one in series])
        joined = F.batch_norm(
            joined,
            None,
            None,
            parameter(f"{name}.weight"),
            parameter(f"{name}.bias"),
            training=True,
        )
        return [one.T for one in joined.split([one.shape[1] for one in series])]

    series = [row[:, :length] for row, length in zip(batch, lengths, strict=True)]
    for number, module in enumerate(network.layers):
        if f"layers.{number}.bottleneck.weight" in parameters:
            matrix = parameter(f"layers.{number}.bottleneck.weight")
            series = [matrix @ one for one in series]
        mask = module.conv.dense_mask()
        kernels = torch.zeros(mask.shape, dtype=torch.float64)
        kernels = kernels.masked_scatter(mask, parameter(f"layers.{number}.conv.values"))
        k = mask.shape[2]
        if module.conv.padding == "replicate":
            padded = [torch.cat([one, one[:, -1:].expand(-1, k - 1)], 1) for one in series]
        else:
            padded = [F.pad(one, ((k - 1) // 2, k // 2)) for one in series]
        series = [F.conv1d(one[None], kernels)[0] for one in padded]
        series = [one.relu() for one in norm(series, f"layers.{number}.norm")]
    pooled = [F.adaptive_avg_pool1d(one[None], network.n_pool)[0] for one in series]
    classes = parameter("head.classes.weight")
    scored = norm([classes @ one for one in pooled], "head.norm")
    return torch.stack([one.mean(1) for one in scored])


@pytest.mark.parametrize("n_variates", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("lengths", [[12] * 4, [1] * 4, [3] * 4, LENGTHS])
def test_gradients_match_torchs_own_functions(rng, lengths, padding, n_variates):
    network = small_network(n_variates, padding)
    _, batch, as_tensor = panel(rng, lengths, n_variates)
    codes = torch.tensor([0, 1, 2, 1])
    parameters = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in network.named_parameters()
    }
    F.cross_entropy(reference_scores(network, parameters, batch, lengths), codes).backward()
    are_equal = len(set(lengths)) == 1
    F.cross_entropy(network(batch, None if are_equal else as_tensor), codes).backward()
    largest = max(float(p.grad.abs().max()) for p in parameters.values())
    for name, parameter in network.named_parameters():
        deviation = (parameter.grad - parameters[name].grad).abs().max()
        own = parameters[name].grad.abs().max()
        # Gradients that cancel to nothing leave rounding of the size of the others.
        assert deviation < 1e-5 * own + 1e-12 * largest, name


@pytest.mark.parametrize("training", [True, False])
def test_length_given_though_none_is_padded_makes_no_difference(rng, training):
    network = small_network().train(training)
    _, batch, lengths = panel(rng, [9, 9, 9])
    expected = copy.deepcopy(network)(batch).detach()
    assert naive.relative_error(network(batch, lengths).detach(), expected) < 1e-6


def test_equal_generators_make_equal_networks():
    one, same, other = (
        DSNNetwork(2, 3, 2, 3, 7, 2, 0.5, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.head.classes.weight, other.head.classes.weight)


SIZES = ["n_variates", "n_classes", "n_layers", "n_filters", "n_bottleneck", "n_pool"]


@pytest.mark.parametrize("name", SIZES)
def test_a_network_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found 0"):
        DSNNetwork(**{"n_variates": 1, "n_classes": 2, name: 0})


def test_a_network_whose_batch_norm_is_parametrized_predicts_as_before(rng):
    network = small_network().eval()
    _, x, lengths = panel(rng, LENGTHS)
    with torch.no_grad():
        expected = network(x, lengths)
        parametrize.register_parametrization(network.layers[0].norm, "weight", nn.Identity())
        assert torch.allclose(network(x, lengths), expected)


def test_a_batch_that_no_int32_can_count_is_refused():
    network = DSNNetwork(1, 2, n_layers=1, n_filters=2, kernel_size=9).eval()
    with torch.no_grad(), pytest.raises(ValueError, match=r"batch is too large .* Lower batch"):
        network(torch.zeros(1).expand(2**16, 1, 2**15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_time_step_cannot_be_trained_on(dtype):
    network = DSNNetwork(1, 2, n_layers=1, n_filters=2, kernel_size=9).to(dtype)
    with pytest.raises(ValueError, match="more than"):
        network(torch.zeros(1, 1, 1, dtype=dtype))
    with pytest.raises(ValueError, match="more than one time step"):
        network(torch.zeros(1, 1, 5, dtype=dtype), torch.tensor([1]))

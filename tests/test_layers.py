from __future__ import annotations

import copy
import io
import math
import pickle

import naive
import numpy as np
import pytest
import torch
from torch import nn

from dsn_sktime.layers import (
    PADDINGS,
    ClassHead,
    MaskedBatchNorm1d,
    PointwiseConv1d,
    SparseConv1d,
    SparseModule,
)
from dsn_sktime.layers.pooling import pool_features

# Taps and time steps: even and odd kernels, kernels longer than the series, single steps.
SIZES = [(1, 1), (1, 4), (2, 1), (2, 5), (3, 2), (8, 3), (9, 4), (4, 12), (5, 12), (9, 12)]
DTYPES = {torch.float32: 1e-5, torch.float64: 1e-12}


def lengths_up_to(n_steps, n_series=4):
    """Lengths from 1 to the full one."""
    return torch.linspace(1, n_steps, n_series).round().long()


def padded_batch(rng, lengths, n_channels, filler=math.nan):
    """Random series, with a filler in the padding: (list of (C, L_b), (B, C, L))."""
    series = [rng.normal(size=(n_channels, int(length))) for length in lengths]
    batch = np.full((len(series), n_channels, int(max(lengths))), filler)
    for row, one in zip(batch, series, strict=True):
        row[:, : one.shape[1]] = one
    return series, torch.from_numpy(batch)


def observed(batch, lengths):
    """Cut each series of a (B, C, L) tensor to its own length."""
    batch = batch.detach().double().numpy()
    return [row[:, : int(length)] for row, length in zip(batch, lengths, strict=True)]


def padding_of(batch, lengths):
    return [row[:, int(length) :] for row, length in zip(batch, lengths, strict=True)]


def relative_error(found, expected):
    """Of two lists of series, or of tensor and array."""
    if isinstance(found, list):
        found, expected = (np.concatenate([x.ravel() for x in xs]) for xs in (found, expected))
    elif isinstance(found, torch.Tensor):
        found = found.detach().numpy()
    return naive.relative_error(found, expected)


def sparse_layer(kernel_size, padding="replicate", **options):
    options = {"sparsity": 0.4, "topology_init": "random"} | options
    n_groups = min(2, kernel_size)
    return SparseConv1d(3, 4, kernel_size, n_groups, padding=padding, **options)


# Sparse convolution


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel_size", "n_steps"), SIZES)
def test_sparse_conv_matches_plain_loops(rng, kernel_size, n_steps, padding, dtype):
    layer = sparse_layer(kernel_size, padding).to(dtype)
    x = torch.from_numpy(rng.normal(size=(2, 3, n_steps))).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    expected = [
        naive.convolve(one, naive.dense_kernels(layer), padding) for one in x.double().numpy()
    ]
    assert relative_error(y, np.array(expected)) < DTYPES[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel_size", "n_steps"), SIZES)
def test_sparse_conv_of_a_padded_series_is_that_of_the_series_alone(
    rng, kernel_size, n_steps, padding, dtype
):
    layer = sparse_layer(kernel_size, padding).to(dtype)
    lengths = lengths_up_to(n_steps)
    _, x = padded_batch(rng, lengths, 3)
    x = x.to(dtype)
    expected = [
        naive.convolve(one, naive.dense_kernels(layer), padding) for one in observed(x, lengths)
    ]
    assert relative_error(observed(layer(x, lengths), lengths), expected) < DTYPES[dtype]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel_size", "n_steps"), SIZES)
def test_sparse_conv_gradients_match_plain_loops(rng, kernel_size, n_steps, padding, dtype, padded):
    layer = sparse_layer(kernel_size, padding).to(dtype)
    layer.keep_dense_gradient = True
    lengths = lengths_up_to(n_steps) if padded else torch.tensor([n_steps, n_steps])
    _, x = padded_batch(rng, lengths, 3)
    x = x.to(dtype).requires_grad_()
    _, y_gradient = padded_batch(rng, lengths, 4, filler=0)
    y_gradient = y_gradient.to(dtype)
    layer(x, lengths if padded else None).backward(y_gradient)

    kernels_gradient, x_gradient = 0, []
    for one, gradient in zip(observed(x, lengths), observed(y_gradient, lengths), strict=True):
        by_x, by_kernels = naive.convolve_gradients(
            one, naive.dense_kernels(layer), padding, gradient
        )
        kernels_gradient = kernels_gradient + by_kernels
        x_gradient.append(by_x)
    assert relative_error(observed(x.grad, lengths), x_gradient) < DTYPES[dtype]
    assert all((part == 0).all() for part in padding_of(x.grad, lengths))
    scale = np.abs(kernels_gradient).max()
    for group, taps in enumerate(layer.groups.taps):
        rows = layer.groups.group_of_channel() == group
        found = layer.dense_gradient.numpy()[rows, :, :taps]
        assert np.abs(found - kernels_gradient[rows, :, :taps]).max() < DTYPES[dtype] * scale
    activated = kernels_gradient.ravel()[layer.index.numpy()]
    assert np.abs(layer.values.grad.numpy() - activated).max() < DTYPES[dtype] * scale


def test_gradient_oracle_agrees_with_central_differences(rng):
    x, kernels = rng.normal(size=(2, 4)), rng.normal(size=(3, 2, 5))
    y_gradient = rng.normal(size=(3, 4))
    for padding in PADDINGS:
        by_x, by_kernels = naive.convolve_gradients(x, kernels, padding, y_gradient)

        def loss(x, kernels, padding=padding):
            return (y_gradient * naive.convolve(x, kernels, padding)).sum()

        differences = naive.central_differences(lambda a: loss(a, kernels), x)
        assert relative_error(by_x, differences) < 1e-7
        differences = naive.central_differences(lambda a: loss(x, a), kernels)
        assert relative_error(by_kernels, differences) < 1e-7


def test_dense_gradient_is_kept_only_when_asked(rng):
    layer = sparse_layer(5)
    x = torch.from_numpy(rng.normal(size=(2, 3, 6))).float()
    layer(x).sum().backward()
    assert layer.dense_gradient is None
    layer.keep_dense_gradient = True
    layer(x).sum().backward()
    kept = layer.dense_gradient
    assert kept.shape == layer.groups.shape
    assert not kept.requires_grad
    layer.keep_dense_gradient = False
    layer(-x).sum().backward()
    assert layer.dense_gradient is kept


def test_dense_gradient_asked_for_does_no_harm_without_gradients(rng):
    layer = sparse_layer(5)
    layer.keep_dense_gradient = True
    with torch.no_grad():
        layer(torch.from_numpy(rng.normal(size=(2, 3, 6))).float())
    assert layer.dense_gradient is None


@pytest.mark.parametrize("shape", [(3, 6), (2, 2, 6), (2, 3, 0), (1, 2, 3, 6)])
def test_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, 3, L\) with L at least 1"):
        sparse_layer(5)(torch.zeros(shape))


@pytest.mark.parametrize("padding", ["same", "replication", None])
def test_unknown_padding_is_refused(padding):
    with pytest.raises(ValueError, match=r"padding must be one of .* found"):
        sparse_layer(5, padding)


def test_topology_of_a_new_layer_is_a_topology_and_weights_lie_in_torchs_bound():
    layer = SparseConv1d(16, 60, 12, n_kernel_groups=3, sparsity=0.5, topology_init="random")
    layer.groups.check_topology(layer.index.numpy())
    bound = 1 / math.sqrt(16 * 12)
    values = layer.values.detach()
    assert values.abs().max() <= bound
    # Of 3,840 uniform draws the largest is within 1 % of the bound but for odds of 1e-16.
    assert values.abs().max() > 0.99 * bound
    # Their standard deviation is bound / sqrt(3), give or take 1 %: 5 % is 5 of its deviations.
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_dense_mask_marks_the_index():
    layer = sparse_layer(6)
    mask = layer.dense_mask()
    assert mask.dtype == torch.bool
    assert mask.shape == layer.groups.shape
    assert mask.flatten().nonzero().flatten().tolist() == layer.index.tolist()


def test_repr_says_what_the_layer_is():
    layer = SparseConv1d(2, 6, 9, n_kernel_groups=3, sparsity=0.5)
    # Budgets floor(0.5 * 2 * 2 * (3, 6, 9)) = 6, 12, 18 of 6 * 2 * 9 weights.
    assert repr(layer) == (
        "SparseConv1d(2, 6, kernel_size=9, n_kernel_groups=3, sparsity=0.5, "
        "padding='replicate', n_activated=36/108)"
    )
    assert repr(PointwiseConv1d(5, 2)) == "PointwiseConv1d(5, 2)"


# All modules


def modules(generator=None):
    return {
        "sparse_conv": SparseConv1d(3, 4, 5, 2, 0.5, topology_init="random", generator=generator),
        "pointwise": PointwiseConv1d(3, 4, generator),
        "module": SparseModule(3, 2, 2, 5, 2, 0.5, "zeros", "random", generator),
        "head": ClassHead(3, 2, generator),
    }


@pytest.mark.parametrize("name", modules())
def test_state_dict_carries_weights_and_topology(rng, name):
    x = torch.from_numpy(rng.normal(size=(2, 3, 6))).float()
    one, other = modules()[name], modules()[name]
    expected = one(x)
    assert not torch.equal(other(x), expected)
    buffer = io.BytesIO()
    torch.save(one.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(x), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", modules())
def test_copies_are_equal_and_independent(rng, name, copied):
    x = torch.from_numpy(rng.normal(size=(2, 3, 6))).float()
    one = modules()[name]
    if name == "sparse_conv":
        one.keep_dense_gradient = True
    one(x).square().sum().backward()
    other = copied(one)
    before = one(x)
    assert torch.equal(other(x), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(one(x), before)


@pytest.mark.parametrize("name", modules())
def test_generator_decides_and_the_global_ones_stay_untouched(name):
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, same = (modules(torch.Generator().manual_seed(3))[name] for _ in range(2))
    other = modules(torch.Generator().manual_seed(4))[name]
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[key])
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


# 1x1 convolution


@pytest.mark.parametrize("dtype", DTYPES)
def test_pointwise_conv_and_its_gradients_match_plain_loops(rng, dtype):
    layer = PointwiseConv1d(3, 2).to(dtype)
    x = torch.from_numpy(rng.normal(size=(4, 3, 5))).to(dtype).requires_grad_()
    y_gradient = rng.normal(size=(4, 2, 5))
    y = layer(x)
    y.backward(torch.from_numpy(y_gradient).to(dtype))
    matrix = layer.weight.detach().double().numpy()
    batch = x.detach().double().numpy()
    assert (
        relative_error(y, np.array([naive.pointwise(one, matrix) for one in batch])) < DTYPES[dtype]
    )
    x_gradient = np.array([naive.pointwise(one, matrix.T) for one in y_gradient])
    assert relative_error(x.grad, x_gradient) < DTYPES[dtype]
    # The gradient by the matrix sums the outer products of all steps.
    by_matrix = sum(
        np.outer(y_gradient[b, :, t], batch[b, :, t]) for b in range(4) for t in range(5)
    )
    assert relative_error(layer.weight.grad, by_matrix) < DTYPES[dtype]


def test_pointwise_weights_lie_in_torchs_bound():
    weight = PointwiseConv1d(25, 80).weight.detach()
    assert 0.99 / 5 < weight.abs().max() <= 1 / 5


# Batch norm


def trained_norm(n_channels, dtype=torch.float64):
    """Batch norm whose weights and statistics are not those at the start."""
    norm = MaskedBatchNorm1d(n_channels)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    return norm.to(dtype)


def norm_arrays(norm):
    names = ("weight", "bias", "running_mean", "running_var")
    return {name: getattr(norm, name).detach().double().numpy().copy() for name in names}


@pytest.mark.parametrize("n_steps", [1, 7])
def test_batch_norm_without_lengths_is_torchs(rng, n_steps):
    ours, torchs = MaskedBatchNorm1d(3), nn.BatchNorm1d(3)
    for _ in range(3):
        x = torch.from_numpy(rng.normal(2, 3, size=(4, 3, n_steps))).float()
        assert torch.equal(ours(x), torchs(x))
    ours.eval()
    torchs.eval()
    assert torch.equal(ours(x), torchs(x))
    assert list(ours.state_dict()) == list(torchs.state_dict())
    for name, tensor in torchs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)


def test_batch_norm_with_full_lengths_is_torchs(rng):
    ours, torchs = MaskedBatchNorm1d(3), nn.BatchNorm1d(3)
    for _ in range(3):
        x = torch.from_numpy(rng.normal(2, 3, size=(4, 3, 7))).float()
        expected = torchs(x).detach().numpy()
        assert relative_error(ours(x, torch.full((4,), 7)), expected) < 1e-5
    for name, tensor in torchs.state_dict().items():
        assert relative_error(ours.state_dict()[name], tensor.numpy()) < 1e-6


@pytest.mark.parametrize("lengths", [[5, 1, 3], [1, 1, 2], [1, 1], [4]])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_batch_norm_statistics_are_those_of_the_observed_steps(rng, lengths, dtype, tolerance):
    norm = trained_norm(2, dtype)
    before = norm_arrays(norm)
    _, x = padded_batch(rng, lengths, 2)
    x = x.to(dtype)
    series = observed(x, lengths)
    y = norm(x, torch.tensor(lengths))
    expected = naive.normalize(series, before, training=True)
    assert relative_error(observed(y, lengths), expected) < tolerance
    assert y.isfinite().all()

    mean, variance, count = naive.channel_statistics(series)
    unbiased = variance * count / max(count - 1, 1)
    # torch's momentum is 0.1. The factor count / (count - 1) is of single precision.
    running_mean = 0.9 * before["running_mean"] + 0.1 * mean
    running_var = 0.9 * before["running_var"] + 0.1 * unbiased
    assert relative_error(norm.running_mean, running_mean) < 1e-6
    assert relative_error(norm.running_var, running_var) < 1e-6
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(("n_steps", "lengths"), [(1, None), (1, [1]), (4, [1])])
def test_batch_norm_cannot_be_trained_on_one_time_step(n_steps, lengths):
    norm = MaskedBatchNorm1d(2)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    with pytest.raises(ValueError, match="more than"):
        norm(torch.zeros(1, 2, n_steps), None if lengths is None else torch.tensor(lengths))
    norm.eval()(torch.zeros(1, 2, 1))
    assert all(torch.equal(norm.state_dict()[name], before[name]) for name in before)


def test_batch_norm_in_eval_mode_uses_the_running_statistics(rng):
    norm = trained_norm(2).eval()
    before = norm_arrays(norm)
    _, x = padded_batch(rng, [5, 1, 3], 2)
    y = norm(x, torch.tensor([5, 1, 3]))
    expected = naive.normalize(observed(x, [5, 1, 3]), before, training=False)
    assert relative_error(observed(y, [5, 1, 3]), expected) < 1e-12
    after = norm_arrays(norm)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_batch_norm_gradients_match_central_differences(rng):
    norm, lengths = trained_norm(2), [4, 1, 3]
    arrays = norm_arrays(norm)
    _, x = padded_batch(rng, lengths, 2)
    x.requires_grad_()
    _, y_gradient = padded_batch(rng, lengths, 2, filler=0)
    norm(x, torch.tensor(lengths)).backward(y_gradient)
    upstream = observed(y_gradient, lengths)

    def loss(series, arrays=arrays):
        normalized = naive.normalize(series, arrays, training=True)
        return sum((a * b).sum() for a, b in zip(normalized, upstream, strict=True))

    series = observed(x, lengths)
    for row in range(3):

        def of_one(one, row=row):
            return loss([*series[:row], one, *series[row + 1 :]])

        expected = naive.central_differences(of_one, series[row])
        assert np.abs(observed(x.grad, lengths)[row] - expected).max() < 1e-7
    for name in ("weight", "bias"):
        expected = naive.central_differences(
            lambda a, name=name: loss(series, arrays | {name: a}), arrays[name]
        )
        assert relative_error(getattr(norm, name).grad, expected) < 1e-7
    assert all((part == 0).all() for part in padding_of(x.grad, lengths))


# Head


@pytest.mark.parametrize("n_bins", [1, 2, 5, 12])
@pytest.mark.parametrize("n_steps", [1, 2, 5, 7, 24])
def test_pooling_averages_the_bins_of_each_series_own_length(rng, n_steps, n_bins):
    lengths = lengths_up_to(n_steps)
    series, x = padded_batch(rng, lengths, 2)
    expected = np.array([naive.adaptive_pool(one, n_bins) for one in series])
    # The bins' weights are of single precision.
    assert relative_error(pool_features(x, n_bins, lengths), expected) < 1e-6
    assert relative_error(pool_features(x[-1:], n_bins), expected[-1:]) < 1e-12


def test_pooling_passes_no_gradient_to_the_padding(rng):
    lengths = torch.tensor([5, 1, 3])
    _, x = padded_batch(rng, lengths, 2)
    x.requires_grad_()
    pool_features(x, 4, lengths).sum().backward()
    # Each bin weighs its steps by one over their number: per channel the weights sum to 4.
    for part in observed(x.grad, lengths):
        assert part.sum(axis=1) == pytest.approx([4, 4], rel=1e-6)
    assert all((part == 0).all() for part in padding_of(x.grad, lengths))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [None, [9, 1, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_head_matches_plain_loops(rng, dtype, lengths, training):
    head = ClassHead(3, 2)
    head.norm = trained_norm(2)
    head.to(dtype).train(training)
    arrays = {
        "classes": head.classes.weight.detach().double().numpy(),
        "norm": norm_arrays(head.norm),
    }
    _, x = padded_batch(rng, lengths or [9, 9, 9], 3)
    x = x.to(dtype)
    scores = head(pool_features(x, 4, None if lengths is None else torch.tensor(lengths)))
    series = observed(x, lengths or [9, 9, 9])
    expected = naive.head_scores(series, arrays, 4, training)
    assert scores.shape == (3, 2)
    assert relative_error(scores, expected) < 1e-5


# Padding


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("training", [True, False])
def test_what_stands_in_the_padding_changes_nothing(rng, training, padding):
    # With a 1x1 convolution before it: see the test of this name of the network.
    module = SparseModule(1, None, 2, 5, 2, 0.5, padding, "random").train(training)
    lengths = torch.tensor([7, 1, 4])
    _, zeros = padded_batch(rng, lengths, 1, filler=0)
    _, upstream = padded_batch(rng, lengths, 4, filler=0)
    found = []
    for filler in (0, 1e30, math.nan, math.inf):
        x = zeros.float()
        for part in padding_of(x, lengths):
            part.fill_(filler)
        x.requires_grad_()
        one = copy.deepcopy(module)
        y = one(x, lengths)
        y.backward(upstream.float())
        gradients = [parameter.grad for parameter in one.parameters()]
        statistics = [one.norm.running_mean, one.norm.running_var]
        found.append([*map(torch.tensor, observed(y, lengths)), x.grad, *gradients, *statistics])
    for other in found[1:]:
        for expected, tensor in zip(found[0], other, strict=True):
            assert torch.equal(tensor, expected)


@pytest.mark.parametrize("module", [PointwiseConv1d(3, 2), MaskedBatchNorm1d(3).eval()])
def test_padding_stays_out_of_the_observed_steps(rng, module):
    _, x = padded_batch(rng, [5, 1, 3], 3)
    x = x.float()
    y = module(x)
    expected = module(x.nan_to_num())
    for one, other in zip(observed(y, [5, 1, 3]), observed(expected, [5, 1, 3]), strict=True):
        assert np.array_equal(one, other)

"""The sparse engine: its arithmetic, its memory, its threads, and when it is used.

Compiled code checks nothing, so these tests draw many shapes, compare with float64, and
place arrays among NaN: a stray read makes a result NaN, a stray write is seen.
"""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import naive
import numba
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from processes import run_python
from tiny import panel, tiny_classifier
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import (
    compiled,
    jit,
    kernel_threads,
    simd,
    threads,
    uses_sparse_kernels,
    workspace,
)
from dsn_sktime.kernels import sparse as engine
from dsn_sktime.kernels.layout import ALIGNMENT, Convolution, TimeBatch
from dsn_sktime.layers import PADDINGS, SparseConv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.training.adam import Adam, _bias_corrections

TOLERANCE = 1e-5
# A series' batch size decides which columns a tap shifts by; 16 is the aligned case.
BATCH_SIZES = [1, 2, 3, 16, 17, 64]
GUARD = 4096

drawn = settings(deadline=None, derandomize=True, max_examples=100)


def error(found: Any, expected: Any, scale: Any = None) -> float:
    """Largest deviation, relative to the largest magnitude of ``scale`` or what is expected."""
    found, expected, scale = (
        x.detach().numpy() if isinstance(x, Tensor) else x for x in (found, expected, scale)
    )
    assert np.isfinite(found).all()
    relative = naive.relative_error(found, expected)
    if scale is None:
        return relative
    return relative * (np.abs(expected).max() or 1.0) / (np.abs(scale).max() or 1.0)


# What is drawn: the shape of a layer, its topology and a batch.


class Case:
    """A layer's kernels and a batch; all numbers are those of float32.

    Density 0 stands for a single activated weight.
    """

    def __init__(
        self,
        kernel_size: int = 9,
        n_groups: int = 1,
        filters: int = 2,
        variates: int = 3,
        sparsity: float = 0.5,
        lengths: tuple[int, ...] = (5, 5),
        padding: str = "replicate",
        seed: int = 0,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.padding = padding
        self.lengths = np.array(lengths)
        self.n_steps = int(self.lengths.max())
        network = DSNNetwork(
            variates,
            2,
            n_layers=1,
            n_filters=filters,
            kernel_size=kernel_size,
            n_kernel_groups=n_groups,
            sparsity=0,
            padding=padding,
            generator=torch.Generator().manual_seed(seed),
        )
        self.module = network.layers[0]
        self.shape = self.module.conv.groups.shape
        set_topology(self.module.conv, self._topology(sparsity), self.rng)
        for tensor in (self.module.norm.weight, self.module.norm.bias):
            tensor.data = self.normal(*tensor.shape)
        self.module.norm.running_mean = self.normal(self.shape[0])
        self.module.norm.running_var = self.normal(self.shape[0]).square() + 0.1
        self.x = self.series(variates)

    def _topology(self, sparsity: float) -> np.ndarray:
        """Draw a share of each group's region, which may be none of it."""
        groups = self.module.conv.groups
        regions = [groups.region(group) for group in range(groups.n_kernel_groups)]
        chosen = [
            self.rng.choice(region, int((1 - sparsity) * len(region)), replace=False)
            for region in regions
        ]
        index = np.sort(np.concatenate(chosen))
        return index if len(index) else self.rng.choice(regions[-1], 1)

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(size=shape)).float()

    def series(self, n_channels: int) -> Tensor:
        """Draw a batch (B, n_channels, L); what stands after a series' end is 0."""
        x = self.normal(len(self.lengths), n_channels, self.n_steps)
        return x * self.observed

    @property
    def observed(self) -> Tensor:
        steps = torch.arange(self.n_steps)
        return (steps < torch.from_numpy(self.lengths)[:, None])[:, None].float()

    @property
    def lengths_or_none(self) -> Tensor | None:
        return None if (self.lengths == self.n_steps).all() else torch.from_numpy(self.lengths)

    @property
    def sources(self) -> np.ndarray:
        return naive.source_columns(self.lengths, self.n_steps, self.shape[2], self.padding)

    @property
    def kernels(self) -> np.ndarray:
        """Dense kernels, float64."""
        kernels = np.zeros(math.prod(self.shape))
        conv = self.module.conv
        kernels[conv.index.numpy()] = conv.values.detach().double().numpy()
        return kernels.reshape(self.shape)


def set_topology(conv: SparseConv1d, index: np.ndarray, rng: np.random.Generator) -> None:
    """Give a layer any topology at all, even one that leaves groups without weights."""
    conv.index = torch.from_numpy(index)
    conv.values = nn.Parameter(torch.from_numpy(rng.normal(size=len(index))).float())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel_size = draw(st.integers(1, 41))
    n_series = draw(st.sampled_from(BATCH_SIZES))
    n_steps = draw(st.integers(1, max(1, min(90, 3000 // n_series))))
    lengths = st.integers(1, n_steps)
    return Case(
        kernel_size,
        draw(st.integers(1, min(4, kernel_size))),
        draw(st.integers(1, 5)),
        draw(st.sampled_from([1, 1, 2, 3, 12])),
        draw(st.sampled_from([0, 0.5, 0.8, 0.99])),
        tuple(
            draw(st.lists(lengths, min_size=n_series, max_size=n_series))
            if draw(st.booleans())
            else [n_steps] * n_series
        ),
        draw(st.sampled_from(PADDINGS)),
        draw(st.integers(0, 2**32 - 1)),
    )


def every_case(test: Callable) -> Callable:
    """Draw cases, and always run those that are known to be special."""
    special = [
        {"sparsity": 1.0},  # a single activated weight
        {"sparsity": 0.99, "filters": 4, "kernel_size": 41, "n_groups": 4},  # groups without any
        {"kernel_size": 1, "n_groups": 1, "lengths": (1,)},
        {"kernel_size": 41, "lengths": (1, 1, 1), "padding": "zeros"},  # longer than the series
        {"kernel_size": 40, "lengths": (7, 1, 40), "filters": 9},
        {"kernel_size": 39, "lengths": (40,) * 64, "filters": 9, "sparsity": 0.8},
        # Blocks of one channel, of which a sparse topology leaves many empty.
        {"kernel_size": 41, "lengths": (20,) * 300, "filters": 6, "sparsity": 0.97},
    ]
    for options in special:
        test = example(case=Case(**options))(test)
    return drawn(given(case=cases())(test))


# The convolution alone


@every_case
def test_convolution_and_its_gradients_match_naive_ones(case):
    conv = case.module.conv
    x = case.series(case.shape[1]).requires_grad_()
    upstream = case.series(case.shape[0])
    conv.keep_dense_gradient = True
    y = conv(x, case.lengths_or_none)
    y.backward(upstream)

    wide, sources = x.detach().double().numpy(), case.sources
    expected = naive.convolve_batch(wide, case.kernels, sources)
    assert error(y * case.observed, expected) < TOLERANCE
    by_x, by_kernels = naive.convolve_batch_gradients(
        wide, case.kernels, sources, upstream.double().numpy()
    )
    assert error(x.grad, by_x) < TOLERANCE
    assert error(conv.dense_gradient, by_kernels) < TOLERANCE
    by_values = by_kernels.ravel()[conv.index.numpy()]
    assert error(conv.values.grad, by_values) < TOLERANCE


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_oracle_in_fewer_loops_is_that_of_plain_loops(rng, padding):
    lengths, kernels = [4, 1, 6], rng.normal(size=(3, 2, 5))
    x, y_gradient = rng.normal(size=(3, 2, 6)), rng.normal(size=(3, 3, 6))
    sources = naive.source_columns(lengths, 6, 5, padding)
    y = naive.convolve_batch(x, kernels, sources)
    by_x, by_kernels = naive.convolve_batch_gradients(x, kernels, sources, y_gradient)
    total = np.zeros_like(kernels)
    for b, length in enumerate(lengths):
        one, upstream = x[b, :, :length], y_gradient[b, :, :length]
        of_one, of_kernels = naive.convolve_gradients(one, kernels, padding, upstream)
        expected = naive.convolve(one, kernels, padding)
        assert naive.relative_error(y[b, :, :length], expected) < 1e-13
        assert naive.relative_error(by_x[b, :, :length], of_one) < 1e-13
        assert not by_x[b, :, length:].any()
        total += of_kernels
    assert naive.relative_error(by_kernels, total) < 1e-13


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_decoded_index_can_be_copied_and_pickled(copied):
    """dask copies modules attribute by attribute, what is decoded included."""
    conv = Convolution(2, 16, 9)
    kernels = Case().module.conv.kernel_index()
    expected, found = kernels.forward(conv), copied(kernels).forward(conv)
    assert np.array_equal(found.offsets, expected.offsets)
    assert np.array_equal(found.starts, expected.starts)


# A whole layer: 1x1 convolution, sparse convolution, BatchNorm, ReLU


def layer_parameters(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters())


def in_time_batch(module: nn.Module, case: Case, x: Tensor) -> Tensor:
    """Apply a layer as the engine does, to and from batches of shape (B, C, L)."""
    batch = TimeBatch(case.lengths, case.n_steps)
    a = engine.time_batch(x, batch)
    return engine.from_time_batch(module.forward_time_batch(a, batch), batch)


def unfused(module: nn.Module, case: Case, x: Tensor, detached: bool = False) -> Tensor:
    """Apply a layer before its ReLU, step by step, of torch's functions in float64.

    ``detached`` takes BatchNorm's statistics for constants.
    """
    if module.bottleneck is not None:
        x = torch.einsum("oi,bit->bot", module.bottleneck.weight, x)
    kernels = torch.zeros(math.prod(case.shape), dtype=torch.float64)
    kernels = kernels.index_put((module.conv.index,), module.conv.values).view(case.shape)
    with_zero = F.pad(x, (0, 1))
    rows = torch.arange(len(x))[:, None, None]
    windows = with_zero.transpose(1, 2)[rows, torch.from_numpy(case.sources)]
    y = torch.einsum("btki,oik->bot", windows, kernels)
    mean, variance = module.norm.running_mean, module.norm.running_var
    if module.training:
        n = case.lengths.sum()
        mean = (y * case.observed).sum((0, 2)) / n
        variance = ((y - mean[:, None]) * case.observed).square().sum((0, 2)) / n
    if detached:
        mean, variance = mean.detach(), variance.detach()
    scale = module.norm.weight / (variance + module.norm.eps).sqrt()
    return (y - mean[:, None]) * scale[:, None] + module.norm.bias[:, None]


@every_case
def test_fused_layer_and_its_gradients_match_float64_autograd(case):
    module, wide = case.module, copy.deepcopy(case.module).double()
    x = case.x.clone().requires_grad_()
    wide_x = case.x.double().requires_grad_()
    y = in_time_batch(module, case, x)
    before_relu = unfused(wide, case, wide_x)
    expected = before_relu.relu() * case.observed
    assert error(y, expected, before_relu * case.observed) < TOLERANCE
    # Where rounding decides whether ReLU passes, nothing is to come back.
    upstream = case.series(case.shape[0]) * (before_relu.abs() > 1e-3)
    y.backward(upstream)
    expected.backward(upstream.double())
    # Of few steps the gradient cancels to nothing: its parts say how large rounding may be.
    parts = copy.deepcopy(case.module).double()
    parts_x = case.x.double().requires_grad_()
    unfused(parts, case, parts_x, detached=True).relu().backward(upstream.double())
    expected_gradients = layer_parameters(wide)
    scales = layer_parameters(parts)
    for name, parameter in layer_parameters(module).items():
        found, exact = parameter.grad, expected_gradients[name].grad
        larger = max(scales[name].grad.abs().max(), exact.abs().max())
        assert error(found, exact, larger) < TOLERANCE, name
    larger = max(parts_x.grad.abs().max(), wide_x.grad.abs().max())
    assert error(x.grad, wide_x.grad, larger) < TOLERANCE


@every_case
def test_running_statistics_are_those_of_the_observed_steps(case):
    module, wide = case.module, copy.deepcopy(case.module).double()
    in_time_batch(module, case, case.x)
    batch = case.x.double()
    if wide.bottleneck is not None:
        batch = torch.einsum("oi,bit->bot", wide.bottleneck.weight.detach(), batch)
    y = naive.convolve_batch(batch.numpy(), case.kernels, case.sources)
    mean, variance, n = naive.channel_statistics(
        [row[:, :length] for row, length in zip(y, case.lengths, strict=True)]
    )
    # torch's momentum is 0.1.
    running_mean = 0.9 * wide.norm.running_mean.numpy() + 0.1 * mean
    running_var = 0.9 * wide.norm.running_var.numpy() + 0.1 * variance * n / max(n - 1, 1)
    assert error(module.norm.running_mean, running_mean) < TOLERANCE
    assert error(module.norm.running_var, running_var) < TOLERANCE
    assert module.norm.num_batches_tracked == 1


@every_case
def test_folded_batch_norm_predicts_what_the_unfused_layer_does(case):
    module = case.module.eval()
    wide = copy.deepcopy(module).double()
    with torch.no_grad():
        y = in_time_batch(module, case, case.x)
        before_relu = unfused(wide, case, case.x.double()) * case.observed
    assert error(y, before_relu.relu(), before_relu) < TOLERANCE


@every_case
def test_dense_path_is_the_same_layer(case):
    """The masked dense layer in float64, which the engine's users may fall back to."""
    wide = case.module.double()
    wide_x = case.x.double()
    y = wide(wide_x, torch.from_numpy(case.lengths))
    expected = unfused(wide, case, wide_x).relu()
    # A factor of BatchNorm's running variance is of single precision, nothing else.
    assert error(y * case.observed, expected.detach() * case.observed) < 1e-10


# Compiled functions, one by one, among NaN


class Memory:
    """Arrays that lie in larger ones, with a zone of NaN on both sides."""

    def __init__(self) -> None:
        self._buffers: list[tuple[np.ndarray, int]] = []

    def empty(self, *shape: int) -> np.ndarray:
        n = math.prod(shape)
        buffer = np.full(n + 2 * GUARD, np.nan, dtype=np.float32)
        self._buffers.append((buffer, n))
        return buffer[GUARD : GUARD + n].reshape(shape)

    def holding(self, values: np.ndarray) -> np.ndarray:
        array = self.empty(*np.shape(values))
        array[...] = values
        return array

    def normal(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        return self.holding(rng.normal(size=shape))

    @staticmethod
    def integers(values: np.ndarray, dtype: type) -> np.ndarray:
        """Place integers among zeros: what a stray read finds is no place out of bounds."""
        buffer = np.zeros(len(values) + 2 * GUARD, dtype)
        buffer[GUARD : GUARD + len(values)] = values
        return buffer[GUARD : GUARD + len(values)]

    def is_intact(self) -> bool:
        zones = [
            part for buffer, n in self._buffers for part in (buffer[:GUARD], buffer[GUARD + n :])
        ]
        untouched = np.float32(np.nan).view(np.uint32)
        return all((zone.view(np.uint32) == untouched).all() for zone in zones)


def only(array: np.ndarray, *places: Any) -> np.ndarray:
    """Copy an array, with NaN at all other places."""
    copied = np.full_like(array, np.nan)
    copied[places] = array[places]
    return copied


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, int, int]:
    """Rows, and the first and last of those that are to be done."""
    n_rows = draw(st.integers(1, 7))
    first = draw(st.integers(0, n_rows - 1))
    return n_rows, first, draw(st.integers(first + 1, n_rows))


lines = st.integers(1, 40).map(lambda n: n * ALIGNMENT)
columns = st.integers(0, 50)
seeds = st.integers(0, 2**32 - 1)


class Weights:
    """Weights at random offsets, some blocks and rows without any."""

    def __init__(self, memory: Memory, rng: np.random.Generator, n_rows: int) -> None:
        self.n_blocks = int(rng.integers(1, 4))
        counts = rng.integers(0, 20, n_rows * self.n_blocks) * rng.integers(0, 2)
        counts *= rng.integers(0, 2, n_rows * self.n_blocks)
        counts[rng.integers(len(counts))] += 1
        ends = np.cumsum(counts)
        self.starts = np.concatenate([[0], ends])
        self.row = np.repeat(np.arange(len(counts)) // self.n_blocks, counts)
        offsets = rng.integers(0, 300, ends[-1])
        # The first and the last place that may be read are.
        offsets[0] = 0
        self.offsets = Memory.integers(offsets, np.int32)
        self.values = memory.normal(rng, ends[-1])

    def windows(self, x: np.ndarray, n_columns: int) -> np.ndarray:
        """What each weight is multiplied by, (n, n_columns) in float64."""
        flat = x.astype(np.float64)
        return np.array([flat[offset : offset + n_columns] for offset in self.offsets])


@drawn
@given(shape=rows(), n_columns=lines, after=columns, shifted=st.booleans(), seed=seeds)
def test_convolve_within_its_memory(shape, n_columns, after, shifted, seed):
    (n_rows, first, last), rng, memory = shape, np.random.default_rng(seed), Memory()
    weights = Weights(memory, rng, n_rows)
    x = memory.normal(rng, int(weights.offsets.max()) + n_columns)
    out = memory.empty(n_rows, n_columns + after)
    shift = memory.normal(rng, n_rows if shifted else 0)
    observed = memory.holding(rng.integers(0, 2, n_columns if shifted else 0))
    simd.convolve(
        x,
        weights.offsets,
        weights.values,
        weights.starts,
        weights.n_blocks,
        out,
        n_columns,
        shift,
        observed,
        first,
        last,
    )
    sums = np.zeros((n_rows, n_columns))
    products = weights.values[:, None] * weights.windows(x, n_columns)
    np.add.at(sums, weights.row, products)
    expected = np.maximum(sums + shift[:, None], 0) * observed if shifted else sums
    place = slice(first, last), slice(n_columns)
    assert (
        error(out[place], expected[first:last], np.maximum(1, np.abs(products).max())) < TOLERANCE
    )
    assert np.array_equal(out, only(out, *place), equal_nan=True)
    assert memory.is_intact()


@drawn
@given(
    shape=rows(),
    n_columns=st.one_of(lines, st.sampled_from([2032, 2048, 2064, 4112])),
    column=columns,
    after=columns,
    seed=seeds,
)
def test_weight_gradient_within_its_memory(shape, n_columns, column, after, seed):
    (n_rows, first, last), rng, memory = shape, np.random.default_rng(seed), Memory()
    weights = Weights(memory, rng, n_rows)
    x = memory.normal(rng, int(weights.offsets.max()) + n_columns)
    y = memory.empty(n_rows, column + n_columns + after)
    y[:, column : column + n_columns] = rng.normal(size=(n_rows, n_columns))
    out = memory.empty(len(weights.offsets))
    simd.weight_gradient(
        x,
        weights.offsets,
        weights.starts,
        weights.n_blocks,
        y,
        column,
        n_columns,
        out,
        first,
        last,
    )
    upstream = y[weights.row, column : column + n_columns].astype(np.float64)
    expected = (upstream * weights.windows(x, n_columns)).sum(1)
    place = (weights.row >= first) & (weights.row < last)
    if place.any():
        # The products' sum is about the root of their number.
        assert error(out[place], expected[place], math.sqrt(n_columns)) < TOLERANCE
    assert np.array_equal(out, only(out, place), equal_nan=True)
    assert memory.is_intact()


@drawn
@given(shape=rows(), n_columns=lines, column=columns, after=columns, seed=seeds)
def test_batch_norm_relu_and_its_gradient_within_their_memory(
    shape, n_columns, column, after, seed
):
    (n_rows, first, last), rng, memory = shape, np.random.default_rng(seed), Memory()
    observed = memory.holding(rng.random(n_columns) < 0.8)
    observed[:2] = 1
    n_observed = int(observed.sum())
    y, upstream = (memory.normal(rng, n_rows, n_columns) for _ in range(2))
    y += rng.normal(size=(n_rows, 1))
    weight, bias = memory.normal(rng, n_rows), memory.normal(rng, n_rows)
    out, mean, variance = memory.empty(*y.shape), memory.empty(n_rows), memory.empty(n_rows)
    eps = 1e-5
    compiled.batch_norm_relu(
        y, observed, n_observed, weight, bias, eps, out, mean, variance, first, last
    )

    wide = torch.tensor(y, dtype=torch.float64).requires_grad_()
    wide_weight, wide_bias = (torch.tensor(v).double().requires_grad_() for v in (weight, bias))
    seen = torch.from_numpy(observed) > 0
    normal = F.batch_norm(
        wide[:, seen].T, None, None, wide_weight, wide_bias, training=True, eps=eps
    ).T
    place = slice(first, last)
    expected = np.zeros(y.shape)
    expected[:, seen] = normal.detach().relu().numpy()
    assert error(out[place], expected[place]) < TOLERANCE
    centre, spread = wide.detach()[:, seen].mean(1), wide.detach()[:, seen].var(1, correction=0)
    assert error(mean[place], centre[place], y) < TOLERANCE
    assert error(variance[place], spread[place]) < TOLERANCE
    for array in (out, mean, variance):
        assert np.array_equal(array, only(array, place), equal_nan=True)

    upstream[:, seen] *= normal.detach().abs().numpy() > 1e-3
    of_y = memory.empty(n_rows, column + n_columns + after)
    of_weight, of_bias = memory.empty(n_rows), memory.empty(n_rows)
    compiled.batch_norm_relu_backward(
        upstream,
        y,
        observed,
        n_observed,
        weight,
        bias,
        mean,
        variance,
        eps,
        of_y,
        column,
        of_weight,
        of_bias,
        first,
        last,
    )
    normal.relu().backward(torch.from_numpy(upstream).double()[:, seen])
    here = place, slice(column, column + n_columns)
    # By the parts that it is the sum of, which cancel where there are few columns.
    scale = np.abs(upstream).max() * np.abs(weight).max() / math.sqrt(spread.min() + eps)
    assert error(of_y[here], wide.grad[place], scale) < TOLERANCE
    assert error(of_weight[place], wide_weight.grad[place], n_observed) < TOLERANCE
    assert error(of_bias[place], wide_bias.grad[place], n_observed) < TOLERANCE
    assert (of_y[here] * (1 - observed) == 0).all()
    for array, where in ((of_y, here), (of_weight, (place,)), (of_bias, (place,))):
        assert np.array_equal(array, only(array, *where), equal_nan=True)
    assert memory.is_intact()


@st.composite
def series_lengths(draw: st.DrawFn) -> np.ndarray:
    n_series = draw(st.integers(1, 20))
    return np.array(draw(st.lists(st.integers(1, 12), min_size=n_series, max_size=n_series)))


@drawn
@given(
    lengths=series_lengths(),
    n_rows=st.integers(1, 4),
    before=st.integers(0, 5),
    after=st.integers(0, 90),
    replicate=st.booleans(),
    seed=seeds,
)
def test_pad_within_its_memory(lengths, n_rows, before, after, replicate, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    n_series, n_steps = len(lengths), int(lengths.max())
    column = before * n_series
    x = memory.empty(n_rows, column + n_steps * n_series + after)
    steps = rng.normal(size=(n_rows, n_steps, n_series)).astype(np.float32)
    for b, length in enumerate(lengths):
        steps[:, length:, b] = np.nan
    x[:, column : column + n_steps * n_series] = steps.reshape(n_rows, -1)
    compiled.pad(x, column, lengths, n_steps, replicate)

    expected = np.zeros_like(x)
    for b, length in enumerate(lengths):
        for t in range(n_steps + after // n_series):
            if t < length or replicate:
                place = column + t * n_series + b
                expected[:, place] = steps[:, min(t, length - 1), b]
    assert np.array_equal(x, expected)
    assert memory.is_intact()


@drawn
@given(
    shape=rows(),
    lengths=series_lengths(),
    kernel_size=st.integers(1, 41),
    column=columns,
    between=columns,
    after=columns,
    seed=seeds,
)
def test_suffix_sums_within_their_memory(shape, lengths, kernel_size, column, between, after, seed):
    (n_rows, first, last), rng, memory = shape, np.random.default_rng(seed), Memory()
    n_series, n_steps = len(lengths), int(lengths.max())
    end = column + n_steps * n_series
    sums_column = end + between
    sums_end = sums_column + kernel_size * n_series
    y = memory.empty(n_rows, sums_end + after)
    steps = rng.normal(size=(n_rows, n_steps, n_series))
    y[:, column:end] = steps.reshape(n_rows, -1)
    before = y.copy()
    compiled.suffix_sums(y, column, sums_column, lengths, kernel_size, first, last)

    steps = before[:, column:end].reshape(n_rows, n_steps, n_series).astype(np.float64)
    expected = np.zeros((n_rows, kernel_size, n_series))
    for b, length in enumerate(lengths):
        for tap in range(kernel_size):
            begin = max(0, length - 1 - tap)
            expected[:, kernel_size - 1 - tap, b] = steps[:, begin:length, b].sum(1)
    found = y[first:last, sums_column:sums_end]
    assert error(found, expected.reshape(n_rows, -1)[first:last]) < TOLERANCE
    before[first:last, sums_column:sums_end] = found
    assert np.array_equal(y, before, equal_nan=True)
    assert memory.is_intact()


@contextmanager
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """Let the engine have its memory among NaN, and full of it."""
    memory = Memory()
    with monkeypatch.context() as patch:
        for module in (engine, workspace):
            patch.setattr(module, "empty_matrix", memory.empty)
        patch.setattr(engine, "_empty", memory.empty)
        yield memory


@every_case
def test_a_whole_layer_stays_within_its_memory_and_reads_none_unwritten(case):
    expected = results(case)
    with pytest.MonkeyPatch.context() as monkeypatch, guarded(monkeypatch) as memory:
        found = results(case)
        assert memory.is_intact()
    assert all(tensor.isfinite().all() for tensor in found)
    # Not bit for bit: sums of loads that straddle cache lines are the same, torch's may differ.
    for one, other in zip(found, expected, strict=True):
        assert error(one, other) < 1e-6


def results(case: Case) -> list[Tensor]:
    """Return a layer's output, all gradients, the dense one, and a prediction."""
    module, x = copy.deepcopy(case.module), case.x.clone().requires_grad_()
    module.conv.keep_dense_gradient = True
    y = in_time_batch(module, case, x)
    y.backward(torch.cos(torch.arange(y.numel())).view_as(y))
    gradients = [parameter.grad for parameter in module.parameters()]
    statistics = [module.norm.running_mean, module.norm.running_var]
    with torch.no_grad():
        prediction = in_time_batch(module.eval(), case, case.x)
    alone = x.detach()[:, :1].expand(-1, case.shape[1], -1).clone().requires_grad_()
    module.conv(alone, case.lengths_or_none).square().sum().backward()
    return [
        y.detach(),
        x.grad,
        *gradients,
        *statistics,
        module.conv.dense_gradient,
        prediction,
        alone.grad,
    ]


# Adam


def adam_state(n: int, steps: np.ndarray) -> dict[str, Tensor]:
    return {
        "step": torch.from_numpy(steps.astype(np.int32)),
        "exp_avg": torch.zeros(n),
        "exp_avg_sq": torch.zeros(n),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_counts_the_steps_of_each_weight(rng, dtype):
    """Weights replaced at several times, against the scalar Adam; sparse and dense."""
    births = np.array([0, 0, 3, 7, 30, 39])
    start, gradients = rng.normal(size=6), rng.normal(size=(40, 6))
    parameter = nn.Parameter(torch.tensor(start, dtype=dtype))
    assert uses_sparse_kernels(parameter) == (dtype == torch.float32)
    optimizer = Adam([parameter], lr=0.05)
    for step, gradient in enumerate(gradients):
        born = births == step
        optimizer.replace_weights(parameter, torch.from_numpy(np.where(born, -1, np.arange(6))))
        parameter.data[torch.from_numpy(born)] = torch.from_numpy(start[born]).to(dtype)
        parameter.grad = torch.from_numpy(gradient).to(dtype)
        optimizer.step()
    expected = [naive.adam(start[i], gradients[births[i] :, i], 0.05) for i in range(6)]
    assert error(parameter, np.array(expected)) < (1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_beyond_the_table_of_corrections(rng, dtype):
    betas = (0.5, 0.6)
    n_columns = _bias_corrections(betas, dtype).shape[1]
    n_steps = n_columns + 10
    gradients = rng.normal(size=n_steps)
    parameter = nn.Parameter(torch.ones(1, dtype=dtype))
    optimizer = Adam([parameter], lr=0.01, betas=betas)
    for gradient in gradients:
        parameter.grad = torch.full((1,), gradient, dtype=dtype)
        optimizer.step()
    assert optimizer.state[parameter]["step"].item() == n_steps > n_columns
    expected = naive.adam(1.0, gradients, 0.01, betas)
    assert error(parameter, np.array([expected])) < (1e-5 if dtype == torch.float32 else 1e-12)


@drawn
@given(n=st.integers(1, 100), seed=seeds)
def test_adam_within_its_memory(n, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    weights, gradients, means = (memory.normal(rng, n) for _ in range(3))
    squares = memory.holding(rng.random(n))
    steps = rng.integers(0, 50, n).astype(np.int32)
    t = np.arange(31)[1:]
    tables = [memory.holding([1, *1 / (1 - beta ** t[:-1]), 1]) for beta in (0.9, 0.99)]
    before = [array.astype(np.float64) for array in (weights, gradients, means, squares)]
    done = steps.copy()
    scalars = [np.float32(x) for x in (0.01, 0.9, 0.99, 1e-8)]
    compiled.adam_step(weights, gradients, means, squares, steps, *tables, *scalars)
    w, g, mean, square = before
    mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
    place = np.minimum(done + 1, 30)
    step = 0.01 * mean * tables[0][place] / (np.sqrt(square * tables[1][place]) + 1e-8)
    assert error(weights, w - step) < TOLERANCE
    assert error(means, mean) < TOLERANCE
    assert error(squares, square) < TOLERANCE
    assert np.array_equal(steps, done + 1)
    assert np.array_equal(gradients, g)
    assert memory.is_intact()


# Threads


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("variates", [1, 3])
def test_results_do_not_depend_on_threads_bit_for_bit(padding, variates):
    # Columns enough for several parts of the 1x1 convolution: 17 * 120.
    lengths = (120, 1, *range(90, 105))
    case = Case(39, 3, 5, variates, 0.8, lengths, padding)
    with kernel_threads(1):
        expected = results(case)
    for n in (1, 2, 3, 7):
        with kernel_threads(n):
            for one, other in zip(results(case), expected, strict=True):
                assert torch.equal(one, other)


class Rows:
    """Work that counts how often it is given each row."""

    def __init__(self, n_rows: int) -> None:
        self.times = np.zeros(n_rows, dtype=int)
        self._lock = threading.Lock()

    def __call__(self, first: int, last: int) -> None:
        with self._lock:
            self.times[first:last] += 1


@drawn
@given(
    costs=st.lists(st.one_of(st.just(0), st.integers(0, 10**6)), min_size=1, max_size=200),
    n_threads=st.integers(1, 9),
)
def test_every_row_is_done_once(costs, n_threads):
    work = Rows(len(costs))
    with kernel_threads(n_threads):
        threads.for_rows(work, np.cumsum([0, *costs]))
    assert (work.times == 1).all()


def test_little_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 100)
    parts = []
    with kernel_threads(3):
        for total in (199, 200, 1000):
            cost = np.linspace(0, total, 4).astype(np.int64)
            threads.for_rows(lambda *part: parts.append(part), cost)
    # 199 is one thread's worth, 200 that of two, 1000 is for all three.
    assert len(parts) == 1 + 2 + 3


def test_rows_are_shared_by_cost():
    parts = []
    with kernel_threads(2):
        threads.for_rows(lambda *part: parts.append(part), np.array([0, 90, 95, 100, 180]))
    assert sorted(parts) == [(0, 1), (1, 4)]


def test_outside_of_kernel_threads_their_number_is_torchs():
    work, parts = Rows(4), []

    def note(first: int, last: int) -> None:
        parts.append((first, last))
        work(first, last)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        threads.for_rows(note, np.arange(5))
    finally:
        torch.set_num_threads(before)
    assert sorted(parts) == [(0, 2), (2, 4)]


@pytest.mark.parametrize("failing_row", range(4))
def test_an_error_in_any_thread_reaches_the_caller(failing_row):
    def fail(first: int, last: int) -> None:
        if first <= failing_row < last:
            raise ZeroDivisionError(failing_row)

    with kernel_threads(4):
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                threads.for_rows(fail, np.arange(5))
        work = Rows(4)
        threads.for_rows(work, np.arange(5))
    assert (work.times == 1).all()


def test_threads_that_start_at_once_have_one_pool(monkeypatch):
    """Making the pool takes long here, so that they all meet in it."""
    barrier = threading.Barrier(4)

    class SlowPool(ThreadPoolExecutor):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            barrier.wait(timeout=60)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", SlowPool)
    monkeypatch.setattr(threads, "_pools", {})
    with ThreadPoolExecutor(4) as callers:
        pools = [callers.submit(threads._pool) for _ in range(4)]
    assert len({pool.result() for pool in pools}) == 1


# Memory that is used again


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 1003), (2, 3, 4)])
def test_matrices_are_aligned_to_cache_lines(shape):
    array = workspace.empty_matrix(*shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert address(array) % 64 == 0


def saved_by_autograd(array: np.ndarray) -> Tensor:
    factor = torch.ones(array.shape, requires_grad=True)
    return (factor * torch.from_numpy(array)).sum()


VIEWS = {
    "itself": lambda array: array,
    "slice": lambda array: array[1:, ::2],
    "reshaped": lambda array: array.reshape(-1)[5:],
    "view of a view": lambda array: array[1:].T[3:].view(np.int32),
    "tensor": torch.from_numpy,
    "tensor of a slice": lambda array: torch.from_numpy(array[1:])[:, 1],
    "array of a tensor": lambda array: torch.from_numpy(array).view(-1)[2:].numpy(),
    "detached tensor": lambda array: torch.from_numpy(array).requires_grad_().detach(),
    "autograd": saved_by_autograd,
    "memoryview": lambda array: memoryview(array),
}


@pytest.mark.parametrize("view", VIEWS)
def test_memory_is_used_again_only_after_its_last_view(view):
    # A size that nothing else here has.
    shape = (3, 70_001)
    array = workspace.empty_matrix(*shape)
    place = address(array)
    held = VIEWS[view](array)
    del array
    others = [workspace.empty_matrix(*shape) for _ in range(3)]
    assert place not in map(address, others)
    del held, others
    gc.collect()
    again = [workspace.empty_matrix(*shape) for _ in range(4)]
    assert place in map(address, again)
    assert len(set(map(address, again))) == 4


def test_memory_of_another_size_is_large_enough():
    sizes = [*range(1, 70), 1000, 1023, 1024, 1025, 4097, 70_001]
    for size in sizes:
        capacity = workspace._capacity(size)
        assert size <= capacity <= max(16, 1.25 * size + 16)
        workspace.empty_matrix(size)[:] = 0


def test_only_so_much_unused_memory_is_kept(monkeypatch):
    held = [workspace.empty_matrix(30_011) for _ in range(4)]
    gc.collect()
    before, capacity = workspace._n_unused, workspace._capacity(30_011)
    monkeypatch.setattr(workspace, "_LIMIT", before + 2 * capacity + 1)
    del held
    gc.collect()
    # The third does not fit: all make room for it.
    assert workspace._n_unused == 2 * capacity


def test_threads_never_share_memory():
    barrier = threading.Barrier(4)

    def fill(number: int) -> bool:
        barrier.wait(timeout=60)
        for turn in range(300):
            arrays = [workspace.empty_matrix(3, 1000 + turn % 3) for _ in range(3)]
            for which, array in enumerate(arrays):
                array[:] = 10 * number + which
            for which, array in enumerate(arrays):
                if not (array == 10 * number + which).all():
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(4)))


def test_a_forked_child_has_memory_though_another_thread_held_the_lock():
    run_python(
        """
        import os, threading
        import numpy as np
        from dsn_sktime.kernels import kernel_threads, threads, workspace
        from dsn_sktime.kernels.threads import for_rows

        threads._WORTH_A_THREAD = 1

        def do_rows():
            with kernel_threads(2):
                done = []
                for_rows(lambda first, last: done.append((first, last)), np.arange(5))
                assert sorted(done) == [(0, 2), (2, 4)]

        do_rows()
        del_me = workspace.empty_matrix(100)
        del del_me
        locked, over = threading.Event(), threading.Event()

        def hold():
            with workspace._lock:
                locked.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait()
        child = os.fork()
        if child == 0:
            workspace.empty_matrix(100)[:] = 1
            do_rows()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        over.set()
        thread.join()
        assert status == 0
        do_rows()
        """
    )


# Which arithmetic is used


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("lengths", [(6, 6), (6, 1, 3)])
def test_float64_is_not_rounded_on_the_way(padding, lengths):
    case = Case(9, 2, 2, 3, 0.6, lengths, padding)
    conv = case.module.conv.double()
    x = torch.from_numpy(case.rng.normal(size=(len(lengths), case.shape[1], 6)))
    x = (x * case.observed).requires_grad_()
    assert not uses_sparse_kernels(x)
    upstream = case.series(case.shape[0]).double()
    y = conv(x, case.lengths_or_none)
    y.backward(upstream)
    wide = x.detach().numpy()
    expected = naive.convolve_batch(wide, case.kernels, case.sources)
    by_x, by_kernels = naive.convolve_batch_gradients(
        wide, case.kernels, case.sources, upstream.numpy()
    )
    assert error(y * case.observed, expected) < 1e-12
    assert error(x.grad, by_x) < 1e-12
    assert error(conv.values.grad, by_kernels.ravel()[conv.index.numpy()]) < 1e-12


@pytest.mark.parametrize(("dtype", "is_sparse"), [(torch.float32, True), (torch.float64, False)])
def test_only_float32_runs_on_the_sparse_kernels(monkeypatch, dtype, is_sparse):
    called = []
    for name in ("convolve", "weight_gradient"):
        function = getattr(simd, name)
        monkeypatch.setattr(
            simd,
            name,
            lambda *arguments, name=name, function=function: (
                called.append(name) or function(*arguments)
            ),
        )
    conv = Case().module.conv.to(dtype)
    conv(torch.ones(2, 2, 5, dtype=dtype)).sum().backward()
    assert set(called) == ({"convolve", "weight_gradient"} if is_sparse else set())


def test_without_numba_all_works_and_gives_the_same():
    X, y = panel("multivariate")
    expected = tiny_classifier(topology_init="random").fit(X, y).predict_proba(X)
    printed = run_python(
        """
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("numba", "llvmlite"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Refuse())

        from tiny import panel, tiny_classifier
        from dsn_sktime.kernels import sparse

        assert sparse is None
        X, y = panel("multivariate")
        classifier = tiny_classifier(topology_init="random").fit(X, y)
        assert classifier.predict(X).shape == y.shape
        print(classifier.predict_proba(X).tolist())
        """
    )
    assert np.ptp(expected) > 0.05
    assert np.abs(np.array(json.loads(printed)) - expected).max() < TOLERANCE


def test_engine_can_be_imported_where_no_process_forks():
    """As on Windows; what asks for fork there must not be needed to import it."""
    run_python(
        """
        import os
        import joblib, numba, torch

        del os.register_at_fork
        from dsn_sktime.kernels import sparse
        assert sparse is not None
        """
    )


# What layers and networks take


LAYERS = {
    "conv": lambda: SparseConv1d(3, 4, 5, 2, 0.5, topology_init="random"),
    "network": lambda: DSNNetwork(3, 2, 2, 3, 5, 2, 0.5, n_pool=4),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    return LAYERS[request.param]()


@pytest.fixture(params=["training", "no gradients", "with running statistics"])
def mode(request: pytest.FixtureRequest, layer: nn.Module) -> Iterator[None]:
    layer.train(request.param == "training")
    with torch.set_grad_enabled(request.param != "no gradients"):
        yield


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    "shape", [(2, 2, 6), (2, 4, 6), (2, 3, 0), (0, 3, 6), (3, 6), (1, 2, 3, 6)]
)
def test_batches_of_another_shape_are_refused(layer, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, 3, L\) .* found \("):
        layer(torch.zeros(shape))


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float64, torch.bool])
def test_batches_of_another_type_are_refused(layer, dtype):
    with pytest.raises(TypeError, match=rf"torch\.float32, found {dtype}"):
        layer(torch.zeros(2, 3, 6, dtype=dtype))


@pytest.mark.usefixtures("mode")
def test_single_precision_into_double_weights_is_refused(layer):
    with pytest.raises(TypeError, match=r"torch\.float64, found torch\.float32"):
        layer.double()(torch.zeros(2, 3, 6))


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("lengths", [(0, 6), (-1, 2), (7, 6), (1, 2**40)])
def test_lengths_outside_the_batch_are_refused(layer, lengths):
    found = rf"lengths must lie in 1\.\.6, .* found {min(lengths)}\.\.{max(lengths)}"
    with pytest.raises(ValueError, match=found):
        layer(torch.zeros(2, 3, 6), torch.tensor(lengths))


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("lengths", [torch.ones(3), torch.ones(()), torch.ones(2, 1)])
def test_lengths_of_another_shape_are_refused(layer, lengths):
    with pytest.raises(ValueError, match=r"lengths must have shape \(2,\), .* found \("):
        layer(torch.zeros(2, 3, 6), lengths.long())


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_lengths_of_another_type_are_refused(layer, dtype):
    with pytest.raises(TypeError, match=f"lengths must be int64, found {dtype}"):
        layer(torch.zeros(2, 3, 6), torch.ones(2, dtype=dtype))


NOT_CONTIGUOUS = {
    "time first": lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    "channels last": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "every other step": lambda x: x.repeat_interleave(2, dim=2)[:, :, ::2],
    "every third series": lambda x: x.repeat_interleave(3, dim=0)[::3],
    "within a larger one": lambda x: F.pad(x, (3, 2, 1, 1), value=math.nan)[:, 1:-1, 3:-2],
    "one series for all": lambda x: x[:1].expand(len(x), -1, -1),
}


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("lengths", [None, (6, 1, 4)])
@pytest.mark.parametrize("view", NOT_CONTIGUOUS)
def test_strides_of_a_batch_make_no_difference(layer, view, lengths):
    lengths = None if lengths is None else torch.tensor(lengths)
    x = NOT_CONTIGUOUS[view](torch.randn(3, 3, 6))
    assert not x.is_contiguous()
    outputs = [copy.deepcopy(layer)(one, lengths) for one in (x, x.contiguous())]
    assert torch.equal(*outputs)


def test_strides_of_the_upstream_gradient_make_no_difference():
    gradients = []
    for view in (lambda x: x, lambda x: x.transpose(0, 2).contiguous().transpose(0, 2)):
        case = Case()
        upstream = case.series(case.shape[0])
        x = case.x.requires_grad_()
        in_time_batch(case.module, case, x).backward(view(upstream))
        gradients.append([x.grad, *(p.grad for p in case.module.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def flipped(index: Tensor) -> Tensor:
    return index.flip(0)


def out_of_range(index: Tensor) -> Tensor:
    return torch.cat([index[:-1], torch.tensor([10**6])])


def negative(index: Tensor) -> Tensor:
    return torch.cat([torch.tensor([-1]), index[1:]])


def twice(index: Tensor) -> Tensor:
    return torch.cat([index[:1], index[:-1]])


def of_another_group(index: Tensor) -> Tensor:
    # The last tap of the first kernel, which the first of two groups may not activate.
    return torch.cat([index[:1], torch.tensor([4]), index[2:]]).sort().values


@pytest.mark.parametrize("change", [flipped, out_of_range, negative, twice, of_another_group])
def test_state_with_an_index_that_is_no_topology_is_refused(layer, change):
    layer = LAYERS["network"]() if isinstance(layer, DSNNetwork) else LAYERS["conv"]()
    state = copy.deepcopy(layer.state_dict())
    for name in state:
        state[name] = change(state[name]) if name.endswith("index") else state[name] + 1
    check_refused(layer, state, "strictly increasing|exploration region")


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.7])
def test_state_of_another_sparsity_is_refused(sparsity):
    other = SparseConv1d(3, 4, 5, 2, sparsity)
    check_refused(LAYERS["conv"](), other.state_dict(), "activated weights, found an index")


def test_state_with_values_of_another_number_is_refused():
    layer = LAYERS["conv"]()
    state = {**SparseConv1d(3, 4, 5, 2, 0.5).state_dict(), "values": torch.zeros(3)}
    check_refused(layer, state, r"values of shape \(18,\), found \(3,\)")


def check_refused(layer: nn.Module, state: dict[str, Tensor], message: str) -> None:
    """Check that loading fails and that no sparse convolution has changed."""
    convs = [module for module in layer.modules() if isinstance(module, SparseConv1d)]
    before = [(conv.index.clone(), conv.values.clone()) for conv in convs]
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict(state)
    for conv, (index, values) in zip(convs, before, strict=True):
        assert torch.equal(conv.index, index)
        assert torch.equal(conv.values, values)


@pytest.mark.parametrize("assign", [False, True])
def test_a_loaded_topology_is_the_one_that_is_used(assign):
    torch.manual_seed(0)
    one, other = (LAYERS["conv"]() for _ in range(2))
    x = torch.randn(2, 3, 6)
    assert not torch.equal(one.index, other.index)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict(), assign=assign)
    assert torch.equal(one(x), other(x))


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    def njit(cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**settings)

    monkeypatch.setattr(jit, "njit", njit)
    assert jit.compiled()(lambda x: x + 1)(2) == 3

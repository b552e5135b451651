"""The engine's loops one by one, each between zones of NaN, against numpy in float64."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import naive
import numpy as np
import pytest
import torch
from cases import drawn, seeds
from guards import Memory, address, only
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from torch.nn import functional as F

from dsn_sktime.kernels import loops as inner_loops
from dsn_sktime.kernels.simd import LANES, MAX_GAP, MAX_VECTORS

TOLERANCE = 1e-5


@cache
def _callable(name):
    """Compile a function of the module for Python to call; return others as they are."""
    found = getattr(inner_loops, name)
    if not hasattr(found, "py_func"):
        return found
    fastmath = found.targetoptions["fastmath"]
    return njit(error_model="numpy", fastmath=fastmath)(found.py_func)


class _Loops:
    def __getattr__(self, name):
        return _callable(name)


loops = _Loops()


def error(found: np.ndarray, expected: np.ndarray, scale: float | None = None) -> float:
    """Largest deviation, relative to ``scale`` or else to the largest expected magnitude."""
    assert np.isfinite(found).all()
    if scale is None:
        return naive.relative_error(found, expected)
    return float(np.abs(found - expected).max(initial=0) / scale)


def same(array: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(array, other, equal_nan=True)


@st.composite
def some_rows(draw: st.DrawFn) -> tuple[int, int, int]:
    """Rows, and the first and last of those that are to be done."""
    n_rows = draw(st.integers(1, 7))
    first = draw(st.integers(0, n_rows - 1))
    return n_rows, first, draw(st.integers(first + 1, n_rows))


after = st.integers(0, 50)
vectors = st.integers(1, 20)


class Reads:
    """Random weights and pairs of them, some blocks and rows without any."""

    def __init__(self, memory: Memory, rng: np.random.Generator, n_rows: int) -> None:
        self.n_blocks = int(rng.integers(1, 4))
        shape = self.n_blocks, n_rows, MAX_GAP + 1
        counts = rng.integers(0, 4, shape) * rng.integers(0, 2, (*shape[:2], 1))
        counts[tuple(rng.integers(shape))] += 1
        self.row, self.gap = (
            np.repeat(places.ravel(), counts.ravel()) for places in np.indices(shape)[1:]
        )
        offsets = rng.integers(0, 300, counts.sum())
        # The first place that may be read is.
        offsets[0] = 0
        self.offsets = Memory.integers(offsets, np.int32)
        self.counts = Memory.integers(counts.ravel(), np.int32)
        self.values = memory.normal(rng, int((1 + (self.gap > 0)).sum()))

    def end(self, n_columns: int) -> int:
        """Where what is read by a tile of these columns ends."""
        return int((self.offsets + self.gap * LANES).max()) + n_columns

    def products(self, x: np.ndarray, n_columns: int) -> list[tuple[int, np.ndarray]]:
        """Row and product of each weight, in float64."""
        values = iter(self.values.astype(np.float64))
        return [
            (row, next(values) * x[offset + shift : offset + shift + n_columns])
            for row, offset, gap in zip(self.row, self.offsets, self.gap, strict=True)
            for shift in ((0, gap * LANES) if gap else (0,))
        ]


# Convolution


@drawn
@given(n_rows=st.integers(1, 7), n_vectors=st.integers(1, MAX_VECTORS), beyond=after, seed=seeds)
def test_convolve_tile(n_rows, n_vectors, beyond, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    reads, n = Reads(memory, rng, n_rows), n_vectors * LANES
    x = memory.normal(rng, reads.end(n))
    out = memory.empty(n_rows, n + beyond)
    loops.convolve_tile(
        loops.convolutions([n_vectors]),
        address(x),
        address(reads.offsets),
        address(reads.values),
        address(reads.counts),
        reads.n_blocks,
        n_vectors,
        address(out),
        out.shape[1],
        n_rows,
    )
    expected, largest = np.zeros((n_rows, n)), 1.0
    for row, product in reads.products(x.astype(np.float64), n):
        expected[row] += product
        largest = max(largest, np.abs(product).max())
    place = slice(None), slice(n)
    assert error(out[place], expected, largest) < TOLERANCE
    assert same(out, only(out, *place))
    assert memory.is_intact()


@drawn
@given(n_vectors=vectors, n_groups=st.integers(1, 5), gaps=st.tuples(after, after), seed=seeds)
def test_weight_gradient(n_vectors, n_groups, gaps, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    n = n_vectors * LANES
    n_weights = int(rng.integers(1, 60))
    offsets = Memory.integers(rng.integers(0, 300, n_weights), np.int32)
    begin = int(rng.integers(0, n_weights))
    end = int(rng.integers(begin, n_weights + 1))
    x_stride, y_stride = n + gaps[0], n + gaps[1]
    x = memory.normal(rng, (n_groups - 1) * x_stride + int(offsets.max()) + n)
    y = memory.empty((n_groups - 1) * y_stride + n)
    out = memory.empty(n_weights)
    out[begin:end] = rng.normal(size=end - begin)
    expected = out.astype(np.float64)
    for group in range(n_groups):
        here = slice(group * y_stride, group * y_stride + n)
        y[here] = rng.normal(size=n)
        wide = x[group * x_stride :].astype(np.float64)
        windows = np.array([wide[offset : offset + n] for offset in offsets])
        expected += windows @ y[here].astype(np.float64)
    loops.weight_gradient(
        address(x),
        address(offsets),
        begin,
        end,
        address(y),
        n,
        n_groups,
        x_stride,
        y_stride,
        address(out),
    )
    # The products' sum is about the root of their number.
    assert error(out[begin:end], expected[begin:end], math.sqrt(n * n_groups)) < TOLERANCE
    assert same(out, only(out, slice(begin, end)))
    assert memory.is_intact()


@drawn
@given(n_vectors=st.integers(1, 1000), n_groups=st.integers(1, 50))
def test_stretches_cover_each_column_once(n_vectors, n_groups):
    columns = n_vectors * LANES
    n, n_at_once = loops.stretch(columns)
    assert n % LANES == 0
    assert n * min(n_at_once, n_groups) <= loops.DOT_COLUMNS
    # Several groups at a time only where each is done whole.
    assert n_at_once == 1 or n == columns


# Matrix products


@drawn
@given(
    n_rows=st.integers(1, 11),
    n=st.integers(0, 20),
    n_vectors=st.integers(1, 11),
    transposed=st.booleans(),
    gaps=st.tuples(after, after, after),
    seed=seeds,
)
def test_multiply_strip(n_rows, n, n_vectors, transposed, gaps, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    n_columns = n_vectors * LANES
    shape = (n, n_rows) if transposed else (n_rows, n)
    left = memory.empty(shape[0], shape[1] + gaps[0])
    left[:, : shape[1]] = rng.normal(size=shape)
    right = memory.empty(n, n_columns + gaps[1])
    right[:, :n_columns] = rng.normal(size=(n, n_columns))
    out = memory.empty(n_rows, n_columns + gaps[2])
    strides = (1, left.shape[1]) if transposed else (left.shape[1], 1)
    loops.multiply_strip(
        address(left),
        *strides,
        address(right),
        right.shape[1],
        n,
        n_vectors,
        address(out),
        out.shape[1],
        n_rows,
    )
    matrix = left[:, : shape[1]].astype(np.float64)
    expected = (matrix.T if transposed else matrix) @ right[:, :n_columns].astype(np.float64)
    place = slice(None), slice(n_columns)
    assert error(out[place], expected) < TOLERANCE
    assert same(out, only(out, *place))
    assert memory.is_intact()


@drawn
@given(
    n_left=st.integers(1, 11),
    n_right=st.integers(1, 11),
    n_vectors=st.integers(0, 20),
    gaps=st.tuples(after, after, after),
    seed=seeds,
)
def test_row_products_are_added(n_left, n_right, n_vectors, gaps, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    n = n_vectors * LANES
    left, right = memory.empty(n_left, n + gaps[0]), memory.empty(n_right, n + gaps[1])
    out = memory.empty(n_left, n_right + gaps[2])
    for matrix, width in ((left, n), (right, n), (out, n_right)):
        matrix[:, :width] = rng.normal(size=(len(matrix), width))
    before = out.astype(np.float64)
    loops.row_products(
        address(left),
        left.shape[1],
        n_left,
        address(right),
        right.shape[1],
        n_right,
        n,
        address(out),
        out.shape[1],
    )
    place = slice(None), slice(n_right)
    expected = before[place] + left[:, :n].astype(np.float64) @ right[:, :n].astype(np.float64).T
    assert error(out[place], expected, max(1.0, math.sqrt(n))) < TOLERANCE
    assert same(out, only(out, *place))
    assert memory.is_intact()


# BatchNorm and ReLU


class Rows:
    """Rows of a matrix whose columns are partly observed, and their BatchNorm."""

    def __init__(self, n_rows: int, n_vectors: int, beyond: int, seed: int) -> None:
        self.rng, self.memory = np.random.default_rng(seed), Memory()
        self.n = n_vectors * LANES
        self.observed = self.memory.holding(self.rng.random(self.n) < 0.8)
        self.observed[:2] = 1
        self.seen = self.observed > 0
        self.y = self.memory.empty(n_rows, self.n + beyond)
        centers = self.rng.normal(size=(n_rows, 1))
        self.y[:, : self.n] = self.rng.normal(size=(n_rows, self.n)) + centers
        self.wide = self.y[:, : self.n].astype(np.float64)
        self.mean, self.scale, self.bias = (self.memory.normal(self.rng, n_rows) for _ in range(3))

    def before_relu(self) -> np.ndarray:
        mean, scale, bias = (
            vector.astype(np.float64)[:, None] for vector in (self.mean, self.scale, self.bias)
        )
        return (self.wide - mean) * scale + bias


@drawn
@given(shape=some_rows(), n_vectors=vectors, gaps=st.tuples(after, after), seed=seeds)
def test_activate(shape, n_vectors, gaps, seed):
    n_rows, first, last = shape
    rows = Rows(n_rows, n_vectors, gaps[0], seed)
    out = rows.memory.empty(last - first, rows.n + gaps[1])
    loops.activate(
        address(rows.y),
        rows.y.shape[1],
        rows.observed,
        rows.mean,
        rows.scale,
        rows.bias,
        first,
        last,
        address(out),
        out.shape[1],
    )
    before = rows.before_relu()[first:last]
    place = slice(None), slice(rows.n)
    expected = np.maximum(before, 0) * rows.observed
    assert error(out[place], expected, np.abs(before).max()) < TOLERANCE
    assert same(out, only(out, *place))
    assert rows.memory.is_intact()


@drawn
@given(n_rows=st.integers(1, 9), n_vectors=vectors, gap=after, seed=seeds)
def test_activate_in_place(n_rows, n_vectors, gap, seed):
    rows = Rows(n_rows, n_vectors, gap, seed)
    expected = np.maximum(rows.before_relu(), 0) * rows.observed
    before = rows.y.copy()
    loops.activate_in_place(
        address(rows.y), rows.y.shape[1], rows.observed, rows.mean, rows.scale, rows.bias
    )
    assert error(rows.y[:, : rows.n], expected, np.abs(rows.before_relu()).max()) < TOLERANCE
    assert same(rows.y[:, rows.n :], before[:, rows.n :])
    assert rows.memory.is_intact()


def test_activation_of_nan_is_nan():
    rows = Rows(1, 1, 0, 0)
    rows.y[0, 0] = np.nan
    out = rows.memory.empty(1, rows.n)
    loops.activate(
        address(rows.y), rows.n, rows.observed, rows.mean, rows.scale, rows.bias,
        0, 1, address(out), rows.n,
    )  # fmt: skip
    loops.activate_in_place(
        address(rows.y), rows.n, rows.observed, rows.mean, rows.scale, rows.bias
    )
    for activated in (out, rows.y):
        assert np.isnan(activated[0, 0])
        assert np.isfinite(activated[0, 1:]).all()


@drawn
@given(n_rows=st.integers(1, 7), n_vectors=vectors, beyond=after, seed=seeds)
def test_moments_of_tiles_merge_to_those_of_rows(n_rows, n_vectors, beyond, seed):
    rows = Rows(n_rows, n_vectors, beyond, seed)
    # Far from zero: the squares' sum less the squared sum would be nothing but rounding.
    rows.y += 1000
    rows.wide = rows.y[:, : rows.n].astype(np.float64)
    cuts = np.sort(rows.rng.integers(0, n_vectors + 1, 3)) * LANES
    bounds = np.unique([0, *cuts, rows.n])
    # A tile of which nothing is observed.
    if len(bounds) > 2:
        rows.observed[bounds[1] : bounds[2]] = 0
    tiles = [slice(*pair) for pair in pairwise(bounds)]
    moments = rows.memory.empty(len(tiles), n_rows, 2)
    for number, tile in enumerate(tiles):
        loops.tile_moments(
            address(rows.y) + 4 * tile.start,
            rows.y.shape[1],
            rows.observed[tile],
            n_rows,
            moments[number],
        )
    seen = rows.observed > 0
    counts = rows.memory.holding([rows.observed[tile].sum() for tile in tiles])
    for row in range(n_rows):
        mean, variance = loops.merge_moments(moments, counts, row)
        values = rows.wide[row, seen]
        assert abs(mean - values.mean()) < TOLERANCE * 1000
        assert abs(variance - values.var()) < 1e-4 * values.var() + 1e-6
    assert np.isfinite(moments).all()
    assert rows.memory.is_intact()


@drawn
@given(n_vectors=vectors, seed=seeds)
def test_gradient_through_relu_and_batch_norm(n_vectors, seed):
    rows = Rows(1, n_vectors, 0, seed)
    n_observed, eps = int(rows.seen.sum()), 1e-5
    weight, bias = rows.rng.normal(size=2).astype(np.float32)
    values = rows.wide[0, rows.seen]
    variance = values.var()
    scale = np.float32(weight / math.sqrt(variance + eps))
    mean = np.float32(values.mean())
    before = (rows.wide[0] - values.mean()) * weight / math.sqrt(variance + eps) + bias
    upstream = rows.rng.normal(size=rows.n)
    gradient = rows.memory.holding(np.where(np.abs(before) > 1e-3, upstream, 0))
    exact = gradient.astype(np.float64)
    plain, scaled = loops.relu_gradient(gradient, rows.y[0], rows.observed, mean, scale, bias)

    passed = exact * (before > 0) * rows.observed
    total = np.abs(exact).sum()
    assert error(gradient, passed, np.abs(exact).max()) < TOLERANCE
    assert abs(plain - passed.sum()) <= TOLERANCE * total
    assert abs(scaled - (passed * (rows.wide[0] - values.mean())).sum()) <= 4 * TOLERANCE * total

    rstd = 1 / math.sqrt(variance + eps)
    slope = np.float32(-scale * rstd * rstd * scaled / n_observed)
    offset = np.float32(-scale * plain / n_observed)
    loops.batch_norm_gradient(gradient, rows.y[0], rows.observed, mean, scale, slope, offset)
    wide = torch.from_numpy(values)[None].requires_grad_()
    wide_weight, wide_bias = (torch.tensor([v], dtype=torch.float64) for v in (weight, bias))
    normal = F.batch_norm(wide.T, None, None, wide_weight, wide_bias, training=True, eps=eps).relu()
    normal.backward(torch.from_numpy(exact[rows.seen])[:, None])
    # By the parts that it is the sum of, which cancel where there are few columns.
    parts = max(1e-6, np.abs(exact).max() * abs(scale))
    assert error(gradient[rows.seen], wide.grad[0].numpy(), parts) < 4 * TOLERANCE
    assert not gradient[~rows.seen].any()
    assert rows.memory.is_intact()


# Places


@drawn
@given(n=st.integers(1, 60), n_read=st.integers(1, 60), seed=seeds)
def test_gather(n, n_read, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    row, source = memory.normal(rng, n), Memory.integers(rng.integers(-1, n, n_read), np.int32)
    out = memory.empty(n_read)
    loops.gather(row, source, out)
    assert same(out, [row[i] if i >= 0 else 0 for i in source])
    assert memory.is_intact()


@drawn
@given(n=st.integers(2, 60), seed=seeds)
def test_fill(n, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    row, places = memory.normal(rng, n), rng.permutation(n)
    n_filled = int(rng.integers(1, n))
    to = Memory.integers(places[:n_filled], np.int32)
    source = Memory.integers(rng.choice([-1, *places[n_filled:]], n_filled), np.int32)
    before = row.copy()
    row[to] = np.nan
    loops.fill(row, to, source)
    for place in range(n):
        if place in to:
            i = source[to == place][0]
            assert row[place] == (before[i] if i >= 0 else 0)
        else:
            assert row[place] == before[place]
    assert memory.is_intact()


@drawn
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=2 * LANES),
    kernel_size=st.integers(1, 41),
    between=after,
    seed=seeds,
)
def test_suffix_sums(lengths, kernel_size, between, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    n_steps, n_groups = max(lengths), -(-len(lengths) // LANES)
    # A series after the other: the places of their steps are given by a table.
    end, width = len(lengths) * n_steps, n_groups * kernel_size * LANES
    row = memory.empty(end + between + width + between)
    row[:end] = rng.normal(size=end)
    source = np.full((n_groups, kernel_size, LANES), -1, dtype=np.int32)
    expected = np.zeros((n_groups, kernel_size, LANES))
    for b, length in enumerate(lengths):
        group, lane = divmod(b, LANES)
        own = row[b * n_steps : b * n_steps + length].astype(np.float64)
        for tap in range(kernel_size):
            step = length - 1 - tap
            source[group, tap, lane] = b * n_steps + step if step >= 0 else -1
            expected[group, kernel_size - 1 - tap, lane] = own[max(0, step) :].sum()
    source = Memory.integers(source.ravel(), np.int32).reshape(source.shape)
    before = row.copy()
    loops.suffix_sums(row, end + between, source)
    sums = slice(end + between, end + between + width)
    assert error(row[sums], expected.ravel()) < TOLERANCE
    before[sums] = row[sums]
    assert same(row, before)
    assert memory.is_intact()


# Pooling


@drawn
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    n_bins=st.integers(1, 15),
    beyond=after,
    seed=seeds,
)
def test_pool_series_and_its_gradient(lengths, n_bins, beyond, seed):
    lengths = np.array(lengths)
    rng, memory = np.random.default_rng(seed), Memory()
    n_series, n_steps = len(lengths), max(lengths)
    # Steps stand anywhere; those beyond a series' end hold NaN, as do columns of no series.
    n_columns = n_series * n_steps + beyond
    columns = rng.permutation(n_columns)[: n_series * n_steps].reshape(n_series, n_steps)
    scores = memory.empty(n_columns)
    expected, by_scores = np.zeros((n_series, n_bins)), np.zeros(n_columns)
    upstream = memory.normal(rng, n_series * n_bins)
    for b, length in enumerate(lengths):
        own = columns[b, :length]
        scores[own] = rng.normal(size=length)
        expected[b] = naive.adaptive_pool(scores[own].astype(np.float64)[None], n_bins)[0]
        for step, unit in enumerate(np.eye(length)):
            weights = naive.adaptive_pool(unit[None], n_bins)[0]
            by_scores[own[step]] = upstream[b * n_bins : (b + 1) * n_bins] @ weights
    table = Memory.integers(columns.ravel(), np.int32)
    bins, first = np.arange(n_bins)[:, None], np.arange(n_series) * n_steps
    starts = Memory.integers((first + bins * lengths // n_bins).ravel(), np.int32)
    stops = Memory.integers((first - -(bins + 1) * lengths // n_bins).ravel(), np.int32)
    out, gradient = memory.empty(n_bins, n_series), memory.holding(np.zeros(n_columns))
    loops.pool_series(scores, table, starts, stops, out.ravel())
    assert error(out, expected.T) < TOLERANCE
    upstream = memory.holding(upstream.reshape(n_series, n_bins).T).ravel()
    loops.pool_series_gradient(upstream, table, starts, stops, gradient)
    assert error(gradient, by_scores) < TOLERANCE
    unobserved = np.isnan(scores)
    assert not gradient[unobserved].any()
    assert memory.is_intact()


@drawn
@given(
    n_steps=st.integers(1, 60),
    n_bins=st.integers(1, 70),
    n_groups=st.integers(1, 3),
    between=after,
    seed=seeds,
)
def test_pool_lanes_and_its_gradient(n_steps, n_bins, n_groups, between, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    pitch, stride = n_groups * LANES, n_steps * LANES + between
    bins = np.arange(n_bins)
    starts = Memory.integers(bins * n_steps // n_bins, np.int32)
    stops = Memory.integers(-(-(bins + 1) * n_steps // n_bins), np.int32)
    shares = memory.holding(1 / (stops - starts))
    tables = starts, stops, address(shares)
    x = memory.empty(n_groups, stride)[:, : n_steps * LANES]
    x[:] = rng.normal(size=x.shape)
    out = memory.empty(n_bins, pitch)
    loops.pool_lanes(address(x), stride, *tables, address(out), pitch)
    lanes = x.reshape(n_groups, n_steps, LANES).transpose(0, 2, 1).reshape(pitch, n_steps)
    assert error(out, naive.adaptive_pool(lanes.astype(np.float64), n_bins).T) < TOLERANCE

    upstream, found = memory.normal(rng, n_bins, pitch), memory.empty(n_groups, stride)
    found[:, : n_steps * LANES] = 0
    loops.pool_lanes_gradient(address(upstream), pitch, *tables, address(found), stride)
    expected = naive.adaptive_pool(np.eye(n_steps), n_bins) @ upstream.astype(np.float64)
    expected = expected.reshape(n_steps, n_groups, LANES).transpose(1, 0, 2)
    assert error(found[:, : n_steps * LANES].reshape(expected.shape), expected) < TOLERANCE
    assert np.isnan(found[:, n_steps * LANES :]).all()
    assert memory.is_intact()


@drawn
@given(sizes=st.lists(vectors, min_size=1, max_size=5), gap=after, seed=seeds)
def test_statistics_of_tiles_merge_to_those_of_all(sizes, gap, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    tiles = [memory.holding(rng.normal(size=(n, LANES)).clip(0)) for n in sizes]
    of_tiles, scratch = memory.empty(len(sizes), 3, LANES), memory.empty(3, LANES)
    for tile, found in zip(tiles, of_tiles, strict=True):
        loops.tile_statistics(address(tile), len(tile), address(found), 3 * LANES, 1)
    one, pitch = np.ones(1, "f"), LANES + gap
    out = memory.empty(3, pitch)
    merge = address(of_tiles), len(sizes), address(one), address(scratch), address(out), pitch
    loops.merge_statistics(*merge)
    every = np.concatenate(tiles).astype(np.float64)
    expected = np.stack([every.sum(0), every.max(0), (every > 0).sum(0)])
    assert error(out[:, :LANES], expected) < TOLERANCE
    assert memory.is_intact()


# Chunks


@pytest.mark.parametrize("n_steps", [1, 2, 7, 12, 16, 17, 48, 49, 100, 500])
@pytest.mark.parametrize(
    ("count", "largest"),
    [(loops.n_tiles, MAX_VECTORS), (loops.n_strips, loops.STRIP_COLUMNS // LANES)],
)
def test_chunks_cover_each_step_of_each_group_once(n_steps, count, largest):
    per_group, n_groups = count(n_steps), 3
    found = []
    for chunk in range(per_group * n_groups):
        group, first, end = loops.chunk_of_group(chunk, per_group, n_steps)
        assert 1 <= end - first <= largest
        found += [(group, step) for step in range(first, end)]
    assert found == [(group, step) for group in range(n_groups) for step in range(n_steps)]
    assert (per_group - 1) * largest < n_steps

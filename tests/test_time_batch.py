"""Where things stand in the sparse engine's matrices, and how it reads a topology."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import naive
import numpy as np
import pytest
from cases import drawn, seeds
from hypothesis import given
from hypothesis import strategies as st

from dsn_sktime.kernels import layout
from dsn_sktime.kernels.layout import KernelIndex, TimeBatch, pitch
from dsn_sktime.kernels.plan import BatchTables
from dsn_sktime.kernels.simd import LANES, MAX_GAP

LINE = 16

lanes = st.sampled_from([4, 8, 16])


@contextmanager
def vectors_of(n_lanes: int) -> Iterator[None]:
    """Lay matrices out for another processor's vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "LANES", n_lanes)
        yield


def for_other_vectors(test: Callable) -> Callable:
    """Run a test that draws ``lanes`` with vectors of so many."""

    @wraps(test)
    def run(lanes: int, **drawn: object) -> None:
        with vectors_of(lanes):
            test(lanes=lanes, **drawn)

    return run


halos = st.integers(0, 12)
kernel_sizes = st.integers(1, 41)


@st.composite
def batch_lengths(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Lengths, and the time steps of the batch, which may be more than the longest."""
    n_steps = draw(st.integers(1, 120))
    n_series = draw(st.integers(1, 40))
    lengths = draw(st.lists(st.integers(1, n_steps), min_size=n_series, max_size=n_series))
    return np.array(lengths), n_steps


@given(n=st.integers(0, 10_000), n_together=st.integers(1, 2_000))
def test_rows_in_use_together_share_the_cache(n, n_together):
    """Each row's first columns continue those of the row before, modulo 4096 bytes."""
    ahead = -(-n_together // LINE) % 64
    assert n <= pitch(n, n_together) < n + 65 * LINE
    assert pitch(n, n_together) % LINE == 0
    assert pitch(n, n_together) // LINE % 64 == ahead


@given(n_steps=st.integers(1, 600), n_groups=st.integers(1, 20))
def test_no_set_of_the_cache_takes_more_lines_of_a_block_than_it_holds(n_steps, n_groups):
    """With the default kernels and AVX2: 16 channels of 54 vectors in 64 sets of 8 lines."""
    lines_per_step, lanes, kernel_size = 0.5, 8, 39
    lengths = np.full(lanes * n_groups, n_steps)
    with vectors_of(lanes):
        batch = TimeBatch(lengths, n_steps, kernel_size, replicate=True)
        pitches = batch.input_pitch, batch.gradient_pitch
    for row_pitch in pitches:
        first = np.arange(16)[:, None] * (row_pitch // LINE)
        lines = first + np.arange(lines_per_step * (16 + kernel_size - 1))
        assert np.bincount(lines.astype(int).ravel() % 64).max() <= 8


@drawn
@given(shape=batch_lengths(), lanes=lanes, kernel_size=kernel_sizes, before=halos, after=halos)
@for_other_vectors
def test_each_observed_step_has_one_column_and_a_column_one_cell(
    shape, lanes, kernel_size, before, after
):
    lengths, n_steps = shape
    batch = TimeBatch(lengths, n_steps, kernel_size, replicate=True)
    series, step = batch.cells(before, after)
    assert series.shape == step.shape
    assert len(series) == batch.n_groups * (before + batch.segment_steps + after) * lanes
    seen = set()
    for b, length in enumerate(lengths):
        columns = batch.columns(np.array(b), np.arange(length), before, after)
        for t, column in enumerate(columns.tolist()):
            assert (series[column], step[column]) == (b, t)
            assert column not in seen
            seen.add(column)
            in_group = column // lanes % (before + batch.segment_steps + after)
            assert before <= in_group < before + batch.segment_steps
    assert len(seen) == batch.n_observed == lengths.sum()


@drawn
@given(shape=batch_lengths(), lanes=lanes, kernel_size=kernel_sizes)
@for_other_vectors
def test_what_is_observed_are_the_columns_of_the_series(shape, lanes, kernel_size):
    lengths, n_steps = shape
    batch = TimeBatch(lengths, n_steps, kernel_size, replicate=True)
    expected = np.zeros(batch.n_columns)
    for b, length in enumerate(lengths):
        expected[batch.columns(np.array(b), np.arange(length))] = 1
    assert np.array_equal(batch.is_observed(*batch.cells()), expected)
    assert batch.n_columns == batch.n_groups * batch.segment_steps * lanes


@drawn
@given(shape=batch_lengths(), lanes=lanes, kernel_size=kernel_sizes, before=halos, after=halos)
@for_other_vectors
def test_a_column_continues_in_the_next_vector(shape, lanes, kernel_size, before, after):
    """What a tap reads is its lane in a vector further on: the next step of the series."""
    lengths, n_steps = shape
    batch = TimeBatch(lengths, n_steps, kernel_size, replicate=True)
    series, step = (
        cells.reshape(batch.n_groups, -1, lanes) for cells in batch.cells(before, after)
    )
    assert (np.diff(series, axis=1) == 0).all()
    assert (np.diff(step, axis=1) == 1).all()


def test_few_series_are_cut_into_segments_and_many_are_not():
    def segments(n_series: int, n_steps: int) -> int:
        with vectors_of(16):
            return TimeBatch(np.full(n_series, n_steps), n_steps, 39, replicate=True).n_segments

    assert segments(1, 500) == 16
    assert segments(2, 500) == 8
    assert segments(16, 500) == segments(64, 500) == 1
    assert segments(3, 1) == 1


# Halos


@drawn
@given(shape=batch_lengths(), kernel_size=kernel_sizes, replicate=st.booleans())
def test_halos_hold_the_steps_of_neighboring_segments_or_the_padding(shape, kernel_size, replicate):
    lengths, n_steps = shape
    tables = BatchTables(lengths, (len(lengths), 1, n_steps), kernel_size, replicate, 0)
    batch, padding = tables.batch, "replicate" if replicate else "zeros"
    before = 0 if replicate else (kernel_size - 1) // 2
    assert (batch.n_before, batch.n_after) == (before, kernel_size - 1 - before)
    row = filled(tables, tables.fill, before, batch.n_after)

    def expected(b: int, t: int) -> float:
        # The padded series begins n_before steps before the series itself.
        source = naive.source_step(t + before, int(lengths[b]), kernel_size, padding)
        return 0 if source is None else code(b, source)

    check_cells(tables, row, before, batch.n_after, expected)


@drawn
@given(shape=batch_lengths(), kernel_size=kernel_sizes, replicate=st.booleans())
def test_halos_of_the_gradient_hold_zeros_outside_the_series(shape, kernel_size, replicate):
    lengths, n_steps = shape
    tables = BatchTables(lengths, (len(lengths), 1, n_steps), kernel_size, replicate, 0)
    before, after = tables.batch.n_after, tables.batch.n_before
    row = filled(tables, tables.back, before, after)
    check_cells(tables, row, before, after, lambda b, t: code(b, t) if 0 <= t < lengths[b] else 0)


def code(b: int, t: int | np.ndarray) -> float | np.ndarray:
    """Stand for one step of one series, or for several."""
    return 1000.0 * (b + 1) + t


def filled(tables: BatchTables, halo: tuple, before: int, after: int) -> np.ndarray:
    """Write each observed step into its column, NaN elsewhere, and fill the halos."""
    batch = tables.batch
    row = np.full(batch.n_groups * (before + batch.segment_steps + after) * LANES, np.nan)
    for b, length in enumerate(batch.lengths):
        t = np.arange(length)
        row[batch.columns(np.array(b), t, before, after)] = code(b, t)
    to, source = halo
    assert len(np.unique(to)) == len(to)
    # None is from where another goes: the order makes no difference.
    assert not np.isin(source, to).any()
    assert np.isnan(row[to]).all()
    row[to] = np.where(source >= 0, row[source], 0)
    return row


def check_cells(tables: BatchTables, row, before: int, after: int, expected) -> None:
    batch = tables.batch
    per_group = before + batch.segment_steps + after
    for column, value in enumerate(row):
        group, rest = divmod(column, per_group * LANES)
        place, lane = divmod(rest, LANES)
        b, segment = divmod(group * LANES + lane, batch.n_segments)
        t = segment * batch.segment_steps + place - before
        assert value == (expected(b, t) if b < batch.n_series else 0), (column, b, t)


@drawn
@given(shape=batch_lengths(), kernel_size=kernel_sizes, replicate=st.booleans())
def test_tables_of_the_ends_of_series(shape, kernel_size, replicate):
    lengths, n_steps = shape
    tables = BatchTables(lengths, (len(lengths), 1, n_steps), kernel_size, replicate, 0)
    batch = tables.batch
    series, step = batch.cells()
    padded_series, padded_step = batch.cells(batch.n_after, batch.n_before)
    n_groups = -(-len(lengths) // LANES)
    assert tables.sums_from.shape == (n_groups, kernel_size, LANES)
    assert tables.sums_from.flags.c_contiguous
    for number in range(n_groups * LANES):
        for tap, column in enumerate(tables.sums_from[number // LANES, :, number % LANES]):
            if number < len(lengths) and tap < lengths[number]:
                cell = padded_series[column], padded_step[column]
                assert cell == (number, lengths[number] - 1 - tap)
            else:
                assert column == -1
    for b, column in enumerate(tables.last_columns):
        assert (series[column], step[column]) == (b, lengths[b] - 1)
    assert tables.counts.sum() == lengths.sum()


@drawn
@given(shape=batch_lengths(), kernel_size=kernel_sizes, replicate=st.booleans())
def test_sums_stand_beyond_the_gradient_and_within_its_rows(shape, kernel_size, replicate):
    lengths, n_steps = shape
    batch = TimeBatch(lengths, n_steps, kernel_size, replicate)
    n_padded = batch.n_groups * (batch.segment_steps + kernel_size - 1) * LANES
    assert batch.padded_columns == n_padded <= batch.input_pitch
    assert n_padded <= batch.sums_column <= batch.gradient_pitch
    assert batch.sums_column % LINE == 0
    if replicate:
        n_sums = batch.n_series_groups * kernel_size * LANES
        assert batch.sums_column + n_sums <= batch.gradient_pitch


# Topology


@st.composite
def topologies(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int, int]]:
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 60)), draw(kernel_sizes)
    rng = np.random.default_rng(draw(seeds))
    n = math.prod(shape)
    n_activated = max(1, int(n * draw(st.sampled_from([1, 0.5, 0.2, 0.01, 0]))))
    return np.sort(rng.choice(n, n_activated, replace=False)), shape


def dense(topology: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    """Kernels whose activated weights are 1, 2, 3, ..."""
    index, shape = topology
    kernels = np.zeros(math.prod(shape))
    kernels[index] = 1 + np.arange(len(index))
    return kernels.reshape(shape)


@drawn
@given(topology=topologies(), lanes=lanes)
@for_other_vectors
def test_reads_are_the_kernels_and_mirrored_the_other_way(topology, lanes):
    kernels, decoded = dense(topology), KernelIndex(*topology)
    mirrored = kernels.transpose(1, 0, 2)[:, :, ::-1]
    for weights, expected in ((decoded.forward, kernels), (decoded.backward, mirrored)):
        n_rows, n_read, _ = expected.shape
        assert weights.counts.shape == (weights.n_blocks, n_rows, MAX_GAP + 1)
        block, row, gap = (
            np.repeat(places.ravel(), weights.counts.ravel())
            for places in np.indices(weights.counts.shape)
        )
        # Blocks are of neighboring channels, as equal as can be.
        assert (weights.channel * weights.n_blocks // n_read == block).all()
        found, values = np.zeros_like(expected), iter(1 + weights.order)
        for place in zip(row, weights.channel, weights.step, gap, strict=True):
            found[place[:3]] += next(values)
            if place[3]:
                found[place[0], place[1], place[2] + place[3]] += next(values)
        assert next(values, None) is None
        assert np.array_equal(found, expected)
        offsets = weights.offsets(1000)
        assert offsets.dtype == np.int32
        assert np.array_equal(offsets, weights.channel * 1000 + weights.step * lanes)


@drawn
@given(topology=topologies(), lanes=lanes, is_backward=st.booleans())
@for_other_vectors
def test_no_two_neighbors_are_left_without_partner(topology, lanes, is_backward):
    decoded = KernelIndex(*topology)
    weights = decoded.backward if is_backward else decoded.forward
    expected = dense(topology)
    if is_backward:
        expected = expected.transpose(1, 0, 2)[:, :, ::-1]
    _, row, gap = (
        np.repeat(places.ravel(), weights.counts.ravel())
        for places in np.indices(weights.counts.shape)
    )
    single = gap == 0
    is_single = np.zeros(expected.shape, dtype=bool)
    is_single[row[single], weights.channel[single], weights.step[single]] = True
    for kernel, alone in zip(
        expected.reshape(-1, expected.shape[2]),
        is_single.reshape(-1, expected.shape[2]),
        strict=True,
    ):
        taps = np.flatnonzero(kernel)
        near = np.diff(taps) <= MAX_GAP
        assert not (near & alone[taps[:-1]] & alone[taps[1:]]).any()


@drawn
@given(topology=topologies(), lanes=lanes)
@for_other_vectors
def test_weights_by_output_channel_are_those_of_the_index(topology, lanes):
    kernels, decoded = dense(topology), KernelIndex(*topology)
    starts, offsets = decoded.starts(), decoded.offsets(1000)
    assert len(starts) == len(kernels) + 1
    assert decoded.n_activated == len(offsets) == starts[-1]
    for channel, kernel in enumerate(kernels):
        read, tap = np.nonzero(kernel)
        assert np.array_equal(
            offsets[starts[channel] : starts[channel + 1]], read * 1000 + tap * lanes
        )


def test_blocks_are_no_larger_than_the_cache():
    def n_blocks(n_in: int, kernel_size: int) -> int:
        index, shape = np.arange(1), (1, n_in, kernel_size)
        with vectors_of(16):
            return KernelIndex(index, shape).forward.n_blocks

    # A tile of a channel: 4 bytes x 16 lanes x (16 + 39 - 1) steps, 8 of which fit 28,000.
    assert [n_blocks(n, 39) for n in (1, 8, 9, 47)] == [1, 1, 2, 6]
    # One that does not fit by itself is a block nevertheless.
    assert n_blocks(3, 1000) == 3


def test_a_batch_whose_columns_no_int32_can_count_is_refused():
    weights = KernelIndex(np.array([0, 3]), (1, 2, 2)).forward
    last = (2**31 - 1 - LANES) - 1
    assert weights.offsets(last).max() == 2**31 - 2
    with pytest.raises(ValueError, match=r"batch is too large .* Lower batch_size"):
        weights.offsets(last + 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_decoded_index_can_be_copied_and_pickled(copied):
    """dask copies modules attribute by attribute, what is decoded included."""
    kernels = KernelIndex(np.array([0, 3, 7]), (2, 2, 2))
    expected, found = kernels.forward, copied(kernels).forward
    for name in ("order", "channel", "step", "counts"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))

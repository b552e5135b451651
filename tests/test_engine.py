"""The fused passes of the sparse engine: against float64, within their memory, on any team."""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import naive
import numpy as np
import pytest
import torch
from cases import Case, drawn, every_case, seeds
from hypothesis import assume, given
from hypothesis import strategies as st
from numba import njit
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import fused, jit, kernel_threads, loops, sparse, threads, workspace
from dsn_sktime.kernels.layout import TimeBatch
from dsn_sktime.kernels.simd import LANES
from dsn_sktime.kernels.team import counters, share
from dsn_sktime.layers import SparseConv1d
from dsn_sktime.network import DSNNetwork

TOLERANCE = 1e-5


def error(found: Tensor, expected: Tensor, scale: float = 0.0) -> float:
    """Largest deviation, relative to the largest magnitude that is expected."""
    assert found.isfinite().all()
    deviation = (found.detach().double() - expected.detach()).abs().max()
    return float(deviation / max(float(expected.detach().abs().max()), scale, 1e-30))


def gradients(network: DSNNetwork, scores: Tensor, upstream: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(scores, list(network.parameters()), upstream.to(scores)))


# Against float64


@every_case
def test_training_pass_and_its_gradients_match_float64(case):
    case.keep_from_zero()
    case.network.train()
    # BatchNorm divides by a deviation: where that is next to nothing, so is what is left.
    assume(least_variance(case) > 1e-2)
    wide = case.wide()
    upstream = case.normal(len(case.lengths), 3)
    scores, expected = case.network(case.x, case.lengths_or_none), case.scores_of(wide)
    assert error(scores, expected, 1.0) < 1e-3
    found, exact = gradients(case.network, scores, upstream), gradients(wide, expected, upstream)
    largest = max(float(one.abs().max()) for one in exact)
    for one, other in zip(found, exact, strict=True):
        assert error(one, other, largest) < 1e-3


def least_variance(case: Case) -> float:
    """Return the least variance that a BatchNorm of the network in float64 divides by."""
    wide = case.wide()
    norms = [*(module.norm for module in wide.sparse_modules()), wide.head.norm]
    for norm in norms:
        norm.momentum = 1.0
    case.scores_of(wide)
    found = [float(norm.running_var.min()) for norm in norms]
    return min(found)


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(
    ("n_series", "n_steps", "variates"),
    [(16, 96, 1), (3, 250, 1), (16, 40, 9), (17, 30, 2), (2, 65, 1), (1, 200, 3), (64, 12, 1)],
)
def test_usual_shapes_match_float64_closely(n_series, n_steps, variates, padding):
    """Within rounding, where no value before a ReLU is so small that its sign is lost."""
    generator = torch.Generator().manual_seed(n_series)
    network = DSNNetwork(
        variates, 3, 3, 8, 39, padding=padding, topology_init="random", generator=generator
    )
    x = torch.randn(n_series, variates, n_steps, generator=generator)
    for module in network.sparse_modules():
        module.norm.bias.data.fill_(6.0)  # All pass.
    wide = copy.deepcopy(network).double()
    upstream = torch.randn(n_series, 3, generator=generator)
    scores, expected = network(x), wide(x.double())
    # Three layers of BatchNorm, each of which takes off a mean six deviations away.
    assert error(scores, expected, 1.0) < 10 * TOLERANCE
    found, exact = gradients(network, scores, upstream), gradients(wide, expected, upstream)
    largest = max(float(one.abs().max()) for one in exact)
    for one, other in zip(found, exact, strict=True):
        assert error(one, other, 1e-1 * largest) < 10 * TOLERANCE
    for one, other in zip(network.buffers(), wide.buffers(), strict=True):
        assert error(one, other.double()) < TOLERANCE


@every_case
def test_folded_prediction_matches_float64(case):
    case.network.eval()
    with torch.no_grad():
        found = case.network(case.x, case.lengths_or_none)
        expected = case.scores_of(case.wide().eval())
    assert error(found, expected, 1e-3) < TOLERANCE


@every_case
def test_one_layer_and_its_gradients_match_float64(case):
    conv, wide = case.conv, copy.deepcopy(case.conv).double()
    found, exact = [], []
    x = case.series(case.conv.groups.in_channels)
    upstream = case.series(case.conv.groups.out_channels)
    for layer, kept in ((conv, found), (wide, exact)):
        one = x.to(layer.values.dtype, copy=True).detach().requires_grad_()
        layer.keep_dense_gradient = True
        y = layer(one, case.lengths_or_none) * case.observed
        y.backward(upstream.to(y.dtype))
        kept += [y.detach(), one.grad, layer.values.grad, inside_regions(layer)]
    for one, other in zip(found, exact, strict=True):
        assert error(one, other, 1e-3) < TOLERANCE


def inside_regions(conv: SparseConv1d) -> Tensor:
    """Return the dense gradient where weights may grow."""
    groups = conv.groups
    regions = [groups.region(group) for group in range(groups.n_kernel_groups)]
    return conv.dense_gradient.flatten()[torch.from_numpy(np.concatenate(regions))]


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_dense_gradient_of_a_fused_pass_holds_that_of_the_activated_weights(padding):
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(
        2, 3, 2, 4, 9, padding=padding, topology_init="random", generator=generator
    )
    wide = copy.deepcopy(network).double()
    x = torch.randn(5, 2, 23, generator=generator)
    lengths = torch.tensor([23, 4, 17, 1, 9])
    for one in (network, wide):
        for conv in one.sparse_convs():
            conv.keep_dense_gradient = True
        one(x.to(one.head.classes.weight), lengths).square().sum().backward()
    for conv, other in zip(network.sparse_convs(), wide.sparse_convs(), strict=True):
        assert torch.allclose(
            conv.dense_gradient.flatten()[conv.index], conv.values.grad, atol=1e-5
        )
        assert torch.allclose(inside_regions(conv).double(), inside_regions(other), atol=1e-4)


# Layout


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 41), st.booleans())
@drawn
def test_cells_columns_and_halos_point_at_the_right_steps(lengths, kernel_size, replicate):
    lengths = np.array(lengths)
    shape = fused._Shape(lengths, int(lengths.max()), kernel_size, replicate)
    batch, conv = shape.batch, shape.conv
    series, step = batch.cells()
    observed = np.flatnonzero(batch.observed)
    assert len(observed) == lengths.sum()
    assert np.array_equal(batch.columns(series[observed], step[observed]), observed)
    # A padded row whose cells say which series and step they hold, once filled.
    series, step = batch.cells(conv.n_before, conv.n_after)
    inside = batch.is_observed(series, step)
    names = np.full(len(series), np.nan, dtype=np.float32)
    n = batch.segment_steps
    own = np.zeros((batch.n_groups, n + kernel_size - 1, LANES), dtype=bool)
    own[:, conv.n_before : conv.n_before + n] = True
    at_home = inside & own.ravel()
    names[at_home] = series[at_home] * 100 + step[at_home] + 1
    loops.fill(names, *shape.fill)
    for name, b, t in zip(names, series, step, strict=True):
        if b < 0:
            assert name == 0
        elif replicate:
            assert name == b * 100 + min(t, lengths[b] - 1) + 1
        else:
            assert name == (b * 100 + t + 1 if 0 <= t < lengths[b] else 0)


@given(st.integers(1, 70), st.integers(1, 300), st.integers(1, 41))
@drawn
def test_every_step_of_every_series_has_a_column_of_its_own(n_series, n_steps, kernel_size):
    batch = TimeBatch(np.full(n_series, n_steps), n_steps, LANES, kernel_size)
    columns = batch.columns(np.arange(n_series)[:, None], np.arange(n_steps)).ravel()
    assert len(set(columns)) == n_series * n_steps
    assert columns.min() >= 0
    assert columns.max() < batch.n_columns


# Memory


@pytest.fixture
def guarded(monkeypatch):
    """Fill what a step is given with NaN, and leave guards between its matrices."""
    given_out = []

    def empty(*shape: int) -> np.ndarray:
        array = np.full(shape, np.nan, dtype=np.float32)
        given_out.append(array)
        return array

    monkeypatch.setattr(fused, "_GAP", 512)
    monkeypatch.setattr(fused, "empty_matrix", empty)
    monkeypatch.setattr(sparse, "empty_matrix", empty)
    return given_out


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(
    ("lengths", "variates", "kernel_size"),
    [((30, 1, 17), 2, 9), ((40,) * 16, 1, 39), ((5,) * 64, 3, 12), ((1,), 1, 3), ((90,), 12, 41)],
)
def test_passes_stay_within_their_memory_and_read_nothing_unwritten(
    guarded, lengths, variates, kernel_size, padding
):
    case = Case(kernel_size, 3, 4, variates, 0.8, lengths, padding)
    for training in (True, False):
        case.network.train(training)
        with torch.set_grad_enabled(training):
            scores = case.network(case.x, case.lengths_or_none)
            assert scores.isfinite().all()
            if training:
                assert all(
                    one.isfinite().all()
                    for one in gradients(case.network, scores, torch.ones_like(scores))
                )
    (engine,) = [case.network._engine]
    for plan, memory in zip(engine._plans.values(), guarded, strict=True):
        written = np.zeros(len(memory), dtype=bool)
        for table, relative in (
            (plan.layers, plan._relative[0]),
            (plan.batch, plan._relative[1]),
        ):
            starts = fused._numbers(table)[fused._numbers(relative) > 0] // 4
            written[starts] = True
        starts = np.flatnonzero(written)
        # Between what is placed and the guard before it nothing may have been written.
        for start in starts:
            assert np.isnan(memory[start - 512 : start]).all()
        assert np.isnan(memory[-512:]).all()


# Teams


@njit(nogil=True)
def count_parts(done, team, n_phases, n_parts):
    for phase in range(n_phases):
        for part in share(team, phase, n_parts):
            done[phase, part] += phase * n_parts + part


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_parts", [0, 1, 7, 1000])
def test_every_part_of_every_phase_is_done_once(n_threads, n_parts):
    done, team = np.zeros((3, n_parts)), counters(3)
    threads.run_team(lambda _: count_parts(done, team, 3, n_parts), n_threads)
    assert np.array_equal(done.ravel(), np.arange(3 * n_parts))


def test_threads_that_come_late_are_not_waited_for(monkeypatch):
    blocked = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(blocked.wait)
        monkeypatch.setattr(threads, "_pool", lambda: pool)
        called: list[int] = []
        threads.run_team(called.append, 2)
        blocked.set()
    assert called == [0]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_any_thread_reaches_the_caller(failing):
    started = threading.Event()

    def fail(thread: int) -> None:
        if thread == 1:
            started.set()
        else:
            assert started.wait(10)
        if thread == failing:
            raise ValueError(f"thread {thread}")
        time.sleep(0.01)

    with pytest.raises(ValueError, match=f"thread {failing}"):
        threads.run_team(fail, 2)


def test_little_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 100)
    with kernel_threads(3):
        assert [threads.team_size(cost) for cost in (0, 199, 200, 299, 10**9)] == [1, 1, 2, 2, 3]
    assert threads.team_size(10**9) == torch.get_num_threads()


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("lengths", [None, (30, 7, 1, 29, 30)])
def test_results_do_not_depend_on_threads_bit_for_bit(padding, lengths):
    found = []
    for n_threads in (1, 2, 3):
        network = DSNNetwork(
            2, 3, 2, 5, 9, padding=padding, generator=torch.Generator().manual_seed(0)
        )
        x = torch.randn(5, 2, 30, generator=torch.Generator().manual_seed(1))
        of = None if lengths is None else torch.tensor(lengths)
        with kernel_threads(n_threads):
            scores = network(x, of)
            found.append(
                [scores, *gradients(network, scores, torch.ones(5, 3)), *network.buffers()]
            )
            with torch.no_grad():
                found[-1].append(network.eval()(x, of))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


# Autograd


def small() -> tuple[nn.Module, Tensor, Tensor]:
    network = DSNNetwork(1, 2, 2, 4, 9, generator=torch.Generator().manual_seed(0))
    return network, torch.randn(4, 1, 30), torch.arange(4) % 2


def test_a_retained_graph_gives_the_same_gradients_twice():
    network, x, y = small()
    loss = F.cross_entropy(network(x), y)
    first = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, list(network.parameters()))
    assert all(map(torch.equal, first, again))


def test_two_passes_may_be_under_way_at_once():
    network, x, y = small()
    apart = [
        torch.autograd.grad(F.cross_entropy(network(one), y), list(network.parameters()))
        for one in (x, 2 * x)
    ]
    losses = [F.cross_entropy(network(one), y) for one in (x, 2 * x)]
    for loss, expected in zip(losses, apart, strict=True):
        found = torch.autograd.grad(loss, list(network.parameters()))
        assert all(map(torch.equal, found, expected))


def test_threads_share_an_engine_for_batches_of_different_lengths():
    network, x, _ = small()
    network.eval()
    cases = [torch.tensor(lengths) for lengths in ([30, 4, 9, 1], [2, 30, 30, 8], [30, 30, 30, 5])]
    with torch.no_grad():
        expected = [network(x, lengths) for lengths in cases]

    def predict(number: int) -> bool:
        with torch.no_grad():
            return torch.equal(network(x, cases[number % 3]), expected[number % 3])

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(predict, range(60)))


def test_a_network_of_mixed_types_is_refused():
    network, x, _ = small()
    network.layers[0].norm.bias.data = network.layers[0].norm.bias.data.double()
    with pytest.raises(TypeError, match=r"torch.float32, found torch.float64 with strides \(1,\)"):
        network(x)


def test_a_gradient_by_the_series_is_computed_too():
    network, x, _ = small()
    wide, upstream = copy.deepcopy(network).double(), torch.randn(4, 2)
    x.requires_grad_()
    (found,) = torch.autograd.grad(network(x), x, upstream)
    exact = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(wide(exact), exact, upstream.double())
    assert error(found, expected) < 1e-3


# Compiled functions, one by one


@given(seeds, st.integers(1, 9), st.integers(1, 7), st.integers(1, 40), st.booleans())
@drawn
def test_matrix_products_match_numpy(seed, n_rows, n_vectors, n, transposed):
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(n_rows, n)).astype(np.float32)
    right = rng.normal(size=(n, n_vectors * LANES + 5)).astype(np.float32)
    out = np.full((n_rows, n_vectors * LANES + 3), np.nan, dtype=np.float32)
    stored = np.ascontiguousarray(left.T) if transposed else left
    strides = (1, n_rows) if transposed else (n, 1)
    loops.multiply_panel(
        stored.ctypes.data, *strides, right.ctypes.data, right.shape[1], n, n_vectors,
        out.ctypes.data, out.shape[1], n_rows,
    )  # fmt: skip
    exact = left.astype(float) @ right[:, : n_vectors * LANES]
    assert naive.relative_error(out[:, : n_vectors * LANES], exact) < TOLERANCE
    assert np.isnan(out[:, n_vectors * LANES :]).all()


@given(seeds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
@drawn
def test_row_products_match_numpy(seed, n_left, n_right, n_vectors):
    rng, n = np.random.default_rng(seed), n_vectors * LANES
    left, right = (rng.normal(size=(m, n + 3)).astype(np.float32) for m in (n_left, n_right))
    out = np.ones((n_left, n_right + 2), dtype=np.float32)
    loops.row_products(
        left.ctypes.data, n + 3, n_left, right.ctypes.data, n + 3, n_right, n,
        out.ctypes.data, n_right + 2,
    )  # fmt: skip
    exact = 1 + left[:, :n].astype(float) @ right[:, :n].T
    assert naive.relative_error(out[:, :n_right], exact) < TOLERANCE
    assert (out[:, n_right:] == 1).all()


@given(seeds, st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 12))
@drawn
def test_pooling_and_its_gradient_match_plain_loops(seed, lengths, n_bins):
    rng, lengths = np.random.default_rng(seed), np.array(lengths)
    n, length = len(lengths), int(lengths.max())
    scores = rng.normal(size=n * length + 4).astype(np.float32)
    columns = rng.permutation(len(scores))[: n * length].astype(np.int32)
    pooled = np.full(n * n_bins, np.nan, dtype=np.float32)
    loops.pool(scores, columns, lengths, length, n_bins, pooled)
    series = scores[columns].reshape(n, length)
    expected = [
        naive.adaptive_pool(one[None, :of], n_bins)[0]
        for one, of in zip(series, lengths, strict=True)
    ]
    assert naive.relative_error(pooled.reshape(n, n_bins), expected) < TOLERANCE
    # The gradient is the transpose: <pool(scores), upstream> = <scores, gradient>.
    upstream = rng.normal(size=n * n_bins).astype(np.float32)
    gradient = np.full(len(scores), np.nan, dtype=np.float32)
    loops.pool_gradient(upstream, columns, lengths, length, n_bins, gradient)
    one, other = np.dot(pooled.astype(float), upstream), np.dot(scores.astype(float), gradient)
    assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_cached_code_is_that_of_all_sources(monkeypatch):
    stamps = Counter(
        function._cache._cache_file._source_stamp
        for function in vars(loops).values()
        if hasattr(function, "_cache") and function.__module__ == loops.__name__
    )
    assert set(stamps) == {jit._SOURCES}
    assert jit._digest_of_sources() == jit._SOURCES
    assert workspace.empty_matrix(3, 5).shape == (3, 5)
    assert SparseConv1d(1, 2, 3).groups.shape == (2, 1, 3)

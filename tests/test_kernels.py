"""The sparse engine: its arithmetic, its memory, and when it is used.

Compiled code checks nothing, so these tests draw many shapes, compare with float64, and
place arrays among NaN: a stray read makes a result NaN, a stray write is seen.
"""

from __future__ import annotations

import copy
import gc
import json
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import naive
import numpy as np
import pytest
import torch
from cases import Case, every_case
from guards import Memory, is_untouched
from processes import run_python
from tiny import panel, tiny_classifier
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import convolution, engine, kernel_threads, sparse, uses_sparse_kernels
from dsn_sktime.kernels.plan import Plan
from dsn_sktime.layers import PADDINGS, SparseConv1d
from dsn_sktime.network import DSNNetwork

TOLERANCE = 1e-5


def error(found: Tensor, expected: Tensor | np.ndarray, scale: float = 0) -> float:
    """Largest deviation, relative to the largest of what is expected, or to ``scale``."""
    found, expected = (np.asarray(torch.as_tensor(x).detach()) for x in (found, expected))
    assert np.isfinite(found).all()
    largest = np.abs(expected).max() or 1.0
    return naive.relative_error(found, expected) * largest / max(largest, float(scale))


def on_dense(network: nn.Module) -> nn.Module:
    """Copy a network or layer to the masked dense kernels."""
    copied = copy.deepcopy(network)
    copied.backend = "dense"
    return copied


# The convolution alone


def dense_kernels(case: Case) -> np.ndarray:
    """Kernels of the first layer, zero where not activated; float64."""
    kernels = np.zeros(math.prod(case.conv.groups.shape))
    kernels[case.conv.index.numpy()] = case.conv.values.detach().double().numpy()
    return kernels.reshape(case.conv.groups.shape)


def sources_of(case: Case) -> np.ndarray:
    kernel_size = case.conv.groups.kernel_size
    return naive.source_columns(case.lengths, case.n_steps, kernel_size, case.padding)


@every_case
def test_convolution_and_its_gradients_match_naive_ones(case):
    conv = case.conv
    x = case.series(conv.groups.in_channels).requires_grad_()
    upstream = case.series(conv.groups.out_channels)
    conv.keep_dense_gradient = True
    y = conv(x, case.lengths_or_none)
    y.backward(upstream)

    exact = x.detach().double().numpy(), dense_kernels(case), upstream.double().numpy()
    expected = naive_convolution(case, *exact)
    # A sum may happen to be next to zero: by the size that sums of such terms have.
    sizes = [np.sqrt(one) for one in naive_convolution(case, *(part**2 for part in exact))]
    found = y * case.observed, x.grad, conv.dense_gradient
    for one, other, size in zip(found, expected, sizes, strict=True):
        assert error(one, other, size.max()) < TOLERANCE
    activated = conv.index.numpy()
    by_values, size = expected[2].ravel()[activated], sizes[2].ravel()[activated]
    assert error(conv.values.grad, by_values, size.max()) < TOLERANCE


def naive_convolution(
    case: Case, x: np.ndarray, kernels: np.ndarray, upstream: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the output, and the gradients by the input and by all weights."""
    sources = sources_of(case)
    y = naive.convolve_batch(x, kernels, sources)
    return y, *naive.convolve_batch_gradients(x, kernels, sources, upstream)


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


# The whole network in single precision, against the masked dense one in float64


def inside_regions(conv: SparseConv1d) -> Tensor:
    """Return the dense gradient where weights may grow: elsewhere it need not be computed."""
    groups = conv.groups
    regions = [groups.region(group) for group in range(groups.n_kernel_groups)]
    return conv.dense_gradient.flatten()[torch.from_numpy(np.concatenate(regions))]


def step(
    network: DSNNetwork, x: Tensor, lengths: Tensor | None, upstream: Tensor
) -> dict[str, Tensor]:
    """Return logits, and gradients by all parameters and all weights of sparse kernels."""
    for conv in network.sparse_convs():
        conv.keep_dense_gradient = True
    parameters = dict(network.named_parameters())
    logits = network(x, lengths)
    gradients = torch.autograd.grad(logits, list(parameters.values()), upstream)
    dense = {
        f"dense {number}": inside_regions(conv)
        for number, conv in enumerate(network.sparse_convs())
    }
    return {"logits": logits.detach(), **dict(zip(parameters, gradients, strict=True)), **dense}


def wide_step(network: DSNNetwork, case: Case, upstream: Tensor) -> dict[str, Tensor]:
    """Do the same in float64; with lengths, as torch's BatchNorm refuses a single value."""
    return step(network, case.x.double(), torch.from_numpy(case.lengths), upstream.double())


def with_constant_statistics(case: Case) -> DSNNetwork:
    """Return the network in float64 whose BatchNorm takes the batch's statistics for given."""
    wide = case.wide()
    seen = case.observed[:, 0] > 0

    def take_statistics(norm: nn.Module, inputs: tuple) -> None:
        x = inputs[0].detach().transpose(0, 1)
        # The head pools before its BatchNorm.
        rows = x.flatten(1) if norm is wide.head.norm else x[:, seen]
        norm.running_mean, norm.running_var = rows.mean(1), rows.var(1, correction=0)

    for module in (*wide.sparse_modules(), wide.head):
        module.norm.register_forward_pre_hook(take_statistics)
    return wide.eval()


def conditioned_errors(
    found: dict[str, Tensor], expected: dict[str, Tensor], parts: dict[str, Tensor]
) -> dict[str, float]:
    """Relative to what is expected or, where that cancels to nothing, to its parts.

    Not to less than a thousandth of the largest: ReLUs may let nothing through to a layer.
    """
    least = max(float(part.abs().max()) for part in parts.values()) / 1000
    return {
        name: error(found[name], exact, max(float(parts[name].abs().max()), least))
        for name, exact in expected.items()
    }


@every_case
def test_logits_and_gradients_of_a_training_step_are_those_of_float64(case):
    """Within 1e-5; or, where rounding is amplified, as near as the masked dense network.

    Some of the drawn cases cannot be computed in single precision: a channel of a few steps
    that hardly differ, say.
    """
    case.keep_from_zero()
    upstream = case.normal(len(case.x), 3)
    expected = wide_step(case.wide(), case, upstream)
    # BatchNorm makes the gradient by scales zero, and of a single series all others too.
    parts = wide_step(with_constant_statistics(case), case, upstream)
    assert error(parts["logits"], expected["logits"]) < 1e-9
    parts["head.norm.weight"] = upstream.abs().sum()
    torchs = step(on_dense(case.network), case.x, torch.from_numpy(case.lengths), upstream)
    amplified = max(conditioned_errors(torchs, expected, parts).values())
    found = step(case.network, case.x, case.lengths_or_none, upstream)
    for name, deviation in conditioned_errors(found, expected, parts).items():
        assert deviation < max(TOLERANCE, 10 * amplified), name


@every_case
def test_running_statistics_are_those_of_float64(case):
    wide = case.wide()
    for network in (case.network, wide):
        dtype = network.head.classes.weight.dtype
        lengths = torch.from_numpy(case.lengths)
        network(case.x.to(dtype), lengths if dtype == torch.float64 else case.lengths_or_none)
    for (name, found), expected in zip(case.network.named_buffers(), wide.buffers(), strict=True):
        if "running" in name:
            assert error(found, expected) < TOLERANCE, name
        else:
            assert torch.equal(found, expected), name


@every_case
def test_prediction_is_that_of_float64(case):
    with torch.no_grad():
        expected = case.scores_of(case.wide().eval())
        found = case.network.eval()(case.x, case.lengths_or_none)
    assert error(found, expected) < TOLERANCE


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel_size", [1, 41])
def test_one_time_step_can_be_predicted(kernel_size, padding):
    case = Case(kernel_size=kernel_size, n_groups=1, lengths=(1,), padding=padding)
    with torch.no_grad():
        expected = case.scores_of(case.wide().eval())
        assert error(case.network.eval()(case.x, None), expected) < TOLERANCE


# Memory


class GuardedEngine:
    """Lets the engine have its memory among NaN, and full of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.memory = Memory()
        self._calls: list[tuple[Plan, np.ndarray, int]] = []
        self._places: dict[Plan, list[tuple[int, int]]] = defaultdict(list)
        for module in (engine, sparse):
            patch.setattr(module, "empty_matrix", self.memory.empty)
        place, make = Plan._place, engine._Call.__init__

        def place_with_gap(plan: Plan, number: int, name: str, *shape: int, **options: str) -> None:
            """Leave zones between the matrices that lie in one piece of memory, too."""
            start = plan.memory_size
            place(plan, number, name, *shape, **options)
            if plan.memory_size > start:
                self._places[plan].append((start, math.prod(shape)))
                plan.memory_size += 64

        def noted(call: engine._Call, plan: Plan, *arguments: object) -> None:
            make(call, plan, *arguments)
            self._calls.append((plan, call.memory, call.n_threads))

        patch.setattr(Plan, "_place", place_with_gap)
        patch.setattr(engine._Call, "__init__", noted)

    def put(self, network: nn.Module) -> nn.Module:
        """Copy a network to guarded memory."""
        copied = copy.deepcopy(network)
        for module in copied.modules():
            for parameter in module.parameters(recurse=False):
                parameter.data = self.memory.tensor(parameter)
            for name in ("running_mean", "running_var"):
                if hasattr(module, name):
                    setattr(module, name, self.memory.tensor(getattr(module, name)))
        return copied

    def check(self) -> None:
        assert self._calls
        assert self.memory.is_intact()
        for plan, memory, n_threads in self._calls:
            is_between = np.ones(memory.size, dtype=bool)
            scratch = plan.memory_size, n_threads * plan.scratch_size
            for start, size in (*self._places[plan], scratch):
                is_between[start : start + size] = False
            assert is_between.any()
            assert is_untouched(memory[is_between])


def results(case: Case, network: DSNNetwork, x: Tensor) -> dict[str, Tensor]:
    """Return all that the engine computes of a batch."""
    found = step(
        network, x, case.lengths_or_none, torch.cos(torch.arange(3.0 * len(x))).view(-1, 3)
    )
    found |= {name: buffer for name, buffer in network.named_buffers() if "running" in name}
    with torch.no_grad():
        found["prediction"] = network.eval()(x, case.lengths_or_none)
    conv = network.sparse_convs()[0]
    alone = x[:, :1].expand(-1, conv.groups.in_channels, -1).clone().requires_grad_()
    y = conv(alone, case.lengths_or_none)
    by_x, by_values = torch.autograd.grad(y.square().sum(), (alone, conv.values))
    return {**found, "y": y.detach(), "by x": by_x, "by values": by_values}


@every_case
def test_nothing_is_read_or_written_outside_of_the_engines_matrices(case):
    """Nor before it is written; on three threads, each of which has memory of its own."""
    expected = results(case, copy.deepcopy(case.network), case.x)
    with pytest.MonkeyPatch.context() as patch, kernel_threads(3):
        guarded = GuardedEngine(patch)
        found = results(case, guarded.put(case.network), guarded.memory.tensor(case.x))
        guarded.check()
    for name, exact in expected.items():
        assert found[name].isfinite().all(), name
        if "dense" not in name:  # a matrix product of torch, whose sums depend on alignment
            assert torch.equal(found[name], exact), name


def reused(memory_of: Callable[[], Tensor]) -> None:
    """Overwrite memory of this size that has been freed."""
    held = [memory_of().fill_(math.nan) for _ in range(100)]
    del held


@pytest.fixture
def case() -> Case:
    return Case(9, 2, 3, 3, 0.6, (12, 1, 7))


@pytest.fixture
def upstream(case: Case) -> Tensor:
    return case.normal(len(case.x), 3)


def expected_step(case: Case, upstream: Tensor) -> dict[str, Tensor]:
    return step(copy.deepcopy(case.network), case.x, case.lengths_or_none, upstream)


def check_gradients(network: DSNNetwork, expected: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, expected[name]), name


def test_a_batch_may_be_gone_before_the_backward_pass(case, upstream):
    """The gradient by the first 1x1 convolution is read from it; here it is a copy's copy."""
    expected = expected_step(case, upstream)
    x = case.x.transpose(1, 2).contiguous().transpose(1, 2)
    logits = case.network(x, case.lengths_or_none)
    del x
    gc.collect(1)
    reused(lambda: torch.empty(case.x.shape))
    logits.backward(upstream)
    check_gradients(case.network, expected)


def test_lengths_may_change_before_the_backward_pass(case, upstream):
    expected = expected_step(case, upstream)
    lengths = case.lengths_or_none
    logits = case.network(case.x, lengths)
    lengths.fill_(2**40)
    logits.backward(upstream)
    check_gradients(case.network, expected)


@pytest.mark.parametrize("what", ["x", "values"])
def test_a_change_before_the_backward_pass_is_refused(case, upstream, what):
    logits = case.network(case.x, case.lengths_or_none)
    changed = case.x if what == "x" else case.conv.values
    with torch.no_grad():
        changed.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logits.backward(upstream)


def test_another_topology_is_used_in_the_next_step(case, upstream):
    step(case.network, case.x, case.lengths_or_none, upstream)
    groups = case.conv.groups
    index = [groups.region(g) for g in range(groups.n_kernel_groups)]
    index = np.sort(np.concatenate([region[-n:] for region, n in zip(index, (5, 9), strict=True)]))
    with torch.no_grad():
        case.conv.index = torch.from_numpy(index)
        case.conv.values = nn.Parameter(case.normal(len(index)))
    fresh = expected_step(case, upstream)
    found = step(case.network, case.x, case.lengths_or_none, upstream)
    assert found["layers.0.conv.values"].shape == (14,)
    for name, exact in fresh.items():
        assert torch.equal(found[name], exact), name


def test_two_backward_passes_give_the_same(case, upstream):
    network = case.network
    network.sparse_convs()[1].keep_dense_gradient = True
    logits = network(case.x, case.lengths_or_none)
    found = []
    for retain in (True, True, False):
        gradients = torch.autograd.grad(
            logits, list(network.parameters()), upstream, retain_graph=retain
        )
        found.append([*gradients, network.sparse_convs()[1].dense_gradient.clone()])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        logits.backward(upstream)


def test_a_graph_that_is_kept_is_not_disturbed_by_later_steps(case, upstream):
    parameters = list(case.network.parameters())
    logits = case.network(case.x, case.lengths_or_none)
    first = torch.autograd.grad(logits, parameters, upstream, retain_graph=True)
    other = case.network(case.normal(*case.x.shape), case.lengths_or_none)
    torch.autograd.grad(other, parameters, upstream)
    second = torch.autograd.grad(logits, parameters, upstream)
    assert all(map(torch.equal, first, second))


def test_a_step_lets_go_of_its_memory_for_the_next_one(case, upstream, monkeypatch):
    """Even where the losses are kept."""
    made = noted(monkeypatch, torch, ("empty",))
    case.network(case.x, None).backward(upstream)
    kept, n_first = [], len(made)
    for _ in range(5):
        kept.append(case.network(case.x, None))
        kept[-1].backward(upstream)
    # Those of the gradients, which belong to the parameters then.
    assert len(made) - n_first <= 5


def test_a_parameters_memory_may_be_another_before_the_backward_pass(case, upstream):
    expected = expected_step(case, upstream)
    logits = case.network(case.x, case.lengths_or_none)
    for parameter in case.network.parameters():
        before = parameter.data
        parameter.data = before.clone()
        shape = before.shape
        del before
        reused(lambda shape=shape: torch.empty(shape))
    logits.backward(upstream)
    check_gradients(case.network, expected)


def test_hooks_that_copy_what_is_saved_are_refused(case, upstream):
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        logits = case.network(case.x, case.lengths_or_none)
    case.network(case.x, case.lengths_or_none)
    with pytest.raises(RuntimeError, match="without hooks on saved tensors"):
        logits.backward(upstream)


def test_what_is_computed_at_each_look_is_looked_at(case):
    """As by torch's parametrizations: no tensor of these stays the same."""

    class Scaled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return factor * weight

    factor, network = 1.0, case.network.eval()
    nn.utils.parametrize.register_parametrization(network.head.classes, "weight", Scaled())
    with torch.no_grad():
        network(case.x)
        factor = 2.0
        assert error(network(case.x), on_dense(network)(case.x)) < TOLERANCE
    network.train()(case.x).sum().backward()
    assert network.head.classes.parametrizations.weight.original.grad is not None


def test_another_way_to_normalize_is_used(case):
    network = case.network.eval()
    with torch.no_grad():
        network(case.x)
        for norm in (network.layers[0].norm, network.head.norm):
            norm.eps = 0.5
            assert error(network(case.x), on_dense(network)(case.x)) < TOLERANCE


@pytest.mark.parametrize("how", ["parameter", "buffer", "module", "load_state_dict", "to"])
def test_tensors_that_take_the_place_of_others_are_used(case, upstream, how):
    network, other = case.network, copy.deepcopy(case.network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
        other.layers[0].norm.running_mean.add_(1)
    step(network, case.x, case.lengths_or_none, upstream)
    if how == "parameter":
        network.head.classes.weight = other.head.classes.weight
    elif how == "buffer":
        network.layers[0].norm.running_mean = other.layers[0].norm.running_mean
    elif how == "module":
        network.layers[1] = other.layers[1]
    elif how == "load_state_dict":
        network.head.load_state_dict(other.head.state_dict(), assign=True)
    else:
        network.double().float()
    expected = results(case, copy.deepcopy(network), case.x)
    for name, found in results(case, network, case.x).items():
        assert torch.equal(found, expected[name]), name


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_several_forward_passes_before_the_first_backward_pass(case, upstream, order):
    """Of one shape, one with other lengths, one with another number of steps."""
    x = case.normal(*case.x.shape)
    batches = [(case.x, case.lengths_or_none), (x, torch.tensor([3, 12, 12])), (x[:, :, :5], None)]
    networks = [copy.deepcopy(case.network) for _ in batches]
    expected = [
        step(network, *batch, upstream) for network, batch in zip(networks, batches, strict=True)
    ]
    logits = [case.network(*batch) for batch in batches]
    for number in order:
        case.network.zero_grad()
        logits[number].backward(upstream)
        check_gradients(case.network, expected[number])


@pytest.mark.parametrize("other", ["strides", "expanded"])
def test_strides_of_the_upstream_gradient_make_no_difference(case, upstream, other):
    if other == "expanded":
        upstream = upstream[:1, :1].expand(len(case.x), 3)
    expected = expected_step(case, upstream.contiguous())
    given = upstream.T.contiguous().T if other == "strides" else upstream
    assert not given.is_contiguous()
    case.network(case.x, case.lengths_or_none).backward(given)
    check_gradients(case.network, expected)


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_torchs_default_type_makes_no_difference(case, upstream, default):
    expected = expected_step(case, upstream)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = step(case.network, case.x, case.lengths_or_none, upstream)
    finally:
        torch.set_default_dtype(before)
    for name, exact in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], exact), name


@pytest.mark.parametrize(
    "changed", [lambda one: one.double(), lambda one: one.repeat_interleave(2)[::2]]
)
@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_parameters_that_the_engine_would_misread_are_refused(case, changed, name):
    norm = case.network.layers[0].norm
    getattr(norm, name).data = changed(getattr(norm, name).data)
    with pytest.raises(TypeError, match=r"contiguous and of the type .* torch\.float32, found"):
        case.network(case.x)


# Threads


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("variates", [1, 3])
def test_results_do_not_depend_on_threads_bit_for_bit(padding, variates):
    lengths = (120, 1, *range(90, 105))
    case = Case(39, 3, 5, variates, 0.8, lengths, padding, n_bottleneck=17)
    expected = results(case, copy.deepcopy(case.network), case.x)
    for n in (1, 2, 3, 7):
        with kernel_threads(n):
            for name, one in results(case, copy.deepcopy(case.network), case.x).items():
                assert torch.equal(one, expected[name]), (n, name)


def test_threads_that_use_one_network_at_once_do_not_disturb_each_other(case, upstream):
    """Batches of one shape, and so of one plan, that differ in their lengths."""
    network = case.network
    all_lengths = [case.lengths_or_none, torch.tensor([5, 12, 2]), None]

    def alone(lengths: Tensor | None) -> list[Tensor]:
        with kernel_threads(2):
            logits = network(case.x, lengths)
            return [
                logits.detach(),
                *torch.autograd.grad(logits, list(network.parameters()), upstream),
            ]

    expected = [alone(lengths) for lengths in all_lengths]
    everyone = threading.Barrier(len(all_lengths))

    def at_once(number: int) -> bool:
        everyone.wait(60)
        found = (alone(all_lengths[number]) for _ in range(100))
        return all(map(torch.equal, one, expected[number]) for one in found)

    with ThreadPoolExecutor(len(all_lengths)) as pool:
        assert all(pool.map(at_once, range(len(all_lengths))))


def test_batches_of_many_shapes_leave_few_behind(case):
    network = case.network.eval()
    with torch.no_grad():
        for n_steps in range(1, 30):
            network(torch.zeros(2, 3, n_steps))
    assert len(network._engine._plans) <= engine._N_PLANS


# Which arithmetic is used


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("lengths", [(6, 6), (6, 1, 3)])
def test_float64_is_not_rounded_on_the_way(padding, lengths):
    case = Case(9, 2, 2, 3, 0.6, lengths, padding)
    conv = case.conv.double()
    x = torch.from_numpy(case.rng.normal(size=(len(lengths), case.conv.groups.in_channels, 6)))
    x = (x * case.observed).requires_grad_()
    assert not uses_sparse_kernels(x)
    upstream = case.series(case.conv.groups.out_channels).double()
    y = conv(x, case.lengths_or_none)
    y.backward(upstream)
    wide = x.detach().numpy()
    expected = naive.convolve_batch(wide, dense_kernels(case), sources_of(case))
    by_x, by_kernels = naive.convolve_batch_gradients(
        wide, dense_kernels(case), sources_of(case), upstream.numpy()
    )
    assert error(y * case.observed, expected) < 1e-12
    assert error(x.grad, by_x) < 1e-12
    assert error(conv.values.grad, by_kernels.ravel()[conv.index.numpy()]) < 1e-12


@pytest.mark.parametrize(("dtype", "is_sparse"), [(torch.float32, True), (torch.float64, False)])
def test_only_float32_runs_on_the_sparse_kernels(case, monkeypatch, dtype, is_sparse):
    called = noted(monkeypatch, convolution, ("convolve", "values_gradient"))
    conv = case.conv.to(dtype)
    x = torch.ones(2, conv.groups.in_channels, 5, dtype=dtype, requires_grad=True)
    conv(x).sum().backward()
    assert called == (["convolve", "values_gradient", "convolve"] if is_sparse else [])


def noted(patch: pytest.MonkeyPatch, owner: object, names: tuple[str, ...]) -> list[str]:
    """Return a list that the names of functions are added to as they are called."""
    called: list[str] = []

    def noting(name: str, function: Callable) -> Callable:
        def call(*arguments: object, **options: object) -> object:
            called.append(name)
            return function(*arguments, **options)

        return call

    for name in names:
        patch.setattr(owner, name, noting(name, getattr(owner, name)))
    return called


def prepared(network: DSNNetwork, how: str) -> DSNNetwork:
    network.train(how != "eval")
    if how == "frozen statistics":
        network.layers[0].norm.eval()
    return network


@pytest.mark.parametrize(
    ("how", "by_x", "with_gradients", "in_engine"),
    [
        ("train", False, True, True),
        ("train", False, False, True),
        ("train", True, True, False),
        ("train", True, False, True),
        ("eval", False, False, True),
        ("eval", False, True, False),
        ("frozen statistics", False, True, False),
        ("frozen statistics", False, False, False),
    ],
)
def test_the_engine_does_what_it_can_and_the_layers_do_the_rest(
    case, monkeypatch, how, by_x, with_gradients, in_engine
):
    called = noted(monkeypatch, engine.Engine, ("features",))
    network, x = prepared(case.network, how), case.x.clone().requires_grad_(by_x)
    wide = case.wide()
    with torch.set_grad_enabled(with_gradients):
        found = network(x, case.lengths_or_none)
    assert bool(called) == in_engine
    assert found.requires_grad == with_gradients
    assert error(found, wide(case.x.double(), case.lengths_or_none)) < TOLERANCE
    if with_gradients:
        found.sum().backward()
        assert (x.grad is not None) == by_x
        assert all(parameter.grad is not None for parameter in network.parameters())
    for one, other in zip(network.buffers(), wide.buffers(), strict=True):
        assert error(one, other) < TOLERANCE


def test_without_numba_all_works_and_gives_the_same_and_only_the_sparse_backend_says_so():
    X, y = panel("multivariate")
    expected = tiny_classifier(topology_init="random").fit(X, y).predict_proba(X)
    printed = run_python(
        """
        import sys, warnings

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("numba", "llvmlite"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Refuse())
        warnings.simplefilter("error")

        import torch
        from dsn_sktime.kernels import sparse
        from dsn_sktime.network import DSNNetwork

        assert sparse is None
        network = DSNNetwork(1, 2, 1, 2, 15)
        network(torch.zeros(3, 1, 9)).sum().backward()
        network.features(torch.zeros(3, 1, 9), layers="all", pool="stats")
        network.backend = "sparse"
        try:
            network(torch.zeros(3, 1, 9))
        except RuntimeError as error:
            assert "without numba" in str(error)
        else:
            raise AssertionError

        warnings.simplefilter("ignore")
        from tiny import panel, tiny_classifier

        X, y = panel("multivariate")
        classifier = tiny_classifier(topology_init="random").fit(X, y)
        assert classifier.predict(X).shape == y.shape
        print(classifier.predict_proba(X).tolist())
        """
    )
    assert np.ptp(expected) > 0.05
    assert np.abs(np.array(json.loads(printed)) - expected).max() < TOLERANCE


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


def test_strides_of_a_batch_make_no_difference_to_gradients(case, upstream):
    expected = expected_step(case, upstream)
    for view in NOT_CONTIGUOUS.values():
        x = view(case.x)
        if torch.equal(x, case.x):
            found = step(copy.deepcopy(case.network), x, case.lengths_or_none, upstream)
            for name, exact in expected.items():
                assert torch.equal(found[name], exact), name


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

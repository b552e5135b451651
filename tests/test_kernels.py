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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import naive
import numba
import numpy as np
import pytest
import torch
from cases import Case
from hypothesis import settings
from processes import run_python
from tiny import panel, tiny_classifier
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import (
    jit,
    passes,
    threads,
    uses_sparse_kernels,
    workspace,
)
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


# The convolution alone


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
    kernels = Case().conv.kernel_index()
    expected, found = kernels.backward(8), copied(kernels).backward(8)
    assert np.array_equal(found.offsets(48, 8), expected.offsets(48, 8))
    assert np.array_equal(found.starts, expected.starts)


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


# Threads


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
        from dsn_sktime.kernels import threads, workspace

        def do_rows():
            done = []
            threads.run_team(done.append, 2)
            assert 0 in done

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
def test_float64_is_not_rounded_on_the_way(rng, padding, lengths):
    conv = SparseConv1d(2, 6, 9, 3, 0.6, padding, "random").double()
    kernels = np.zeros(conv.groups.shape)
    kernels.ravel()[conv.index.numpy()] = conv.values.detach().numpy()
    sources = naive.source_columns(lengths, 6, 9, padding)
    observed = np.arange(6) < np.array(lengths)[:, None, None]
    x = torch.from_numpy(rng.normal(size=(len(lengths), 2, 6)) * observed).requires_grad_()
    assert not uses_sparse_kernels(x)
    upstream = rng.normal(size=(len(lengths), 6, 6)) * observed
    y = conv(x, torch.tensor(lengths))
    y.backward(torch.from_numpy(upstream))
    wide = x.detach().numpy()
    by_x, by_kernels = naive.convolve_batch_gradients(wide, kernels, sources, upstream)
    expected = naive.convolve_batch(wide, kernels, sources)
    assert error(y * torch.from_numpy(observed), expected) < 1e-12
    assert error(x.grad, by_x) < 1e-12
    assert error(conv.values.grad, by_kernels.ravel()[conv.index.numpy()]) < 1e-12


@pytest.mark.parametrize(("dtype", "is_sparse"), [(torch.float32, True), (torch.float64, False)])
def test_only_float32_runs_on_the_sparse_kernels(monkeypatch, dtype, is_sparse):
    called = []
    for name in ("convolve", "gradient_by_values"):
        function = getattr(passes, name)
        monkeypatch.setattr(
            passes,
            name,
            lambda *arguments, name=name, function=function: (
                called.append(name) or function(*arguments)
            ),
        )
    conv = SparseConv1d(2, 6, 9, 3).to(dtype)
    conv(torch.ones(2, 2, 5, dtype=dtype)).sum().backward()
    assert set(called) == ({"convolve", "gradient_by_values"} if is_sparse else set())


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


def test_strides_of_the_upstream_gradient_make_no_difference(layer):
    gradients = []
    x, upstream = torch.randn(3, 3, 6), torch.randn_like(layer(torch.randn(3, 3, 6)))
    for view in (lambda x: x, lambda x: x.transpose(0, -1).contiguous().transpose(0, -1)):
        one = copy.deepcopy(layer)
        one(x).backward(view(upstream))
        gradients.append([p.grad for p in one.parameters()])
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

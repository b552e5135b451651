"""Features, heads and backends of the networks, as a user meets them."""

from __future__ import annotations

import copy
import importlib.util
import itertools
from collections.abc import Callable

import naive
import numpy as np
import pytest
import torch
from cases import every_case
from tiny import untraced
from torch import Tensor, nn

from dsn_sktime.kernels import kernel_threads
from dsn_sktime.layers import ClassHead, LinearHead, SparseConv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.oscnn import OSCNNNetwork

TOLERANCE = 1e-5


def small(**options: object) -> DSNNetwork:
    sizes = {"n_layers": 2, "n_filters": 3, "kernel_size": 9, "n_pool": 4}
    return DSNNetwork(2, 3, **{**sizes, "generator": torch.Generator().manual_seed(0), **options})


def small_oscnn(**options: object) -> OSCNNNetwork:
    generator = torch.Generator().manual_seed(0)
    return OSCNNNetwork(2, 3, 7, (100, 2000), generator=generator, **options)


both = pytest.mark.parametrize("make", [small, small_oscnn], ids=["DSN", "OS-CNN"])


def batch(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape)).float()


def used(network: nn.Module) -> nn.Module:
    """Give BatchNorm statistics that are not the first ones."""
    for _ in range(3):
        network(batch(6, 2, 30))
    return network


def error(found: Tensor, expected: Tensor | np.ndarray) -> float:
    found, expected = (np.asarray(torch.as_tensor(one).detach()) for one in (found, expected))
    assert found.shape == expected.shape
    return naive.relative_error(found, expected)


def naive_pool(x: np.ndarray, pool: int | str | None) -> np.ndarray:
    """Pool one series (C, L) of its own length."""
    if pool is None:
        return x
    if pool == "stats":
        return np.stack([x.mean(1), x.max(1), (x > 0).mean(1)], 1)
    return naive.adaptive_pool(x, pool)


@untraced
@both
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "lengths", [[20] * 3, [20] * 16, [20] * 18, [20, 1, 7]], ids=["3", "16", "18", "unequal"]
)
def test_features_are_the_pooled_activations_of_the_layers(make, training, lengths):
    """In the engine, in the masked dense kernels and by hand from each layer's output."""
    network = used(make()).train(training)
    x = batch(len(lengths), 2, 20)
    given = None if len(set(lengths)) == 1 else torch.tensor(lengths)
    wide = copy.deepcopy(network).double()
    outputs: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        for layer in wide.layers
    ]
    with torch.no_grad():
        wide(x.double(), given)
        for hook in hooks:
            hook.remove()
    pools = [1, 3, 50, "stats", None]
    for kind, layers, pool in itertools.product(("sparse", "dense"), ("last", "all"), pools):
        own, one = outputs if layers == "all" else outputs[-1:], copy.deepcopy(network)
        one.backend = kind
        with torch.no_grad():
            found = one.features(x, given, layers=layers, pool=pool)
        assert found.dtype == torch.float32
        assert found.shape[1] == sum(output.shape[1] for output in own)
        for b, length in enumerate(lengths):
            expected = np.concatenate(
                [naive_pool(output[b, :, :length].numpy(), pool) for output in own]
            )
            series = found[b]
            if pool is None:
                assert not series[:, length:].any()
                series = series[:, :length]
            assert error(series, expected) < TOLERANCE


@every_case
def test_features_of_any_network_are_those_of_float64(case):
    wide = case.wide().eval()
    lengths = torch.from_numpy(case.lengths)
    with torch.no_grad():
        for layers, pool in itertools.product(("last", "all"), (1, 5, "stats", None)):
            found = case.network.eval().features(case.x, case.lengths_or_none, layers, pool)
            expected = wide.features(case.x.double(), lengths, layers, pool)
            if pool == "stats":
                # Rounding decides about values near 0.
                found, expected = found[..., :2], expected[..., :2]
            assert error(found, expected) < TOLERANCE


@both
def test_features_do_not_depend_on_threads_bit_for_bit(make):
    network, x = used(make()).eval(), batch(37, 2, 60)
    with torch.no_grad():
        for layers, pool in itertools.product(("last", "all"), (7, "stats", None)):
            expected = network.features(x, layers=layers, pool=pool)
            for n in (2, 3):
                with kernel_threads(n):
                    found = network.features(x, layers=layers, pool=pool)
                assert torch.equal(found, expected)


@both
@pytest.mark.parametrize(
    "options", [{"layers": "all", "pool": 3}, {"pool": "stats"}, {"pool": None}]
)
def test_gradients_of_any_features_are_those_of_float64(make, options):
    network, x = make(), batch(5, 2, 20)
    wide = copy.deepcopy(network).double()
    for one, dtype in ((network, torch.float32), (wide, torch.float64)):
        one.features(x.to(dtype), **options).square().sum().backward()
    for (name, parameter), exact in zip(
        network.layers.named_parameters(), wide.layers.parameters(), strict=True
    ):
        if "conv.bias" not in name:  # BatchNorm takes it off: nothing but rounding
            assert error(parameter.grad, exact.grad) < 1e-3, name


@pytest.mark.parametrize("pool", [0, -1, True, 1.0, "mean", (1,)])
def test_another_pooling_is_refused(pool):
    with pytest.raises(ValueError, match=r"pool must be a number of bins .* found"):
        small().features(batch(2, 2, 9), pool=pool)
    with pytest.raises(ValueError, match=r"layers must be 'last' or 'all', found 'first'"):
        small().features(batch(2, 2, 9), layers="first")


# Heads


@both
def test_the_network_is_its_features_and_its_head(make):
    network, x = used(make()).eval(), batch(5, 2, 20)
    pooled = network.features(x, pool=network.n_pool)
    assert torch.equal(network(x), network.head(pooled))


@pytest.mark.parametrize("training", [False, True])
def test_the_paper_convolves_before_it_pools(training):
    """Both are linear, so the head may pool first."""
    network = used(small()).double().train(training)
    maps = network.features(batch(5, 2, 20).double(), pool=None)
    scores = torch.einsum("oc,bct->bot", network.head.classes.weight, maps)
    pooled = nn.functional.adaptive_avg_pool1d(scores, network.n_pool)
    expected = copy.deepcopy(network).head.norm(pooled).mean(2)
    found = network.head(network.features(batch(5, 2, 20).double(), pool=network.n_pool))
    assert error(found, expected) < 1e-12


def test_a_linear_head_and_a_head_of_ones_own_are_trained_in_the_engine():
    linear = small(head="linear", backend="sparse")
    assert isinstance(linear.head, LinearHead)
    own = small(head=nn.Sequential(nn.Flatten(), nn.Linear(9 * 4, 5)), backend="sparse")
    for network, n_outputs in ((linear, 3), (own, 5)):
        x = batch(6, 2, 20)
        wide = copy.deepcopy(network).double()
        wide.backend = "auto"
        logits, expected = network(x), wide(x.double())
        assert logits.shape == (6, n_outputs)
        assert error(logits, expected) < TOLERANCE
        logits.square().sum().backward()
        expected.square().sum().backward()
        for (name, one), exact in zip(network.named_parameters(), wide.parameters(), strict=True):
            assert error(one.grad, exact.grad) < 1e-4, name
    with pytest.raises(ValueError, match=r"head must be one of .* found 'mean'"):
        small(head="mean")


def test_the_same_weights_are_drawn_whatever_the_head():
    one, other = small(), small(head="linear")
    for parameter, same in zip(one.layers.parameters(), other.layers.parameters(), strict=True):
        assert torch.equal(parameter, same)


@pytest.mark.parametrize("backend", ["sparse", "dense"])
def test_one_series_pooled_to_one_bin_cannot_be_trained_on(backend):
    network = small(n_pool=1, backend=backend)
    with pytest.raises(ValueError, match="or pooled to one bin"):
        network(batch(1, 2, 20))
    assert network.eval()(batch(1, 2, 20)).shape == (1, 3)


# Hooks


@both
def test_hooks_on_every_module_fire(make):
    network, x = used(make()).eval(), batch(4, 2, 20)
    with torch.no_grad():
        expected = network(x)
        for name, module in network.named_modules():
            if isinstance(module, nn.ModuleList):
                continue
            called: list[str] = []
            hook = module.register_forward_hook(lambda *_, n=name, c=called: c.append(n))
            assert error(network(x), expected) < TOLERANCE
            hook.remove()
            assert called == [name]
        called = []
        hook = nn.modules.module.register_module_forward_hook(lambda *_: called.append(""))
        network(x)
        hook.remove()
        assert len(called) == len([m for m in network.modules() if type(m) is not nn.ModuleList])


def test_a_layer_of_another_kind_is_used():
    network, x = small(), batch(4, 2, 20)
    network.layers[1].norm = nn.BatchNorm1d(9, eps=0.5).eval()
    network.layers[1].norm.forward = lambda x, lengths=None: 2 * x
    assert error(network.eval()(x), copy.deepcopy(network).double()(x.double())) < TOLERANCE


# Backends


@both
def test_a_backend_that_cannot_do_it_says_so(make):
    network = make(backend="sparse")
    with pytest.raises(RuntimeError, match=r"backend='sparse' needs numba .* found tensors of"):
        network.double()(batch(2, 2, 20).double())
    for wrong in ("fast", None, np.array(["auto", "dense"])):
        with pytest.raises(ValueError, match="backend must be one of"):
            make(backend=wrong)
        with pytest.raises(ValueError, match="backend must be one of"):
            network.backend = wrong
    with pytest.raises(ValueError, match="backend must be one of"):
        SparseConv1d(1, 2, 3, backend="gpu")


@both
def test_backends_give_the_same_logits_and_gradients(make):
    x, lengths = batch(5, 2, 20), torch.tensor([20, 3, 1, 20, 11])
    found = []
    for backend in ("sparse", "auto", "dense"):
        network = make(backend=backend)
        assert network.backend == backend
        logits = network(x, lengths)
        logits.square().sum().backward()
        found.append([logits, *(one.grad for one in network.parameters() if one.ndim != 1)])
    for one, other, third in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert error(third, one) < 1e-4


def exported_logits(network: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    sizes = {0: torch.export.Dim("n", min=1, max=999), 2: torch.export.Dim("t", min=2, max=999)}
    return torch.export.export(network, (x,), dynamic_shapes=({**sizes},)).module()


def onnx_logits(network: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import onnxruntime

    sizes = {0: torch.export.Dim("n", min=1, max=999), 2: torch.export.Dim("t", min=2, max=999)}
    program = torch.onnx.export(network, (x,), dynamo=True, dynamic_shapes=({**sizes},))
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (name,) = (one.name for one in session.get_inputs())
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def check_export(network: nn.Module, export: Callable) -> None:
    with torch.no_grad():
        run = export(network, batch(4, 2, 30))
        for shape in ((4, 2, 30), (1, 2, 30), (7, 2, 11), (2, 2, 3), (5, 2, 101)):
            assert error(run(batch(*shape)), network(batch(*shape))) < TOLERANCE


@untraced
@both
@pytest.mark.parametrize("backend", ["dense", "auto"])
def test_networks_are_exported_for_batches_of_any_size(make, backend):
    network = used(make()).eval()
    network.backend = backend
    check_export(network, exported_logits)


@untraced
def test_a_network_is_exported_to_onnx_for_batches_of_any_size():
    """One for all: what torch.onnx translates is what torch.export gives it."""
    check_export(used(small()).eval(), onnx_logits)


# What is refused, and what does not matter


@pytest.mark.parametrize("lengths", [[20, 3], (20, 3), np.array([20, 3])])
def test_lengths_that_are_no_tensor_are_refused(lengths):
    for module in (small(), SparseConv1d(2, 3, 5)):
        with pytest.raises(TypeError, match=r"lengths must be an int64 tensor .* torch\.tensor"):
            module(batch(2, 2, 20), lengths)


def test_batch_norm_without_bias_is_left_to_its_module():
    network, x = used(small()).eval(), batch(4, 2, 20)
    for name in ("bias", "weight"):
        network.layers[0].norm.register_parameter(name, None)
        for lengths in (None, torch.tensor([20, 1, 7, 20])):
            for training in (True, False):
                one = copy.deepcopy(network).train(training)
                wide = copy.deepcopy(one).double()
                assert error(one(x, lengths), wide(x.double(), lengths)) < TOLERANCE


@both
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["conv.values", "norm.weight", "norm.running_var"])
def test_tensors_of_another_length_are_refused(make, training, name):
    network = make().train(training)
    network(batch(4, 2, 20))
    module, _, tensor = name.rpartition(".")
    owner = network.layers[0].get_submodule(module)
    getattr(owner, tensor).data = getattr(owner, tensor).data[:-1].clone()
    with torch.set_grad_enabled(training), pytest.raises((ValueError, RuntimeError), match="shape"):
        network(batch(4, 2, 20))


def test_values_of_another_length_are_refused_by_the_layer_alone():
    layer = SparseConv1d(2, 3, 5)
    layer.values = nn.Parameter(layer.values.detach()[:-1])
    for backend in ("sparse", "dense"):
        layer.backend = backend
        with pytest.raises(ValueError, match=r"values must have shape \(.*\), one for each"):
            layer(batch(2, 2, 20))


@both
def test_global_switches_of_torch_make_no_difference(make):
    expected = make()
    logits = expected(batch(4, 2, 20))
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        network = make()
        found = network(batch(4, 2, 20))
        found.sum().backward()
        state = network.state_dict()
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
    assert found.dtype == torch.float32
    assert torch.equal(found, logits)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, state[name])


@both
def test_predictions_in_inference_mode_are_the_same(make):
    network, x = used(make()).eval(), batch(4, 2, 20)
    with torch.no_grad():
        expected = network(x)
    with torch.inference_mode():
        assert torch.equal(network(x), expected)
    assert torch.equal(network(x).detach(), network(x).detach())


def test_heads_take_pooled_features():
    generator = torch.Generator().manual_seed(0)
    assert ClassHead(4, 3, generator)(batch(5, 4, 7)).shape == (5, 3)
    assert LinearHead(4, 3, generator)(batch(5, 4, 1)).shape == (5, 3)

"""Adam with a step count per weight, against torch's and against scalar loops."""

from __future__ import annotations

import copy

import naive
import numpy as np
import pytest
import torch
from cases import drawn, seeds
from guards import Memory
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dsn_sktime.kernels import AdamSettings, adam_step, uses_sparse_kernels
from dsn_sktime.training.adam import Adam, bias_corrections

# float32 is updated by the compiled loop, float64 by torch's operations.
DTYPES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]
decays = pytest.mark.parametrize("weight_decay", [0.0, 0.3])


def take_steps(optimizer, parameter, gradients, rates):
    for gradient, lr in zip(gradients, rates, strict=True):
        if isinstance(optimizer, Adam):
            optimizer.lr = lr
        else:
            optimizer.param_groups[0]["lr"] = lr
        parameter.grad = torch.from_numpy(gradient).to(parameter.dtype)
        optimizer.step()


@decays
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_adam_is_torchs_while_no_weight_is_replaced(rng, dtype, tolerance, weight_decay):
    start = torch.from_numpy(rng.normal(size=(3, 2))).to(dtype)
    gradients, rates = rng.normal(size=(30, 3, 2)), rng.uniform(0.001, 0.1, 30)
    ours, torchs = (nn.Parameter(start.clone()) for _ in range(2))
    settings = AdamSettings(0.8, 0.99, 1e-6, weight_decay)
    take_steps(Adam([ours], 0.1, settings), ours, gradients, rates)
    torchs_adamw = torch.optim.AdamW(
        [torchs], betas=settings[:2], eps=settings.eps, weight_decay=weight_decay
    )
    take_steps(torchs_adamw, torchs, gradients, rates)
    assert naive.relative_error(ours.detach() - start, torchs.detach() - start) < tolerance


@decays
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_takes_a_learning_rate_from_a_tensor(rng, dtype, weight_decay):
    start = torch.from_numpy(rng.normal(size=(5, 3))).to(dtype)
    found = []
    for lr in (0.01, torch.tensor(0.01, dtype=torch.float64)):
        parameter = nn.Parameter(start.clone())
        optimizer = Adam([parameter], 1.0, AdamSettings(weight_decay=weight_decay))
        take_steps(optimizer, parameter, np.random.default_rng(1).normal(size=(4, 5, 3)), [lr] * 4)
        found.append(parameter.detach())
    assert torch.equal(*found)


def test_adam_leaves_parameters_without_gradient_alone():
    with_gradient, without = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Adam([with_gradient, without], 0.1, AdamSettings(weight_decay=0.5))
    with_gradient.grad = torch.ones(2)
    optimizer.step()
    assert without.tolist() == [1, 1]
    assert optimizer.state[without]["step"].tolist() == [0, 0]
    assert with_gradient.tolist() != [1, 1]


def test_moments_follow_the_weights_and_grown_ones_start_from_zero(rng):
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = Adam([parameter], lr=0.1)
    take_steps(optimizer, parameter, rng.normal(size=(3, 4)), [0.1] * 3)
    before = copy.deepcopy(optimizer.state[parameter])
    optimizer.replace_weights(parameter, torch.tensor([2, -1, 0, -1]))
    after = optimizer.state[parameter]
    assert set(after) == {"step", "exp_avg", "exp_avg_sq"}
    for name, state in after.items():
        assert state.tolist() == [before[name][2], 0, before[name][0], 0]


@decays
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_adam_counts_the_steps_of_each_weight(rng, dtype, tolerance, weight_decay):
    births = np.array([0, 0, 3, 7, 30, 39])
    start, gradients = rng.normal(size=6), rng.normal(size=(40, 6))
    parameter = nn.Parameter(torch.tensor(start, dtype=dtype))
    assert uses_sparse_kernels(parameter) == (dtype == torch.float32)
    optimizer = Adam([parameter], 0.05, AdamSettings(weight_decay=weight_decay))
    for step, gradient in enumerate(gradients):
        born = births == step
        optimizer.replace_weights(parameter, torch.from_numpy(np.where(born, -1, np.arange(6))))
        parameter.data[torch.from_numpy(born)] = torch.from_numpy(start[born]).to(dtype)
        take_steps(optimizer, parameter, [gradient], [0.05])
    expected = [
        naive.adam(start[i], gradients[births[i] :, i], 0.05, weight_decay=weight_decay)
        for i in range(6)
    ]
    assert naive.relative_error(parameter.detach(), expected) < tolerance


def test_weights_that_trade_places_are_trained_on_as_before(rng):
    parameter = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    optimizer = Adam([parameter], lr=0.1)
    early, late = rng.normal(size=(7, 4)), rng.normal(size=(5, 4))
    take_steps(optimizer, parameter, early, [0.1] * 7)
    # The third and the first weight survive, in that order; two are grown at 0.
    with torch.no_grad():
        parameter.copy_(parameter[[2, 0, 0, 0]] * torch.tensor([1, 0, 1, 0]))
    optimizer.replace_weights(parameter, torch.tensor([2, -1, 0, -1]))
    take_steps(optimizer, parameter, late, [0.1] * 5)
    expected = [
        naive.adam(3.0, [*early[:, 2], *late[:, 0]], 0.1),
        naive.adam(0.0, late[:, 1], 0.1),
        naive.adam(1.0, [*early[:, 0], *late[:, 2]], 0.1),
        naive.adam(0.0, late[:, 3], 0.1),
    ]
    assert naive.relative_error(parameter.detach(), expected) < 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_adam_beyond_the_table_of_corrections(rng, dtype, tolerance):
    settings = AdamSettings(0.5, 0.6)
    n_columns = bias_corrections(settings, dtype).shape[1]
    gradients = rng.normal(size=n_columns + 10)
    parameter = nn.Parameter(torch.ones(1, dtype=dtype))
    optimizer = Adam([parameter], 0.01, settings)
    take_steps(optimizer, parameter, gradients[:, None], [0.01] * len(gradients))
    assert optimizer.state[parameter]["step"].item() == len(gradients)
    expected = naive.adam(1.0, gradients, 0.01, settings[:2])
    assert naive.relative_error(parameter.detach(), [expected]) < tolerance


@drawn
@given(sizes=st.lists(st.integers(1, 600), min_size=1, max_size=4), seed=seeds)
def test_the_compiled_loop_stays_within_its_arrays(sizes, seed):
    rng, memory = np.random.default_rng(seed), Memory()
    weights, gradients, states, expected = [], [], [], []
    for n in sizes:
        weight, gradient, mean = (memory.normal(rng, n) for _ in range(3))
        square = memory.holding(rng.random(n))
        step = Memory.integers(rng.integers(0, 50, n), np.int32)
        expected.append(
            [
                naive.adam(*numbers[:2], 0.01, (0.9, 0.99), 1e-8, 0.5, numbers[2:])
                for numbers in zip(weight, gradient[:, None], mean, square, step, strict=True)
            ]
        )
        arrays = {"exp_avg": mean, "exp_avg_sq": square, "step": step}
        weights.append(torch.from_numpy(weight))
        gradients.append(torch.from_numpy(gradient))
        states.append({name: torch.from_numpy(array) for name, array in arrays.items()})
    settings = AdamSettings(0.9, 0.99, 1e-8, 0.5)
    corrections = bias_corrections(settings, torch.float32)
    adam_step(weights, gradients, states, corrections, 0.01, settings)
    for found, exact in zip(weights, expected, strict=True):
        assert naive.relative_error(found, exact) < 1e-5
    assert memory.is_intact()

"""Recipes: learning rates, drop fractions, due epochs, and what is refused."""

from __future__ import annotations

import math

import naive
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from training_runs import recipe

from dsn_sktime.training import Recipe, SparseRecipe


@pytest.mark.parametrize(
    ("epoch", "expected"),
    # lr_min + (lr - lr_min) (1 + cos(pi epoch / 4)) / 2, with cos(pi / 4) = sqrt(1/2).
    [
        (0, 3e-4),
        (1, 1e-4 + 1e-4 * (1 + math.sqrt(0.5))),
        (2, 2e-4),
        (3, 1e-4 + 1e-4 * (1 - math.sqrt(0.5))),
    ],
)
def test_learning_rate_is_annealed_along_a_half_cosine(epoch, expected):
    found = recipe(n_epochs=4, lr=3e-4, lr_min=1e-4).learning_rate(epoch / 4, [{}] * epoch)
    assert found == pytest.approx(expected, rel=1e-12)


def naive_one_cycle(n_done, n_steps, peak):
    """Smith and Topin's cycle, from a 25th of the peak at step 0 to 0 after the last."""
    top = 0.3 * n_steps
    if n_done < top:
        return peak * (1 / 25 + 24 / 25 * (1 - math.cos(math.pi * n_done / top)) / 2)
    return peak * (1 + math.cos(math.pi * (n_done - top) / (n_steps - top))) / 2


@pytest.mark.parametrize(("n_epochs", "n_batches"), [(1, 1), (1, 7), (5, 3), (10, 1), (4, 10)])
def test_one_cycle_changes_from_optimizer_step_to_optimizer_step(n_epochs, n_batches):
    plan = recipe(n_epochs=n_epochs, schedule="one_cycle", lr=0.1)
    n_steps = n_epochs * n_batches
    rates = [plan.learning_rate(n_done / n_steps, []) for n_done in range(n_steps)]
    expected = [naive_one_cycle(n_done, n_steps, 0.1) for n_done in range(n_steps)]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert 0 < min(rates) <= max(rates) <= 0.1


def test_one_cycle_is_close_to_that_of_torch():
    # torch reaches peak and end at the last steps of the two phases, ours one step later.
    n = 10000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, n, cycle_momentum=False)
    plan = recipe(n_epochs=1, schedule="one_cycle", lr=0.1, lr_min=0)
    rates = [plan.learning_rate(n_done / n, []) for n_done in range(n)]
    for rate in rates[: n - 1]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-4)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, 0.5),
        (0.2, 0.25 * (1 + math.sqrt(0.5))),  # a quarter of the way to T_end = 0.8
        (0.4, 0.25),
        (0.6, 0.25 * (1 - math.sqrt(0.5))),
        (0.79, 0.001),  # 0.25 (1 - cos(pi / 80)) = 0.0002
        (0.8, 0.001),
        (0.9, 0.001),
        (1.0, 0.001),
    ],
)
def test_drop_fraction_is_annealed_to_its_floor_at_t_end(progress, expected):
    assert recipe(alpha=0.5).drop_fraction(progress) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_drop_fraction_matches_the_formula(alpha):
    for progress in np.linspace(0, 1, 41):
        expected = naive.drop_fraction(progress, alpha)
        assert recipe(alpha=alpha).drop_fraction(progress) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("n_epochs", "delta_t", "due"),
    [(12, 5, [4, 9]), (10, 5, [4]), (11, 5, [4, 9]), (4, 1, [0, 1, 2]), (5, 5, []), (1, 1, [])],
)
def test_topology_is_due_every_delta_t_epochs_but_not_after_the_last(n_epochs, delta_t, due):
    for growth in ("random", "gradient"):
        plan = recipe(n_epochs=n_epochs, delta_t=delta_t, growth=growth)
        assert [epoch for epoch in range(n_epochs) if plan.is_update_epoch(epoch)] == due
    fixed = recipe(n_epochs=n_epochs, delta_t=delta_t, growth=None)
    assert not any(fixed.is_update_epoch(epoch) for epoch in range(n_epochs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_epochs": 0}, "n_epochs must be an integer of at least 1, found 0"),
        ({"batch_size": 1}, "batch_size must be an integer of at least 2, found 1"),
        ({"lr": math.nan}, r"lr must be a number in \[0, inf\), found nan"),
        ({"lr": 0.1, "lr_min": 0.2}, r"lr_min must be a number in \[0, lr=0.1\], found 0.2"),
        ({"schedule": "step"}, "schedule must be one of 'cosine', 'one_cycle', 'plateau'"),
        ({"schedule": None}, "schedule must be one of .* found None"),
        ({"schedule": np.array(["cosine"] * 2)}, "schedule must be one of"),
        ({"keep": pd.NA}, "keep must be one of 'best', 'last', 'average', found <NA>"),
        ({"keep": pd.Series(["best"])}, "keep must be one of"),
        ({"lr_factor": 1}, r"lr_factor must be a number in \(0, 1\), found 1"),
        ({"patience": -1}, "patience must be an integer of at least 0, found -1"),
        ({"patience": 1.5}, "patience must be an integer of at least 0, found 1.5"),
        ({"max_seconds": 0}, r"max_seconds must be a number in \(0, inf\), found 0"),
        ({"max_seconds": math.inf}, r"max_seconds must be a number in \(0, inf\), found inf"),
        ({"weight_decay": -0.1}, r"weight_decay must be a number in \[0, inf\), found -0.1"),
        ({"weight_decay": "0.1"}, r"weight_decay must be a number in \[0, inf\), found '0.1'"),
        ({"weight_decay": np.zeros(2)}, r"weight_decay must be a number in \[0, inf\)"),
        ({"update_bn": "yes"}, "update_bn must be one of False, True, found 'yes'"),
        ({"growth": "up"}, "growth must be one of 'random', 'gradient', None, found 'up'"),
        ({"alpha": 1.1}, r"alpha must be a number in \[0, 1\], found 1.1"),
        ({"delta_t": True}, "delta_t must be an integer of at least 1, found True"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_recipe_refuses_in_one_sentence(change, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        recipe(**change)
    assert "\n" not in str(caught.value)


def test_defaults_are_those_of_plain_training():
    plain = Recipe(n_epochs=3, batch_size=2, lr=0.1)
    sparse = SparseRecipe(n_epochs=3, batch_size=2, lr=0.1)
    for plan in (plain, sparse):
        assert (plan.schedule, plan.keep, plan.weight_decay) == ("cosine", "best", 0)
        assert not plan.update_bn

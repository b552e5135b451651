"""The training loop: batches, loss, history, and what is kept."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from training_runs import (
    N_CLASSES,
    Logger,
    LowLossIn,
    Recorder,
    assert_equal_states,
    rows_of,
    tiny_panel,
    trainer_of,
    watch_batches,
)

from dsn_sktime.training import Callback, CrossEntropy


@pytest.mark.parametrize("n", range(2, 14))
@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 50])
def test_batches_hold_each_row_once_and_none_a_single_row(n, batch_size):
    trainer = trainer_of(n_epochs=2, batch_size=batch_size)
    batches = watch_batches(trainer.network)
    trainer.fit(*tiny_panel(n))
    per_epoch = len(batches) // 2
    for epoch in (0, 1):
        rows = [rows_of(x, n) for x, _ in batches[epoch * per_epoch : (epoch + 1) * per_epoch]]
        assert sorted(row for batch in rows for row in batch) == list(range(n))
        assert all(2 <= len(batch) <= batch_size + 1 for batch in rows)


def test_batches_are_shuffled_anew_in_each_epoch_and_follow_the_seed():
    orders = []
    for seed in (5, 5, 6):
        trainer = trainer_of(n_epochs=2, seed=seed)
        batches = watch_batches(trainer.network)
        trainer.fit(*tiny_panel(24))
        orders.append([row for x, _ in batches for row in rows_of(x, 24)])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0][:24] != orders[0][24:]
    assert orders[0][:24] != list(range(24))


# Trainer: loss, history, best epoch


@pytest.mark.parametrize("class_weight", [None, [1.0, 5.0, 0.25]])
@pytest.mark.parametrize("batch_size", [4, 11])
def test_history_has_the_mean_loss_and_accuracy_of_the_training_batches(batch_size, class_weight):
    weight = None if class_weight is None else torch.tensor(class_weight)
    trainer = trainer_of([], 5, CrossEntropy(weight), n_epochs=2, batch_size=batch_size)
    batches = watch_batches(trainer.network)
    panel, class_indices = tiny_panel()
    trainer.fit(panel, class_indices)
    for epoch, record in enumerate(trainer.history):
        half = len(batches) // 2
        loss, n_correct = 0.0, 0
        for x, logits in batches[epoch * half : (epoch + 1) * half]:
            own = class_indices[rows_of(x, len(panel))]
            loss += len(own) * F.cross_entropy(logits, own, weight=weight).item()
            n_correct += int((logits.argmax(1) == own).sum())
        assert record["loss"] == pytest.approx(loss / len(panel), rel=1e-6)
        assert record["accuracy"] == n_correct / len(panel)


def test_class_weights_shape_the_training():
    final = []
    for weight in (None, torch.ones(3), torch.tensor([1.0, 5.0, 0.25])):
        trainer = trainer_of(objective=CrossEntropy(weight), n_epochs=1)
        trainer.fit(*tiny_panel())
        final.append(trainer.network.head.classes.weight.detach())
    assert naive.relative_error(final[1], final[0]) < 1e-5
    assert naive.relative_error(final[2], final[0]) > 1e-3


def test_history_has_the_schedules():
    trainer = trainer_of()
    trainer.fit(*tiny_panel())
    assert [record["epoch"] for record in trainer.history] == list(range(6))
    for epoch, record in enumerate(trainer.history):
        assert record["lr"] == trainer.recipe.learning_rates(trainer.history[:epoch], 3)[0]
        assert record["drop_fraction"] == trainer.recipe.drop_fraction((epoch + 1) / 6)
        assert record["seconds"] >= 0


def test_learning_rate_of_the_history_is_the_one_used():
    rates = []

    class Rates(Callback):
        def on_epoch_end(self, trainer, record):
            rates.append(trainer.optimizer.lr)

    trainer = trainer_of([Rates()])
    trainer.fit(*tiny_panel())
    assert rates == [record["lr"] for record in trainer.history]


@pytest.mark.parametrize("epoch", [0, 3, 5])
def test_model_is_the_state_of_the_epoch_with_the_lowest_loss(epoch):
    recorder = Recorder()
    trainer = trainer_of([recorder, LowLossIn(epoch)], growth=None)
    trainer.fit(*tiny_panel())
    assert trainer.best_epoch == epoch
    assert min(trainer.history, key=lambda record: record["loss"])["epoch"] == epoch
    assert_equal_states(trainer.network.state_dict(), recorder.states[epoch])
    assert not trainer.network.training


def test_later_epoch_of_a_tie_is_the_best():
    recorder = Recorder()
    trainer = trainer_of([recorder, LowLossIn(1, 4)], growth=None, lr=0.0, lr_min=0.0)
    # Without steps all logits are 0 in epochs 1 and 4.
    nn.init.zeros_(trainer.network.head.norm.weight)
    trainer.fit(*tiny_panel())
    assert trainer.history[1]["loss"] == trainer.history[4]["loss"]
    assert trainer.history[1]["loss"] == pytest.approx(math.log(N_CLASSES))
    assert trainer.best_epoch == 4
    assert_equal_states(trainer.network.state_dict(), recorder.states[4])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_is_an_error(value):
    panel, class_indices = tiny_panel()
    panel.values[3, 0, 4] = value
    log = []
    with pytest.raises(FloatingPointError, match=r"loss became nan in epoch 0\. Scale .* lower lr"):
        trainer_of([Logger("a", log)]).fit(panel, class_indices)
    assert log == ["a begin", "a end"]


def test_global_generators_stay_untouched():
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    trainer_of().fit(*tiny_panel())
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002

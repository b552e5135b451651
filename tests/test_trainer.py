"""The training loop: batches, loss, history, and what is kept."""

from __future__ import annotations

import contextlib
import math

import naive
import numpy as np
import pytest
import torch
from tiny import untraced
from torch import nn
from torch.nn import functional as F
from training_runs import (
    N_CLASSES,
    Logger,
    LowLossIn,
    Recorder,
    assert_equal_states,
    recipe,
    rows_of,
    tiny_network,
    tiny_panel,
    trainer_of,
    watch_batches,
    without_seconds,
)

from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.training import Callback, CrossEntropy, SparseTrainer
from dsn_sktime.training.batches import Use, random_stream, shuffled_rows


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
        assert record["lr"] == trainer.recipe.learning_rate(epoch / 6, trainer.history[:epoch])
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


# What is kept


def test_the_last_epoch_is_kept_though_another_has_a_lower_loss():
    recorder = Recorder()
    trainer = trainer_of([recorder, LowLossIn(2)], keep="last", growth=None)
    trainer.fit(*tiny_panel())
    assert min(trainer.history, key=lambda record: record["loss"])["epoch"] == 2
    assert trainer.best_epoch == 5
    assert_equal_states(trainer.network.state_dict(), recorder.states[5])


class EveryStep:
    """Collects the values and the index of each sparse layer after each optimizer step."""

    def __init__(self, trainer):
        self.steps = []
        self.trainer = trainer
        self.average = trainer.optimizer.step
        trainer.optimizer.step = self.step

    def step(self):
        self.average()
        network = self.trainer.network
        self.steps.append(
            {
                "bias": network.head.norm.bias.detach().clone(),
                "convs": [
                    dict(zip(conv.index.tolist(), conv.values.tolist(), strict=True))
                    for conv in network.sparse_convs()
                ],
            }
        )


@pytest.mark.parametrize("growth", ["random", "gradient", None])
def test_average_is_over_the_last_quarter_of_steps_since_a_weight_was_grown(growth):
    # 3 batches in each of 8 epochs: the last 6 steps, with an update after the third.
    trainer = trainer_of(keep="average", n_epochs=8, delta_t=1, growth=growth, alpha=0.9)
    collected = EveryStep(trainer)
    trainer.fit(*tiny_panel())
    assert len(collected.steps) == 24
    last = collected.steps[18:]
    mean = torch.stack([step["bias"] for step in last]).mean(0)
    assert naive.relative_error(trainer.network.head.norm.bias.detach(), mean) < 1e-5
    n_restarted = 0
    for number, conv in enumerate(trainer.network.sparse_convs()):
        layers = [step["convs"][number] for step in last]
        assert set(conv.index.tolist()) == set(layers[-1])
        for position, value in zip(conv.index.tolist(), conv.values.tolist(), strict=True):
            present = [layer[position] for layer in layers if position in layer]
            # A weight that was dropped and grown again at once starts anew too.
            of_all, of_last = (sum(values) / len(values) for values in (present, present[-3:]))
            assert min(abs(value - of_all), abs(value - of_last)) < 1e-6
            n_restarted += len(present) == 3 or abs(value - of_all) > 1e-6
    assert (n_restarted > 0) == (growth is not None)
    assert trainer.best_epoch == 7


def test_average_of_a_run_that_was_stopped_before_is_the_last_state():
    recorder = Recorder()
    trainer = trainer_of([recorder, Logger("a", [], 2)], keep="average", growth=None)
    trainer.fit(*tiny_panel())
    found = trainer.network.state_dict()
    for name, tensor in recorder.states[2].items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("unequal", [False, True])
def test_recomputed_statistics_are_means_over_batches(unequal):
    panel, class_indices = tiny_panel(12, unequal=unequal)
    trainer = trainer_of(update_bn=True, growth=None)
    trainer.fit(panel, class_indices)
    plain = trainer_of(growth=None)
    plain.fit(panel, class_indices)
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, dict(plain.network.named_parameters())[name])
    # The first layer reads the series themselves, but for its linear maps: compare statistics
    # with those of whole batches, collected by momentum 1 in the order of the run's own stream.
    means = []
    norm = plain.network.layers[0].norm
    for module in plain.network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
    plain.network.train()
    rng = random_stream(5, Use.BATCH_NORM, plain.best_epoch)
    for rows in shuffled_rows(12, 4, rng, torch.device("cpu")):
        batch = panel.take(rows)
        with torch.no_grad():
            plain.network(batch.values, batch.lengths)
        means.append((norm.running_mean.clone(), norm.running_var.clone()))
    expected = [torch.stack(each).mean(0) for each in zip(*means, strict=True)]
    found = trainer.network.layers[0].norm
    assert naive.relative_error(found.running_mean, expected[0]) < 1e-4
    assert naive.relative_error(found.running_var, expected[1]) < 1e-4
    norms = [one for one in trainer.network.modules() if isinstance(one, nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.1}
    assert not trainer.network.training


@untraced
def test_recomputed_statistics_fit_what_is_kept_where_series_have_an_offset():
    """Issue 10.1: right on all series while training, and on half of them afterwards."""
    rng = np.random.default_rng(0)
    target = torch.arange(60) % 2
    values = torch.from_numpy(rng.normal(size=(60, 1, 50))).float() + 2 * target[:, None, None] - 1
    accuracies = {}
    for update_bn in (False, True):
        network = DSNNetwork(1, 2, 3, 8, generator=torch.Generator().manual_seed(0))
        plan = recipe(
            n_epochs=40, batch_size=6, lr=3e-4, lr_min=1e-4, delta_t=5, update_bn=update_bn
        )
        trainer = SparseTrainer(network, plan, CrossEntropy(), 0)
        trainer.fit(Panel(values + 1e4), target)
        assert trainer.history[trainer.best_epoch]["accuracy"] == 1
        with torch.no_grad():
            logits = torch.cat([network(part) for part in (values + 1e4).split(10)])
        accuracies[update_bn] = (logits.argmax(1) == target).float().mean().item()
    assert accuracies[False] < 0.9
    assert accuracies[True] == 1


# Weights of series


def test_series_without_weight_teach_nothing():
    panel, class_indices = tiny_panel(12)
    weight = torch.ones(12)
    weight[::3] = 0
    # With a single batch of all rows only the loss can differ.
    runs = []
    for labels in (class_indices, class_indices.where(weight > 0, (class_indices + 1) % N_CLASSES)):
        trainer = trainer_of(batch_size=50, growth=None)
        trainer.fit(panel, labels, weight)
        runs.append(trainer.network.state_dict())
    assert_equal_states(*runs)
    unweighted = trainer_of(batch_size=50, growth=None)
    unweighted.fit(panel, class_indices)
    assert not torch.equal(unweighted.network.head.classes.weight, runs[0]["head.classes.weight"])


def test_equal_weights_change_nothing_but_rounding():
    runs = []
    for weight in (None, torch.full((11,), 3.0)):
        trainer = trainer_of(n_epochs=2)
        trainer.fit(*tiny_panel(), weight)
        runs.append(trainer.network.head.classes.weight.detach())
    assert naive.relative_error(runs[1], runs[0]) < 1e-4


# The program around it


@pytest.fixture
def default_dtype():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def no_grad_for_good():
    torch.set_grad_enabled(False)
    try:
        yield
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": no_grad_for_good,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "errstate": lambda: np.errstate(all="raise"),
}


@untraced
@pytest.mark.parametrize("keep", ["best", "average"])
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_training_does_not_depend_on_what_surrounds_it(context, keep):
    def fitted(make_context):
        network, data = tiny_network(), tiny_panel()
        with make_context():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            if "inference" in str(make_context):
                data = Panel(data[0].values.clone()), data[1].clone()
            trainer = SparseTrainer(network, recipe(keep=keep), CrossEntropy(), 5)
            trainer.fit(*data)
            assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        return trainer

    found, expected = fitted(context), fitted(contextlib.nullcontext)
    assert without_seconds(found.history) == without_seconds(expected.history)
    assert_equal_states(found.network.state_dict(), expected.network.state_dict())
    assert all(not tensor.is_inference() for tensor in found.network.state_dict().values())


@pytest.mark.usefixtures("default_dtype")
def test_training_does_not_depend_on_the_default_dtype():
    network = tiny_network().float()
    trainer = SparseTrainer(network, recipe(keep="average"), CrossEntropy(), 5)
    trainer.fit(*tiny_panel())
    states = [*network.state_dict().values(), *trainer.best_state.values()]
    assert {state.dtype for state in states} <= {torch.float32, torch.int32, torch.int64}
    assert torch.get_default_dtype() == torch.float64

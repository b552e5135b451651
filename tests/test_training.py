from __future__ import annotations

import copy
import io
import math
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import torch
from test_adam import take_steps
from torch import nn
from torch.nn import functional as F

from dsn_sktime.layers import SparseConv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.training import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Recipe,
    SparseTrainer,
)
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.topology import update_layer

N_CLASSES = 3


def recipe(**changes):
    settings = {
        "n_epochs": 6,
        "batch_size": 4,
        "lr": 0.02,
        "lr_min": 0.005,
        "growth": "random",
        "alpha": 0.5,
        "delta_t": 2,
    }
    return Recipe(**(settings | changes))


def tiny_network(seed=0):
    return DSNNetwork(
        1,
        N_CLASSES,
        n_layers=2,
        n_filters=2,
        kernel_size=6,
        n_kernel_groups=2,
        sparsity=0.5,
        n_pool=3,
        generator=torch.Generator().manual_seed(seed),
    )


def tiny_panel(n=11, unequal=False):
    """Series of 8 steps whose first step is their row number over n, and their classes."""
    rng = np.random.default_rng(7)
    values = torch.from_numpy(rng.normal(size=(n, 1, 8))).float()
    values[:, 0, 0] = torch.arange(n) / n
    codes = torch.arange(n) % N_CLASSES
    if not unequal:
        return Panel(values), codes
    lengths = torch.from_numpy(rng.integers(1, 9, n))
    lengths[0] = 8
    return Panel(values, lengths), codes


def trainer_of(callbacks=(), seed=5, class_weight=None, network_seed=0, **changes):
    network = tiny_network(network_seed)
    return SparseTrainer(network, recipe(**changes), seed, callbacks, class_weight)


def clone_state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal_states(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Recorder(Callback):
    """Keeps what the network and the optimizer were after each epoch."""

    def __init__(self):
        self.states = []
        self.moments = []

    def on_epoch_end(self, trainer, record):
        self.states.append(clone_state(trainer.network))
        state = trainer.optimizer.state
        self.moments.append(
            [copy.deepcopy(state[conv.values]) for conv in trainer.network.sparse_convs()]
        )


def watch_batches(network):
    """List that collects the inputs and scores of each training batch of the network."""
    batches = []
    network.register_forward_hook(
        lambda module, arguments, scores: batches.append((arguments[0].clone(), scores.detach()))
    )
    return batches


def rows_of(batch, n):
    return (batch[:, 0, 0] * n).round().long().tolist()


# Schedules


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
    found = recipe(n_epochs=4, lr=3e-4, lr_min=1e-4).learning_rate([{}] * epoch)
    assert found == pytest.approx(expected, rel=1e-12)


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


# Topology update of one layer


def trained_layer(rng):
    layer = SparseConv1d(2, 4, 6, 2, sparsity=0.5)
    optimizer = Adam(layer.parameters(), lr=0.1)
    take_steps(optimizer, layer.values, rng.normal(size=(3, layer.groups.n_activated)), [0.1] * 3)
    return layer, optimizer


@pytest.mark.parametrize("by_gradient", [False, True])
def test_update_keeps_survivors_and_starts_grown_weights_at_zero(rng, by_gradient):
    layer, optimizer = trained_layer(rng)
    before = dict(zip(layer.index.tolist(), layer.values.tolist(), strict=True))
    state = optimizer.state[layer.values]
    moments_before = dict(zip(layer.index.tolist(), state["exp_avg"].tolist(), strict=True))
    if by_gradient:
        layer.dense_gradient = torch.from_numpy(rng.normal(size=layer.groups.shape))
    n_changed = update_layer(layer, optimizer, 0.4, rng)

    # 2 * 2 * (3, 6) weights in the regions, half of them activated: budgets 6 and 12.
    assert n_changed == math.ceil(0.4 * 6) + math.ceil(0.4 * 12)
    layer.groups.check_topology(layer.index.numpy())
    is_grown = state["step"] == 0
    assert is_grown.sum() == n_changed
    assert (layer.values[is_grown] == 0).all()
    assert (state["exp_avg"][is_grown] == 0).all()
    assert (state["exp_avg_sq"][is_grown] == 0).all()
    assert (state["step"][~is_grown] == 3).all()
    for place in (~is_grown).nonzero().flatten().tolist():
        position = int(layer.index[place])
        assert layer.values[place].item() == before[position]
        assert state["exp_avg"][place].item() == moments_before[position]
    assert layer.dense_gradient is None


def test_update_grows_where_the_dense_gradient_is_largest(rng):
    layer, optimizer = trained_layer(rng)
    free = sorted(set(layer.groups.region(1).tolist()) - set(layer.index.tolist()))
    largest = rng.choice(free, 5, replace=False)  # ceil(0.4 * 12) grow in group 1
    gradient = torch.zeros(layer.groups.n_dense)
    gradient[largest] = -1.0
    layer.dense_gradient = gradient.view(layer.groups.shape)
    update_layer(layer, optimizer, 0.4, rng)
    assert set(largest.tolist()) <= set(layer.index.tolist())


# Trainer: batches


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
    trainer = trainer_of(n_epochs=2, batch_size=batch_size, class_weight=weight)
    batches = watch_batches(trainer.network)
    panel, codes = tiny_panel()
    trainer.fit(panel, codes)
    for epoch, record in enumerate(trainer.history):
        half = len(batches) // 2
        loss, n_correct = 0.0, 0
        for x, scores in batches[epoch * half : (epoch + 1) * half]:
            own = codes[rows_of(x, len(panel))]
            loss += len(own) * F.cross_entropy(scores, own, weight=weight).item()
            n_correct += int((scores.argmax(1) == own).sum())
        assert record["loss"] == pytest.approx(loss / len(panel), rel=1e-6)
        assert record["accuracy"] == n_correct / len(panel)


def test_class_weights_shape_the_training():
    final = []
    for weight in (None, torch.ones(3), torch.tensor([1.0, 5.0, 0.25])):
        trainer = trainer_of(n_epochs=1, class_weight=weight)
        trainer.fit(*tiny_panel())
        final.append(trainer.network.head.classes.weight.detach())
    assert naive.relative_error(final[1], final[0]) < 1e-5
    assert naive.relative_error(final[2], final[0]) > 1e-3


def test_history_has_the_schedules():
    trainer = trainer_of()
    trainer.fit(*tiny_panel())
    assert [record["epoch"] for record in trainer.history] == list(range(6))
    for epoch, record in enumerate(trainer.history):
        assert record["lr"] == trainer.recipe.learning_rate(trainer.history[:epoch])
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


class LowLossIn(Callback):
    """Biases the scores of class 0 by 50 in all epochs but those given."""

    def __init__(self, *epochs):
        self.epochs = epochs

    def on_train_begin(self, trainer):
        self.prepare(trainer, 0)

    def on_epoch_end(self, trainer, record):
        self.prepare(trainer, record["epoch"] + 1)

    def prepare(self, trainer, epoch):
        with torch.no_grad():
            trainer.network.head.norm.bias[0] = 0 if epoch in self.epochs else 50


@pytest.mark.parametrize("epoch", [0, 3, 5])
def test_model_is_the_state_of_the_epoch_with_the_lowest_loss(epoch):
    recorder = Recorder()
    trainer = trainer_of([recorder, LowLossIn(epoch)], growth=None)
    trainer.fit(*tiny_panel())
    assert trainer.best_epoch == epoch
    assert min(trainer.history, key=lambda record: record["loss"])["epoch"] == epoch
    assert_equal_states(trainer.network.state_dict(), recorder.states[epoch])
    assert not trainer.network.training


def test_model_has_the_topology_from_before_the_update_of_its_epoch():
    recorder = Recorder()
    # Without steps weights change by updates alone: during epoch 3 they are those at the
    # end of epoch 2, after its update.
    trainer = trainer_of([recorder, LowLossIn(3)], delta_t=1, lr=0.0, lr_min=0.0)
    trainer.fit(*tiny_panel())
    assert trainer.best_epoch == 3
    for name, tensor in trainer.network.state_dict().items():
        if name.endswith(("conv.index", "conv.values")):
            assert torch.equal(tensor, recorder.states[2][name])
    name = "layers.1.conv.index"
    assert not torch.equal(recorder.states[3][name], recorder.states[2][name])


def test_later_epoch_of_a_tie_is_the_best():
    recorder = Recorder()
    trainer = trainer_of([recorder, LowLossIn(1, 4)], growth=None, lr=0.0, lr_min=0.0)
    # Without steps all scores are 0 in epochs 1 and 4.
    nn.init.zeros_(trainer.network.head.norm.weight)
    trainer.fit(*tiny_panel())
    assert trainer.history[1]["loss"] == trainer.history[4]["loss"]
    assert trainer.history[1]["loss"] == pytest.approx(math.log(N_CLASSES))
    assert trainer.best_epoch == 4
    assert_equal_states(trainer.network.state_dict(), recorder.states[4])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_is_an_error(value):
    panel, codes = tiny_panel()
    panel.values[3, 0, 4] = value
    log = []
    with pytest.raises(FloatingPointError, match=r"loss became nan in epoch 0\. Scale .* lower lr"):
        trainer_of([Logger("a", log)]).fit(panel, codes)
    assert log == ["a begin", "a end"]


# Trainer: topology


@pytest.mark.parametrize("growth", ["random", "gradient"])
@pytest.mark.parametrize("unequal", [False, True])
def test_topology_is_updated_at_the_due_epochs_only(growth, unequal):
    recorder = Recorder()
    trainer = trainer_of([recorder], growth=growth, n_epochs=7, alpha=0.9)
    states = [clone_state(trainer.network)]
    trainer.fit(*tiny_panel(unequal=unequal))
    states += recorder.states
    convs = trainer.network.sparse_convs()
    for epoch, record in enumerate(trainer.history):
        changed = any(
            not torch.equal(states[epoch][name], states[epoch + 1][name])
            for name in states[epoch]
            if name.endswith("conv.index")
        )
        is_due = epoch in (1, 3, 5)
        assert changed == is_due
        fraction = record["drop_fraction"]
        n_drop = sum(math.ceil(fraction * b) for conv in convs for b in conv.groups.budgets)
        assert record["n_grown"] == record["n_dropped"] == (n_drop if is_due else 0)


def test_fixed_topology_stays_that_of_the_start():
    trainer = trainer_of(growth=None, delta_t=1)
    before = [conv.index.clone() for conv in trainer.network.sparse_convs()]
    trainer.fit(*tiny_panel())
    for conv, index in zip(trainer.network.sparse_convs(), before, strict=True):
        assert torch.equal(conv.index, index)
    assert all(record["n_grown"] == record["n_dropped"] == 0 for record in trainer.history)


@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_number_of_activated_weights_is_constant_and_grown_ones_are_fresh(growth):
    recorder = Recorder()
    trainer = trainer_of([recorder], growth=growth, delta_t=1)
    trainer.fit(*tiny_panel())
    for record, state, moments in zip(
        trainer.history, recorder.states, recorder.moments, strict=True
    ):
        n_fresh = 0
        for number, conv in enumerate(trainer.network.sparse_convs()):
            conv.groups.check_topology(state[f"layers.{number}.conv.index"].numpy())
            values = state[f"layers.{number}.conv.values"]
            is_fresh = moments[number]["step"] == 0
            assert (values[is_fresh] == 0).all()
            assert (moments[number]["exp_avg"][is_fresh] == 0).all()
            assert (moments[number]["exp_avg_sq"][is_fresh] == 0).all()
            n_fresh += int(is_fresh.sum())
        assert n_fresh == record["n_grown"]


def test_gradient_growth_uses_the_dense_gradient_of_the_last_batch():
    seen = []
    trainer = trainer_of(growth="gradient", n_epochs=3, delta_t=2)
    conv = trainer.network.sparse_convs()[1]
    trainer.network.register_forward_hook(lambda *_: seen.append(conv.keep_dense_gradient))
    trainer.fit(*tiny_panel())
    # 11 rows are 3 batches an epoch; only epoch 1 ends with an update.
    assert seen == [False] * 5 + [True] + [False] * 3
    assert conv.dense_gradient is None
    assert not conv.keep_dense_gradient


def test_global_generators_stay_untouched():
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    trainer_of().fit(*tiny_panel())
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_seed_decides_the_growth():
    states = []
    for seed in (5, 5, 6):
        recorder = Recorder()
        # Without steps and with a single batch only the growth is random.
        trainer_of([recorder], seed=seed, lr=0.0, lr_min=0.0, batch_size=50).fit(*tiny_panel())
        states.append(recorder.states[-1]["layers.1.conv.index"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


# Callbacks


class Logger(Callback):
    def __init__(self, name, log, stop_after=None):
        self.name = name
        self.log = log
        self.stop_after = stop_after

    def on_train_begin(self, trainer):
        self.log.append(f"{self.name} begin")

    def on_epoch_end(self, trainer, record):
        assert trainer.history[-1] is record
        self.log.append(f"{self.name} {record['epoch']}")
        trainer.should_stop = record["epoch"] == self.stop_after

    def on_train_end(self, trainer):
        self.log.append(f"{self.name} end")


def test_callbacks_are_called_in_order():
    log = []
    trainer_of([Logger("a", log), Logger("b", log)], n_epochs=2).fit(*tiny_panel())
    assert log == ["a begin", "b begin", "a 0", "b 0", "a 1", "b 1", "a end", "b end"]


def test_callback_ends_training_after_the_epoch():
    log = []
    trainer = trainer_of([Logger("a", log, stop_after=2)])
    trainer.fit(*tiny_panel())
    assert log == ["a begin", "a 0", "a 1", "a 2", "a end"]
    assert len(trainer.history) == 3
    assert trainer.is_finished
    assert_equal_states(trainer.network.state_dict(), trainer.best_state)


def test_callbacks_learn_of_an_interruption():
    log = []

    class Interrupting(Callback):
        def on_epoch_end(self, trainer, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer_of([Logger("a", log), Interrupting()]).fit(*tiny_panel())
    assert log == ["a begin", "a 0", "a end"]


def stopped_after(callback, figures, monitor):
    """Epoch after which a callback stops a run with this history, or None."""
    trainer = SimpleNamespace(history=[], should_stop=False)
    for epoch, figure in enumerate(figures):
        trainer.history.append({"epoch": epoch, monitor: figure})
        callback.on_epoch_end(trainer, trainer.history[-1])
        if trainer.should_stop:
            return epoch
    return None


@pytest.mark.parametrize(
    ("figures", "patience", "min_delta", "epoch"),
    [
        ([5, 4, 3, 2, 1], 1, 0, None),
        ([5, 4, 4, 4, 4], 2, 0, 3),  # best at 1; a tie is no improvement
        ([5, 6, 7, 4, 9, 9, 3], 3, 0, None),  # each time 3 epochs without are not complete
        ([5, 6, 7, 8, 4], 3, 0, 3),
        ([5, 5], 1, 0, 1),
        ([5, 4.75, 4.5, 4.25, 4], 3, 0.5, None),  # 4.25 is more than 0.5 below 5
        ([5, 4.75, 4.5, 4.5, 4], 3, 0.5, 3),  # exactly 0.5 is no improvement
    ],
)
def test_early_stopping_on_loss(figures, patience, min_delta, epoch):
    callback = EarlyStopping("loss", patience, min_delta)
    assert stopped_after(callback, figures, "loss") == epoch
    assert stopped_after(callback, figures, "loss") == epoch  # it can be used again


@pytest.mark.parametrize(
    ("figures", "patience", "min_delta", "epoch"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1, 0, None),
        ([0.1, 0.5, 0.5, 0.4, 0.6], 2, 0, 3),
        ([0.5, 0.25, 0.75, 0.5, 0.5], 2, 0, 4),
        ([0.0, 0.0], 1, 0, 1),
        ([0.25, 0.375, 0.5, 1.0], 2, 0.25, 2),
    ],
)
def test_early_stopping_on_accuracy(figures, patience, min_delta, epoch):
    assert (
        stopped_after(EarlyStopping("accuracy", patience, min_delta), figures, "accuracy") == epoch
    )


def test_early_stopping_ends_a_training_run():
    # Without steps and growth the loss of the single batch stays the same up to rounding.
    callback = EarlyStopping(patience=2, min_delta=1e-3)
    trainer = trainer_of([callback], growth=None, lr=0.0, lr_min=0.0, batch_size=50)
    trainer.fit(*tiny_panel())
    assert len(trainer.history) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitor": "error"}, "monitor must be 'loss' or 'accuracy', found 'error'"),
        ({"patience": 0}, "patience must be an integer number of epochs, at least 1, found 0"),
    ],
)
def test_early_stopping_refuses_what_it_cannot_watch(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**arguments)


# Resuming


class SaveAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch
        self.file = io.BytesIO()

    def on_epoch_end(self, trainer, record):
        if record["epoch"] == self.epoch:
            torch.save(trainer.state_dict(), self.file)

    def load(self):
        self.file.seek(0)
        return torch.load(self.file, weights_only=True)


def without_seconds(history):
    return [{name: record[name] for name in record if name != "seconds"} for record in history]


@pytest.mark.parametrize("growth", ["random", "gradient", None])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("epoch", [0, 1, 4, 5])
def test_resumed_run_ends_at_the_same_weights(growth, unequal, epoch):
    data = tiny_panel(unequal=unequal)
    saved, at_the_end = SaveAt(epoch), Recorder()
    unbroken = trainer_of([saved, at_the_end], growth=growth)
    unbroken.fit(*data)

    at_the_end_too = Recorder()
    resumed = trainer_of([at_the_end_too], growth=growth, network_seed=1, seed=99)
    resumed.load_state_dict(saved.load())
    resumed.fit(*data)
    assert len(at_the_end_too.states) == 5 - epoch
    assert_equal_states(resumed.network.state_dict(), unbroken.network.state_dict())
    if epoch < 5:
        assert_equal_states(at_the_end_too.states[-1], at_the_end.states[-1])
    assert resumed.best_epoch == unbroken.best_epoch
    assert without_seconds(resumed.history) == without_seconds(unbroken.history)


def test_run_that_was_stopped_is_not_trained_on():
    class StopAndSave(SaveAt):
        def on_epoch_end(self, trainer, record):
            trainer.should_stop = record["epoch"] == 2
            super().on_epoch_end(trainer, record)

    saved = StopAndSave(2)
    stopped = trainer_of([saved])
    stopped.fit(*tiny_panel())
    loaded = trainer_of(network_seed=1)
    loaded.load_state_dict(saved.load())
    assert loaded.is_finished
    loaded.fit(*tiny_panel())
    assert len(loaded.history) == 3
    assert_equal_states(loaded.network.state_dict(), stopped.network.state_dict())


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("checkpoint_first", [True, False])
def test_checkpoint_of_a_stopped_run_does_not_depend_on_the_order_of_callbacks(
    tmp_path, checkpoint_first, every
):
    callbacks = [Checkpoint(tmp_path, every), EarlyStopping(patience=2, min_delta=99)]
    if not checkpoint_first:
        callbacks.reverse()
    first, again = (trainer_of(callbacks, network_seed=seed) for seed in (0, 1))
    for trainer in (first, again):
        trainer.fit(*tiny_panel())
    assert len(first.history) == 3
    assert again.history == first.history
    assert_equal_states(again.network.state_dict(), first.network.state_dict())

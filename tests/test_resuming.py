"""Training runs that are interrupted and continued, to the same bits."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny import untraced
from training_runs import (
    Recorder,
    SaveAt,
    assert_equal_states,
    recipe,
    tiny_network,
    tiny_panel,
    trainer_of,
    without_seconds,
)

from dsn_sktime.training import (
    KEEPS,
    SCHEDULES,
    Checkpoint,
    CrossEntropy,
    EarlyStopping,
    SparseTrainer,
)


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


COMBINATIONS = list(itertools.product(SCHEDULES, KEEPS, ["random", "gradient", None], [0.0, 0.1]))


@untraced
@pytest.mark.parametrize(("schedule", "keep", "growth", "weight_decay"), COMBINATIONS)
def test_every_combination_is_rerun_and_resumed_to_the_same_bits(
    schedule, keep, growth, weight_decay
):
    # The average is over the last two of eight epochs, with a topology update between them.
    plan = {"schedule": schedule, "keep": keep, "growth": growth, "weight_decay": weight_decay}
    plan |= {"n_epochs": 8, "delta_t": 1, "patience": 0, "update_bn": weight_decay > 0}
    data = tiny_panel(6, unequal=growth is None)
    objective = CrossEntropy(torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1)
    saves = [SaveAt(epoch) for epoch in (1, 5, 6)]
    unbroken = trainer_of(saves, objective=objective, **plan)
    again = trainer_of(objective=objective, **plan)
    for trainer in (unbroken, again):
        trainer.fit(*data)
    expected = unbroken.network.state_dict()
    assert_equal_states(again.network.state_dict(), expected)
    for saved in saves:
        resumed = trainer_of(objective=objective, network_seed=1, seed=99, **plan)
        resumed.load_state_dict(saved.load())
        resumed.fit(*data)
        assert_equal_states(resumed.network.state_dict(), expected)
        assert without_seconds(resumed.history) == without_seconds(unbroken.history)
        assert resumed.best_epoch == unbroken.best_epoch


def test_an_augmented_run_is_resumed_to_the_same_bits():
    def jitter(batch, rng):
        noise = torch.from_numpy(rng.normal(scale=0.1, size=batch.values.shape))
        return batch._replace(values=batch.values + noise.float())

    def run(callbacks=(), augment=jitter):
        objective = CrossEntropy()
        return SparseTrainer(tiny_network(), recipe(), objective, 5, callbacks, augment=augment)

    saved, data = SaveAt(2), tiny_panel()
    unbroken, resumed, plain = run([saved]), run(), run(augment=None)
    unbroken.fit(*data)
    plain.fit(*data)
    resumed.load_state_dict(saved.load())
    resumed.fit(*data)
    assert_equal_states(resumed.network.state_dict(), unbroken.network.state_dict())
    # Its random stream is its own: the plain run has the same batches.
    assert [record["n_grown"] for record in plain.history] == [
        record["n_grown"] for record in unbroken.history
    ]
    assert plain.history[0]["loss"] != unbroken.history[0]["loss"]

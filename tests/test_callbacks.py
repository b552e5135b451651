"""Callbacks of a training run, early stopping above all."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from training_runs import Logger, assert_equal_states, tiny_panel, trainer_of

from dsn_sktime.training import Callback, Checkpoint, EarlyStopping


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


def test_a_stop_before_the_first_epoch_ends_training_after_it():
    class Stopping(Callback):
        def on_train_begin(self, trainer):
            trainer.should_stop = True

    trainer = trainer_of([Stopping()])
    trainer.fit(*tiny_panel())
    assert [record["epoch"] for record in trainer.history] == [0]
    assert_equal_states(trainer.network.state_dict(), trainer.best_state)


def test_callbacks_learn_of_an_interruption():
    log = []

    class Interrupting(Callback):
        def on_epoch_end(self, trainer, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer_of([Logger("a", log), Interrupting()]).fit(*tiny_panel())
    assert log == ["a begin", "a 0", "a end"]


def test_callbacks_that_began_learn_that_another_refused_to():
    log = []

    class Refusing(Callback):
        def on_train_begin(self, trainer):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        trainer_of([Logger("a", log), Refusing(), Logger("b", log)]).fit(*tiny_panel())
    assert log == ["a begin", "a end"]


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


NO_INTEGERS = ["x", 1.5, np.nan, True, None, np.array([3]), pd.NA, pd.Series([1, 2])]


@pytest.mark.parametrize("value", [*NO_INTEGERS, 0, -1], ids=repr)
@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda n: EarlyStopping(patience=n), "patience"), (lambda n: Checkpoint(".", n), "every")],
)
def test_epochs_of_callbacks_are_positive_integers(make, name, value):
    words = f"^{name} must be an integer of at least 1, found .*[^.]\\.$"
    with pytest.raises((TypeError, ValueError), match=words):
        make(value)


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, -1.0, "x", True, None, np.array([0.1, 0.2]), pd.NA, pd.Series([1.0])],
    ids=repr,
)
def test_min_delta_is_a_finite_number(value):
    words = r"^min_delta must be a number in \[0, inf\), found .*\.$"
    with pytest.raises((TypeError, ValueError), match=words):
        EarlyStopping(min_delta=value)


@pytest.mark.parametrize("value", ["error", None, 3, np.array(["loss"] * 2), pd.NA], ids=repr)
def test_early_stopping_watches_loss_or_accuracy(value):
    names = "'loss', 'accuracy', 'val_loss', 'val_accuracy'"
    with pytest.raises(ValueError, match=rf"^monitor must be one of {names}, found .*\.$"):
        EarlyStopping(value)


@pytest.mark.parametrize("value", [None, 3, b"folder", pd.NA, np.array(["a"])], ids=repr)
def test_a_folder_is_a_path(value):
    with pytest.raises(TypeError, match=r"^folder must be a str or a pathlib.Path, found .*\.$"):
        Checkpoint(value)


def test_early_stopping_reads_the_history_that_was_loaded():
    """A kill after the save of the last epoch, and before the stop was noted, changes nothing."""
    callback = EarlyStopping(patience=2)
    figures = [5, 4, 4, 4]
    history = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(figures)]
    for n_done in range(5):
        trainer = SimpleNamespace(history=history[:n_done], should_stop=False)
        callback.on_train_begin(trainer)
        assert trainer.should_stop == (n_done == 4)

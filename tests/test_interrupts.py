"""Training that is watched, stopped, killed and taken up again."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sktime.exceptions import NotFittedError
from tiny import StopAfter, panel, tiny_classifier

from dsn_sktime import DSNClassifier
from dsn_sktime.training import Callback, Checkpoint, EarlyStopping, ProgressBar
from dsn_sktime.training.checkpoint import read_checkpoint


class Recorder(Callback):
    """Note what was called, in a list that several recorders may share; press Ctrl-C.

    All have the same ``repr``: a fit with one may resume that of another.
    """

    def __init__(self, calls: list, name: str = "", n_epochs: float = float("inf")) -> None:
        self.calls = calls
        self.name = name
        self.n_epochs = n_epochs

    def on_train_begin(self, trainer: Any) -> None:
        self.calls.append((self.name, "begin", len(trainer.history)))

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        self.calls.append((self.name, "epoch", record["epoch"]))
        if len(epochs_trained(self)) == self.n_epochs:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Any) -> None:
        self.calls.append((self.name, "end", len(trainer.history)))


def epochs_trained(recorder: Recorder) -> list[int]:
    return [epoch for _, what, epoch in recorder.calls if what == "epoch"]


def assert_same_networks(one: DSNClassifier, other: DSNClassifier) -> None:
    for first, second in zip(one.networks_, other.networks_, strict=True):
        states = first.state_dict(), second.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def without_seconds(history: list[dict]) -> list[dict]:
    return [{name: record[name] for name in record if name != "seconds"} for record in history]


def assert_same_fit(one: DSNClassifier, other: DSNClassifier) -> None:
    X, _ = panel()
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.best_epoch_ == other.best_epoch_
    assert without_seconds(one.history_) == without_seconds(other.history_)
    assert_same_networks(one, other)


# Callbacks.


def test_callbacks_are_called_in_order() -> None:
    calls: list = []
    callbacks = [Recorder(calls, "a"), Recorder(calls, "b")]
    tiny_classifier(n_epochs=2, callbacks=callbacks).fit(*panel())
    steps = [("begin", 0), ("epoch", 0), ("epoch", 1), ("end", 2)]
    assert calls == [(name, *step) for step in steps for name in "ab"]


def test_each_network_of_an_ensemble_calls_them() -> None:
    recorder = Recorder([])
    tiny_classifier(n_epochs=2, n_estimators=2, callbacks=[recorder]).fit(*panel())
    assert epochs_trained(recorder) == [0, 1, 0, 1]


def test_a_record_is_the_newest_of_the_history() -> None:
    class Compare(Callback):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            assert record is trainer.history[-1]

    classifier = tiny_classifier(callbacks=[Compare()]).fit(*panel())
    assert len(classifier.history_) == 3


def test_watching_changes_no_result() -> None:
    plain = tiny_classifier().fit(*panel())
    assert_same_fit(tiny_classifier(callbacks=[Recorder([])]).fit(*panel()), plain)


def test_a_callback_may_stop_training() -> None:
    class Stop(Callback):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            trainer.should_stop = record["epoch"] == 1

    classifier = tiny_classifier(n_epochs=5, callbacks=[Stop()]).fit(*panel())
    assert [record["epoch"] for record in classifier.history_] == [0, 1]
    assert classifier.predict(panel()[0]).shape == (20,)


@pytest.mark.parametrize(("monitor", "min_delta"), [("loss", 100.0), ("accuracy", 2.0)])
def test_early_stopping_waits_for_its_patience(monitor: str, min_delta: float) -> None:
    # No change is ever as large as min_delta, so the first epoch stays the best.
    stopping = EarlyStopping(monitor, patience=2, min_delta=min_delta)
    classifier = tiny_classifier(n_epochs=9, callbacks=[stopping]).fit(*panel())
    assert len(classifier.history_) == 3


def test_early_stopping_lets_improvement_go_on() -> None:
    X, y = panel("multivariate")
    losses = [record["loss"] for record in tiny_classifier(n_epochs=20).fit(X, y).history_]
    first_no_better = next(i for i in range(1, 20) if losses[i] >= min(losses[:i]))
    assert first_no_better > 1
    stopping = EarlyStopping(patience=1)
    classifier = tiny_classifier(n_epochs=20, callbacks=[stopping]).fit(X, y)
    assert len(classifier.history_) == first_no_better + 1


def test_early_stopping_may_be_used_again() -> None:
    classifier = tiny_classifier(n_epochs=9, callbacks=[EarlyStopping(patience=2, min_delta=9)])
    assert len(classifier.fit(*panel()).history_) == len(classifier.fit(*panel()).history_) == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EarlyStopping("error"), ["monitor", "'error'", "'loss', 'accuracy'"]),
        (lambda: EarlyStopping(patience=0), ["patience", "0", "at least 1"]),
        (lambda: Checkpoint("folder", every=0), ["every", "0", "at least 1"]),
    ],
)
def test_arguments_of_callbacks_are_checked(make, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (matched below)
        make()
    assert all(word in str(caught.value) for word in words)


# Ctrl-C.


class StopTraining(Callback):
    """End training after an epoch, as a callback should."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        trainer.should_stop = record["epoch"] == self.epoch


class InterruptForward(Callback):
    """Press Ctrl-C when a network computes, ``n_presses`` times from an epoch on."""

    def __init__(self, epoch: int, n_presses: int = 1) -> None:
        self.epoch = epoch
        self.n_presses = n_presses

    def __repr__(self) -> str:
        return "Recorder()"

    def on_train_begin(self, trainer: Any) -> None:
        def press(*arguments: Any) -> None:
            if len(trainer.history) == self.epoch and self.n_presses > 0:
                self.n_presses -= 1
                if self.n_presses == 0:
                    handle.remove()
                raise KeyboardInterrupt

        handle = trainer.network.register_forward_pre_hook(press)


def interrupt(classifier: Any, *callbacks: Callback) -> Any:
    """Fit to an interruption that is announced, and return what it left without callbacks."""
    classifier.callbacks = list(callbacks)
    words = r"^training was interrupted: .* is fitted"
    with pytest.warns(UserWarning, match=words) as found, pytest.raises(KeyboardInterrupt):
        classifier.fit(*panel())
    assert len(found) == 1
    assert "\n" not in str(found[0].message)
    assert found[0].filename == __file__
    return classifier


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"update_bn": False, "growth": "gradient"},
        {"keep": "last"},
        {"keep": "average", "schedule": "one_cycle", "n_epochs": 8},
        {"validation_fraction": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("press", [StopAfter(2), InterruptForward(3)], ids=["between", "within"])
def test_ctrl_c_leaves_the_model_of_the_last_complete_epoch(press: Any, parameters: dict) -> None:
    calls: list = []
    parameters = {"n_epochs": 5, **parameters}
    classifier = tiny_classifier(**parameters)
    interrupt(classifier, Recorder(calls), pickle.loads(pickle.dumps(press)))
    assert calls[-1] == ("", "end", 3)
    assert classifier.is_fitted
    stopped = tiny_classifier(**parameters, callbacks=[StopTraining(2)]).fit(*panel())
    assert_same_fit(classifier, stopped)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict(panel()[0]), stopped.predict(panel()[0]))


@pytest.mark.parametrize("n_presses", [1, 2])
def test_ctrl_c_without_an_epoch_changes_nothing(n_presses: int) -> None:
    """A second Ctrl-C breaks off the last pass over the series, so there is no model."""
    epoch = n_presses - 1
    classifier = tiny_classifier(callbacks=[InterruptForward(epoch, n_presses)])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*panel())
    with pytest.raises(NotFittedError, match="DSNClassifier"):
        classifier.predict(panel()[0])
    fitted = tiny_classifier().fit(*panel())
    fitted.callbacks = [InterruptForward(epoch, n_presses)]
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(*panel())
    assert_same_fit(fitted, tiny_classifier().fit(*panel()))


def test_an_interrupted_ensemble_has_the_networks_begun() -> None:
    class InSecond(Callback):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            if "2/3" in trainer.name and record["epoch"] == 1:
                raise KeyboardInterrupt

    classifier = interrupt(tiny_classifier(n_epochs=4, n_estimators=3), InSecond())
    places = [(record["network"], record["epoch"]) for record in classifier.history_]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert len(classifier.networks_) == len(classifier.best_epoch_) == 2
    assert classifier.predict(panel()[0]).shape == (20,)
    whole = tiny_classifier(n_epochs=4, n_estimators=3).fit(*panel())
    state, expected = (one.networks_[0].state_dict() for one in (classifier, whole))
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_an_ensemble_without_an_epoch_of_the_second_network_has_the_first() -> None:
    class AtSecond(Callback):
        def on_train_begin(self, trainer: Any) -> None:
            if "2/3" in trainer.name:
                raise KeyboardInterrupt

    classifier = interrupt(tiny_classifier(n_estimators=3), AtSecond())
    assert len(classifier.networks_) == 1


@pytest.mark.filterwarnings("error")
def test_ctrl_c_propagates_where_warnings_are_errors() -> None:
    classifier = tiny_classifier(callbacks=[StopAfter(1)])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*panel())
    assert len(classifier.history_) == 2


def test_an_interrupted_fit_is_resumed_to_the_uninterrupted_one(tmp_path: Path) -> None:
    classifier = interrupt(tiny_classifier(n_epochs=8), Checkpoint(tmp_path, 2), StopAfter(4))
    assert len(classifier.history_) == 5
    callbacks = [Checkpoint(tmp_path, 2), StopAfter(99)]
    resumed = tiny_classifier(n_epochs=8, callbacks=callbacks).fit(*panel())
    assert_same_fit(resumed, tiny_classifier(n_epochs=8).fit(*panel()))


def test_after_ctrl_c_one_can_fit_again() -> None:
    classifier = tiny_classifier(callbacks=[StopAfter(1)])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*panel())
    classifier.set_params(callbacks=None)
    assert_same_fit(classifier.fit(*panel()), tiny_classifier().fit(*panel()))


def test_ctrl_c_stops_a_grid_search() -> None:
    recorder = Recorder([])
    classifier = tiny_classifier(callbacks=[recorder, StopAfter(0)])
    search = GridSearchCV(classifier, {"n_pool": [3, 4, 5]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*panel())
    assert not hasattr(search, "best_estimator_")


def test_an_error_in_a_callback_reaches_the_user() -> None:
    calls: list = []
    with pytest.raises(ZeroDivisionError):
        tiny_classifier(callbacks=[Recorder(calls), StopAfter(0, ZeroDivisionError)]).fit(*panel())
    assert calls[-1] == ("", "end", 1)


# Checkpoints.


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted(folder: Path, n_epochs: int = 5, every: int = 1, **parameters: Any) -> None:
    """Fit with a checkpoint and break off after some epochs."""
    callbacks = [Checkpoint(folder, every=every), Recorder([], n_epochs=n_epochs)]
    with pytest.raises(KeyboardInterrupt):
        tiny_classifier(**{"n_epochs": 8, **parameters}, callbacks=callbacks).fit(*panel())


def resumed(folder: Path, **parameters: Any) -> tuple[DSNClassifier, list[int]]:
    """Fit with a checkpoint; return also the epochs that were trained."""
    recorder = Recorder([])
    callbacks = [Checkpoint(folder), recorder]
    classifier = tiny_classifier(**{"n_epochs": 8, **parameters}, callbacks=callbacks)
    return classifier.fit(*panel()), epochs_trained(recorder)


def test_a_checkpoint_is_one_file_of_tensors_and_numbers(tmp_path: Path) -> None:
    resumed(tmp_path / "new" / "folder")
    (name,) = files(tmp_path / "new" / "folder")
    assert re.fullmatch(r"dsn-[0-9a-f]{16}-0\.ckpt", name)
    state = read_checkpoint(tmp_path / "new" / "folder" / name)
    assert state["finished"]
    assert len(state["history"]) == 8


@pytest.mark.parametrize("every", [1, 2, 3, 100])
def test_a_checkpoint_is_written_every_so_often_and_at_the_end(tmp_path: Path, every: int) -> None:
    class Saved(Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            path = checkpoint.path(trainer)
            done = read_checkpoint(path)["history"] if path.exists() else []
            if len(done) == record["epoch"] + 1:
                self.epochs.append(record["epoch"])

    checkpoint, saved = Checkpoint(tmp_path, every=every), Saved()
    tiny_classifier(n_epochs=5, callbacks=[checkpoint, saved]).fit(*panel())
    assert saved.epochs == [e for e in range(5) if (e + 1) % every == 0 or e == 4]


@pytest.mark.parametrize("growth", ["random", "gradient"])
@pytest.mark.parametrize("n_done", [1, 5, 7])
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path: Path, n_done: int, growth: str) -> None:
    interrupted(tmp_path, n_done, growth=growth)
    classifier, epochs = resumed(tmp_path, growth=growth)
    assert epochs == list(range(n_done, 8))
    assert_same_fit(classifier, tiny_classifier(n_epochs=8, growth=growth).fit(*panel()))


def test_epochs_since_the_last_save_are_trained_again(tmp_path: Path) -> None:
    interrupted(tmp_path, n_epochs=5, every=3)
    classifier, epochs = resumed(tmp_path)
    assert epochs == [3, 4, 5, 6, 7]
    assert_same_fit(classifier, tiny_classifier(n_epochs=8).fit(*panel()))


def test_a_finished_fit_is_not_computed_again(tmp_path: Path) -> None:
    first, _ = resumed(tmp_path)
    again, epochs = resumed(tmp_path)
    assert epochs == []
    assert_same_fit(again, first)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_checkpoint_needs_an_integer_seed(tmp_path: Path, random_state: object) -> None:
    classifier = tiny_classifier(callbacks=[Checkpoint(tmp_path)], random_state=random_state)
    with pytest.raises(ValueError, match="random_state must be an integer where callbacks has"):
        classifier.fit(*panel())


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    resumed(tmp_path, random_state=0)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"cannot be resumed.*Delete it to start again"):
        resumed(tmp_path, random_state=0)


def test_a_checkpoint_refuses_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder must be a folder, found the file"):
        Checkpoint(tmp_path / "file")


@pytest.mark.parametrize("make", [lambda n: Checkpoint(".", n), lambda n: EarlyStopping("loss", n)])
@pytest.mark.parametrize(("n", "error"), [("x", TypeError), (1.5, TypeError), (0, ValueError)])
def test_epochs_of_callbacks_are_positive_integers(
    make: Callable[[object], Callback], n: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match="must be an integer of at least 1, found"):
        make(n)


def test_a_classifier_with_a_progress_bar_can_be_pickled() -> None:
    classifier = tiny_classifier(callbacks=[ProgressBar()]).fit(*panel())
    X, _ = panel()
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))


def test_a_fit_that_was_stopped_early_is_finished(tmp_path: Path) -> None:
    def fit() -> tuple[DSNClassifier, list[int]]:
        recorder = Recorder([])
        callbacks = [EarlyStopping(patience=2, min_delta=9), Checkpoint(tmp_path), recorder]
        classifier = tiny_classifier(n_epochs=8, callbacks=callbacks).fit(*panel())
        return classifier, epochs_trained(recorder)

    (first, trained), (again, trained_again) = fit(), fit()
    assert trained == [0, 1, 2]
    assert trained_again == []
    assert_same_fit(first, again)


@pytest.mark.parametrize(
    "change",
    [
        {"random_state": 1},
        {"n_epochs": 9},
        {"sparsity": 0.5},
        {"class_weight": "balanced"},
        {"padding": "zeros"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_parameters_use_another_file(tmp_path: Path, change: dict) -> None:
    resumed(tmp_path)
    _, epochs = resumed(tmp_path, **change)
    assert epochs[0] == 0
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("change", [{"verbose": 1}, {"n_jobs": 1}, {"device": "cpu"}])
def test_parameters_that_change_no_result_use_the_same_file(tmp_path: Path, change: dict) -> None:
    resumed(tmp_path)
    assert resumed(tmp_path, **change)[1] == []


def test_numbers_of_numpy_use_the_same_file_as_those_of_python(tmp_path: Path) -> None:
    numbers = {"n_pool": 5, "delta_t": 2, "kernel_size": 12, "lr": 1e-3, "alpha": 0.25}
    first, _ = resumed(tmp_path, **numbers)
    of_numpy = {name: np.asarray(value)[()] for name, value in numbers.items()}
    interrupted(tmp_path / "other", 2, **of_numpy)
    assert_same_fit(resumed(tmp_path / "other", **of_numpy)[0], first)
    again, epochs = resumed(tmp_path, **of_numpy)
    assert epochs == []
    assert_same_fit(again, first)


def test_other_data_and_labels_use_another_file(tmp_path: Path) -> None:
    X, y = panel()
    changed = X.copy()
    changed[3, 0, 5] += 0.5
    for series, labels in [(X, y), (changed, y), (X, y[::-1]), (X[:-1], y[:-1])]:
        tiny_classifier(callbacks=[Checkpoint(tmp_path)]).fit(series, labels)
    assert len(files(tmp_path)) == 4


def test_lengths_tell_panels_apart_that_are_padded_alike(tmp_path: Path) -> None:
    X, y = panel()
    frames = [pd.DataFrame(x.T) for x in X]
    frames[0].iloc[20:] = 0
    cut = [frames[0].iloc[:20], *frames[1:]]
    for series in (frames, cut):
        tiny_classifier(callbacks=[Checkpoint(tmp_path)]).fit(series, y)
    assert len(files(tmp_path)) == 2


def test_another_stopping_rule_uses_another_file(tmp_path: Path) -> None:
    for patience in (1, 2):
        callbacks = [EarlyStopping(patience=patience, min_delta=9), Checkpoint(tmp_path)]
        classifier = tiny_classifier(n_epochs=8, callbacks=callbacks).fit(*panel())
        assert len(classifier.history_) == patience + 1
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_an_ensemble_has_a_file_per_network(tmp_path: Path, n_jobs: int | None) -> None:
    def fit() -> DSNClassifier:
        callbacks = [Checkpoint(tmp_path)]
        return tiny_classifier(n_estimators=2, n_jobs=n_jobs, callbacks=callbacks).fit(*panel())

    first = fit()
    names = files(tmp_path)
    assert [name[-7:] for name in names] == ["-0.ckpt", "-1.ckpt"]
    assert_same_fit(fit(), first)
    assert_same_fit(first, tiny_classifier(n_estimators=2).fit(*panel()))
    assert files(tmp_path) == names


def test_an_interrupted_ensemble_goes_on_with_the_network_it_was_at(tmp_path: Path) -> None:
    interrupted(tmp_path, 8 + 5, n_estimators=2)
    classifier, epochs = resumed(tmp_path, n_estimators=2)
    assert epochs == [5, 6, 7]
    assert len(files(tmp_path)) == 2
    assert_same_fit(classifier, tiny_classifier(n_epochs=8, n_estimators=2).fit(*panel()))


def test_a_failed_save_leaves_the_last_file(tmp_path: Path, monkeypatch: Any) -> None:
    save, n_saved = torch.save, []

    def fail_in_the_third(state: Any, file: Any) -> None:
        n_saved.append(1)
        if len(n_saved) == 3:
            file.write(b"half a file")
            raise OSError("no space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fail_in_the_third)
    callbacks = [Checkpoint(tmp_path, every=1), Recorder([])]
    with pytest.raises(OSError, match="no space"):
        tiny_classifier(n_epochs=8, callbacks=callbacks).fit(*panel())
    monkeypatch.undo()
    (name,) = files(tmp_path)
    assert name.endswith(".ckpt")
    assert len(read_checkpoint(tmp_path / name)["history"]) == 2
    classifier, epochs = resumed(tmp_path)
    assert epochs == [2, 3, 4, 5, 6, 7]
    assert_same_fit(classifier, tiny_classifier(n_epochs=8).fit(*panel()))


CHILD = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from tiny import panel, tiny_classifier
    from dsn_sktime.training import Callback, Checkpoint

    class Slow(Callback):
        def __repr__(self):
            return "Recorder()"  # resumed by a fit with that callback
        def on_epoch_end(self, trainer, record):
            print(record["epoch"], flush=True)
            if record["epoch"] >= 3:
                time.sleep(120)

    callbacks = [Checkpoint({folder!r}, every=1), Slow()]
    tiny_classifier(n_epochs=8, callbacks=callbacks).fit(*panel())
"""


def test_a_killed_process_is_resumed_by_another(tmp_path: Path) -> None:
    code = textwrap.dedent(CHILD).format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "3":
                break
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=60) == -signal.SIGKILL
    (name,) = files(tmp_path)
    state = read_checkpoint(tmp_path / name)
    assert len(state["history"]) == 4
    assert not state["finished"]
    classifier, epochs = resumed(tmp_path)
    assert epochs == [4, 5, 6, 7]
    assert_same_fit(classifier, tiny_classifier(n_epochs=8).fit(*panel()))


def test_a_kill_at_any_moment_leaves_a_complete_file(tmp_path: Path) -> None:
    code = textwrap.dedent(CHILD).replace("time.sleep(120)", "pass").replace("=8", "=100000")
    code = code.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.37)
        child.kill()
    (name,) = (name for name in files(tmp_path) if name.endswith(".ckpt"))
    state = read_checkpoint(tmp_path / name)
    assert [record["epoch"] for record in state["history"]] == list(range(len(state["history"])))


# Progress.


def test_verbose_shows_a_bar_with_loss_and_accuracy(capfd: pytest.CaptureFixture) -> None:
    classifier = tiny_classifier(verbose=1).fit(*panel())
    out, err = capfd.readouterr()
    last = classifier.history_[-1]
    assert out == ""
    assert "DSN 1/1: 100%" in err
    assert "3/3" in err
    assert f"loss={last['loss']:.3f}" in err
    assert f"accuracy={last['accuracy']:.3f}" in err


def test_each_network_has_its_bar(capfd: pytest.CaptureFixture) -> None:
    tiny_classifier(verbose=1, n_estimators=2).fit(*panel())
    err = capfd.readouterr().err
    assert "DSN 1/2: 100%" in err
    assert "DSN 2/2: 100%" in err


def test_the_bar_of_a_resumed_fit_starts_where_it_broke_off(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    interrupted(tmp_path)
    resumed(tmp_path, verbose=1)
    assert "5/8" in capfd.readouterr().err


def test_the_lines_of_a_resumed_fit_say_so(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    interrupted(tmp_path)
    resumed(tmp_path, verbose=2)
    first, second = capfd.readouterr().out.splitlines()[:2]
    assert first == "DSN 1/1: resumed after epoch 5/8"
    assert second.startswith("DSN 1/1: epoch 6/8 ")


def test_silent_by_default(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    X, y = panel()
    callbacks = [Checkpoint(tmp_path), EarlyStopping()]
    tiny_classifier(callbacks=callbacks, n_estimators=2).fit(X, y).predict(X)
    assert capfd.readouterr() == ("", "")

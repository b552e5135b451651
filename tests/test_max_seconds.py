"""Training in a given time, by a clock that goes on by a second with each optimizer step."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import naive
import numpy as np
import pytest
import torch
from processes import run_python
from test_recipe import naive_one_cycle
from tiny import panel, tiny_classifier, tiny_oscnn, untraced
from training_runs import SaveAt, assert_equal_states, tiny_panel, trainer_of

from dsn_sktime.estimators import ridge_head
from dsn_sktime.estimators.ensemble import EnsembleFit, Trained
from dsn_sktime.training import Batch, Callback, Checkpoint
from dsn_sktime.training.time_budget import Deadline, TimeBudget

# 11 series in batches of 4.
N_BATCHES = 3


class Clock:
    """Is read before the first optimizer step, and once after each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.first_step = 1.0
        self.n_read = 0

    def perf_counter(self) -> float:
        self.now += self.first_step if self.n_read == 1 else 1
        self.n_read += 1
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake = SimpleNamespace(perf_counter=clock.perf_counter)
    monkeypatch.setattr("dsn_sktime.training.time_budget.time", fake)
    return clock


def timed(max_seconds: float, **changes: Any) -> Any:
    """Return a trainer, and a list that collects the rate of each step."""
    settings = {"n_epochs": 1000, "schedule": "one_cycle", "lr": 0.1, "lr_min": 0, "keep": "last"}
    trainer = trainer_of(max_seconds=max_seconds, **(settings | changes))
    rates: list[float] = []
    trainer.network.register_forward_hook(lambda *_: rates.append(trainer.optimizer.lr))
    return trainer, rates


@pytest.mark.parametrize("seconds", [2, 10, 20, 30])
def test_the_rate_is_annealed_to_its_end_in_the_time_given(seconds: int) -> None:
    trainer, rates = timed(seconds)
    trainer.fit(*tiny_panel())
    assert len(rates) == seconds
    expected = [naive_one_cycle(n_done, seconds, 0.1) for n_done in range(seconds)]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert trainer.history[-1]["progress"] == 1
    assert trainer.is_finished


@pytest.mark.parametrize(("first_step", "n_steps"), [(5, 6), (5.5, 11), (1000, 11)])
def test_a_first_step_that_takes_long_is_not_counted(
    clock: Clock, first_step: float, n_steps: int
) -> None:
    """Compiling kernels takes a minute: less than half of a long time, or too much to count."""
    clock.first_step = first_step
    trainer, rates = timed(10)
    trainer.fit(*tiny_panel())
    assert len(rates) == n_steps


def test_a_cosine_is_annealed_within_epochs_too() -> None:
    trainer, rates = timed(10, schedule="cosine", lr=0.1, lr_min=0.01)
    trainer.fit(*tiny_panel())
    expected = [0.01 + 0.09 * (1 + math.cos(math.pi * n / 10)) / 2 for n in range(10)]
    assert rates == pytest.approx(expected)


def test_progress_drives_topology_and_average() -> None:
    # One second is set aside for the statistics of the average.
    trainer, _ = timed(21, keep="average", delta_t=1)
    trainer.fit(*tiny_panel())
    progress = [record["progress"] for record in trainer.history]
    assert progress == pytest.approx([0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0])
    for record in trainer.history:
        expected = naive.drop_fraction(record["progress"], 0.5)
        assert record["drop_fraction"] == pytest.approx(expected)
    # Not where the time is used up.
    assert [record["n_grown"] > 0 for record in trainer.history] == [True] * 6 + [False]
    # Steps at 0.75, 0.8, ... 0.95.
    head = trainer.average.state[trainer.network.head.norm.weight]
    assert set(head["step"].tolist()) == {5}


def test_without_the_time_being_used_up_nothing_changes() -> None:
    plan = {"schedule": "one_cycle", "n_epochs": 6, "keep": "average"}
    plain, limited = trainer_of(**plan), trainer_of(**plan, max_seconds=1e9)
    for trainer in (plain, limited):
        trainer.fit(*tiny_panel())
    assert_equal_states(limited.network.state_dict(), plain.network.state_dict())
    assert [one["progress"] for one in limited.history] == pytest.approx(np.arange(1, 7) / 6)


@pytest.mark.parametrize("unreached", [1, 2])
def test_of_an_epoch_cut_short_the_loss_is_that_of_the_previous_for_the_rest(
    unreached: int,
) -> None:
    seconds = 4 * N_BATCHES - unreached
    trainer, _ = timed(seconds)
    losses: list[float] = []
    loss = trainer.objective.loss

    def watched(*arguments: Any) -> torch.Tensor:
        found = loss(*arguments)
        losses.append(found.item() * len(arguments[1]))
        return found

    trainer.objective.loss = watched
    trainer.fit(*tiny_panel())
    sizes = [4, 4, 3][: N_BATCHES - unreached]
    seen = sum(losses[3 * N_BATCHES :])
    previous = trainer.history[2]["loss"]
    expected = (seen + (11 - sum(sizes)) * previous) / 11
    assert trainer.history[3]["loss"] == pytest.approx(expected)


@pytest.mark.parametrize("n_validation", [0, 11, 22])
def test_time_for_the_last_passes_is_set_aside(n_validation: int) -> None:
    """Outputs of three batches take about the time of one optimizer step."""
    trainer, _ = timed(20, update_bn=True)
    if n_validation:
        series, target = tiny_panel(n_validation)
        trainer.validation = Batch(series.values, None, target, None)
    outputs: list[bool] = []
    trainer.network.register_forward_hook(lambda module, *_: outputs.append(module.training))
    trainer.fit(*tiny_panel())
    n_passes = 1 + n_validation // 11
    assert sum(outputs) - N_BATCHES == 20 - n_passes


@pytest.mark.parametrize("epoch", [0, 3, 6])
def test_a_resumed_run_has_the_rest_of_the_time(epoch: int) -> None:
    save = SaveAt(epoch)
    whole, _ = timed(20)
    whole.callbacks = [save]
    whole.fit(*tiny_panel())
    resumed, rates = timed(20)
    resumed.load_state_dict(save.load())
    used = resumed.history[-1]["progress"]
    resumed.fit(*tiny_panel())
    assert resumed.history[: epoch + 1] == whole.history[: epoch + 1]
    assert resumed.history[-1]["progress"] == 1
    assert len(rates) == round(20 * (1 - used))
    progress = [record["progress"] for record in resumed.history]
    assert progress == sorted(progress)


@pytest.mark.parametrize(
    "forge",
    [
        lambda record: record.pop("progress"),
        lambda record: record.update(progress=1.5),
        lambda record: record.update(progress=-0.1),
        lambda record: record.update(progress="half"),
    ],
)
def test_a_forged_progress_is_refused(forge: Any) -> None:
    save = SaveAt(1)
    trainer, _ = timed(20)
    trainer.callbacks = [save]
    trainer.fit(*tiny_panel())
    state = save.load()
    forge(state["history"][1])
    with pytest.raises(ValueError, match="its history does not match this training run"):
        timed(20)[0].load_state_dict(state)


class Shares(Callback):
    """Keep the time that each network gets, and let seconds pass in its training."""

    def __init__(self, clock: Clock, passing: tuple[float, ...] = ()) -> None:
        self.clock = clock
        self.passing = dict(enumerate(passing))
        self.seconds: list[float] = []
        self.ends: list[float] = []

    def on_train_begin(self, trainer: Any) -> None:
        self.seconds.append(trainer.recipe.max_seconds)
        self.clock.now += self.passing.get(len(self.seconds) - 1, 0)

    def on_train_end(self, trainer: Any) -> None:
        self.ends.append(self.clock.now)


@untraced
@pytest.mark.parametrize("make", [tiny_classifier, tiny_oscnn])
@pytest.mark.parametrize("n_estimators", [1, 3])
def test_a_fit_with_all_its_networks_ends_in_the_time_given(
    clock: Clock, make: Any, n_estimators: int
) -> None:
    shares = Shares(clock)
    settings = {"n_epochs": 1000, "n_estimators": n_estimators, "callbacks": [shares]}
    classifier = make(max_seconds=90, **settings).fit(*panel())
    last = [record for record in classifier.history_ if record["progress"] == 1]
    assert [record["network"] for record in last] == list(range(n_estimators))
    assert 85 < shares.ends[-1] <= 91
    assert shares.seconds == pytest.approx([90 / n_estimators] * n_estimators, abs=5)
    assert classifier.predict(panel()[0]).shape == (20,)


def test_networks_make_up_for_one_that_took_too_long(clock: Clock) -> None:
    shares = Shares(clock, passing=(20,))
    classifier = tiny_classifier(
        n_epochs=1000, n_estimators=3, max_seconds=90, callbacks=[shares]
    ).fit(*panel())
    assert len(classifier.networks_) == 3
    # The clock is also read between the networks.
    assert 85 < shares.ends[-1] <= 93
    assert shares.seconds[1:] == pytest.approx([20, 20], abs=5)


def test_networks_do_not_get_what_another_did_not_need(clock: Clock) -> None:
    """Else the time would be spent in which early stopping ends a fit, or a resumed one."""

    class Stop(Shares):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            trainer.should_stop = len(self.seconds) == 1

    shares = Stop(clock)
    settings = {"n_epochs": 1000, "n_estimators": 3, "max_seconds": 90, "callbacks": [shares]}
    tiny_classifier(**settings).fit(*panel())
    assert shares.seconds == pytest.approx([30, 30, 30], abs=2)


def test_networks_that_processes_train_side_by_side_have_a_turn_together(clock: Clock) -> None:
    deadline = Deadline(90, n_turns=2)
    clock.now += 60  # The time begins with the first network: to start a process takes a while.
    started = clock.now
    # The clock goes on by a second when it is read.
    assert [deadline.end_of(0) - started for _ in range(2)] == pytest.approx([46.5, 47])
    clock.now = started + 49
    assert deadline.end_of(1) - started == pytest.approx(91)


@untraced
def test_the_start_of_processes_takes_no_time_of_the_training() -> None:
    run_python(
        """
        from tiny import panel, tiny_classifier

        settings = {"n_epochs": 100_000, "n_estimators": 2, "n_jobs": 2, "max_seconds": 2}
        history = tiny_classifier(**settings).fit(*panel()).history_
        n_epochs = [sum(record["network"] == number for record in history) for number in (0, 1)]
        assert min(n_epochs) > 10, n_epochs
        """
    )


def test_a_network_that_is_left_over_gets_the_time_that_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes train four of five networks, and here take 35 s for each instead of 30."""
    budgets: list[float] = []

    def train(self: EnsembleFit, number: int, *arguments: Any) -> Trained:
        deadline = arguments[2]
        budgets.append(deadline.end_of(arguments[3]) - clock.now)
        trained = original(self, number, *arguments[:2], None, 0)
        return trained._replace(seconds=35.0)

    original = EnsembleFit._train
    monkeypatch.setattr(EnsembleFit, "_train", train)
    settings = {"n_estimators": 5, "n_jobs": 2, "max_seconds": 90, "n_epochs": 1}
    with joblib.parallel_config("threading"):
        tiny_classifier(**settings).fit(*panel())
    assert budgets[-1] == pytest.approx(20, abs=2)


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_time_to_fit_the_ridge_heads_is_set_aside(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, n_estimators: int
) -> None:
    """The ridge of the untrained networks is fitted first; its time and a pass are set aside."""
    fit_ridge = ridge_head.fit_ridge

    def slow(*arguments: Any) -> Any:
        clock.now += 7
        return fit_ridge(*arguments)

    read = ridge_head._statistics

    def slow_of_a_trained_network(networks: Any, *arguments: Any) -> Any:
        clock.now += 2 * (len(networks[0].layers) > 1)
        return read(networks, *arguments)

    monkeypatch.setattr(ridge_head, "fit_ridge", slow)
    monkeypatch.setattr(ridge_head, "_statistics", slow_of_a_trained_network)
    monkeypatch.setattr(ridge_head, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    settings = {"n_epochs": 1000, "n_estimators": n_estimators, "head": "ridge"}
    started = clock.now
    classifier = tiny_classifier(max_seconds=90, **settings).fit(*panel())
    assert 85 < clock.now - started <= 91
    assert len(classifier.history_) > 5


def test_without_time_for_an_epoch_there_is_a_step(clock: Clock) -> None:
    classifier = tiny_classifier(n_epochs=1000, n_estimators=2, max_seconds=1).fit(*panel())
    assert [record["epoch"] for record in classifier.history_] == [0, 0]
    assert classifier.predict(panel()[0]).shape == (20,)


def test_another_time_is_another_checkpoint_and_a_finished_one_is_loaded(tmp_path: Path) -> None:
    for seconds, n_files in [(20, 1), (40, 2), (20, 2)]:
        settings = {"n_epochs": 1000, "callbacks": [Checkpoint(tmp_path)], "max_seconds": seconds}
        classifier = tiny_classifier(**settings).fit(*panel())
        assert classifier.history_[-1]["progress"] == 1
        assert len(list(tmp_path.iterdir())) == n_files


def test_the_bar_and_the_log_show_the_progress(capfd: pytest.CaptureFixture) -> None:
    for verbose in (1, 2):
        tiny_classifier(n_epochs=1000, max_seconds=30, verbose=verbose).fit(*panel())
        out = "".join(capfd.readouterr())
        assert "progress=100%" in out


def test_a_slow_second_step_does_not_end_the_training() -> None:
    """The time of the closing pass is estimated from it, and would be more than there is."""
    budget = TimeBudget(100, 0.0, n_closing=1000, device=torch.device("cpu"))
    shares = [budget.count_step() for _ in range(5)]
    assert shares == pytest.approx([0.01, 0.04, 0.06, 0.08, 0.1])

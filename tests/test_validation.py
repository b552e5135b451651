"""Series that training is watched on: validation_fraction and validation_data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss
from tiny import fitted_once, panel, tiny_classifier, tiny_oscnn

from dsn_sktime.plotting import plot_history
from dsn_sktime.training import Callback, Checkpoint, EarlyStopping

X, Y = panel()
X_VAL, Y_VAL = panel(split="test")
MAKE = [tiny_classifier, tiny_oscnn]


class Watch(Callback):
    """Keep the validation set of each network."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def on_train_begin(self, trainer: Any) -> None:
        self.found.append(trainer.validation)


def held_back(y: np.ndarray, fraction: float, weight: Any = None, **parameters: Any) -> Any:
    """Return the rows that are held back, and their labels and weights, as the trainer sees."""
    X = np.zeros((len(y), 1, 8))
    X[:, 0, 0] = np.arange(len(y))
    watch = Watch()
    given = {"validation_fraction": fraction, "standardize": False, "n_epochs": 1, **parameters}
    tiny_classifier(**given, callbacks=[watch]).fit(X, y, sample_weight=weight)
    found = watch.found[-1]
    return found.values[:, 0, 0].long().numpy(), found.target.numpy(), found.sample_weight


def states(classifier: Any) -> list[torch.Tensor]:
    return [x for network in classifier.networks_ for x in network.state_dict().values()]


def assert_same_networks(one: Any, other: Any) -> None:
    assert all(torch.equal(*pair) for pair in zip(states(one), states(other), strict=True))


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("batch_size", [2, 7, 100])
def test_loss_and_accuracy_are_those_of_the_predictions(make: Callable, batch_size: int) -> None:
    classifier = make(keep="last", update_bn=False, batch_size=batch_size)
    classifier.fit(X, Y, validation_data=(X_VAL, Y_VAL))
    last = classifier.history_[-1]
    assert last["val_loss"] == pytest.approx(log_loss(Y_VAL, classifier.predict_proba(X_VAL)))
    assert last["val_accuracy"] == classifier.score(X_VAL, Y_VAL)


def test_class_weights_weight_the_validation_loss() -> None:
    classifier = tiny_classifier(keep="last", update_bn=False, class_weight={"1": 3.0, "2": 1.0})
    classifier.fit(X, Y, validation_data=(X_VAL, Y_VAL))
    weight = np.where(Y_VAL == "1", 3.0, 1.0)
    expected = log_loss(Y_VAL, classifier.predict_proba(X_VAL), sample_weight=weight)
    assert classifier.history_[-1]["val_loss"] == pytest.approx(expected)


RECIPES = [{"keep": "last"}, {"keep": "average", "schedule": "one_cycle"}, {"n_estimators": 2}]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_watching_does_not_change_training(recipe: dict) -> None:
    settings = {"n_epochs": 6, "keep": "last", **recipe}
    plain = tiny_classifier(**settings).fit(X, Y)
    watched = tiny_classifier(**settings).fit(X, Y, validation_data=(X_VAL, Y_VAL))
    assert_same_networks(watched, plain)
    for record, other in zip(watched.history_, plain.history_, strict=True):
        assert set(record) - set(other) == {"val_loss", "val_accuracy"}
        assert all(record[name] == other[name] for name in other if name != "seconds")


def test_a_fraction_is_the_same_as_these_series_as_validation_data() -> None:
    watch = Watch()
    split = tiny_classifier(validation_fraction=0.3, standardize=False, callbacks=[watch])
    split.fit(X, Y)
    values = watch.found[0].values.numpy()
    is_held = np.array([(one.astype(np.float32) == values).all((1, 2)).any() for one in X])
    assert is_held.sum() == 6
    given = tiny_classifier(standardize=False)
    given.fit(X[~is_held], Y[~is_held], validation_data=(X[is_held], Y[is_held]))
    assert_same_networks(given, split)
    assert given.history_[-1]["val_loss"] == pytest.approx(split.history_[-1]["val_loss"])


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ((10, 10), 0.3, {(3, 3)}),
        ((80, 20), 0.25, {(20, 5)}),
        ((30, 1, 9), 0.25, {(8, 0, 2)}),  # the class of one series is trained on
        ((2, 2, 2), 0.01, {(1, 0, 0), (0, 1, 0), (0, 0, 1)}),
        ((3, 4), 0.99, {(2, 3)}),
    ],
)
def test_it_is_drawn_evenly_from_each_class(
    counts: tuple, fraction: float, expected: set[tuple]
) -> None:
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    rows, found, _ = held_back(y, fraction)
    assert len(set(rows)) == len(rows)
    np.testing.assert_array_equal(found, y[rows])
    assert tuple(np.bincount(found, minlength=len(counts)).tolist()) in expected


def test_the_seed_draws_it() -> None:
    y = np.arange(40) % 2
    first, again, other = (held_back(y, 0.2, random_state=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    generators = [np.random.RandomState(0) for _ in range(2)]
    held_back(y, 0.2, random_state=generators[0])
    tiny_classifier(n_epochs=1, random_state=generators[1]).fit(X, Y)
    assert generators[0].randint(1000) == generators[1].randint(1000)


def test_weights_of_series_go_along() -> None:
    y, weight = np.arange(40) % 2, np.arange(40) + 1.0
    rows, _, found = held_back(y, 0.25, weight)
    ratios = found.numpy() / weight[rows]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    rows, _, _ = held_back(y, 0.25, np.where(np.arange(40) < 20, 0.0, 1.0))
    assert rows.min() >= 20


@pytest.mark.parametrize("make", MAKE)
def test_the_best_epoch_is_that_of_the_lowest_validation_loss(make: Callable) -> None:
    classifier = make(n_epochs=12, lr=0.1).fit(X, Y, validation_data=(X_VAL, Y_VAL[::-1]))
    losses = [record["val_loss"] for record in classifier.history_]
    trained = [record["loss"] for record in classifier.history_]
    assert classifier.best_epoch_ == np.argmin(losses) != np.argmin(trained)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_early_stopping_follows_the_validation_set(monitor: str) -> None:
    stopping = EarlyStopping(monitor, patience=2, min_delta=99)
    classifier = tiny_classifier(n_epochs=9, callbacks=[stopping], validation_fraction=0.3)
    assert len(classifier.fit(X, Y).history_) == 3
    growing = EarlyStopping(monitor, patience=3)
    classifier = tiny_classifier(n_epochs=30, callbacks=[growing], validation_fraction=0.3)
    sign = 1 if monitor == "val_loss" else -1
    figures = [sign * record[monitor] for record in classifier.fit(X, Y).history_]
    assert len(figures) == 30 or int(np.argmin(figures)) == len(figures) - 4


@pytest.mark.parametrize("n_jobs", [None, 1])
def test_early_stopping_without_a_validation_set(n_jobs: int | None) -> None:
    classifier = tiny_classifier(n_jobs=n_jobs).fit(X, Y)
    expected = classifier.predict_proba(X)
    classifier.callbacks = [EarlyStopping("val_loss")]
    words = r"^monitor='val_loss' needs a validation set, found none\. Set validation_fraction or"
    with pytest.raises(ValueError, match=words):
        classifier.fit(X, Y)
    assert np.array_equal(classifier.predict_proba(X), expected)


NAMED = [
    pd.DataFrame(one.T, columns=["a", "b", "c", "d", "e", "f"]) for one in panel("multivariate")[0]
]


def test_variates_of_frames_are_matched_by_name() -> None:
    y = panel("multivariate")[1]
    turned = [frame[list("fedcba")] for frame in NAMED]
    one, other = (
        tiny_classifier(n_epochs=1).fit(NAMED, y, validation_data=(series, y))
        for series in (NAMED, turned)
    )
    assert one.history_[0]["val_loss"] == other.history_[0]["val_loss"]


def test_series_of_other_lengths_and_containers() -> None:
    unequal = [one[:, : 12 + i] for i, one in enumerate(X_VAL[5:17])]
    classifier = tiny_classifier(keep="last", update_bn=False)
    classifier.fit(X, Y, validation_data=[unequal, pd.Series(Y_VAL[5:17])])
    found = classifier.history_[-1]["val_loss"]
    assert found == pytest.approx(log_loss(Y_VAL[5:17], classifier.predict_proba(unequal)))


REFUSED = {
    "no pair": (X_VAL, ValueError, r"a pair \(X_val, y_val\) or None, found array"),
    "text": ("ab", ValueError, r"a pair .*, found 'ab'"),
    "three": ((X_VAL, Y_VAL, None), ValueError, "a pair"),
    "lengths": ((X_VAL, Y_VAL[:5]), ValueError, "same length, found 22 series in X and 5"),
    "labels": ((X_VAL, np.full(22, "7")), ValueError, r"labels of y, \['1', '2'\], found \['7'\]"),
    "types": ((X_VAL, Y_VAL.astype(int)), ValueError, r"labels of y, .* found \[1, 2\]"),
    "missing": ((X_VAL, [None] * 22), ValueError, "missing labels"),
    "variates": ((np.zeros((22, 2, 24)), Y_VAL), ValueError, "1 variates of the training series"),
    "infinite": ((np.full((22, 1, 24), np.inf), Y_VAL), ValueError, "finite"),
    "values": ((X_VAL.astype(str), Y_VAL), TypeError, "numbers"),
    "columns": ((X_VAL, np.stack([Y_VAL] * 2, 1)), ValueError, "unless y is 1-D"),
    "empty": ((X_VAL[:0], Y_VAL[:0]), ValueError, "series"),
}


@pytest.mark.parametrize(("given", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_match_the_training_series(given: Any, kind: type, words: str) -> None:
    classifier = fitted_once()
    expected = classifier.predict_proba(X)
    with pytest.raises(kind, match=rf"^validation_data.*{words}") as caught:
        classifier.fit(X, Y, validation_data=given)
    assert "\n" not in str(caught.value)
    assert np.array_equal(classifier.predict_proba(X), expected)


def test_both_at_once_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^validation_data must be None where validation_fraction"
    ):
        tiny_classifier(validation_fraction=0.2).fit(X, Y, validation_data=(X_VAL, Y_VAL))


def test_classes_of_one_series_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"^validation_fraction must be 0 where no class of y has"):
        tiny_classifier(validation_fraction=0.2).fit(X[:2], ["a", "b"])


def test_several_columns_of_labels_are_split_alike() -> None:
    columns = np.stack([Y, Y[::-1]], 1)
    classifier = tiny_classifier(validation_fraction=0.3, n_epochs=1).fit(X, columns)
    assert classifier.predict(X).shape == (20, 2)


def test_other_validation_series_use_another_checkpoint(tmp_path: Path) -> None:
    classifier = tiny_classifier(callbacks=[Checkpoint(tmp_path)])
    changed = X_VAL.copy()
    changed[3, 0, 5] += 0.5
    validation_sets = [None, (X_VAL, Y_VAL), (changed, Y_VAL), (X_VAL, Y_VAL[::-1])]
    for n, validation_data in enumerate(validation_sets, 1):
        classifier.fit(X, Y, validation_data=validation_data)
        assert len(list(tmp_path.iterdir())) == n
    classifier.set_params(validation_fraction=0.2).fit(X, Y)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("settings", [{"validation_fraction": 0.3}, {"keep": "average"}], ids=str)
def test_a_resumed_fit_is_the_uninterrupted_one(tmp_path: Path, settings: dict) -> None:
    class Kill(Callback):
        def __repr__(self) -> str:
            return "Nothing()"

        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            if record["epoch"] == self.epoch:
                raise RuntimeError

    kill = Kill()
    given = {} if settings.get("validation_fraction") else {"validation_data": (X_VAL, Y_VAL)}
    callbacks = [Checkpoint(tmp_path, every=1), kill]
    classifier = tiny_classifier(n_epochs=8, callbacks=callbacks, **settings)
    kill.epoch = 4
    with pytest.raises(RuntimeError):
        classifier.fit(X, Y, **given)
    kill.epoch = 99
    classifier.fit(X, Y, **given)
    whole = tiny_classifier(n_epochs=8, **settings).fit(X, Y, **given)
    assert_same_networks(classifier, whole)
    for record, other in zip(classifier.history_, whole.history_, strict=True):
        assert {**record, "seconds": 0} == {**other, "seconds": 0}


def test_the_progress_bar_shows_it(capfd: pytest.CaptureFixture) -> None:
    classifier = tiny_classifier(verbose=1, validation_fraction=0.3).fit(X, Y)
    last = classifier.history_[-1]
    err = capfd.readouterr().err
    assert f"val_loss={last['val_loss']:.3f}, val_accuracy={last['val_accuracy']:.3f}" in err


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_a_line_per_epoch_for_logs(capfd: pytest.CaptureFixture, fraction: float) -> None:
    settings = {"n_epochs": 3, "n_estimators": 2, "validation_fraction": fraction}
    classifier = tiny_classifier(verbose=2, **settings).fit(X, Y)
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 6
    for line, record in zip(lines, classifier.history_, strict=True):
        name = f"DSN {record['network'] + 1}/2: epoch {record['epoch'] + 1}/3"
        names = ["loss", "accuracy", *(["val_loss", "val_accuracy"] if fraction else [])]
        figures = " ".join(f"{figure}={record[figure]:.3f}" for figure in names)
        assert line.startswith(f"{name} {figures} lr={record['lr']:.3g} seconds=")


def test_the_history_plot_shows_it() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    classifier = tiny_classifier(n_estimators=2, validation_fraction=0.3).fit(X, Y)
    ax = plot_history(classifier)
    history = pd.DataFrame(classifier.history_)
    right = next(axes for axes in ax.figure.axes if axes is not ax)
    for axes, name in [(ax, "loss"), (right, "accuracy")]:
        drawn = [line.get_ydata().tolist() for line in axes.lines]
        for _, records in history.groupby("network"):
            assert records[name].tolist() in drawn
            assert records[f"val_{name}"].tolist() in drawn
        assert "validation" in axes.get_ylabel()
    dots = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"]
    best = [records["val_loss"].min() for _, records in history.groupby("network")]
    assert dots == pytest.approx(best)


@pytest.mark.parametrize("make", MAKE)
def test_a_single_class_needs_none(make: Callable) -> None:
    with pytest.warns(UserWarning, match="only single label"):
        classifier = make(validation_fraction=0.2).fit(X, ["a"] * 20)
    assert set(classifier.predict(X_VAL)) == {"a"}

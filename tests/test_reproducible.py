"""The same seed gives the same model, bit for bit, and nothing global is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tiny import StopAfter, panel, tiny_classifier, untraced

from dsn_sktime import DSNClassifier
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training import Callback


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch have two threads, which is what is to be found again."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def probabilities(classifier: DSNClassifier, name: str = "univariate") -> np.ndarray:
    X, y = panel(name)
    return classifier.fit(X, y).predict_proba(X)


@pytest.mark.parametrize("growth", ["random", "gradient", None])
@pytest.mark.parametrize("topology_init", ["first", "random"])
def test_the_same_seed_gives_the_same_model(growth: str | None, topology_init: str) -> None:
    parameters = {"growth": growth, "topology_init": topology_init}
    classifier = tiny_classifier(**parameters)
    first = probabilities(classifier, "multivariate")
    again = probabilities(classifier, "multivariate")
    anew = probabilities(tiny_classifier(**parameters), "multivariate")
    assert np.array_equal(first, again)
    assert np.array_equal(first, anew)


def test_predicting_again_gives_the_same(tiny: Callable) -> None:
    X, y = panel()
    classifier = tiny().fit(X, y)
    assert np.array_equal(classifier.predict_proba(X), classifier.predict_proba(X))


def test_the_history_is_reproducible_but_for_the_seconds(tiny: Callable) -> None:
    X, y = panel()
    first, second = (tiny().fit(X, y).history_ for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@cache
def of_an_ensemble(tiny: Callable, n_estimators: int) -> np.ndarray:
    return probabilities(tiny(n_estimators=n_estimators))


@untraced
# Two processes leave one of three over, which has both of their threads.
@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_results_do_not_depend_on_n_jobs(tiny: Callable, n_jobs: int, n_estimators: int) -> None:
    classifier = tiny(n_estimators=n_estimators, n_jobs=n_jobs)
    assert np.array_equal(probabilities(classifier), of_an_ensemble(tiny, n_estimators))


def test_processes_that_share_the_series_by_a_file_give_the_same() -> None:
    # Arrays of more than 1 MB are mapped into the memory of each process.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(260, 2, 600)), np.arange(260) % 2
    settings = {"n_estimators": 2, "n_epochs": 1, "validation_fraction": 0.1}
    found = [
        tiny_classifier(**settings, n_jobs=n_jobs).fit(X, y, sample_weight=1 + y)
        for n_jobs in (1, 2)
    ]
    assert np.array_equal(*(one.predict_proba(X[:9]) for one in found))


def test_results_do_not_depend_on_global_seeds() -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        classifier = tiny_classifier(growth="gradient", topology_init="random")
        results.append(probabilities(classifier))
    assert np.array_equal(*results)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_results_do_not_depend_on_the_threads_of_torch(n_threads: int) -> None:
    expected = probabilities(tiny_classifier(n_filters=8, batch_size=16), "multivariate")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        found = probabilities(tiny_classifier(n_filters=8, batch_size=16), "multivariate")
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found, expected)


def test_other_seeds_give_other_models(tiny: Callable) -> None:
    results = [probabilities(tiny(random_state=seed)) for seed in (0, 1, 2**32 - 1)]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_a_numpy_integer_is_the_same_seed(tiny: Callable) -> None:
    expected = probabilities(tiny(random_state=3))
    assert np.array_equal(probabilities(tiny(random_state=np.int64(3))), expected)


def test_a_random_state_is_drawn_from(tiny: Callable) -> None:
    def state() -> np.random.RandomState:
        return np.random.RandomState(0)

    classifier = tiny(random_state=state())
    first, second = probabilities(classifier), probabilities(classifier)
    assert np.array_equal(first, probabilities(tiny(random_state=state())))
    assert not np.array_equal(first, second)


def test_without_a_seed_each_fit_differs(tiny: Callable) -> None:
    classifier = tiny(random_state=None)
    results = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        results.append(probabilities(classifier))
    assert not np.array_equal(*results)


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_global_generators_are_untouched(random_state: int | None, growth: str) -> None:
    numpy_state = np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    classifier = tiny_classifier(random_state=random_state, growth=growth, topology_init="random")
    probabilities(classifier)
    for found, expected in zip(np.random.get_state(), numpy_state, strict=True):  # noqa: NPY002
        assert np.array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_gradients_stay_switched_on(tiny: Callable) -> None:
    probabilities(tiny())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_an_ensemble_averages_its_networks(tiny: Callable) -> None:
    X, y = panel("multivariate")
    classifier = tiny(n_estimators=3, standardize=False).fit(X, y)
    x = torch.tensor(X, dtype=torch.float32)
    with torch.no_grad():
        each = [
            (network(x) if head is None else head(network, x, None)).double().softmax(1).numpy()
            for network, head in zip(classifier.networks_, classifier.heads_, strict=True)
        ]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(classifier.predict_proba(X), np.mean(each, axis=0), atol=1e-6)


def test_the_members_of_an_ensemble_do_not_depend_on_its_size(tiny: Callable) -> None:
    X, y = panel()
    pair, triple = (tiny(n_estimators=n).fit(X, y) for n in (2, 3))
    for one, other in zip(pair.networks_, triple.networks_, strict=False):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name])


# Threads.


class CountThreads(Callback):
    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        self.n_threads = torch.get_num_threads()


@pytest.mark.usefixtures("two_threads")
def test_training_runs_on_one_thread_and_gives_the_others_back() -> None:
    counter = CountThreads()
    classifier = tiny_classifier(callbacks=[counter])
    probabilities(classifier)
    assert counter.n_threads == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_threads_are_given_back_after_an_error(error: type[BaseException]) -> None:
    with pytest.raises(error):
        tiny_classifier(callbacks=[StopAfter(1, error)]).fit(*panel())
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_predicting_runs_on_one_thread_and_gives_the_others_back() -> None:
    X, y = panel()
    counts = []
    classifier = tiny_classifier().fit(X, y)
    head = classifier.network_.head
    head.register_forward_pre_hook(lambda *_: counts.append(torch.get_num_threads()))
    classifier.predict(X)
    assert set(counts) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_are_given_back_after_a_failed_prediction() -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    X, y = panel()
    classifier = tiny_classifier().fit(X, y)
    classifier.network_.head.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        classifier.predict(X)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_callback_may_predict() -> None:
    X, y = panel()
    other = tiny_classifier().fit(X, y)

    class Predict(CountThreads):
        def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
            other.predict(X)
            super().on_epoch_end(trainer, record)

    counter = Predict()
    found = probabilities(tiny_classifier(callbacks=[counter]))
    assert counter.n_threads == 1
    assert torch.get_num_threads() == 2
    assert np.array_equal(found, probabilities(tiny_classifier()))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("main_leaves", ["first", "last"])
def test_threads_inside_at_once_all_get_their_count_back(main_leaves: str) -> None:
    entered, left = threading.Event(), threading.Event()
    counts = []

    def other() -> None:
        with compute_threads(1):
            entered.set()
            if main_leaves == "first":
                left.wait(timeout=60)
        counts.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with compute_threads(1):
        thread.start()
        assert entered.wait(timeout=60)
        if main_leaves == "last":
            thread.join(timeout=60)
    assert torch.get_num_threads() == 2
    left.set()
    thread.join(timeout=60)
    assert counts == [2]
    assert torch.get_num_threads() == 2


def in_two_threads(function: Callable[[], np.ndarray]) -> list[tuple[np.ndarray, int]]:
    """Call a function in two threads at once, and count their torch threads afterwards."""
    barrier = threading.Barrier(2)

    def run(_: int) -> tuple[np.ndarray, int]:
        barrier.wait(timeout=60)
        return function(), torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(2)))


@pytest.mark.usefixtures("two_threads")
def test_two_threads_may_predict_at_once() -> None:
    X, y = panel()
    classifier = tiny_classifier(n_estimators=2).fit(X, y)
    many = np.tile(X, (50, 1, 1))
    expected = classifier.predict_proba(many)
    for found, n_threads in in_two_threads(lambda: classifier.predict_proba(many)):
        assert np.array_equal(found, expected)
        assert n_threads == 2
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_two_threads_may_fit_at_once() -> None:
    expected = probabilities(tiny_classifier())
    for found, n_threads in in_two_threads(lambda: probabilities(tiny_classifier())):
        assert np.array_equal(found, expected)
        assert n_threads == 2
    assert torch.get_num_threads() == 2

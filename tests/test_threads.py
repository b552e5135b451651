"""Fitting and predicting beside others: threads, processes, forks.

Each program runs in a process of its own and has a time limit, so that a deadlock is a
failed test. All compare with what the same classifier gives alone, bit for bit.
"""

from __future__ import annotations

import textwrap

import pytest
from processes import run_python

# Forks come first: those of a process with more threads are tested below.
BACKENDS = ["multiprocessing", "threading", "loky"]

# What every program starts with. Several kernel threads, though torch has one.
PRELUDE = """
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from joblib import Parallel, delayed
from tiny import panel, tiny_classifier

from dsn_sktime.kernels import threads

threads._WORTH_A_THREAD = 1  # else work as little as here is not shared
X, y = panel()


def fitted(**parameters):
    return tiny_classifier(n_jobs=3, **parameters).fit(X, y)


def fit_and_predict(fit=fitted):
    # Two estimators' worth of turns: the second finds the memory of the first.
    return [fit().predict_proba(X) for _ in range(2)][-1]


def check(found, expected):
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def in_a_fork(function):
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0, process.exitcode
"""


def run(program: str) -> None:
    run_python(PRELUDE + textwrap.dedent(program))


def test_fits_predictions_and_validation_in_workers_of_joblib():
    """After a fit in the parent, which "multiprocessing" forks; shared in "threading".

    joblib grants a nested estimator one job; torch's number of threads it takes. All in one
    program, since each start of loky's workers takes seconds.
    """
    run(
        """
        from sklearn.metrics import accuracy_score
        from sklearn.model_selection import KFold
        from sktime.benchmarking.classification import ClassificationBenchmark
        from sktime.classification.model_evaluation import evaluate
        from sktime.datatypes import convert_to

        frame = convert_to(X, "pd-multiindex", "Panel")
        folds = KFold(2, shuffle=True, random_state=0)

        def evaluated(**backend):
            results = evaluate(
                tiny_classifier(),
                folds,
                frame,
                y,
                scoring=[accuracy_score],
                error_score="raise",
                **backend,
            )
            return results["test_accuracy_score"].to_numpy()

        def load():
            return frame, y

        def benchmarked(**backend):
            benchmark = ClassificationBenchmark(**backend)
            benchmark.add_estimator(tiny_classifier(), estimator_id="DSN")
            benchmark.add_task(load, folds, [accuracy_score], task_id="UnitTest")
            results = benchmark.run()
            assert not benchmark.failed_experiments, benchmark.failed_experiments
            names = [f"accuracy_score_fold_{fold}_test" for fold in range(2)]
            return results[names].to_numpy()[0].astype(float)

        def with_kernel_threads():
            torch.set_num_threads(3)
            from dsn_sktime.kernels import threads
            from dsn_sktime.runtime import n_threads
            threads._WORTH_A_THREAD = 1
            assert n_threads(None) == 3
            found = tiny_classifier(n_jobs=None).fit(X, y).predict_proba(X)
            assert os.getpid() in threads._pools
            return found

        classifier = fitted()
        expected, accuracies = classifier.predict_proba(X), evaluated()
        check(benchmarked(), accuracies)
        for backend in BACKENDS:
            print(backend, flush=True)
            workers = Parallel(n_jobs=2, backend=backend)
            for function in (fit_and_predict, with_kernel_threads):
                for found in workers(delayed(function)() for _ in range(2)):
                    check(found, expected)
            for found in workers(delayed(classifier.predict_proba)(X) for _ in range(4)):
                check(found, expected)
            check(fit_and_predict(), expected)
            options = {"backend": backend, "backend_params": {"n_jobs": 2}}
            check(evaluated(**options), accuracies)
            if backend == "loky":
                check(benchmarked(**options), accuracies)
        """.replace("BACKENDS", str(BACKENDS))
    )


def test_two_threads_at_once():
    run(
        """
        classifier = fitted()
        many = np.tile(X, (20, 1, 1))
        expected = classifier.predict_proba(many)
        alone = classifier.predict_proba(X)
        for function, same in (
            (lambda: classifier.predict_proba(many), expected),
            (fit_and_predict, alone),
        ):
            barrier = threading.Barrier(2)

            def at_once(_):
                barrier.wait(60)
                return [function() for _ in range(3)]

            with ThreadPoolExecutor(2) as pool:
                for results in pool.map(at_once, range(2)):
                    for found in results:
                        check(found, same)
        """
    )


def test_blas_has_as_many_threads_after_heads_are_fitted_at_once_as_before():
    run(
        """
        import time

        from threadpoolctl import threadpool_info, threadpool_limits

        from dsn_sktime.runtime import single_blas_thread

        def counts():
            return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

        left = threading.Event()

        def second():
            with single_blas_thread():
                left.wait(60)

        threadpool_limits(2, "blas")
        assert counts() == {2}
        thread = threading.Thread(target=second)
        with single_blas_thread():
            thread.start()
            time.sleep(0.2)
            assert counts() == {1}
        left.set()
        thread.join(60)
        assert counts() == {2}
        """
    )


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
def test_a_fork_after_a_fit():
    run(
        """
        classifier = fitted()
        expected = classifier.predict_proba(X)

        def in_child():
            check(classifier.predict_proba(X), expected)
            check(fit_and_predict(), expected)
            in_grandchild()

        def in_grandchild():
            in_a_fork(lambda: check(fit_and_predict(), expected))

        in_a_fork(in_child)
        check(fit_and_predict(), expected)

        torch.set_num_threads(4)
        # More than torch computes on one thread.
        many = np.tile(X, (500, 1, 1))
        other = tiny_classifier(n_epochs=1).fit(X, y)
        of_many = other.predict_proba(many)
        in_a_fork(lambda: check(other.predict_proba(many), of_many))
        """
    )


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
def test_forks_while_another_thread_fits():
    run(
        """
        from dsn_sktime.training import Callback

        classifier = fitted()
        expected = classifier.predict_proba(X)
        started, over = threading.Event(), threading.Event()

        class UntilOver(Callback):
            def on_epoch_end(self, trainer, record):
                started.set()
                if over.is_set():
                    raise InterruptedError

        def fit_until_over():
            try:
                fitted(n_epochs=10**6, callbacks=[UntilOver()])
            except InterruptedError:
                return
            raise AssertionError

        def in_child():
            check(classifier.predict_proba(X), expected)
            check(fit_and_predict(), expected)

        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(fit_until_over)
            try:
                assert started.wait(60)
                for _ in range(4):
                    in_a_fork(in_child)
            finally:
                over.set()
            other.result()
        check(fit_and_predict(), expected)
        """
    )


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
def test_a_fork_while_another_thread_sets_the_threads_of_torch():
    run(
        """
        from dsn_sktime import runtime

        classifier = fitted()
        expected = classifier.predict_proba(X)
        torch.set_num_threads(2)
        with runtime._lock:
            # This thread's own hold on the lock is what the child must not wait for.
            in_a_fork(lambda: check(fit_and_predict(), expected))

        def inside():
            with runtime.compute_threads(2):
                in_a_fork(count)

        def count():
            assert torch.get_num_threads() == 1
            check(fit_and_predict(), expected)
            with ThreadPoolExecutor(1) as pool:
                check(pool.submit(fit_and_predict).result(60), expected)

        inside()
        assert torch.get_num_threads() == 2
        """
    )


def test_workers_of_dask():
    pytest.importorskip("distributed")
    run(
        """
        from distributed import Client, LocalCluster
        from joblib import parallel_config

        expected = fit_and_predict()
        with (
            LocalCluster(1, threads_per_worker=2, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            futures = [client.submit(fit_and_predict, pure=False) for _ in range(4)]
            found = client.gather(futures)
            with parallel_config(backend="dask"):
                found += Parallel()(delayed(fit_and_predict)() for _ in range(4))
        for probabilities in found:
            check(probabilities, expected)
        """
    )

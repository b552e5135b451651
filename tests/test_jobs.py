"""Jobs: what makes them, what one run of them measures, and what is recorded of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from archive import write_dataset
from processes import run_python
from sklearn.metrics import log_loss, roc_auc_score
from sktime.datasets import load_unit_test
from tiny import tiny_classifier, untraced
from torch.utils.benchmark import set_torch_threads

from dsn_sktime.benchmarking import datasets
from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import Job, metrics, plan, run_job


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("One", "Two"):
        write_dataset(folder, name)
    return folder


def tiny_dsn():
    return tiny_classifier()


def test_a_row_says_what_was_run_and_how_well(tmp_path):
    (job,) = plan([datasets.find("UnitTest")], [f"{__name__}:tiny_dsn"], [5], n_epochs=2)
    row = run_job(job)
    X_train, y_train = load_unit_test("train", return_type="numpy3D")
    X_test, y_test = load_unit_test("test", return_type="numpy3D")
    expected = tiny_classifier(n_epochs=2, random_state=5, n_jobs=1).fit(X_train, y_train)
    probabilities = expected.predict_proba(X_test)
    assert row["status"] == "ok"
    assert row["accuracy"] == expected.score(X_test, y_test)
    assert row["log_loss"] == pytest.approx(log_loss(y_test, probabilities))
    assert row["auroc"] == pytest.approx(roc_auc_score(y_test == "2", probabilities[:, 1]))
    shape = ("n_train", "n_test", "n_variates", "series_length", "n_classes", "n_epochs")
    assert [row[name] for name in shape] == [20, 22, 1, 24, 2, 2]
    assert json.loads(row["parameters"])["random_state"] == 5
    assert row["fit_seconds"] > row["predict_seconds"] > 0
    assert 50 < row["peak_memory_mb"] < 10_000
    assert {"torch", "sktime", "python", "dsn_sktime"} <= json.loads(row["versions"]).keys()
    results.write(tmp_path / "r.csv", row)
    assert results.read(tmp_path / "r.csv")["job"].tolist() == [job.digest]


def test_a_job_leaves_the_number_of_threads_as_it_was():
    (job,) = plan([datasets.find("UnitTest")], [f"{__name__}:tiny_dsn"], [5], n_epochs=1)
    with set_torch_threads(2):
        run_job(job)
        assert torch.get_num_threads() == 2


@untraced
# Variants of the DSN differ in parameters, which test_estimators.py has, as it has ROCKET: its
# numba functions would take two minutes to compile here.
@pytest.mark.parametrize(
    "name",
    ["dsn", "dsn-paper", "dsn-dense", "oscnn-ens5", "inceptiontime", "resnet", "fcn", "1nn-dtw"],
)
def test_every_classifier_runs(folder, name):
    (job,) = plan([datasets.find("One", folder)], [name], [0], n_epochs=1)
    row = run_job(job)
    assert (row["status"], row["error"]) == ("ok", None)
    assert row["n_epochs"] == (None if name == "1nn-dtw" else 1)
    assert 0 <= row["accuracy"] <= 1


def test_rocket_runs(folder):
    run_python(
        """
        import os, sys
        from pathlib import Path
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        from dsn_sktime.benchmarking import datasets
        from dsn_sktime.benchmarking.estimators import registry as estimators
        from dsn_sktime.benchmarking.run.jobs import plan, run_job

        for name in ("rocket", "minirocket", "multirocket"):
            known = estimators.ESTIMATORS[name]
            settings = {**known.settings, "num_kernels": 84}
            estimators.ESTIMATORS[name] = known._replace(settings=settings)
            (job,) = plan([datasets.find("One", Path(sys.argv[1]))], [name], [0])
            row = run_job(job)
            assert (row["status"], row["error"]) == ("ok", None)
            assert 0 <= row["accuracy"] <= 1
        """,
        str(folder),
    )


@pytest.mark.parametrize(
    "options",
    [{"lengths": (9, 16)}, {"missing": True}, {"m": 3}],
    ids=lambda options: next(iter(options)),
)
def test_hard_data_is_scored_or_told(tmp_path, options):
    write_dataset(tmp_path, "Hard", **options)
    names = [f"{__name__}:tiny_dsn", "archive:raising"]
    dsn, other = (run_job(job) for job in plan([datasets.find("Hard", tmp_path)], names, [0]))
    assert (dsn["status"], dsn["estimator"]) == ("ok", names[0])
    if "m" in options:
        assert other["status"] == "ok"
    else:
        assert "cannot handle" in other["error"]
        assert other["n_train"] == 8


def test_a_change_of_any_part_is_another_job(folder):
    def digests(names=("One",), estimators=("dsn",), seeds=(0,), **more):
        found = [datasets.find(name, folder) for name in names]
        return {job.digest for job in plan(found, estimators, seeds, **more)}

    changes = [
        digests(),
        digests(names=("Two",)),
        digests(estimators=("dsn-fix",)),
        digests(estimators=("dsn-paper",)),
        digests(seeds=(1,)),
        digests(n_epochs=3),
        digests(n_jobs=2),
        digests(n_folds=2),
        digests(n_folds=3),
    ]
    assert sum(map(len, changes)) == len(set().union(*changes))
    assert digests() == digests()


def test_a_job_asked_for_twice_is_one_job(folder):
    one = datasets.find("One", folder)
    assert len(plan([one, one], ["dsn", "dsn"], [0, 0])) == 1


def test_jobs_of_a_data_set_follow_each_other_the_longest_first(tmp_path):
    write_dataset(tmp_path, "Short", lengths=(8,))
    write_dataset(tmp_path, "Long", lengths=(80,))
    found = [datasets.find(name, tmp_path) for name in ("Short", "Long")]
    jobs = plan(found, ["minirocket", "dsn", "dsn-ens5"], [0])
    assert [(job.dataset.name, job.estimator) for job in jobs] == [
        ("Long", "dsn-ens5"),
        ("Long", "dsn"),
        ("Long", "minirocket"),
        ("Short", "dsn-ens5"),
        ("Short", "dsn"),
        ("Short", "minirocket"),
    ]


def job(dataset, fold=0, n_folds=0, seed=0):
    return Job(dataset, "dsn", seed, fold, n_folds, 1, None, "{}", 0)


def test_folds_hold_each_series_once_and_are_stratified(folder):
    one = datasets.find("One", folder)
    _, y = datasets.load(one)
    tests = []
    for fold in (1, 2, 3):
        train, test = job(one, fold, 3, seed=4).rows(y)
        assert not set(train) & set(test)
        assert len(train) + len(test) == 14
        assert {*y[test]} == {"a", "b"}
        tests += test.tolist()
    assert sorted(tests) == list(range(14))
    other = job(one, 1, 3, seed=5).rows(y)[1]
    assert set(other) != set(tests[: len(other)])
    assert job(one, 1, 3, seed=4).split == "fold1of3-seed4"


def test_the_default_split_is_the_archives(folder):
    one = datasets.find("One", folder)
    train, test = job(one).rows(datasets.load(one)[1])
    assert (train.tolist(), test.tolist()) == (list(range(8)), list(range(8, 14)))


def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    labels, truth = np.array(["a", "a", "b", "b"]), np.array(["a", "b", "a", "b"])
    found = metrics(truth, labels, probabilities, np.array(["a", "b"]))
    # Bins: two at 0.9 of which one is right, one at 0.6 wrong, one at 1 right.
    assert found["calibration_error"] == pytest.approx((2 * 0.4 + 0.6) / 4)


def test_metrics_that_are_not_defined_are_empty():
    classes = np.array(["a", "b", "c"])
    probabilities = np.full((4, 3), 1 / 3)

    def measured(y_true, classes=classes, probabilities=probabilities):
        found = metrics(np.array(y_true), np.array(["a"] * 4), probabilities, classes)
        return found["log_loss"], found["auroc"]

    assert measured(["a", "b", "c", "a"]) == (pytest.approx(math.log(3)), 0.5)
    loss, auroc = measured(["a", "b", "b", "a"])
    assert loss == pytest.approx(math.log(3))
    assert math.isnan(auroc)
    assert all(map(math.isnan, measured(["a", "b", "c", "d"])))
    assert all(map(math.isnan, measured(["a"] * 4, classes[:1], np.ones((4, 1)))))

"""Each job is run once and recorded, whatever is killed, raises or runs at the same time."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive import write_dataset
from filelock import FileLock
from processes import end_session, run_python
from sklearn.metrics import log_loss, roc_auc_score
from sktime.datasets import load_unit_test
from tiny import tiny_classifier

from dsn_sktime.benchmarking import datasets, estimators, harness, results
from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.jobs import Split, plan
from dsn_sktime.benchmarking.scores import scorers

NAMES = ("One", "Two", "Three")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        write_dataset(folder, name)
    return folder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def run(folder, path, *arguments):
    """Run the command on all data sets of a folder, here, and return its exit status."""
    return main(["run", "--all", str(folder), "-r", str(path), *arguments])


def start(folder, path, log):
    """Start the command in a process of its own: six jobs of a third of a second."""
    arguments = ["run", "--all", str(folder), "-r", str(path), "-e", "archive:logged"]
    return subprocess.Popen(
        [sys.executable, "-m", "dsn_sktime.benchmarking", *arguments, "--seeds", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "FIT_LOG": str(log)},
        cwd=Path(__file__).parent,
        start_new_session=True,
    )


def wait_for_lines(path, n, process):
    deadline = time.monotonic() + 100
    while not path.exists() or path.read_text().count("\n") < n:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tiny_dsn():
    return tiny_classifier()


def test_a_row_says_what_was_run_and_how_well(tmp_path):
    (job,) = plan([datasets.find("UnitTest")], [f"{__name__}:tiny_dsn"], [5], n_epochs=2)
    row = harness.run_job(job)
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
    results.append(tmp_path / "r.csv", row)
    assert results.read(tmp_path / "r.csv")["job"].tolist() == [job.digest]


# ROCKET's numba functions would take two minutes to compile; test_estimators.py has them.
@pytest.mark.parametrize("name", [name for name in estimators.ESTIMATORS if "rocket" not in name])
def test_every_classifier_runs_on_sktimes_harness(folder, name):
    (job,) = plan([datasets.find("One", folder)], [name], [0], n_epochs=1)
    row = harness.run_job(job)
    assert (row["status"], row["error"]) == ("ok", None)
    assert row["n_epochs"] == (None if name == "1nn-dtw" else 1)
    assert 0 <= row["accuracy"] <= 1


def test_rocket_runs_on_sktimes_harness(folder):
    run_python(
        """
        import os, sys
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        from dataclasses import replace
        from dsn_sktime.benchmarking import datasets, estimators, harness
        from dsn_sktime.benchmarking.jobs import plan

        for name in ("rocket", "minirocket", "multirocket"):
            known = estimators.ESTIMATORS[name]
            settings = {**known.settings, "num_kernels": 84}
            estimators.ESTIMATORS[name] = replace(known, settings=settings)
            (job,) = plan([datasets.find("One", sys.argv[1])], [name], [0])
            row = harness.run_job(job)
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
    dsn, other = (
        harness.run_job(job) for job in plan([datasets.find("Hard", tmp_path)], names, [0])
    )
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


def test_the_longest_jobs_start_first(tmp_path):
    write_dataset(tmp_path, "Short", lengths=(8,))
    write_dataset(tmp_path, "Long", lengths=(80,))
    found = [datasets.find(name, tmp_path) for name in ("Short", "Long")]
    jobs = plan(found, ["minirocket", "dsn", "dsn-ens5"], [0])
    assert [(job.dataset.name, job.estimator) for job in jobs] == [
        ("Long", "dsn-ens5"),
        ("Long", "dsn"),
        ("Short", "dsn-ens5"),
        ("Short", "dsn"),
        ("Long", "minirocket"),
        ("Short", "minirocket"),
    ]


def test_folds_hold_each_series_once_and_are_stratified(folder):
    series = datasets.load(datasets.find("One", folder))
    tests = []
    for fold in (1, 2, 3):
        train, test = next(Split(fold, 3).predefined(series, seed=4).split())
        assert not set(train) & set(test)
        assert len(train) + len(test) == 14
        assert {*series.y[test]} == {"a", "b"}
        tests += test.tolist()
    assert sorted(tests) == list(range(14))
    other = next(Split(1, 3).predefined(series, seed=5).split())[1]
    assert set(other) != set(tests[: len(other)])
    assert Split(1, 3).name(4) == "fold1of3-seed4"


def test_the_default_split_is_the_archives(folder):
    series = datasets.load(datasets.find("One", folder))
    train, test = next(Split().predefined(series, seed=0).split())
    assert (train.tolist(), test.tolist()) == (list(range(8)), list(range(8, 14)))


def test_scores_that_are_not_defined_are_empty():
    classes = np.array(["a", "b", "c"])
    probabilities = np.full((4, 3), 1 / 3)

    def scored(y_true, classes=classes, probabilities=probabilities):
        *_, loss, auroc = scorers(classes)
        return loss(np.array(y_true), probabilities), auroc(np.array(y_true), probabilities)

    assert scored(["a", "b", "c", "a"]) == (pytest.approx(math.log(3)), 0.5)
    loss, auroc = scored(["a", "b", "b", "a"])
    assert loss == pytest.approx(math.log(3))
    assert math.isnan(auroc)
    assert all(map(math.isnan, scored(["a", "b", "c", "d"])))
    assert all(map(math.isnan, scored(["a"] * 4, classes[:1], np.ones((4, 1)))))


def test_a_job_that_raises_is_recorded_and_the_rest_goes_on(folder, path, capsys):
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3") == 1
    printed = capsys.readouterr()
    assert "9 jobs: 6 done, 3 failed" in printed.out
    assert "failed: One, archive:raising, seed 1, default: RuntimeError: no luck" in printed.err
    table = results.read(path)
    assert Counter(table["status"]) == {"ok": 6, "failed": 3}
    assert set(table.loc[table["status"] == "failed", "error"]) == {"RuntimeError: no luck"}

    # Not run again, but told; unless that is asked for.
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3") == 1
    assert "0 done, 0 failed, 6 done and 3 failed before" in capsys.readouterr().out
    assert len(results.read(path)) == 9
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3", "--retry-failed") == 1
    assert "0 done, 3 failed, 6 done and 0 failed before" in capsys.readouterr().out
    assert len(results.read(path)) == 12


def test_killed_and_started_again_it_loses_only_the_job_in_flight(
    folder, path, tmp_path, monkeypatch
):
    log = tmp_path / "fits"
    process = start(folder, path, log)
    try:
        wait_for_lines(path, 4, process)  # the header and three jobs
    finally:
        end_session(process)
        process.wait()
    before = path.read_bytes()
    assert 3 <= len(results.read(path)) < 6
    monkeypatch.setenv("FIT_LOG", str(log))
    assert run(folder, path, "-e", "archive:logged", "--seeds", "2") == 0
    assert path.read_bytes().startswith(before)
    table = results.read(path)
    assert len(table) == table["job"].nunique() == 6
    # One fit per job, and one more if it was in its fit that it was killed.
    assert 6 <= log.read_text().count("fit") <= 7
    assert not Path(f"{path}.claims").exists()


def test_the_claim_of_a_killed_process_does_not_stay(folder, path, tmp_path, monkeypatch):
    monkeypatch.setenv("FIT_LOG", str(tmp_path / "fits"))
    assert run(folder, path, "-e", "archive:logged") == 0
    claims = Path(f"{path}.claims")
    claims.mkdir()
    (claims / f"{results.read(path)['job'][1]}.lock").touch()
    (claims / "of-a-job-that-another-runs.lock").touch()
    assert run(folder, path, "-e", "archive:logged") == 0
    assert [left.stem for left in claims.iterdir()] == ["of-a-job-that-another-runs"]


def test_two_processes_share_the_jobs(folder, path, tmp_path):
    log = tmp_path / "fits"
    processes = [start(folder, path, log) for _ in range(2)]
    try:
        printed = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            end_session(process)
    assert [process.returncode for process in processes] == [0, 0], printed
    table = results.read(path)
    assert len(table) == table["job"].nunique() == 6
    assert log.read_text().count("fit") == 6


def test_a_job_that_another_process_runs_is_left_to_it(folder, path, capsys):
    (job,) = plan([datasets.find("One", folder)], ["archive:raising"], [0])
    claims = Path(f"{path}.claims")
    claims.mkdir()
    with FileLock(claims / f"{job.digest}.lock"):
        assert run(folder, path, "-e", "archive:raising") == 0
        assert "2 done, 0 failed, 1 left to another process" in capsys.readouterr().out
    assert run(folder, path, "-e", "archive:raising") == 0
    assert "1 done, 0 failed, 2 done and 0 failed before" in capsys.readouterr().out


def test_a_worker_that_is_killed_costs_its_job_only(folder, path):
    jobs = ["-d", "One", "--data-path", str(folder), "-e", "archive:dying", "--seeds", "2"]
    assert main(["run", *jobs, "-r", str(path), "--workers", "2"]) == 1
    table = results.read(path).set_index("seed")
    assert table["status"].to_dict() == {0: "ok", 1: "failed"}
    assert table["error"][1] == "The process of this job was killed, perhaps for want of memory."


def test_a_dask_cluster_runs_the_same_jobs(folder, path):
    distributed = pytest.importorskip("dask.distributed")
    import dask

    options = {"threads_per_worker": 1, "dashboard_address": None, "env": {"OMP_NUM_THREADS": "1"}}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, **options) as cluster,
    ):
        there = ["--seeds", "2", "--scheduler", cluster.scheduler_address]
        assert run(folder, path, "-e", "archive:raising", *there) == 1
        one = ["-d", "One", "--data-path", str(folder), "-r", str(path)]
        assert main(["run", *one, "-e", "archive:dying", *there]) == 1
    here = path.with_name("here.csv")
    run(folder, here, "-e", "archive:raising", "--seeds", "2")
    columns = ["dataset", "seed", "job", "status", "error", "accuracy"]
    table = results.read(path)
    dying = table["estimator"] == "archive:dying"
    on_cluster, alone = (
        rows[columns].sort_values("job", ignore_index=True)
        for rows in (table[~dying], results.read(here))
    )
    pd.testing.assert_frame_equal(on_cluster, alone)
    assert dict(table.loc[dying, ["seed", "status"]].to_numpy()) == {0: "ok", 1: "failed"}


def test_a_scheduler_that_is_not_there_is_told(folder, path, capsys, monkeypatch):
    cluster = pytest.importorskip("dsn_sktime.benchmarking.cluster")

    def refuse(*_, **__):
        raise OSError("timed out")

    monkeypatch.setattr(cluster, "Client", refuse)
    assert run(folder, path, "-e", "archive:raising", "--scheduler", "tcp://nowhere:1") == 2
    assert "no dask scheduler at 'tcp://nowhere:1' (timed out)" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_with_what_was_written(folder, path, capsys, monkeypatch):
    append = results.append

    def full(path, row):
        if row["dataset"] == "Two":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(path, row)

    monkeypatch.setattr(results, "append", full)
    assert run(folder, path, "-e", "archive:raising") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"error: {path} cannot be written (No space left on device)" in told
    monkeypatch.undo()
    assert results.read(path)["dataset"].tolist() == ["One", "Three"]
    assert run(folder, path, "-e", "archive:raising") == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-d", "One", "-e", "dns"], "unknown estimator 'dns'. Did you mean 'dsn'?"),
        (["-d", "Onee", "-e", "dsn"], "data set 'Onee' is not in"),
        (["-e", "dsn"], "no data set is named"),
        (["--all", "-e", "dsn"], None),
        (["--list", "none.txt", "-e", "dsn"], "none.txt cannot be read"),
        (["-d", "One", "-e", "dsn", "-r", "none/r.csv"], "there is no folder none"),
        (["-d", "One", "-e", "dsn", "-r", "."], "is not a file"),
    ],
)
def test_bad_input_ends_in_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "_fetch", lambda name, folder: _no_network(name, folder))
    if told is None:
        write_dataset(folder, "Bad")
        (folder / "Bad" / "Bad_TRAIN.ts").write_text("nothing")
        told = "Bad_TRAIN.ts is malformed"
    assert main(["run", "--data-path", str(folder), *arguments]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "results.csv").exists()


def _no_network(name, folder):
    raise ValueError(f"data set {name!r} is not in {folder} and not to be fetched.")


def test_a_results_file_with_other_columns_is_left_alone(folder, path, capsys):
    path.write_text("name,score\na,1\n")
    assert run(folder, path, "-e", "archive:raising") == 2
    assert "is not a results file of this version" in capsys.readouterr().err
    assert path.read_text() == "name,score\na,1\n"


def test_a_results_file_that_was_cut_costs_its_last_line(folder, path, capsys):
    run(folder, path, "-e", "archive:raising")
    path.write_bytes(path.read_bytes()[:-30])
    assert run(folder, path, "-e", "archive:raising") == 0
    printed = capsys.readouterr()
    assert "warning: " in printed.err
    assert "line 4 is not a whole row" in printed.err
    assert "1 done, 0 failed, 2 done and 0 failed before" in printed.out
    assert sorted(results.read(path)["dataset"]) == sorted(NAMES)


@pytest.mark.parametrize("option", [["--seeds", "-1"], ["--folds", "1"], ["--epochs", "0.5"]])
def test_numbers_out_of_range_are_refused(folder, path, capsys, option):
    with pytest.raises(SystemExit):
        run(folder, path, "-e", "dsn", *option)
    assert "must be an integer of at least" in capsys.readouterr().err


def test_seeds_are_counted_or_listed(folder, path):
    run(folder, path, "-e", "archive:raising", "--seeds", "4", "7", "--folds", "2")
    table = results.read(path)
    assert Counter(table["seed"]) == {4: 6, 7: 6}
    assert set(table["split"]) == {
        f"fold{fold}of2-seed{seed}" for fold in (1, 2) for seed in (4, 7)
    }


def test_killed_by_the_keyboard_it_says_so(folder, path, capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dsn_sktime.benchmarking.runner.run_job", interrupt)
    assert run(folder, path, "-e", "archive:raising") == 130
    assert capsys.readouterr().err.endswith("interrupted\n")

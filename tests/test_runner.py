"""Each job is run once and recorded, whatever is killed, raises or runs at the same time."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive import ts_text, write_dataset
from filelock import FileLock
from processes import end_session, run_python
from sklearn.metrics import log_loss, roc_auc_score
from sktime.datasets import load_unit_test
from tiny import tiny_classifier

from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.data import datasets
from dsn_sktime.benchmarking.estimators import registry as estimators
from dsn_sktime.benchmarking.run import evaluate, results
from dsn_sktime.benchmarking.run.evaluate import metrics
from dsn_sktime.benchmarking.run.jobs import Job, plan

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


def records(path):
    return [*results.folder_of(path).glob("*.json")]


def wait_for_records(path, n, process):
    deadline = time.monotonic() + 100
    while len(records(path)) < n:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tiny_dsn():
    return tiny_classifier()


def test_a_row_says_what_was_run_and_how_well(tmp_path):
    (job,) = plan([datasets.find("UnitTest")], [f"{__name__}:tiny_dsn"], [5], n_epochs=2)
    row = evaluate.run_job(job)
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


# ROCKET's numba functions would take two minutes to compile; test_estimators.py has them.
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in estimators.ESTIMATORS
        if not {"rocket", "hydra"} & set(re.split("-|mini|multi", name))
    ],
)
def test_every_classifier_runs(folder, name):
    (job,) = plan([datasets.find("One", folder)], [name], [0], n_epochs=1)
    row = evaluate.run_job(job)
    assert (row["status"], row["error"]) == ("ok", None)
    assert row["n_epochs"] == (None if name == "1nn-dtw" else 1)
    assert 0 <= row["accuracy"] <= 1


def test_rocket_runs(folder):
    run_python(
        """
        import os, sys
        from pathlib import Path
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        from dsn_sktime.benchmarking.data import datasets
        from dsn_sktime.benchmarking.estimators import registry as estimators
        from dsn_sktime.benchmarking.run import evaluate
        from dsn_sktime.benchmarking.run.jobs import plan

        for name in ("rocket", "minirocket", "multirocket"):
            known = estimators.ESTIMATORS[name]
            settings = {**known.settings, "num_kernels": 84}
            estimators.ESTIMATORS[name] = known._replace(settings=settings)
            (job,) = plan([datasets.find("One", Path(sys.argv[1]))], [name], [0])
            row = evaluate.run_job(job)
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
        evaluate.run_job(job) for job in plan([datasets.find("Hard", tmp_path)], names, [0])
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


def job(fold=0, n_folds=0, seed=0):
    return Job(None, "dsn", seed, fold, n_folds, 1, None, "{}", 0)


def test_folds_hold_each_series_once_and_are_stratified(folder):
    series = datasets.load(datasets.find("One", folder))
    tests = []
    for fold in (1, 2, 3):
        train, test = job(fold, 3, seed=4).rows(series)
        assert not set(train) & set(test)
        assert len(train) + len(test) == 14
        assert {*series.y[test]} == {"a", "b"}
        tests += test.tolist()
    assert sorted(tests) == list(range(14))
    other = job(1, 3, seed=5).rows(series)[1]
    assert set(other) != set(tests[: len(other)])
    assert job(1, 3, seed=4).split == "fold1of3-seed4"


def test_the_default_split_is_the_archives(folder):
    series = datasets.load(datasets.find("One", folder))
    train, test = job().rows(series)
    assert (train.tolist(), test.tolist()) == (list(range(8)), list(range(8, 14)))


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
    before = results.read(path)
    assert len(before) == 9
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3", "--retry-failed") == 1
    assert "0 done, 3 failed, 6 done and 0 failed before" in capsys.readouterr().out
    after = results.read(path)
    assert after["job"].tolist() == before["job"].tolist()
    assert Counter(after["status"]) == {"ok": 6, "failed": 3}


def test_killed_and_started_again_it_loses_only_the_job_in_flight(
    folder, path, tmp_path, monkeypatch
):
    log = tmp_path / "fits"
    process = start(folder, path, log)
    try:
        wait_for_records(path, 3, process)
    finally:
        end_session(process)
        process.wait()
    before = {file: file.read_bytes() for file in records(path)}
    assert 3 <= len(results.read(path)) < 6
    monkeypatch.setenv("FIT_LOG", str(log))
    assert run(folder, path, "-e", "archive:logged", "--seeds", "2") == 0
    assert all(file.read_bytes() == content for file, content in before.items())
    table = results.read(path)
    assert len(table) == table["job"].nunique() == 6
    # One fit per job, and one more if it was in its fit that it was killed.
    assert 6 <= log.read_text().count("fit") <= 7
    assert {file.suffix for file in results.folder_of(path).iterdir()} == {".json", ".lock"}
    assert [file.stem for file in results.folder_of(path).glob("*.lock")] == ["export"]


def test_the_claim_of_a_killed_process_does_not_stay(folder, path, tmp_path, monkeypatch):
    monkeypatch.setenv("FIT_LOG", str(tmp_path / "fits"))
    assert run(folder, path, "-e", "archive:logged") == 0
    there = results.folder_of(path)
    (there / f"{results.read(path)['job'][1]}.lock").touch()
    (there / "of-a-job-that-another-runs.lock").touch()
    assert run(folder, path, "-e", "archive:logged") == 0
    left = {file.stem for file in there.glob("*.lock")}
    assert left == {"export", "of-a-job-that-another-runs"}


def test_a_results_file_without_its_records_counts(folder, path, capsys):
    run(folder, path, "-e", "archive:raising", "--seeds", "3")
    shutil.rmtree(results.folder_of(path))
    before = path.read_text()
    run(folder, path, "-e", "archive:raising", "--seeds", "3")
    assert "0 done, 0 failed, 6 done and 3 failed before" in capsys.readouterr().out
    assert path.read_text() == before
    assert run(folder, path, "-e", "archive:raising", "--seeds", "4", "--retry-failed") == 1
    assert "3 done, 3 failed, 6 done and 0 failed before" in capsys.readouterr().out
    assert len(results.read(path)) == 12


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
    results.folder_of(path).mkdir()
    with FileLock(results.folder_of(path) / f"{job.digest}.lock"):
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
    distributed = pytest.importorskip("dask.distributed")

    def refuse(*_, **__):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    assert run(folder, path, "-e", "archive:raising", "--scheduler", "tcp://nowhere:1") == 2
    assert "no dask scheduler at 'tcp://nowhere:1' (timed out)" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_with_what_was_written(folder, path, capsys, monkeypatch):
    replace = os.replace

    def full(draft, file):
        if '"dataset": "Two"' in Path(draft).read_text():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(draft, file)

    monkeypatch.setattr(os, "replace", full)
    assert run(folder, path, "-e", "archive:raising") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"error: .*results.csv.jobs/\w+.json cannot be written \(No space left", told)
    monkeypatch.undo()
    assert set(results.read(path)["dataset"]) == {"One", "Three"}
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
    monkeypatch.setattr(datasets, "_fetch", _no_network)
    if told is None:
        write_dataset(folder, "Bad")
        (folder / "Bad" / "Bad_TRAIN.ts").write_text("nothing")
        told = "Bad_TRAIN.ts, line 1 is malformed"
    assert main(["run", "--data-path", str(folder), *arguments]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not (tmp_path / "results.csv").exists()


def _no_network(name, folder, places):
    raise ValueError(f"data set {name!r} is not in {folder} and not to be fetched.")


def test_a_results_file_with_other_columns_is_left_alone(folder, path, capsys):
    path.write_text("name,score\na,1\n")
    assert run(folder, path, "-e", "archive:raising") == 2
    assert "is not a results file of this version" in capsys.readouterr().err
    assert path.read_text() == "name,score\na,1\n"


@pytest.mark.parametrize(
    "option",
    [
        ["--seeds", "-1"],
        ["--folds", "1"],
        ["--epochs", "0.5"],
        ["--n-jobs", "0"],
        ["--workers", "0"],
        ["--seeds", str(2**32)],
        ["--folds", "\u0663"],
    ],
)
def test_numbers_out_of_range_are_refused(folder, path, capsys, option):
    with pytest.raises(SystemExit):
        run(folder, path, "-e", "dsn", *option)
    assert "must be an integer of at least" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds with one number must be at least 1, found 0"),
        (["--folds", "8"], "the largest class of data set 'One' has 7 series, too few for 8 folds"),
    ],
)
def test_what_leaves_nothing_to_run_is_refused(folder, path, capsys, options, message):
    assert run(folder, path, "-e", "archive:raising", *options) == 2
    assert message in capsys.readouterr().err
    assert not path.exists()
    assert not results.folder_of(path).exists()


def test_test_labels_that_were_not_trained_are_warned_of(folder, path, capsys):
    (folder / "Two" / "Two_TEST.ts").write_text(ts_text("Two", 1, (16,), 6, labels="abc"))
    assert run(folder, path, "-e", "archive:raising") == 0
    warning = "warning: data set 'Two': no training series has the test label 'c'"
    assert warning in capsys.readouterr().err


def test_a_results_file_edited_wrongly_is_left_alone(folder, path, capsys):
    run(folder, path, "-e", "archive:raising")
    edited = path.read_text().replace(",ok,", ",fine,")
    path.write_text(edited)
    assert run(folder, path, "-e", "archive:raising", "--seeds", "2") == 2
    assert (
        f"{path}, line 2: status must be 'ok' or 'failed', found 'fine'" in capsys.readouterr().err
    )
    assert path.read_text() == edited


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

    monkeypatch.setattr("dsn_sktime.benchmarking.run.runner.run_job", interrupt)
    assert run(folder, path, "-e", "archive:raising") == 130
    assert capsys.readouterr().err.endswith("interrupted\n")

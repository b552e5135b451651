"""Each job is run once and recorded, whatever is killed, raises or runs at the same time."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from archive import ts_text, write_dataset
from filelock import FileLock
from processes import end_session

from dsn_sktime.benchmarking import datasets
from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import plan

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
    assert "jobs: 6 done before, 3 failed before" in capsys.readouterr().out
    before = results.read(path)
    assert len(before) == 9
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3", "--retry-failed") == 1
    assert "9 jobs: 6 done before, 3 failed" in capsys.readouterr().out
    after = results.read(path)
    assert after["job"].tolist() == before["job"].tolist()
    assert Counter(after["status"]) == {"ok": 6, "failed": 3}


def test_a_failed_job_that_another_process_ran_again_is_left_alone(
    folder, path, monkeypatch, capsys
):
    run(folder, path, "-e", "archive:raising", "--seeds", "3")
    read = results.read

    def read_before_another_ends(path):
        table = read(path)
        for file in records(path):
            record = json.loads(file.read_text())
            if record["status"] == "failed":
                later = {"status": "ok", "accuracy": 1.0, "started": "2030-01-01T00:00:00Z"}
                results.write(path, record | later)
        return table

    monkeypatch.setattr(results, "read", read_before_another_ends)
    assert run(folder, path, "-e", "archive:raising", "--seeds", "3", "--retry-failed") == 0
    assert "9 jobs: 9 done before" in capsys.readouterr().out


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
    assert "jobs: 6 done before, 3 failed before" in capsys.readouterr().out
    assert path.read_text() == before
    assert run(folder, path, "-e", "archive:raising", "--seeds", "4", "--retry-failed") == 1
    assert "12 jobs: 3 done, 6 done before, 3 failed" in capsys.readouterr().out
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
        assert "3 jobs: 2 done, 1 left to another process" in capsys.readouterr().out
    assert run(folder, path, "-e", "archive:raising") == 0
    assert "3 jobs: 1 done, 2 done before" in capsys.readouterr().out


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
        (["--list", "none.txt", "-e", "dsn"], "No such file or directory: 'none.txt'"),
        (["-d", "One", "-e", "dsn", "-r", "none/r.csv"], "there is no folder none"),
        (["-d", "One", "-e", "dsn", "-r", "."], "is not a file"),
    ],
)
def test_bad_input_ends_in_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "_fetched", _no_network)
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
    raise ValueError(f"data set {name!r} is not in {folder} and could not be downloaded.")


def test_a_results_file_with_other_columns_is_left_alone(folder, path, capsys):
    path.write_text("name,score\na,1\n")
    assert run(folder, path, "-e", "archive:raising") == 2
    assert "does not have the columns of this version" in capsys.readouterr().err
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


def test_what_leaves_nothing_to_run_is_refused(folder, path, capsys):
    assert run(folder, path, "-e", "archive:raising", "--seeds", "0") == 2
    assert "--seeds with one number must be at least 1, found 0" in capsys.readouterr().err
    assert not path.exists()
    assert not results.folder_of(path).exists()


def test_more_folds_than_series_of_any_class_fail_plainly(folder, path, capsys):
    assert run(folder, path, "-e", "archive:raising", "--folds", "8") == 1
    reason = "n_splits=8 cannot be greater than the number of members in each class"
    assert f"seed 0, fold1of8-seed0: ValueError: {reason}" in capsys.readouterr().err
    assert set(results.read(path)["status"]) == {"failed"}


def test_test_labels_that_were_not_trained_are_warned_of(folder, path, capsys):
    (folder / "Two" / "Two_TEST.ts").write_text(ts_text("Two", 1, (16,), 6, labels="abc"))
    assert run(folder, path, "-e", "archive:raising") == 0
    warning = "warning: data set 'Two': no training series has the test labels ['c']"
    assert warning in capsys.readouterr().err


def test_a_results_file_edited_wrongly_is_left_alone(folder, path, capsys):
    run(folder, path, "-e", "archive:raising")
    edited = path.read_text().replace(",ok,", ",fine,")
    path.write_text(edited)
    assert run(folder, path, "-e", "archive:raising", "--seeds", "2") == 2
    assert f"{path}, line 2: status cannot be 'fine'" in capsys.readouterr().err
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

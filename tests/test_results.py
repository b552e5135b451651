"""Results are whole files or none; what was edited wrongly is refused with file and line."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import re
import shutil

import pandas as pd
import pytest
from processes import run_python

from dsn_sktime.benchmarking.run import results

ROW = {
    "dataset": "GunPoint",
    "estimator": "dsn",
    "seed": 1,
    "split": "default",
    "parameters": '{"kernel_size": 39, "padding": "replicate"}',
    "job": "0a1b",
    "status": "ok",
    "error": None,
    "accuracy": 0.1 + 0.2,
    "balanced_accuracy": 1.0,
    "f1_macro": 0.5,
    "log_loss": 0.25,
    "calibration_error": 0.125,
    "auroc": math.nan,
    "fit_seconds": 1.5,
    "predict_seconds": 0.25,
    "n_epochs": 3,
    "n_parameters": 125404,
    "multiply_adds": 18598600,
    "peak_memory_mb": 512.5,
    "n_train": 50,
    "n_test": 150,
    "n_variates": 1,
    "series_length": 150,
    "n_classes": 2,
    "n_jobs": None,
    "versions": '{"torch": "2.13.0"}',
    "host": "x86_64, 2 cores",
    "started": "2026-01-02T03:04:05Z",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def write(path, n_rows=3, **changes):
    for seed in range(n_rows):
        results.write(path, {**ROW, "seed": seed, "job": f"job{seed}", **changes})


def seeds(path):
    return results.read(path)["seed"].tolist()


def edited(path, column, text, line=3):
    """Write a results file of three lines, and one value of it by hand; remove its records."""
    write(path)
    results.export(path)
    shutil.rmtree(results.folder_of(path))
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[line - 1][results.COLUMNS.index(column)] = text
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    path.write_text(written.getvalue())


def test_a_record_comes_back_as_it_was_written(path):
    for read_back in (lambda: None, lambda: results.export(path)):
        results.write(path, ROW)
        read_back()
        (found,) = results.read(path).to_dict("records")
        empty = {"error", "auroc", "n_jobs"}
        assert {name: found[name] for name in found if name not in empty} == {
            name: ROW[name] for name in ROW if name not in empty
        }
        assert found["error"] == ""
        assert math.isnan(found["auroc"])
        assert pd.isna(found["n_jobs"])


def test_the_file_alone_holds_all_that_its_records_hold(path):
    write(path)
    before = results.read(path)
    results.export(path)
    assert path.read_text().count("\n") == 4
    shutil.rmtree(results.folder_of(path))
    pd.testing.assert_frame_equal(results.read(path), before)


def test_a_record_replaces_the_line_of_its_job_and_others_follow(path):
    write(path)
    results.export(path)
    shutil.rmtree(results.folder_of(path))
    results.write(path, {**ROW, "seed": 1, "job": "job1", "accuracy": 0.75})
    results.write(path, {**ROW, "seed": 7, "job": "a-new-one"})
    table = results.read(path)
    assert table["seed"].tolist() == [0, 1, 2, 7]
    assert table["accuracy"][1] == 0.75
    results.export(path)
    assert seeds(path) == [0, 1, 2, 7]


def test_columns_are_typed_in_an_empty_file_too(path):
    path.touch()
    table = results.read(path)
    assert tuple(table.columns) == results.COLUMNS
    assert table.empty
    assert table["accuracy"].dtype == "float64"
    assert table["seed"].dtype == "Int64"
    results.write(path, ROW)
    assert seeds(path) == [1]


def test_no_results_at_all(path):
    with pytest.raises(FileNotFoundError, match=r"results\.csv"):
        results.read(path)


@pytest.mark.parametrize("text", ["two\nlines", "two\r\nlines", "two\u2028lines", 'a "b", c\n'])
def test_a_row_is_one_line_whatever_its_texts(path, text):
    results.write(path, {**ROW, "error": text, "status": "failed"})
    results.write(path, {**ROW, "job": "other", "started": "2026-01-02T03:04:06Z"})
    results.export(path)
    assert path.read_text().count("\n") == 3
    assert results.read(path)["error"].tolist() == [" ".join(text.splitlines()), ""]


def test_text_that_pandas_takes_for_missing_is_kept(path):
    results.write(path, {**ROW, "dataset": "NA", "error": "nan"})
    results.export(path)
    assert results.read(path).loc[0, ["dataset", "error"]].tolist() == ["NA", "nan"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.rstrip(b"\n"),
        lambda data: data + b"\n\n",
    ],
    ids=["line ends", "byte order mark", "no last line end", "blank lines"],
)
def test_a_file_saved_by_another_program_is_read(path, change):
    write(path)
    results.export(path)
    path.write_bytes(change(path.read_bytes()))
    shutil.rmtree(results.folder_of(path))
    assert seeds(path) == [0, 1, 2]


def test_columns_are_known_by_name(path):
    write(path)
    results.export(path)
    pd.read_csv(path)[sorted(results.COLUMNS)].to_csv(path, index=False)
    assert seeds(path) == [0, 1, 2]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("seed", text) for text in ("1.5", "1e300", "inf", "-1", "9" * 30, "")),
        *(("accuracy", text) for text in ("inf", "nan", "2.0", "high", "")),
        ("log_loss", "inf"),
        ("fit_seconds", "-3"),
        *(("n_test", text) for text in ("0", "many")),
        *(("versions", text) for text in ("{torch", "[1]")),
        *(("parameters", text) for text in ("", "3", '{"a": }')),
        ("status", "great"),
        ("dataset", ""),
        ("started", "yesterday"),
    ],
)
def test_a_value_edited_wrongly_is_refused_with_file_and_line(path, column, text):
    edited(path, column, text)
    message = re.escape(f"{path}, line 3: {column} cannot be {text!r}.")
    with pytest.raises(ValueError, match=f"^{message}$"):
        results.read(path)


def test_a_job_edited_to_be_another_is_refused_with_file_and_line(path):
    edited(path, "job", "job0")
    with pytest.raises(ValueError, match=re.escape(f"{path}, line 3: it repeats job job0")):
        results.read(path)


@pytest.mark.parametrize("broken", ["some words", 'GunPoint,dsn,0,"default', "x," * 27 + "y"])
def test_a_broken_line_is_refused_with_its_number(path, broken):
    write(path)
    results.export(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], broken, *lines[2:]]) + "\n")
    with pytest.raises(ValueError, match=r"results.csv, line \d+: "):
        results.read(path)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("dataset,accuracy", "auroc, balanced_accuracy, calibration_error"),
        (",".join([*results.COLUMNS, "mood"]), "mood"),
        (",".join([*results.COLUMNS, "seed"]), "some twice"),
        ("no table at all", "accuracy, auroc"),
        ("dataset;estimator;seed", "accuracy, auroc"),
    ],
)
def test_a_file_with_other_columns_is_refused_and_left_alone(path, header, told):
    path.write_text(header + "\n")
    with pytest.raises(ValueError, match=f"line 1: .*{told}"):
        results.read(path)
    results.write(path, ROW)
    with pytest.raises(ValueError, match=told):
        results.export(path)
    assert path.read_text() == header + "\n"


def test_a_file_that_is_no_text_is_refused(path):
    path.write_bytes("dataset,\u00e4".encode("latin-1"))
    with pytest.raises(ValueError, match=r"results\.csv is not UTF-8 text"):
        results.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "does not have the columns of this version: accuracy, auroc"),
        ("{}", "does not have the columns of this version: accuracy, auroc"),
        ("3", "not iterable"),
        (json.dumps({**ROW, "auroc": None, "job": "b"}), "named by its job, found job 'b'"),
        (json.dumps({**ROW, "auroc": None, "seed": 1.5}), "seed cannot be '1.5'"),
        (json.dumps({**ROW, "accuracy": math.inf}), "accuracy cannot be 'inf'"),
        (json.dumps({**ROW, "auroc": None, "seed": [1]}), r"seed cannot be '\[1\]'"),
        (json.dumps({**ROW, "auroc": None, "n_jobs": True}), "n_jobs cannot be 'True'"),
    ],
)
def test_a_record_edited_wrongly_is_refused_with_its_file(path, text, message):
    results.folder_of(path).mkdir()
    file = results.folder_of(path) / "0a1b.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        results.read(path)
    assert str(file) in str(told.value)


def test_a_record_with_other_columns_is_refused(path):
    with pytest.raises(ValueError, match="columns of this version: accuracy, mood"):
        results.write(path, {**{k: v for k, v in ROW.items() if k != "accuracy"}, "mood": 1})
    assert not results.folder_of(path).exists()


def test_a_full_disk_leaves_what_was_there(path):
    write(path)
    results.export(path)
    before = path.read_bytes()
    printed = run_python(
        """
        import resource, sys
        from test_results import ROW, results

        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for attempt in (lambda path: results.write(path, ROW), results.export):
            try:
                attempt(sys.argv[1])
            except OSError as error:
                print(error)
        """,
        str(path),
    )
    assert printed.count("cannot be written (File too large)") == 2
    assert path.read_bytes() == before
    assert seeds(path) == [0, 1, 2]
    assert not [*path.parent.rglob("*.tmp")]


@pytest.mark.skipif("sys.platform == 'win32'")
def test_processes_share_the_results(path):
    def write(number):
        for seed in range(20):
            results.write(path, {**ROW, "seed": seed, "job": f"{number}-{seed}"})
            results.export(path)

    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write, args=(number,), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
        assert worker.exitcode == 0
    shutil.rmtree(results.folder_of(path))
    assert sorted(seeds(path)) == sorted([*range(20)] * 4)

"""The results file keeps every whole line, whatever happens to it."""

from __future__ import annotations

import math
import warnings

import pandas as pd
import pytest
from processes import run_python

from dsn_sktime.benchmarking import results

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


def write(path, n_rows=3):
    for seed in range(n_rows):
        results.append(path, {**ROW, "seed": seed})


def seeds(path):
    return results.read(path)["seed"].tolist()


def test_a_row_comes_back_as_it_was_written(path):
    results.append(path, ROW)
    (found,) = results.read(path).to_dict("records")
    empty = {"error", "auroc", "n_jobs"}
    assert {name: found[name] for name in found if name not in empty} == {
        name: ROW[name] for name in ROW if name not in empty
    }
    assert found["error"] == ""
    assert math.isnan(found["auroc"])
    assert pd.isna(found["n_jobs"])


def test_columns_are_typed_in_an_empty_file_too(path):
    path.touch()
    table = results.read(path)
    assert tuple(table.columns) == results.COLUMNS
    assert table.empty
    assert table["accuracy"].dtype == "float64"
    assert table["seed"].dtype == "Int64"
    results.append(path, ROW)
    assert seeds(path) == [1]


@pytest.mark.parametrize("text", ["two\nlines", "two\r\nlines", "two\u2028lines", 'a "b", c\n'])
def test_a_row_is_one_line_whatever_its_texts(path, text):
    results.append(path, {**ROW, "error": text, "status": "failed"})
    results.append(path, ROW)
    assert path.read_text().count("\n") == 3
    assert results.read(path)["error"].tolist() == [" ".join(text.splitlines()), ""]


def test_text_that_pandas_takes_for_missing_is_kept(path):
    results.append(path, {**ROW, "dataset": "NA", "error": "nan"})
    assert results.read(path).loc[0, ["dataset", "error"]].tolist() == ["NA", "nan"]


def test_cut_anywhere_only_the_last_line_is_lost(path):
    write(path)
    whole = path.read_bytes()
    last_line = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last_line + 1, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.warns(UserWarning, match="line 4 is not a whole row"):
            assert seeds(path) == [0, 1]
    # Without its line break only, the line is whole.
    path.write_bytes(whole[:-1])
    assert seeds(path) == [0, 1, 2]


@pytest.mark.parametrize(("cut", "kept"), [(1, [0, 1, 2]), (2, [0, 1]), (200, [0, 1])])
def test_append_mends_a_file_that_was_cut(path, cut, kept):
    write(path)
    path.write_bytes(path.read_bytes()[:-cut])
    results.append(path, {**ROW, "seed": 9})
    assert seeds(path) == [*kept, 9]


def test_a_header_that_was_cut_is_written_anew(path):
    path.write_text(",".join(results.COLUMNS)[:40])
    assert results.read(path).empty
    results.append(path, ROW)
    assert seeds(path) == [1]


@pytest.mark.parametrize("broken", ["some words", 'GunPoint,dsn,0,"default', "x," * 27 + "y"])
def test_a_broken_line_in_the_middle_costs_that_line_only(path, broken):
    write(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], broken, *lines[2:]]) + "\n")
    with pytest.warns(UserWarning, match="line 3 is not a whole row"):
        assert seeds(path) == [0, 1, 2]


def test_a_file_saved_with_other_line_ends_is_read(path):
    write(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seeds(path) == [0, 1, 2]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("dataset,accuracy", "without estimator, seed"),
        (",".join([*results.COLUMNS, "mood"]), "with the unknown 'mood'"),
        (",".join(sorted(results.COLUMNS)), "in another order"),
        ("no table at all", "without dataset"),
        ("", "without dataset"),
    ],
)
def test_a_file_with_other_columns_is_refused_and_left_alone(path, header, told):
    path.write_text(header + "\n")
    with pytest.raises(ValueError, match=told):
        results.read(path)
    with pytest.raises(ValueError, match=told):
        results.append(path, ROW)
    assert path.read_text() == header + "\n"


def test_a_row_with_other_columns_is_refused(path):
    with pytest.raises(ValueError, match="without accuracy and with the unknown 'mood'"):
        results.append(path, {**{k: v for k, v in ROW.items() if k != "accuracy"}, "mood": 1})
    assert not path.exists()


def test_a_full_disk_leaves_the_file_as_it_was(path):
    write(path)
    before = path.read_bytes()
    printed = run_python(
        """
        import resource, sys
        from test_results import ROW, results

        size = int(sys.argv[2]) + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            results.append(sys.argv[1], ROW)
        except OSError as error:
            print(type(error).__name__)
        """,
        str(path),
        str(len(before)),
    )
    assert printed == "OSError\n"
    assert path.read_bytes() == before


def test_processes_share_a_file(path):
    run_python(
        """
        import multiprocessing, sys
        from test_results import write

        if __name__ == "__main__":
            job = {"target": write, "args": (sys.argv[1], 40)}
            workers = [multiprocessing.Process(**job) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        """,
        str(path),
    )
    assert sorted(seeds(path)) == sorted([*range(40)] * 4)

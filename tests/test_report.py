"""The report says what the results file says, and is whole in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from pages import Reader, check_whole, row, write

from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.report import build
from dsn_sktime.benchmarking.report.comparison import (
    collect,
    estimator_labels,
    read_published,
    split_runs,
)
from dsn_sktime.benchmarking.run import results

MISSING = "\N{EN DASH}"
DATASETS = ["Adiac", "Beef", "CBF", "Car", "Coffee", "ECG200", "Fish"]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "published.csv"
    path.write_text(
        "dataset,ROCKET (mean 10),InceptionTime (5-ens),Plain\n"
        + "".join(f"{name},0.{80 + number},0.75,0.7\n" for number, name in enumerate(DATASETS))
    )
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two estimators and two seeds; rocket failed on one set and was not run on another."""
    rng = np.random.default_rng(0)
    rows = [
        row(dataset, estimator, seed, round(rng.uniform(0.6, 1), 2))
        for dataset in DATASETS
        for estimator in ("dsn", "rocket")
        for seed in (0, 1)
        if (dataset, estimator) not in {("Fish", "rocket"), ("Car", "rocket")}
    ]
    path = tmp_path_factory.mktemp("measured") / "results.csv"
    return write(path, [*rows, row("Car", "rocket", 0, None)])


def made(results_path, output, *options):
    assert main(["report", str(results_path), "--output", str(output), *map(str, options)]) == 0
    return check_whole((output / "report.html").read_text())


@pytest.fixture(scope="module")
def report(measured, published, tmp_path_factory):
    """Folder of the report of the measured results beside the published ones, and its page."""
    folder = tmp_path_factory.mktemp("report") / "out"
    return folder, made(measured, folder, "--published", published)


def test_numbers_are_those_of_the_file(measured, report):
    _, page = report
    rows = results.read(measured).query("status == 'ok'")
    accuracy = rows.groupby(["dataset", "estimator"])["accuracy"].mean().unstack().dropna()
    assert len(accuracy) == 5
    summary = {cells[0]: cells[1:] for cells in page.table("Estimator", "Mean accuracy (%)")}
    assert summary["dsn"][0] == f"{100 * accuracy['dsn'].mean():.2f}"
    assert summary["dsn"][-2:] == ["2", "100"]
    wins = (accuracy["rocket"] > accuracy["dsn"]).sum()
    ties = (accuracy["rocket"] == accuracy["dsn"]).sum()
    assert summary["rocket"][2] == f"{wins} / {ties} / {5 - wins - ties}"
    ranks = [float(cells[1]) for name, cells in summary.items() if name != "Estimator"]
    assert ranks == sorted(ranks)
    by_dataset = {cells[0]: cells[1:] for cells in page.table("Data set", "dsn")}
    of_beef = rows.query("dataset == 'Beef' and estimator == 'dsn'")["accuracy"]
    assert by_dataset["Beef"][0] == f"{100 * of_beef.mean():.1f} ± {100 * of_beef.std():.1f} (2)"
    assert by_dataset["Beef"][2] == "81.0"
    assert by_dataset["Fish †"][1] == MISSING
    costs = {cells[0]: cells[1:] for cells in page.table("Estimator", "Parameters")}
    assert costs["dsn"][:5] == ["1,000", "50,000", "20.0", "5.00", "300"]
    assert costs["rocket"][:2] == [MISSING, MISSING]


def test_says_what_was_left_out_and_what_failed(report):
    _, page = report
    reasons = dict(page.table("Data set", "Why")[1:])
    assert reasons == {"Car": "failed: rocket", "Fish": "not run: rocket"}
    assert page.table("Data set", "Estimator", "Seed")[1:] == [
        ["Car", "rocket", "0", "default", "RuntimeError: out of memory"]
    ]
    assert all("5 data sets" in caption for caption in page.captions)


def test_published_is_labeled_wherever_it_stands(report):
    _, page = report
    names = {
        "ROCKET (published, mean of 10 runs)",
        "InceptionTime (published, ensemble of 5)",
        "Plain (published)",
    }
    summary = page.table("Estimator", "Mean accuracy (%)")
    assert names <= {cells[0] for cells in summary}
    assert all(cells[-2:] == [MISSING] * 2 for cells in summary if cells[0] in names)
    assert names <= set(page.table("Data set", "dsn")[0])


def test_markdown_has_the_same_tables_and_its_pictures(report):
    folder, page = report
    text = (folder / "report.md").read_text()
    assert len(re.findall(r"^\|(?: ---:? \|)+$", text, re.MULTILINE)) == len(page.tables)
    files = re.findall(r"\]\((figures/[^)]+\.png)\)", text)
    assert len(files) == len(page.images)
    for file in files:
        assert (folder / file).read_bytes().startswith(b"\x89PNG")


def test_estimators_and_reference_are_chosen_by_name(measured, published, tmp_path):
    chosen = ("--estimators", "rocket", "ROCKET", "--reference", "ROCKET")
    page = made(measured, tmp_path / "out", "--published", published, *chosen)
    summary = page.table("Estimator", "Mean accuracy (%)", "Average rank")
    assert "against ROCKET (published" in summary[0][3]
    assert {cells[0] for cells in summary[1:]} == {"rocket", "ROCKET (published, mean of 10 runs)"}
    assert len(page.table("Data set", "rocket", "ROCKET (published, mean of 10 runs)")) == 1 + 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--estimators", "rockt"], "unknown estimator 'rockt'. Did you mean 'rocket'?"),
        (["--reference", "ds"], "unknown estimator 'ds'. Did you mean 'dsn'?"),
        (["--split", "5-fold"], "unknown protocol '5-fold'. There are: default."),
        (["--published", "missing.csv"], "missing.csv"),
    ],
)
def test_wrong_options_end_in_one_sentence(measured, tmp_path, capsys, options, message):
    assert_fails(measured, tmp_path / "out", capsys, message, *options)


def assert_fails(results_path, output, capsys, message, *options):
    assert main(["report", str(results_path), "--output", str(output), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no results yet"),
        (",".join(results.COLUMNS) + "\n", "holds no results yet"),
        ("a,b\n1,2\n", "does not have the columns of this version"),
    ],
)
def test_files_without_results_end_in_one_sentence(tmp_path, capsys, text, message):
    path = tmp_path / "results.csv"
    path.write_text(text)
    assert_fails(path, tmp_path / "out", capsys, message)


def test_only_failures_end_in_one_sentence(tmp_path, capsys):
    path = write(tmp_path / "results.csv", [row(accuracy=None)])
    assert_fails(path, tmp_path / "out", capsys, "RuntimeError: out of memory")


def test_a_line_cut_short_ends_in_one_sentence(measured, tmp_path, capsys):
    path = tmp_path / "results.csv"
    path.write_bytes(measured.read_bytes() + b"Wine,dsn,0,def")
    n_lines = path.read_text().count("\n") + 1
    message = f"{path}, line {n_lines}: it must have {len(results.COLUMNS)} fields"
    assert_fails(path, tmp_path / "out", capsys, message)


@pytest.mark.parametrize("n_datasets", [1, 3])
@pytest.mark.parametrize("estimators", [("dsn",), ("rocket",), ("dsn", "rocket")])
def test_small_files_make_small_reports(tmp_path, n_datasets, estimators):
    rows = [row(name, estimator) for name in DATASETS[:n_datasets] for estimator in estimators]
    page = made(write(tmp_path / "results.csv", rows), tmp_path / "out")
    has_ranks = "Average rank" in page.table("Estimator", "Mean accuracy (%)")[0]
    assert has_ranks == (len(estimators) > 1)
    html = (tmp_path / "out" / "report.html").read_text()
    assert ("critical-difference" in html) == (len(estimators) > 1 and n_datasets > 1)
    assert ("accuracy-multiply-adds" in html) == ("dsn" in estimators)


def test_no_common_data_set_leaves_the_table_by_data_set(tmp_path):
    rows = [row("Beef", "dsn"), row("Car", "rocket")]
    page = made(write(tmp_path / "results.csv", rows), tmp_path / "out")
    assert "No data set has an accuracy of every estimator" in (
        (tmp_path / "out" / "report.html").read_text()
    )
    assert not page.images
    assert len(page.table("Data set", "dsn", "rocket")) == 3


def test_names_from_the_file_are_text_only(tmp_path):
    nasty = '<script>alert("1")</script> | $x_{ *b* '
    rows = [row(name, estimator) for name in (nasty, "Beef") for estimator in (nasty, "dsn")]
    page = made(write(tmp_path / "results.csv", rows), tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text().count("<script") == 0
    assert nasty.strip() in [
        cells[0].strip() for cells in page.table("Estimator", "Mean accuracy (%)")
    ]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<script" not in text.replace("\\<", "")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert not any(re.search(r"(?<!\\)\|", line.strip("|")) is None for line in table)


def test_resamples_are_reported_apart_from_the_default_split(tmp_path, published):
    folds = [row(seed=0, split=f"fold{i}of2-seed0", accuracy=a) for i, a in enumerate((0.5, 0.7))]
    path = write(tmp_path / "results.csv", [row(accuracy=0.9), *folds])
    page = made(path, tmp_path / "default")
    assert page.table("Estimator", "Mean accuracy (%)")[1][1] == "90.00"
    page = made(path, tmp_path / "folds", "--split", "2-fold")
    assert page.table("Estimator", "Mean accuracy (%)")[1][1] == "60.00"
    assert page.table("Data set", "dsn")[1][1] == "60.0 ± 14.1 (2)"
    with pytest.raises(ValueError, match="published accuracies are on the default splits"):
        build.build(results.read(path), [read_published(published)], protocol="2-fold")


def test_parameter_sets_of_one_name_are_told_apart():
    rows = pd.DataFrame([row(n_epochs=10), row(n_epochs=20, seed=1), row(estimator="rocket")])
    assert estimator_labels(rows).tolist() == ["dsn (n_epochs=10)", "dsn (n_epochs=20)", "rocket"]
    # Neither the seed nor the number of jobs makes another estimator.
    threads = [row(parameters=json.dumps({"n_jobs": n, "random_state": n})) for n in (1, 2)]
    assert estimator_labels(pd.DataFrame(threads)).tolist() == ["dsn", "dsn"]
    backends = [row(parameters=json.dumps({"backend": name})) for name in ("auto", "sparse")]
    assert estimator_labels(pd.DataFrame(backends)).tolist() == ["dsn", "dsn"]


def test_seeds_of_the_parts_of_a_pipeline_make_no_other_estimator():
    parts = [{"steps": [["dsn", {"class": "DSNClassifier", "random_state": n}]]} for n in range(2)]
    rows = [row(estimator="mine:make", seed=n, parameters=json.dumps(parts[n])) for n in range(2)]
    assert estimator_labels(pd.DataFrame(rows)).tolist() == ["mine:make"] * 2


def test_runs_of_another_protocol_do_not_name_the_estimators():
    rows = [row(n_epochs=50), row(n_epochs=10, split="fold1of5-seed0")]
    runs, _ = split_runs(pd.DataFrame(rows), "default")
    assert runs["label"].tolist() == ["dsn"]


def test_a_data_set_where_all_failed_is_listed_and_failures_of_others_are_not():
    rows = [row(accuracy=None), row("Coffee"), row("Coffee", "oscnn", accuracy=None)]
    page = build.build(pd.DataFrame(rows), estimators=["dsn"]).markdown()
    left_out, failed = page.split("## Data sets left out")[1].split("## Failed runs")
    assert "| Beef | failed: dsn |" in left_out
    assert "| Beef | dsn |" in failed
    assert "oscnn" not in failed
    rows = [row(), row("Ham", "oscnn", accuracy=None)]
    published = pd.DataFrame({"R (published)": [0.7, 0.8]}, index=["Ham", "Beef"])
    page = build.build(pd.DataFrame(rows), [published]).markdown()
    left_out, failed = page.split("## Data sets left out")[1].split("## Failed runs")
    assert "| Ham | not run: dsn |" in left_out
    assert "| Ham | oscnn |" in failed


def test_an_estimator_that_is_named_twice_is_compared_once():
    rows = pd.DataFrame([row(), row(estimator="rocket")])
    page = build.build(rows, estimators=["dsn", "rocket", "dsn"]).markdown()
    assert page == build.build(rows, estimators=["dsn", "rocket"]).markdown()


def test_a_repeated_run_counts_once_and_its_last_result():
    rows = pd.DataFrame([row(accuracy=0.5), row(accuracy=None), row(accuracy=0.7)])
    runs, failed = split_runs(rows, "default")
    assert runs["accuracy"].tolist() == [0.7]
    scores = collect(runs, [])
    assert scores.over_runs("count").loc["Beef", "dsn"] == 1
    assert failed.empty


def test_published_means_are_listed_but_not_compared(measured, tmp_path):
    path = tmp_path / "means.csv"
    path.write_text("classifier,protocol,mean30\nMambaSL,default split,0.79\nTST,,\n")
    page = made(measured, tmp_path / "out", "--published", path)
    assert page.table("classifier")[1:] == [
        ["MambaSL", "default split", "0.79"],
        ["TST", MISSING, MISSING],
    ]
    assert len(page.table("Estimator", "Mean accuracy (%)")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table of published accuracies"),
        ("name,a\nBeef,0.5\n", "must start with the column 'dataset'"),
        ("dataset,a\nBeef,83.1\n", "accuracies in 0..1, found 83.1 of 'a' on 'Beef'"),
        ("dataset,a\nBeef,high\n", "found 'high' of 'a' on 'Beef'"),
        ("dataset,a\nBeef,0.5\nBeef,0.6\n", "each data set once, found 'Beef' again"),
    ],
)
def test_published_files_of_another_form_are_refused(tmp_path, text, message):
    path = tmp_path / "published.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_published(path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to render the page with")
def test_a_browser_shows_it_all(report, tmp_path):
    source = (report[0] / "report.html").read_text()
    # Counts the pictures that the browser could decode.
    probe = """<script>
    const whole = [...document.images].filter(image => image.complete && image.naturalWidth > 50);
    document.body.dataset.pictures = whole.length;
    document.body.dataset.wider = document.documentElement.scrollWidth > innerWidth;
    </script>"""
    page_path = tmp_path / "probed.html"
    page_path.write_text(source.replace("</body>", probe + "</body>"))
    command = f"{CHROMIUM} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    command += " --disable-background-networking --disable-component-update --disable-sync"
    command += f" --user-data-dir={tmp_path / 'profile'} --window-size=400,800 --dump-dom"
    done = subprocess.run(
        [*command.split(), page_path.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown = check_whole(done.stdout.replace(probe, ""))
    assert len(shown.tables) == len(Reader(source).tables)
    assert f'data-pictures="{len(shown.images)}"' in done.stdout
    # Wide tables scroll by themselves, the page does not.
    assert 'data-wider="false"' in done.stdout

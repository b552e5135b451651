"""The results that the documentation shows are those of its results file and report."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pandas as pd
import pytest

from dsn_sktime.benchmarking.report import build
from dsn_sktime.benchmarking.report.study import STUDIES
from dsn_sktime.benchmarking.run import results

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["guide/results.rst", "../README.md"]
COMPARED = [
    *("dsn", "dsn-ens5", "minirocket", "rocket", "hydra", "multirocket", "multirocket-hydra")
]
ON_OTHER_SETS = [name for name in COMPARED if name != "dsn-ens5"]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return results.read(DOCS / "results" / "archive.csv")


@pytest.fixture(scope="module")
def univariate(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs on the sets that each classifier was run on."""
    found = runs[runs["estimator"].isin(COMPARED)]
    n_estimators = found.groupby("dataset")["estimator"].nunique()
    return found[found["dataset"].isin(n_estimators.index[n_estimators == len(COMPARED)])]


def words(page: str) -> str:
    return " ".join((DOCS / page).read_text().replace("|", " ").replace("`", " ").split())


def test_results_are_whole(runs: pd.DataFrame, univariate: pd.DataFrame) -> None:
    assert (runs["status"] == "ok").all()
    assert not runs.duplicated("job").any()
    assert set(runs["split"]) == {"default"}
    assert univariate["dataset"].nunique() == 42
    assert (univariate["n_variates"] == 1).all()
    assert runs.loc[runs["estimator"] == "dsn", "dataset"].nunique() == 57


def test_the_report_is_that_of_the_file(runs: pd.DataFrame) -> None:
    page = build.build(runs, estimators=COMPARED)
    assert page.markdown() == (DOCS / "results" / "measured" / "report.md").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_a_pages_table_is_that_of_the_file(univariate: pd.DataFrame, page: str) -> None:
    measures = ["accuracy", "log_loss", "calibration_error", "fit_seconds", "predict_seconds"]
    by_dataset = univariate.groupby(["estimator", "dataset"])[measures].mean()
    for name in COMPARED:
        own = by_dataset.loc[name]
        mean, total = own.mean(), own.sum()
        row = (
            f"{name} {100 * mean['accuracy']:.1f} {mean['log_loss']:.2f} "
            f"{100 * mean['calibration_error']:.1f} {total['fit_seconds']:,.0f} "
            f"{total['predict_seconds']:,.0f}"
        )
        assert row in words(page)


@pytest.mark.parametrize("page", PAGES)
def test_published_means_of_a_page_are_those_of_the_report(page: str) -> None:
    report = (DOCS / "results" / "published" / "report.md").read_text()
    rows = re.findall(r"^\| ([^|*]*?) \(published[^|]*\| \**([\d.]+)\** \|", report, re.M)
    assert len(rows) == 5
    for name, mean in rows:
        assert re.search(rf"{name} {float(mean):.1f}\b", words(page))


def test_other_sets_on_the_page_are_those_of_the_file(
    runs: pd.DataFrame, univariate: pd.DataFrame
) -> None:
    others = runs[~runs["dataset"].isin(univariate["dataset"])]
    means = 100 * others.groupby(["dataset", "estimator"])["accuracy"].mean().unstack()
    means = means[ON_OTHER_SETS]
    for name, accuracy in means.iterrows():
        shown = " ".join("none" if pd.isna(one) else f"{one:.1f}" for one in accuracy)
        assert f"{name} {shown}" in words("guide/results.rst")


def test_the_table_of_os_cnn_is_that_of_the_file(runs: pd.DataFrame) -> None:
    of_both = runs[runs["estimator"].isin(["oscnn", "dsn"])]
    means = 100 * of_both.groupby(["dataset", "estimator"])["accuracy"].mean().unstack()
    means = means.dropna()
    assert len(means) == 8
    text = words("guide/results.rst")
    for name, row in means.iterrows():
        assert re.search(rf"{name} {row['oscnn']:.1f} [\d.]+ {row['dsn']:.1f}\b", text)


# What the guide calls the estimators of the studies, in their order.
CALLED = {
    "recipe": [
        *("default", "25 epochs", "100 epochs", "last weights", "label smoothing 0.1"),
        *("weight decay 0.1", "zeros padding", "random first topology", "learning rate 1e-3"),
        *("learning rate 1e-2", "the paper's batch size"),
    ],
    "head": [
        *("default", "own head", "ridge, on trained", "ridge, on untrained", "one ridge of both"),
        *("probabilities averaged", "logistic, on trained", "linear head"),
    ],
    "ensemble": ["one network", "five", "five, seeds only"],
}
FILES = {"recipe": "results-recipe.csv", "head": "results.csv", "ensemble": "results.csv"}


@pytest.mark.parametrize("study", CALLED)
def test_a_studys_table_is_that_of_the_file(study: str) -> None:
    found = results.read(DOCS / "results" / "studies" / FILES[study]).groupby("estimator")
    means = found[["accuracy", "log_loss", "calibration_error"]].mean()
    assert (found["dataset"].nunique() == 16).all()
    for label, name in zip(CALLED[study], STUDIES[study].estimators, strict=True):
        accuracy, loss, error = means.loc[name]
        row = f"{label} {100 * accuracy:.1f} {loss:.2f} {100 * error:.1f}"
        assert row in words("guide/training_time.rst")

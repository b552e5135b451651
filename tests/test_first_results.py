"""The results that the documentation shows are those of its results file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from dsn_sktime.benchmarking.report import build
from dsn_sktime.benchmarking.run import results

DOCS = Path(__file__).parents[1] / "docs"
EPOCHS = {"dsn-paper": 1000, "oscnn": 100, "minirocket": None, "rocket": None}
MULTIVARIATE = {"AtrialFibrillation", "BasicMotions", "NATOPS", "RacketSports"}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return results.read(DOCS / "results" / "archive.csv")


def test_every_classifier_ran_on_every_data_set(runs):
    assert (runs["status"] == "ok").all()
    assert not runs.duplicated("job").any()
    names = set(runs["dataset"])
    assert set(runs.loc[runs["n_variates"] > 1, "dataset"]) == MULTIVARIATE
    assert len(names - MULTIVARIATE) == 20
    assert set(runs["split"]) == {"default"}
    for estimator, n_epochs in EPOCHS.items():
        own = runs[runs["estimator"] == estimator]
        assert set(own["dataset"]) == names
        assert (
            own["n_epochs"].isna().all()
            if n_epochs is None
            else (own["n_epochs"] == n_epochs).all()
        )


def test_the_report_is_that_of_the_file(runs):
    page = build.build(runs, estimators=list(EPOCHS))
    assert page.markdown() == (DOCS / "results" / "measured" / "report.md").read_text()


@pytest.mark.parametrize("page", ["guide/results.rst", "../README.md"])
def test_the_mean_accuracies_of_a_page_are_those_of_the_file(runs, page):
    text = " ".join((DOCS / page).read_text().replace("|", " ").split())
    by_dataset = runs.groupby(["dataset", "estimator"])["accuracy"].mean().unstack()
    for estimator, mean in (100 * by_dataset.mean()).items():
        assert f"{estimator} {mean:.1f}" in text
    learned = 100 * by_dataset.drop(["OliveOil", "Wine"]).mean()
    assert f"{learned['oscnn']:.1f} to {learned['dsn-paper']:.1f}" in text

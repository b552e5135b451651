"""The studies, of the paper and of the default recipe: what each compares, page and table."""

from typing import NamedTuple

import pandas as pd

from dsn_sktime.benchmarking.estimators.registry import ESTIMATORS
from dsn_sktime.benchmarking.report import figures, tables
from dsn_sktime.benchmarking.report.build import sections
from dsn_sktime.benchmarking.report.comparison import Comparison, collect, split_runs
from dsn_sktime.benchmarking.report.page import Page
from dsn_sktime.statistics import average_ranks, wins_ties_losses

PAPER, DEFAULT = "dsn-paper", "dsn"
_CAVEATS = {
    PAPER: "The paper trains 1,000 epochs: fewer, on few data sets, do not answer the question.",
    DEFAULT: "Recipes are chosen by test series of development sets: no estimate for other data.",
}


class Study(NamedTuple):
    """Estimators to compare, by short name; the others are compared with the ``reference``."""

    question: str
    estimators: list[str]
    reference: str = PAPER


STUDIES = {
    "sparsity": Study(
        "How sparse may the exploration regions be? Dense: no kernel groups, all weights active.",
        ["dsn-sparsity50", PAPER, "dsn-sparsity90", "dsn-dense"],
    ),
    "size": Study(
        "Does a wider or deeper network do better? Channels are those of all three kernel groups.",
        ["dsn-3layers", PAPER, "dsn-5layers", "dsn-59filters"],
    ),
    "groups": Study(
        "What do kernel groups gain? Without them, at the same sparsity, any of all 39 taps may be "
        "activated, so more of them are.",
        [PAPER, "dsn-nogroups"],
    ),
    "fix": Study(
        "What does the search for a topology gain? DSNfix keeps the first taps of each region.",
        [PAPER, "dsn-fix"],
    ),
    "growth": Study(
        "Should weights grow at random or where the dense gradient is largest?", [PAPER, "dsn-grad"]
    ),
    "recipe": Study(
        "What does each part of the default recipe gain? Each setting changes one.",
        [
            *(DEFAULT, "dsn-25epochs", "dsn-100epochs", "dsn-last", "dsn-smoothing", "dsn-decay"),
            *("dsn-zeros", "dsn-random", "dsn-lr1e-3", "dsn-lr1e-2", "dsn-batch"),
        ],
        DEFAULT,
    ),
    "head": Study(
        "How should a trained network be read? All but the linear head read networks of the "
        "default, and share their training in a process: fitting times may be without it.",
        [
            *(DEFAULT, "dsn-own", "dsn-ridge", "dsn-untrained", "dsn-one-ridge"),
            *("dsn-probabilities", "dsn-logistic", "dsn-linear"),
        ],
        DEFAULT,
    ),
    "ensemble": Study(
        "What do five networks gain, and what if they differ in their seeds only?",
        [DEFAULT, "dsn-ens5", "dsn-ens5-alike"],
        DEFAULT,
    ),
}


def compare(name: str, rows: pd.DataFrame) -> tuple[Comparison, pd.DataFrame]:
    """Compare the estimators of a study that have results, and return failed runs apart.

    Raise ValueError if its reference has none.
    """
    (runs, failed), study = split_runs(rows, "default"), STUDIES[name]
    measured = [one for one in study.estimators if one in set(runs["label"])]
    if study.reference not in measured:
        errors = failed.loc[failed["label"] == study.reference, "error"]
        reason = next(iter(errors), "another process has its jobs.")
        raise ValueError(f"{study.reference} has no result yet: {reason}")
    return collect(runs, estimators=measured), failed


def page(name: str, compared: Comparison, failed: pd.DataFrame) -> Page:
    """Return the page of a study."""
    study = STUDIES[name]
    found = sections(compared, failed, study.reference)
    if len(compared.common):
        found[0].figures.append(figures.settings(compared.common))
    for section in found:  # Studies share the folder of their figures.
        section.figures[:] = [one._replace(name=f"{name}-{one.name}") for one in section.figures]
    meant = "; ".join(f"{one}: {ESTIMATORS[one].about}" for one in study.estimators)
    paragraphs = [study.question, f"{meant}.", _CAVEATS[study.reference]]
    return Page(f"Study: {name}", paragraphs, found)


def table(name: str, compared: Comparison) -> pd.DataFrame:
    """Return a row per estimator: means over the common data sets, and all accuracies."""
    common = compared.common
    columns = {
        "mean_accuracy": common.mean(),
        "average_rank": average_ranks(common),
        "n_datasets": pd.Series(len(common), index=common.columns),
        "n_runs": compared.over_runs("count").loc[common.index].sum(),
        "n_epochs": compared.runs.groupby("label")["n_epochs"].max(),
    }
    against = wins_ties_losses(common, STUDIES[name].reference)
    numbers = pd.DataFrame(columns).loc[common.columns]
    costs = tables.mean_costs(compared)
    return pd.concat([numbers, against, costs, compared.accuracy.T], axis=1).rename_axis("setting")

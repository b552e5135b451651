"""The studies, of the paper and of the default recipe: what each compares, page and table."""

from typing import NamedTuple

import pandas as pd

from dsn_sktime.benchmarking.estimators.registry import READINGS
from dsn_sktime.benchmarking.report import figures, tables
from dsn_sktime.benchmarking.report.build import sections
from dsn_sktime.benchmarking.report.comparison import Comparison, collect, split_runs
from dsn_sktime.benchmarking.report.formatting import count, numbers
from dsn_sktime.benchmarking.report.page import Page
from dsn_sktime.statistics import average_ranks, wins_ties_losses

PAPER, DEFAULT = "dsn-paper", "dsn"
_CAVEATS = {
    PAPER: "The paper trains 1,000 epochs: fewer, on few data sets, show how the study works, "
    "not its answer.",
    DEFAULT: "Recipes are chosen by the test series of development sets, so these accuracies are "
    "no estimate for other data.",
}


class Study(NamedTuple):
    """Settings of DSNClassifier to compare, each the short name of an estimator.

    The others are compared with the setting of the estimator ``compared_with``.
    """

    title: str
    question: str
    settings: dict[str, str]
    compared_with: str = PAPER

    @property
    def reference(self) -> str:
        """The setting which the others are compared with."""
        return next(one for one, name in self.settings.items() if name == self.compared_with)


STUDIES = {
    "sparsity": Study(
        "Sparsity",
        "How sparse may the exploration regions be? Dense: no kernel groups, all weights active.",
        {
            "50 %": "dsn-sparsity50",
            "80 % (paper)": PAPER,
            "90 %": "dsn-sparsity90",
            "dense": "dsn-dense",
        },
    ),
    "size": Study(
        "Width and depth",
        "Does a wider or deeper network do better? Channels are those of all three kernel groups.",
        {
            "141 channels, 3 layers": "dsn-3layers",
            "141 channels, 4 layers (paper)": PAPER,
            "141 channels, 5 layers": "dsn-5layers",
            "177 channels, 4 layers": "dsn-59filters",
        },
    ),
    "groups": Study(
        "Kernel groups",
        "What do kernel groups gain? Without them each kernel may reach over all 39 taps, at the "
        "same sparsity of 80 %, and so has more activated weights.",
        {"3 groups (paper)": PAPER, "no groups": "dsn-nogroups"},
    ),
    "fix": Study(
        "Dynamic or fixed topology",
        "What does the search for a topology gain? DSNfix keeps the first one, which activates "
        "the first taps of each exploration region.",
        {"DSN (paper)": PAPER, "DSNfix": "dsn-fix"},
    ),
    "growth": Study(
        "Growth",
        "Should weights grow at random or where the dense gradient is largest?",
        {"random (paper)": PAPER, "gradient": "dsn-grad"},
    ),
    "recipe": Study(
        "Default recipe",
        "What does each part of the default recipe gain? Each setting changes one.",
        {
            "default": DEFAULT,
            "25 epochs": "dsn-25epochs",
            "100 epochs": "dsn-100epochs",
            "last weights": "dsn-last",
            "label smoothing 0.1": "dsn-smoothing",
            "weight decay 0.1": "dsn-decay",
            "zeros padding": "dsn-zeros",
            "random first topology": "dsn-random",
            "learning rate 1e-3": "dsn-lr1e-3",
            "learning rate 1e-2": "dsn-lr1e-2",
            "the paper's batch size": "dsn-batch",
        },
        DEFAULT,
    ),
    "head": Study(
        "Head",
        "How should a trained network be read? All settings but the linear head read the same "
        "networks. Only one of these settings trains, so fitting times of the others lack it.",
        {
            "default": DEFAULT,
            **{entry.about: name for name, entry in READINGS.items()},
            "linear head": "dsn-linear",
        },
        DEFAULT,
    ),
    "ensemble": Study(
        "Ensembles",
        "What do five networks gain, and what if they differ in their seeds only?",
        {"one network": DEFAULT, "five": "dsn-ens5", "five, seeds only": "dsn-ens5-alike"},
        DEFAULT,
    ),
}


def split_by_setting(name: str, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return successes and failures labeled by setting; ValueError if the reference has none."""
    setting_of = {estimator: setting for setting, estimator in STUDIES[name].settings.items()}
    parts = split_runs(rows, "default")
    runs, failed = (part.assign(label=part["estimator"].map(setting_of)) for part in parts)
    if (wanted := STUDIES[name].reference) not in set(runs["label"]):
        errors = [*failed.loc[failed["label"] == wanted, "error"], "another process has its jobs."]
        raise ValueError(f"the setting {wanted!r} has no result yet: {errors[0]}")
    return runs, failed


def page(name: str, runs: pd.DataFrame, failed: pd.DataFrame) -> Page:
    """Return the page of a study, whose results have the column "label" of the setting."""
    study, compared = STUDIES[name], _collect(name, runs)
    found, n_common = sections(compared, failed, study.reference), len(compared.common)
    if n_common:
        found[0].figures.append(figures.settings(compared.common))
    lead = (
        f"Epochs: {numbers(runs['n_epochs'])}; seeds: {numbers(runs['seed'])}; "
        f"{count(n_common, 'data set')} with an accuracy of every setting. "
        + _CAVEATS[study.compared_with]
    )
    # Studies share the folder of their figures.
    named = [
        one._replace(figures=[drawn._replace(name=f"{name}-{drawn.name}") for drawn in one.figures])
        for one in found
    ]
    return Page(f"Study: {study.title}", [study.question, lead], named, set())


def table(name: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per setting: means over the common data sets, costs, accuracies by data set.

    ``runs`` are successful results with the column "label" of the setting.
    """
    compared = _collect(name, runs)
    common, costs = compared.common, tables.mean_costs(compared)
    columns = {
        "mean_accuracy": common.mean(),
        "average_rank": average_ranks(common),
        "n_datasets": pd.Series(len(common), index=common.columns),
        "n_runs": compared.over_runs("count").loc[common.index].sum(),
        "n_epochs": runs.groupby("label")["n_epochs"].max(),
    }
    against = wins_ties_losses(common, STUDIES[name].reference)
    numbers = pd.DataFrame(columns).loc[common.columns]
    parts = [numbers, against, costs.drop(columns="accuracy"), compared.accuracy.T]
    return pd.concat(parts, axis=1).rename_axis("setting")


def _collect(name: str, runs: pd.DataFrame) -> Comparison:
    """Collect the accuracies of a study, in the order of its settings."""
    measured = set(runs["label"])
    return collect(runs, [], [label for label in STUDIES[name].settings if label in measured])

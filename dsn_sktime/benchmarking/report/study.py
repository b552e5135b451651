"""The paper's studies: what each compares, and its table and plots from a results file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from dsn_sktime.benchmarking import report_figures as figures
from dsn_sktime.benchmarking import report_tables as tables
from dsn_sktime.benchmarking.comparison import Scores, collect
from dsn_sktime.benchmarking.page import Figure, Page, Section, draw
from dsn_sktime.statistics import average_ranks, wins_ties_losses
from dsn_sktime.benchmarking.wording import count, list_numbers
from dsn_sktime.plotting import plot_settings

__all__ = ["PAPER", "STUDIES", "Study", "page", "table", "write"]

PAPER = "dsn-paper"


@dataclass(frozen=True)
class Study:
    """Settings of DSNClassifier to compare.

    Attributes
    ----------
    title : str
    question : str
        What is compared, in a sentence.
    settings : dict of str to str
        The estimator of each setting, by its short name. One is the paper's own, which the
        others are held against.
    """

    title: str
    question: str
    settings: dict[str, str]

    @property
    def paper(self) -> str:
        """The setting of the paper."""
        return next(label for label, name in self.settings.items() if name == PAPER)


STUDIES = {
    "sparsity": Study(
        "Sparsity",
        "How sparse may the exploration regions be? Dense is the network without kernel groups "
        "in which every weight is activated.",
        {
            "50 %": "dsn-sparsity50",
            "80 % (paper)": PAPER,
            "90 %": "dsn-sparsity90",
            "dense": "dsn-dense",
        },
    ),
    "size": Study(
        "Width and depth",
        "Does a wider or deeper network do better? Channels are those of a layer, over all "
        "three kernel groups.",
        {
            "141 channels, 3 layers": "dsn-3layers",
            "141 channels, 4 layers (paper)": PAPER,
            "141 channels, 5 layers": "dsn-5layers",
            "177 channels, 4 layers": "dsn-59filters",
        },
    ),
    "groups": Study(
        "Kernel groups",
        "What do kernel groups gain? Without them each kernel may reach over all 39 taps, at "
        "the same sparsity of 80 %, and so has more activated weights.",
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
}


def page(name: str, runs: pd.DataFrame, failed: pd.DataFrame) -> Page:
    """Lay out the page of a study.

    Parameters
    ----------
    name : str
        Key of :data:`STUDIES`.
    runs, failed : DataFrame
        Rows of the results file, with the column "label" of the setting.

    Returns
    -------
    Page
    """
    study, scores = STUDIES[name], _scores(name, runs)
    common = scores.common
    lead = (
        f"Epochs: {list_numbers(runs['n_epochs'])}; seeds: {list_numbers(runs['seed'])}; "
        f"{count(len(common), 'data set')} with an accuracy of every setting. The paper trains "
        "1,000 epochs: fewer, on few data sets, show how the study works, not its answer."
    )
    of_summary = [] if common.empty else [tables.summary(scores, study.paper)]
    of_summary += [] if common.empty else [tables.costs(scores)]
    sections = [
        Section("Summary", [], _figures(name, scores), of_summary),
        Section("Accuracy by data set", tables=[tables.by_dataset(scores)]),
    ]
    if scores.left_out():
        sections.append(Section("Data sets left out", tables=[tables.left_out(scores, failed)]))
    if len(failed):
        sections.append(Section("Failed runs", tables=[tables.failures(failed)]))
    sections.append(_provenance(scores))
    return Page(f"Study: {study.title}", [study.question, lead], sections)


def _scores(name: str, runs: pd.DataFrame) -> Scores:
    """Collect the accuracies of a study, in the order of its settings."""
    measured = set(runs["label"])
    return collect(runs, [], [label for label in STUDIES[name].settings if label in measured])


def table(name: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per setting: means over the common data sets, costs, accuracies.

    Parameters
    ----------
    name : str
        Key of :data:`STUDIES`.
    runs : DataFrame
        Successful rows of the results file, with the column "label" of the setting.

    Returns
    -------
    DataFrame
        Indexed by "setting". The last columns are the accuracies by data set.
    """
    scores = _scores(name, runs)
    common, costs = scores.common, tables.cost_table(scores)
    columns = {
        "mean_accuracy": common.mean(),
        "average_rank": average_ranks(common),
        "n_datasets": pd.Series(len(common), index=common.columns),
        "n_runs": scores.over_runs("count").loc[common.index].sum(),
        "n_epochs": runs.groupby("label")["n_epochs"].max(),
    }
    against = wins_ties_losses(common, STUDIES[name].paper)
    return pd.concat(
        [
            pd.DataFrame(columns).loc[common.columns],
            against,
            costs.drop(columns="accuracy"),
            scores.accuracy.T,
        ],
        axis=1,
    ).rename_axis("setting")


def _figures(name: str, scores: Scores) -> list[Figure]:
    common = scores.common
    if common.empty:
        return []
    means = "; ".join(f"{label} {100 * mean:.1f} %" for label, mean in common.mean().items())
    settings = draw(
        f"{name}-accuracy",
        partial(plot_settings, figures.plain_names(common)),
        f"Accuracy by setting. Means: {means}.",
        f"Accuracy by setting. A thin line is one of {count(len(common), 'data set')}, mean over "
        "its runs; the thick line is their mean.",
        (7.5, 3.8),
    )
    drawn = figures.drawn_costs(tables.cost_table(scores), len(common), prefix=f"{name}-")
    return [settings, *drawn]


def _provenance(scores: Scores) -> Section:
    runs = scores.runs
    lines = [
        "Splits: the archive's own split into training and test series.",
        f"Machine: {'; '.join(sorted(set(runs['host']) - {''})) or 'not known'}.",
        f"Versions: {tables.versions(runs)}.",
    ]
    return Section("How it was measured", lines, tables=[tables.parameters(scores)])


def write(name: str, runs: pd.DataFrame, failed: pd.DataFrame, folder: Path) -> None:
    """Write the table of a study as CSV, and its page as Markdown with PNGs and as HTML."""
    of_study = page(name, runs, failed)
    table(name, runs).round(6).to_csv(folder / f"{name}.csv")
    of_study.write_markdown(folder / f"{name}.md")
    of_study.write_html(folder / f"{name}.html")

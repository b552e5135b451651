"""``report``: the comparison of the estimators in a results file, as a page."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dsn_sktime.benchmarking import report_figures as figures
from dsn_sktime.benchmarking import report_tables as tables
from dsn_sktime.benchmarking import results as results_file
from dsn_sktime.benchmarking.comparison import (
    Published,
    Scores,
    collect,
    did_you_mean,
    failed_runs,
    protocols,
    read_published,
    resolve,
    successful_runs,
)
from dsn_sktime.benchmarking.page import Page, Section, Table, check_installed
from dsn_sktime.benchmarking.run import tell_of_broken_lines
from dsn_sktime.benchmarking.wording import count, list_numbers, one_line

__all__ = ["add_parser", "build"]


def add_parser(commands: Any) -> None:
    """Add the subcommand ``report``."""
    command = commands.add_parser("report", help="compare the estimators of a results file")
    command.add_argument("results", type=Path, metavar="RESULTS.csv", help="written by 'run'")
    command.add_argument(
        "--published",
        type=Path,
        nargs="+",
        default=[],
        metavar="CSV",
        help="published accuracies to show beside the measured ones",
    )
    command.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where the pages are written"
    )
    command.add_argument(
        "--estimators",
        nargs="+",
        default=[],
        metavar="NAME",
        help="compare these only, measured or published (all)",
    )
    command.add_argument(
        "--reference",
        metavar="NAME",
        help="the estimator that the others are held against (the first)",
    )
    command.add_argument(
        "--split",
        metavar="PROTOCOL",
        help="'default' or, for resamples, '5-fold' and the like ('default' where it was run)",
    )
    command.set_defaults(run=_report)


def _report(chosen: argparse.Namespace) -> None:
    check_installed()
    tell_of_broken_lines(chosen.results)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # has just been told
        rows = results_file.read(chosen.results)
    if rows.empty:
        raise ValueError(f"{chosen.results} holds no results yet. Write some with 'run'.")
    page = build(
        rows,
        [read_published(path) for path in chosen.published],
        estimators=chosen.estimators,
        reference=chosen.reference,
        protocol=chosen.split,
    )
    chosen.output.mkdir(parents=True, exist_ok=True)
    page.write_html(chosen.output / "report.html")
    page.write_markdown(chosen.output / "report.md")
    print("\n".join(page.paragraphs))
    print(f"Written: {chosen.output / 'report.html'} and {chosen.output / 'report.md'}")


def build(
    results: pd.DataFrame,
    published: Sequence[Published] = (),
    *,
    estimators: Sequence[str] = (),
    reference: str | None = None,
    protocol: str | None = None,
) -> Page:
    """Compare the estimators of a results file with each other and with published ones.

    Parameters
    ----------
    results : DataFrame
        Rows of a results file.
    published : sequence of Published, default=()
        Accuracies on the default splits.
    estimators : sequence of str, default=()
        Those to compare, in this order; all if empty.
    reference : str, optional
        The estimator that the others are held against; the first if None.
    protocol : str, optional
        "default", or "5-fold" and the like for resamples. None is "default" where there
        are runs of it.

    Returns
    -------
    Page

    Raises
    ------
    ValueError
        If there is nothing to compare, a name is unknown, or published accuracies would
        stand beside those of resamples.
    """
    protocol = _chosen_protocol(results, protocol)
    _check_published(published, protocol)
    runs = successful_runs(results, protocol)
    failed = failed_runs(results, runs, protocol)
    if runs.empty:
        raise ValueError(
            f"none of the {len(failed)} runs of the protocol {protocol} succeeded. The first "
            f"failed with: {one_line(failed['error'].iloc[0])}"
        )
    scores = collect(runs, published, estimators)
    names = list(scores.accuracy.columns)
    reference = names[0] if reference is None else resolve(reference, names)
    sections = [
        *_averages(scores, reference),
        Section("Accuracy by data set", tables=[tables.by_dataset(scores)]),
        *_section_if("Data sets left out", [tables.left_out(scores, failed)]),
        *_section_if("Failed runs", [tables.failures(failed)]),
        *_section_if(
            "Published means", [tables.published_means(one) for one in published if len(one.means)]
        ),
        _protocol(scores, protocol, results),
    ]
    return Page("Comparison of time series classifiers", _lead(scores, failed, protocol), sections)


def _chosen_protocol(results: pd.DataFrame, protocol: str | None) -> str:
    there = list(dict.fromkeys(protocols(results)))
    if protocol is None:
        return "default" if "default" in there else there[0]
    if protocol not in there:
        raise ValueError(f"unknown protocol {protocol!r}. {did_you_mean(protocol, there)}")
    return protocol


def _check_published(published: Sequence[Published], protocol: str) -> None:
    if protocol != "default" and any(len(one.accuracy) for one in published):
        raise ValueError(
            f"published accuracies are on the default splits, found runs of the protocol "
            f"{protocol}. Leave out --published, or give --split default."
        )


def _lead(scores: Scores, failed: pd.DataFrame, protocol: str) -> list[str]:
    n_common, n_all = len(scores.common), len(scores.accuracy)
    lines = [
        f"{count(len(scores.measured), 'estimator')} measured here, "
        f"{len(scores.published)} taken from publications. "
        f"{n_common} of {count(n_all, 'measured data set')} have an accuracy of every "
        f"estimator; averages, ranks, tests and plots are over these {n_common}."
    ]
    if scores.published:
        lines.append(
            'Whatever was not measured here is labelled "published" in its name, set in '
            "coloured italics in tables and drawn grey or hollow in figures. Published numbers "
            "come from other machines, other code and other numbers of runs."
        )
    if len(failed):
        lines.append(f"Failed runs, listed below: {len(failed)}.")
    if protocol != "default":
        lines.append(f"Splits: {protocol} resamples of training and test series together.")
    return lines


def _averages(scores: Scores, reference: str) -> list[Section]:
    """Return the sections that are over the common data sets."""
    common = scores.common
    if common.empty:
        text = (
            "No data set has an accuracy of every estimator, so there is no average to compare. "
            "Compare fewer of them with --estimators; each accuracy stands in the table by "
            "data set."
        )
        return [Section("Summary", [text])]
    return [
        Section("Summary", tables=[tables.summary(scores, reference)]),
        *_critical_difference(scores),
        *_pairwise(scores, reference),
        _costs(scores),
        Section("Other measures", tables=[tables.measures(scores)]),
    ]


def _critical_difference(scores: Scores) -> list[Section]:
    common = scores.common
    if min(common.shape) < 2:
        return []
    sets = tables.not_told_apart(common)
    caption = "Largest sets of estimators that the test does not tell apart: the bars in words."
    rows = [[str(place), ", ".join(one)] for place, one in enumerate(sets, start=1)]
    few = tables.too_few(common)
    return [
        Section(
            "Critical difference",
            [few] if few else [],
            [figures.critical_difference(scores, len(sets))],
            [Table(caption, ["Set", "Estimators"], rows)] if sets else [],
        )
    ]


def _pairwise(scores: Scores, reference: str) -> list[Section]:
    others = [name for name in scores.common.columns if name != reference]
    text = (
        f"A point is one of {count(len(scores.common), 'data set')}; on those above the line the "
        f"estimator named on the vertical axis is more accurate than {reference}. The largest "
        "difference to either side is named."
    )
    drawn = [
        figures.pairwise(scores, reference, name, place)
        for place, name in enumerate(others, start=1)
    ]
    return [Section("Pairwise accuracies", [text], drawn)] if drawn else []


def _costs(scores: Scores) -> Section:
    text = "Of published estimators no cost was measured here, so they are left out."
    return Section(
        "Accuracy and cost",
        [text] if scores.published else [],
        figures.drawn_costs(tables.cost_table(scores), len(scores.common)),
        [tables.costs(scores)],
    )


def _section_if(title: str, of_section: list[Table]) -> list[Section]:
    """Return a section of the tables that have rows, or none."""
    filled = [table for table in of_section if table.rows]
    return [Section(title, tables=filled)] if filled else []


def _protocol(scores: Scores, protocol: str, results: pd.DataFrame) -> Section:
    runs = scores.runs
    split = "the archive's own split into training and test series"
    if protocol != "default":
        split = f"{protocol} resamples"
    lines = [
        f"Splits: {split}. Seeds: {list_numbers(runs['seed'])}. Runs: {len(runs)}, from "
        f"{runs['started'].min()} to {runs['started'].max()}.",
        f"Machine: {'; '.join(sorted(set(runs['host']) - {''})) or 'not known'}.",
        f"Versions: {tables.versions(runs)}.",
    ]
    others = sorted(set(protocols(results)) - {protocol})
    if others:
        lines.append(f"The results file also holds runs of {', '.join(others)}, left out here.")
    of_section = [tables.parameters(scores), tables.datasets(scores)]
    return Section("How it was measured", lines, tables=of_section)

"""The page of a comparison, for reports and studies alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from dsn_sktime.benchmarking.report import figures, tables
from dsn_sktime.benchmarking.report.comparison import (
    Comparison,
    collect,
    did_you_mean,
    failed_runs,
    protocols,
    resolve,
    successful_runs,
)
from dsn_sktime.benchmarking.report.formatting import count, list_numbers, one_line
from dsn_sktime.benchmarking.report.page import Page, Section, Table
from dsn_sktime.benchmarking.report.published import Published
from dsn_sktime.statistics import average_ranks, cliques, wilcoxon_holm

__all__ = ["build", "sections"]


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
        Of :func:`dsn_sktime.benchmarking.run.results.read`.
    published : sequence of Published, default=()
        Accuracies on the default splits.
    estimators : sequence of str, default=()
        Estimators to compare, in this order; all if empty.
    reference : str, optional
        The estimator that the others are compared with; the first if None.
    protocol : str, optional
        "default", or "5-fold" and the like for resamples. None is "default" where there
        are runs of it.

    Raises
    ------
    ValueError
        If there is nothing to compare, a name is unknown, or published accuracies would
        stand beside those of resamples.
    """
    protocol = _protocol(results, published, protocol)
    runs = successful_runs(results, protocol)
    failed = failed_runs(results, runs, protocol)
    if runs.empty:
        raise ValueError(
            f"none of the {len(failed)} runs of the protocol {protocol} succeeded. The first "
            f"failed with: {one_line(failed['error'].iloc[0])}"
        )
    compared = collect(runs, published, estimators)
    names = list(compared.accuracy.columns)
    reference = names[0] if reference is None else resolve(reference, names)
    found = sections(compared, failed, reference, [one for one in published if len(one.means)])
    if others := sorted(set(protocols(results)) - {protocol}):
        text = f"The results file also holds runs of {', '.join(others)}, left out here."
        found[-1].paragraphs.append(text)
    named = {str(name) for one in published for name in one.means.get("classifier", [])}
    styled = frozenset({*compared.published, *named})
    return Page("Comparison of time series classifiers", _lead(compared, failed), found, styled)


def _protocol(results: pd.DataFrame, published: Sequence[Published], protocol: str | None) -> str:
    present = list(dict.fromkeys(protocols(results)))
    if protocol is None:
        protocol = "default" if "default" in present else present[0]
    if protocol not in present:
        raise ValueError(f"unknown protocol {protocol!r}. {did_you_mean(protocol, present)}")
    if protocol != "default" and any(len(one.accuracy) for one in published):
        raise ValueError(
            f"published accuracies are on the default splits, found runs of the protocol "
            f"{protocol}. Leave out --published, or give --split default."
        )
    return protocol


def _lead(compared: Comparison, failed: pd.DataFrame) -> list[str]:
    n_common, n_all = len(compared.common), len(compared.accuracy)
    lines = [
        f"{count(len(compared.measured), 'estimator')} measured here, "
        f"{len(compared.published)} taken from publications. "
        f"{n_common} of {count(n_all, 'measured data set')} have an accuracy of every "
        f"estimator; averages, ranks, tests and plots are over these {n_common}."
    ]
    if compared.published:
        lines.append(
            'Whatever was not measured here is labelled "published" in its name, set in '
            "coloured italics in tables and drawn grey or hollow in figures. Published numbers "
            "come from other machines, other code and other numbers of runs."
        )
    if len(failed):
        lines.append(f"{count(len(failed), 'run')} never succeeded and count nowhere.")
    return lines


def sections(
    compared: Comparison,
    failed: pd.DataFrame,
    reference: str,
    published_means: Sequence[Published] = (),
    prefix: str = "",
) -> list[Section]:
    """Return the sections of a page; ``prefix`` starts the names of their figures."""
    found = [
        *_averages(compared, reference),
        Section("Accuracy by data set", tables=[tables.by_dataset(compared)]),
        *_section_if("Data sets left out", [tables.left_out(compared, failed)]),
        *_section_if("Failed runs", [tables.failures(failed)]),
        *_section_if("Published means", [tables.published_means(one) for one in published_means]),
        _provenance(compared),
    ]
    return [
        replace(one, figures=[replace(figure, name=prefix + figure.name) for figure in one.figures])
        for one in found
    ]


def _averages(compared: Comparison, reference: str) -> list[Section]:
    """Return the sections that are over the common data sets."""
    common = compared.common
    if common.empty:
        text = (
            "No data set has an accuracy of every estimator, so there is no average to compare. "
            "Compare fewer of them with --estimators; each accuracy stands in the table by "
            "data set."
        )
        return [Section("Summary", [text])]
    text = "Of published estimators no cost was measured here, so they are left out."
    return [
        Section("Summary", tables=[tables.summary(compared, reference)]),
        *(_significance(compared, reference) if common.shape[1] > 1 else []),
        Section(
            "Accuracy and cost",
            [text] if compared.published else [],
            figures.accuracy_costs(tables.mean_costs(compared), len(common)),
            [tables.costs(compared)],
        ),
        Section("Other measures", tables=[tables.measures(compared)]),
    ]


def _significance(compared: Comparison, reference: str) -> list[Section]:
    common, found = compared.common, []
    if len(common) > 1:
        ranked = average_ranks(common).sort_values(kind="stable").index
        sets = cliques(wilcoxon_holm(common).loc[ranked, ranked])
        caption = "Largest sets of estimators without a significant difference: the bars in words."
        rows = {"Set": map(str, range(1, len(sets) + 1)), "Estimators": map(", ".join, sets)}
        few = tables.too_few(common)
        found = [
            Section(
                "Critical difference",
                [few] if few else [],
                [figures.critical_difference(compared, len(sets))],
                [Table(caption, pd.DataFrame(rows))] if sets else [],
            )
        ]
    text = (
        f"A point is one of {count(len(common), 'data set')}; on those above the line the "
        f"estimator named on the vertical axis is more accurate than {reference}. The largest "
        "difference to either side is named."
    )
    others = [name for name in common.columns if name != reference]
    drawn = [figures.pairwise(compared, reference, *one) for one in enumerate(others, start=1)]
    return [*found, Section("Pairwise accuracies", [text], drawn)]


def _section_if(title: str, of_section: list[Table]) -> list[Section]:
    """Return a section of the tables that have rows, or none."""
    filled = [table for table in of_section if len(table.cells)]
    return [Section(title, tables=filled)] if filled else []


def _provenance(compared: Comparison) -> Section:
    runs = compared.runs
    protocol = protocols(runs).iloc[0]
    split = "the archive's own split into training and test series"
    lines = [
        f"Splits: {split if protocol == 'default' else f'{protocol} resamples'}. "
        f"Seeds: {list_numbers(runs['seed'])}. Runs: {len(runs)}, from "
        f"{runs['started'].min()} to {runs['started'].max()}.",
        f"Machine: {'; '.join(sorted(set(runs['host']) - {''})) or 'not known'}.",
        f"Versions: {tables.versions(runs)}.",
    ]
    of_section = [tables.parameters(compared), tables.datasets(compared)]
    return Section("How it was measured", lines, tables=of_section)

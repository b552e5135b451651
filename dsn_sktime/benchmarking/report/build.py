"""The page of a comparison, for reports and studies alike."""

from collections.abc import Iterator, Sequence

import pandas as pd

from dsn_sktime.benchmarking.report import comparison, figures, tables
from dsn_sktime.benchmarking.report.comparison import Comparison, protocols
from dsn_sktime.benchmarking.report.page import Page, Section
from dsn_sktime.benchmarking.report.tables import count, numbers


def build(
    results: pd.DataFrame,
    published: Sequence[pd.DataFrame] = (),
    estimators: Sequence[str] = (),
    reference: str | None = None,
    protocol: str | None = None,
) -> Page:
    """Compare the estimators of a results file with each other and with published ones.

    ``published`` are tables of ``read_published``; ``estimators`` those to compare, in this order,
    all if empty; ``reference`` the one that the others are compared with, the first if None;
    ``protocol`` "default", or "5-fold" and the like for resamples, and if None "default" where
    there are runs of it. Raise ValueError if there is nothing to compare, a name is unknown, or
    published accuracies, which are on the default splits, would stand beside those of resamples.
    """
    present = list(dict.fromkeys(protocols(results)))
    protocol = protocol or ("default" if "default" in present else present[0])
    comparison.resolve(protocol, present, "protocol")
    means = [one for one in published if "classifier" in one]
    accuracies = [one for one in published if "classifier" not in one]
    if protocol != "default" and accuracies:
        raise ValueError(f"published accuracies are on the default splits, not on {protocol}.")
    runs, failed = comparison.split_runs(results, protocol)
    if runs.empty:
        first = failed["error"].iloc[0]
        raise ValueError(f"no run of the protocol {protocol} succeeded, the first failed: {first}")
    compared = comparison.collect(runs, accuracies, estimators)
    names = list(compared.accuracy.columns)
    failed = failed[failed["label"].isin(names)] if estimators else failed
    reference = names[0] if reference is None else comparison.resolve(reference, names)
    found = sections(compared, failed, reference, means)
    if others := ", ".join(sorted({*present} - {protocol})):
        found[-1].paragraphs.append(f"The results file also holds runs of {others}, left out here.")
    lead = (
        f"{count(len(compared.measured), 'estimator')} measured here, {len(compared.published)} "
        f"taken from publications. {len(compared.common)} of "
        f"{count(len(compared.accuracy), 'measured data set')} have an accuracy of every "
        "estimator; averages, ranks, tests and plots are over these."
    )
    apart = (
        'What was not measured here has "published" in its name, and is gray or hollow in figures. '
        "It comes from other machines, other code and other numbers of runs."
    )
    paragraphs = [lead, apart] if compared.published else [lead]
    return Page("Comparison of time series classifiers", paragraphs, found)


def sections(
    compared: Comparison, failed: pd.DataFrame, reference: str, means: Sequence[pd.DataFrame] = ()
) -> list[Section]:
    """Return the sections of a page; ``means`` are published ones, for a table of their own."""
    found = {
        "Accuracy by data set": [tables.by_dataset(compared)],
        "Data sets left out": [tables.left_out(compared, failed)],
        "Failed runs": [tables.failures(failed)],
        "Published means": [tables.published_means(one) for one in means],
    }
    shown = {title: [one for one in each if len(one.cells)] for title, each in found.items()}
    listed = [Section(title, [], [], each) for title, each in shown.items() if each]
    return [*_averages(compared, reference), *listed, _provenance(compared)]


def _averages(compared: Comparison, reference: str) -> Iterator[Section]:
    """Yield the sections that are over the common data sets."""
    common = compared.common
    if common.empty:
        text = "No data set has an accuracy of every estimator: compare fewer with --estimators."
        yield Section("Summary", [text], [], [])
        return
    yield Section("Summary", [], [], [tables.summary(compared, reference)])
    if min(common.shape) > 1:
        yield Section("Critical difference", [], [figures.critical_difference(compared)], [])
    if others := [name for name in common if name != reference]:
        text = (
            "A point is a data set. Above the line, the estimator named on the vertical axis is "
            f"more accurate than {reference}; the largest difference to either side is named."
        )
        drawn = [figures.pairwise(compared, reference, *one) for one in enumerate(others, start=1)]
        yield Section("Pairwise accuracies", [text], drawn, [])
    text = "Of published estimators no cost was measured here, so they are left out."
    drawn = figures.accuracy_costs(compared)
    lines = [text] if compared.published else []
    yield Section("Costs and other measures", lines, drawn, [tables.costs(compared)])


def _provenance(compared: Comparison) -> Section:
    runs = compared.runs
    lines = [
        f"Splits: {', '.join(protocols(runs).unique())}. Seeds: {numbers(runs['seed'])}. "
        f"Runs: {len(runs)}, from {runs['started'].min()} to {runs['started'].max()}.",
        f"Machines: {'; '.join(sorted({*runs['host']} - {''})) or 'not known'}.",
        f"Versions: {tables.versions(runs['versions']) or 'not known'}.",
    ]
    return Section("How it was measured", lines, [], [tables.parameters(compared)])

"""The page of a comparison, for reports and studies alike."""

from collections.abc import Iterator, Sequence

import pandas as pd

from dsn_sktime.benchmarking.report import comparison, figures, tables
from dsn_sktime.benchmarking.report.comparison import Comparison, protocols
from dsn_sktime.benchmarking.report.formatting import count, numbers, one_line
from dsn_sktime.benchmarking.report.page import Page, Section, Table
from dsn_sktime.benchmarking.report.published import Published
from dsn_sktime.statistics import average_ranks, cliques, wilcoxon_holm


def build(
    results: pd.DataFrame,
    published: Sequence[Published] = (),
    estimators: Sequence[str] = (),
    reference: str | None = None,
    protocol: str | None = None,
) -> Page:
    """Compare the estimators of a results file with each other and with published ones.

    ``estimators`` are those to compare, in this order, all if empty; ``reference`` the one that
    the others are compared with, the first if None; ``protocol`` "default", or "5-fold" and the
    like for resamples, and if None "default" where there are runs of it. Raise ValueError if
    there is nothing to compare, a name is unknown, or published accuracies, which are on the
    default splits, would stand beside those of resamples.
    """
    present = list(dict.fromkeys(protocols(results)))
    protocol = protocol or ("default" if "default" in present else present[0])
    comparison.resolve(protocol, present, "protocol")
    if protocol != "default" and any(len(one.accuracy) for one in published):
        raise ValueError(
            f"published accuracies are on the default splits, found runs of the protocol "
            f"{protocol}. Leave out --published, or give --split default."
        )
    runs, failed = comparison.split_runs(results, protocol)
    if runs.empty:
        raise ValueError(
            f"none of the {len(failed)} runs of the protocol {protocol} succeeded. The first "
            f"failed with: {one_line(failed['error'].iloc[0])}"
        )
    compared = comparison.collect(runs, published, estimators)
    names = list(compared.accuracy.columns)
    reference = names[0] if reference is None else comparison.resolve(reference, names)
    means = [one for one in published if len(one.means)]
    found = sections(compared, failed, reference, means)
    if others := ", ".join(sorted({*present} - {protocol})):
        found[-1].paragraphs.append(f"The results file also holds runs of {others}, left out here.")
    named = {str(name) for one in means for name in one.means["classifier"]}
    title = "Comparison of time series classifiers"
    return Page(title, _lead(compared, failed), found, {*compared.published, *named})


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
            'Whatever was not measured here is labeled "published" in its name, set in '
            "colored italics in tables and drawn gray or hollow in figures. Published numbers "
            "come from other machines, other code and other numbers of runs."
        )
    return lines + ([f"Failed runs, listed below: {len(failed)}."] if len(failed) else [])


def sections(
    compared: Comparison, failed: pd.DataFrame, reference: str, means: Sequence[Published] = ()
) -> list[Section]:
    """Return the sections of a page; ``means`` are published ones, for a table of their own."""
    optional = {
        "Data sets left out": [tables.left_out(compared, failed)],
        "Failed runs": [tables.failures(failed)],
        "Published means": [tables.published_means(one) for one in means],
    }
    return [
        *_averages(compared, reference),
        Section("Accuracy by data set", [], [], [tables.by_dataset(compared)]),
        *(
            Section(title, [], [], of_section)
            for title, of_section in optional.items()
            if any(len(table.cells) for table in of_section)
        ),
        _provenance(compared),
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
        return [Section("Summary", [text], [], [])]
    text = "Of published estimators no cost was measured here, so they are left out."
    drawn = figures.accuracy_costs(tables.mean_costs(compared), len(common))
    lines = [text] if compared.published else []
    return [
        Section("Summary", [], [], [tables.summary(compared, reference)]),
        *(_differences(compared, reference) if common.shape[1] > 1 else []),
        Section("Accuracy and cost", lines, drawn, [tables.costs(compared)]),
        Section("Other measures", [], [], [tables.measures(compared)]),
    ]


def _differences(compared: Comparison, reference: str) -> Iterator[Section]:
    """Yield the sections that compare two estimators or more."""
    common = compared.common
    if len(common) > 1:
        ranked = average_ranks(common).sort_values(kind="stable").index
        sets = cliques(wilcoxon_holm(common).loc[ranked, ranked])
        caption = "Largest sets of estimators without a significant difference: the bars in words."
        rows = [(str(place), ", ".join(one)) for place, one in enumerate(sets, start=1)]
        table = Table(caption, pd.DataFrame(rows, columns=["Set", "Estimators"]))
        few, drawn = tables.too_few(common), [figures.critical_difference(compared, len(sets))]
        yield Section("Critical difference", [few] if few else [], drawn, [table] if sets else [])
    text = (
        f"A point is one of {count(len(common), 'data set')}; on those above the line the "
        f"estimator named on the vertical axis is more accurate than {reference}. The largest "
        "difference to either side is named."
    )
    others = [name for name in common if name != reference]
    drawn = [figures.pairwise(compared, reference, *one) for one in enumerate(others, start=1)]
    yield Section("Pairwise accuracies", [text], drawn, [])


def _provenance(compared: Comparison) -> Section:
    runs = compared.runs
    protocol = protocols(runs).iloc[0]
    split = "the archive's own split into training and test series"
    lines = [
        f"Splits: {split if protocol == 'default' else f'{protocol} resamples'}. "
        f"Seeds: {numbers(runs['seed'])}. Runs: {len(runs)}, from "
        f"{runs['started'].min()} to {runs['started'].max()}.",
        f"Machine: {'; '.join(sorted(set(runs['host']) - {''})) or 'not known'}.",
        f"Versions: {tables.versions(runs)}.",
    ]
    of_section = [tables.parameters(compared), tables.datasets(compared)]
    return Section("How it was measured", lines, [], of_section)

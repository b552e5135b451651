"""``report``: the comparison of estimators in a results file, as a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dsn_sktime.benchmarking import results as results_file
from dsn_sktime.benchmarking.page import (
    MISSING,
    Figure,
    Page,
    Section,
    Table,
    check_installed,
    draw,
)
from dsn_sktime.benchmarking.scores import (
    Published,
    Scores,
    collect,
    did_you_mean,
    estimator_labels,
    protocols,
    read_published,
    successful_runs,
    unique_names,
)
from dsn_sktime.benchmarking.statistics import (
    average_ranks,
    cliques,
    wilcoxon_holm,
    wins_ties_losses,
)
from dsn_sktime.plotting import plot_accuracy_cost, plot_critical_difference, plot_pairwise

__all__ = ["add_parser", "build", "cost_table", "plain_names"]

_RUN = ["dataset", "label", "seed", "split"]
# Column of the costs: title, unit of the axis, digits after the point.
_COSTS = {
    "n_parameters": ("Parameters", "parameters", 0),
    "multiply_adds": ("Multiply-adds per series", "multiply-adds per series", 0),
    "fit_seconds": ("Fit (s)", "seconds to fit", 1),
    "predict_ms": ("Predict (ms per series)", "milliseconds to predict a series", 2),
    "peak_memory_mb": ("Peak memory (MB)", "peak memory in MB", 0),
}
_DRAWN_COSTS = ("multiply_adds", "n_parameters", "fit_seconds")
_MEASURES = {
    "balanced_accuracy": "Balanced accuracy",
    "f1_macro": "F1, macro",
    "log_loss": "Log loss",
    "auroc": "AUROC",
}
_LONGEST_DRAWN_NAME = 46
_LONGEST_ERROR = 300


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
    command.add_argument("--output", type=Path, required=True, metavar="FOLDER")
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
    if protocol != "default" and any(len(one.accuracy) for one in published):
        raise ValueError(
            f"published accuracies are on the default splits, found runs of the protocol "
            f"{protocol}. Leave out --published, or give --split default."
        )
    runs = successful_runs(results, protocol)
    failed = _failed_runs(results, runs, protocol)
    if runs.empty:
        raise ValueError(
            f"none of the {len(failed)} runs of the protocol {protocol} succeeded. The first "
            f"failed with: {_one_line(failed['error'].iloc[0])}"
        )
    scores = collect(runs, published, estimators)
    if scores.accuracy.empty or not scores.measured:
        raise ValueError("estimators must have a measured one, found published ones only.")
    reference = _chosen_reference(scores, reference)
    sections = [
        _summary(scores, reference),
        *_critical_difference(scores),
        *_pairwise(scores, reference),
        *_costs(scores),
        *_measures(scores),
        _by_dataset(scores),
        *_left_out(scores, failed),
        *_failures(failed),
        *_published_means(published),
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


def _chosen_reference(scores: Scores, reference: str | None) -> str:
    names = list(scores.accuracy.columns)
    if reference is None:
        return names[0]
    found = [name for name in names if reference in (name, name.split(" (published")[0])]
    if not found:
        raise ValueError(f"unknown reference {reference!r}. {did_you_mean(reference, names)}")
    return found[0]


def _failed_runs(results: pd.DataFrame, runs: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return the last failure of each run that never succeeded."""
    rows = results.assign(label=estimator_labels(results))
    rows = rows[(protocols(rows) == protocol) & (rows["status"] != "ok")]
    rows = rows.drop_duplicates(_RUN, keep="last")
    succeeded = pd.MultiIndex.from_frame(runs[_RUN])
    return rows[~pd.MultiIndex.from_frame(rows[_RUN]).isin(succeeded)]


def _lead(scores: Scores, failed: pd.DataFrame, protocol: str) -> list[str]:
    n_common, n_all = len(scores.common), len(scores.accuracy)
    lines = [
        f"{_count(len(scores.measured), 'estimator')} measured here, "
        f"{len(scores.published)} taken from publications. "
        f"{n_common} of {_count(n_all, 'measured data set')} have an accuracy of every "
        f"estimator; averages, ranks, tests and plots are over these {n_common}."
    ]
    if scores.published:
        lines.append(
            'Whatever was not measured here is labelled "published" in its name, set in '
            "coloured italics in tables and drawn grey or hollow in figures. Published numbers "
            "come from other machines, other code and other numbers of runs."
        )
    if len(failed):
        lines.append(f"{_count(len(failed), 'run')} failed and are listed below.")
    if protocol != "default":
        lines.append(f"Splits: {protocol} resamples of training and test series together.")
    return lines


def _summary(scores: Scores, reference: str) -> Section:
    common = scores.common
    if common.empty:
        text = (
            "No data set has an accuracy of every estimator, so there is no average to compare. "
            "Compare fewer of them with --estimators; each accuracy stands in the table by "
            "data set."
        )
        return Section("Summary", [text])
    means = (100 * common.mean()).map("{:.2f}".format)
    columns: dict[str, pd.Series] = {"Mean accuracy (%)": means}
    if common.shape[1] > 1:
        columns |= _against(common, reference)
    columns["Runs per data set"] = _runs_behind(scores)
    columns["Epochs"] = _epochs(scores)
    table = pd.DataFrame(columns)
    order = _by_rank(common)
    best = frozenset({(order.index(name), 1) for name in _best(common.mean())})
    caption = f"Means over {_count(len(common), 'data set')}, best average rank first."
    if common.shape[1] > 1:
        caption += (
            f" Wins, ties and losses are those of the row against {reference}; p is of the "
            "Wilcoxon signed-rank test between the two, adjusted by Holm's step-down procedure "
            "for all pairs."
        )
    return Section("Summary", [], [], [_as_table(table.loc[order], "Estimator", caption, scores, best)])


def _against(common: pd.DataFrame, reference: str) -> dict[str, pd.Series]:
    counts = wins_ties_losses(common, reference)
    joined = counts.astype(str).agg(" / ".join, axis=1)
    columns = {
        "Average rank": average_ranks(common).map("{:.2f}".format),
        f"Wins / ties / losses against {reference}": joined.reindex(common.columns),
    }
    if len(common) > 1:
        p_values = wilcoxon_holm(common)[reference].drop(reference)
        columns["p (Holm)"] = p_values.map(_p_value).reindex(common.columns)
    return columns


def _critical_difference(scores: Scores) -> list[Section]:
    common = scores.common
    if min(common.shape) < 2:
        return []
    order = _by_rank(common)
    sets = cliques(wilcoxon_holm(common).loc[order, order])
    drawn = plain_names(common[order])
    plot = partial(plot_critical_difference, drawn, published=_drawn_published(scores, drawn, order))
    height = 1.0 + 0.24 * ((len(order) + 1) // 2 + len(sets))
    ranks = average_ranks(common)
    figure = draw(
        "critical-difference",
        plot,
        "Critical-difference diagram. Average ranks: "
        + ", ".join(f"{name} {ranks[name]:.2f}" for name in order)
        + ".",
        f"Average rank of {len(order)} estimators over {len(common)} data sets, best on the "
        "left. A bar joins estimators that the Wilcoxon signed-rank test with Holm's correction "
        "does not tell apart at 5 %.",
        (9, height),
    )
    caption = "Largest sets of estimators that the test does not tell apart: the bars in words."
    rows = [[str(number), ", ".join(one)] for number, one in enumerate(sets, 1)]
    tables = [Table(caption, ["Set", "Estimators"], rows)] if sets else []
    few = "With fewer than six data sets no difference can reach 5 %, however large it is."
    return [Section("Critical difference", [few] if len(common) < 6 else [], [figure], tables)]


def _pairwise(scores: Scores, reference: str) -> list[Section]:
    common = scores.common
    others = [name for name in common.columns if name != reference]
    if common.empty or not others:
        return []
    text = (
        f"A point is one of {_count(len(common), 'data set')}; on those above the line the "
        f"estimator named on the vertical axis is more accurate than {reference}. The largest "
        "difference to either side is named."
    )
    return [
        Section(
            "Pairwise accuracies",
            [text],
            [_pair(scores, reference, name, number) for number, name in enumerate(others, 1)],
        )
    ]


def _pair(scores: Scores, reference: str, name: str, number: int) -> Figure:
    pair = scores.common[[reference, name]]
    counts = wins_ties_losses(pair, reference).loc[name]
    drawn = plain_names(pair)
    x, y = drawn.columns
    published = _drawn_published(scores, drawn, list(pair.columns))
    counted = f"{counts['wins']} wins, {counts['ties']} ties, {counts['losses']} losses"
    return draw(
        f"pair-{number}",
        lambda ax: plot_pairwise(drawn, x, y, ax, published),
        f"Scatter plot of accuracies: {name} against {reference}, {counted}.",
        f"{name} against {reference}: {counted} on {_count(len(pair), 'data set')}; mean "
        f"{_percent(pair[name].mean())} against {_percent(pair[reference].mean())} %.",
        (3.6, 3.6),
        wide=False,
    )


def cost_table(scores: Scores) -> pd.DataFrame:
    """Return mean accuracy and costs of the measured estimators on the common data sets.

    Returns
    -------
    DataFrame
        One row per estimator; a cost that is unknown on any data set is NaN.
    """
    common = scores.common
    runs = scores.runs.assign(
        predict_ms=1e3 * scores.runs["predict_seconds"] / scores.runs["n_test"]
    )
    runs = runs[runs["dataset"].isin(common.index)]
    runs = runs.astype(dict.fromkeys(_COSTS, float))
    by_dataset = runs.groupby(["label", "dataset"])[list(_COSTS)].mean()
    costs = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    return costs.reindex(scores.measured).assign(accuracy=common[scores.measured].mean())


def _costs(scores: Scores) -> list[Section]:
    common = scores.common
    if common.empty:
        return []
    costs = cost_table(scores)
    cells = pd.DataFrame(
        {
            title: costs[column].map(lambda value, digits=digits: _number(value, digits))
            for column, (title, _, digits) in _COSTS.items()
        }
    )
    hosts = scores.runs["host"].nunique()
    caption = (
        f"Means over runs and {_count(len(common), 'data set')}. {MISSING} is not known. Times "
        f"and memory come from {_count(hosts, 'kind of machine', 'kinds of machine')}; fits "
        f"used {_listed_numbers(scores.runs['n_jobs'])} job(s)."
    )
    text = "Of published estimators no cost was measured here, so they are left out."
    return [
        Section(
            "Accuracy and cost",
            [text] if scores.published else [],
            _cost_figures(costs, len(common)),
            [_as_table(cells, "Estimator", caption, scores)],
        )
    ]


def _cost_figures(costs: pd.DataFrame, n: int) -> list[Figure]:
    figures = []
    for column in _DRAWN_COSTS:
        _, axis, digits = _COSTS[column]
        known = costs[costs[column] > 0]
        if known.empty:
            continue
        drawn = plain_names(known.T).T

        def plot(ax: Any, drawn: pd.DataFrame = drawn, column: str = column, axis: str = axis) -> None:
            plot_accuracy_cost(drawn, column, ax).set_xlabel(axis + " (mean)")

        listed = ", ".join(
            f"{name} {_percent(row['accuracy'])} % at {_number(row[column], digits)}"
            for name, row in known.iterrows()
        )
        figures.append(
            draw(
                f"accuracy-{column.replace('_', '-')}",
                plot,
                f"Mean accuracy against {axis}: {listed}.",
                f"Mean accuracy against mean {axis}, logarithmic, over {_count(n, 'data set')}: "
                f"up and to the left is better. {len(known)} of {_count(len(costs), 'measured estimator')}"
                " have both numbers.",
                (4.6, 3.4),
                wide=False,
            )
        )
    return figures


def _measures(scores: Scores) -> list[Section]:
    common = scores.common
    if common.empty:
        return []
    runs = scores.runs[scores.runs["dataset"].isin(common.index)]
    by_dataset = runs.groupby(["label", "dataset"])[list(_MEASURES)].mean()
    means = by_dataset.groupby("label").agg(lambda values: values.mean(skipna=False))
    cells = means.reindex(scores.measured).map(lambda value: _number(value, 3))
    caption = (
        f"Means over runs and {_count(len(common), 'data set')}. Of the log loss a lower value "
        f"is better, of the others a higher one. {MISSING} where an estimator lacks it on a "
        "data set."
    )
    table = _as_table(cells.rename(columns=_MEASURES), "Estimator", caption, scores)
    return [Section("Other measures", [], [], [table])]


def _by_dataset(scores: Scores) -> Section:
    n, sd = scores.over_runs("count"), scores.over_runs("std")
    cells = scores.accuracy.map(_percent, na_action="ignore")
    for name in scores.measured:
        spread = sd[name].map(lambda value: "" if pd.isna(value) else f" ± {100 * value:.1f}")
        cells[name] = cells[name] + spread + n[name].map(lambda count: f" ({count:.0f})")
    common = set(scores.common.index)
    best = frozenset(
        (row, scores.accuracy.columns.get_loc(name) + 1)
        for row, (_, accuracies) in enumerate(scores.accuracy.iterrows())
        for name in _best(accuracies)
    )
    cells.index = [name if name in common else f"{name} †" for name in cells.index]
    caption = (
        "Accuracy in %, mean ± standard deviation over the runs, whose number is in brackets; "
        "the best in bold. † is in no average, for want of an accuracy of every estimator."
    )
    return Section("Accuracy by data set", [], [], [_as_table(cells, "Data set", caption, scores, best)])


def _left_out(scores: Scores, failed: pd.DataFrame) -> list[Section]:
    did_fail = set(zip(failed["dataset"], failed["label"], strict=True))

    def reason(dataset: str, name: str) -> str:
        if name in scores.published:
            return f"not in the published file: {name}"
        return f"{'failed' if (dataset, name) in did_fail else 'not run'}: {name}"

    rows = [
        [dataset, "; ".join(reason(dataset, name) for name in names)]
        for dataset, names in scores.left_out().items()
    ]
    if not rows:
        return []
    caption = f"{_count(len(rows), 'data set')} in no average, and why."
    return [Section("Data sets left out", [], [], [Table(caption, ["Data set", "Why"], rows)])]


def _failures(failed: pd.DataFrame) -> list[Section]:
    if failed.empty:
        return []
    rows = [
        [str(row[column]) for column in _RUN] + [_one_line(row["error"])]
        for row in failed.to_dict("records")
    ]
    header = ["Data set", "Estimator", "Seed", "Split", "Error"]
    caption = f"{_count(len(rows), 'run')} that never succeeded."
    return [Section("Failed runs", [], [], [Table(caption, header, rows)])]


def _published_means(published: Sequence[Published]) -> list[Section]:
    tables = []
    for one in published:
        if not len(one.means):
            continue
        numbers = list(one.means.select_dtypes("number"))
        texts = [name for name in one.means if name not in ("classifier", *numbers)]
        header = ["classifier", *numbers, *texts]
        rows = [
            [MISSING if pd.isna(cell) else f"{cell}" for cell in row]
            for row in one.means[header].itertuples(index=False)
        ]
        caption = (
            "Published means, as given. Their data sets are not listed, so they enter no "
            "comparison; the numbers of two rows compare only if the protocol is the same."
        )
        every = frozenset(range(len(rows)))
        tables.append(Table(caption, header, rows, published_rows=every))
    return [Section("Published means", [], [], tables)] if tables else []


def _protocol(scores: Scores, protocol: str, results: pd.DataFrame) -> Section:
    runs = scores.runs
    split = {"default": "the archive's own split into training and test series"}.get(
        protocol, f"{protocol} resamples"
    )
    others = sorted(set(protocols(results)) - {protocol})
    lines = [
        f"Splits: {split}. Seeds: {_listed_numbers(runs['seed'])}. Runs: {len(runs)}, from "
        f"{runs['started'].min()} to {runs['started'].max()}.",
        f"Machine: {'; '.join(sorted(runs['host'].unique())) or 'not known'}.",
        f"Versions: {_versions(runs['versions'])}.",
    ]
    if others:
        lines.append(f"The results file also holds runs of {', '.join(others)}, left out here.")
    rows = [
        [label, _epochs(scores)[label], str(of_label["parameters"].iloc[0])]
        for label, of_label in runs.groupby("label", sort=False)
    ]
    caption = "Parameters of the measured estimators (of the first run; seeds differ)."
    table = Table(caption, ["Estimator", "Epochs", "Parameters"], rows)
    return Section("How it was measured", lines, [], [table, _datasets(scores)])


def _datasets(scores: Scores) -> Table:
    columns = {
        "n_train": "Training series",
        "n_test": "Test series",
        "n_variates": "Variates",
        "series_length": "Time steps",
        "n_classes": "Classes",
    }
    facts = scores.runs.groupby("dataset")[list(columns)].first().reindex(scores.accuracy.index)
    rows = [
        [str(name), *(_number(value, 0) for value in row)]
        for name, row in zip(facts.index, facts.to_numpy(), strict=True)
    ]
    return Table("The measured data sets.", ["Data set", *columns.values()], rows)


def _as_table(
    cells: pd.DataFrame,
    corner: str,
    caption: str,
    scores: Scores,
    best: frozenset[tuple[int, int]] = frozenset(),
) -> Table:
    """Make a table of text whose published rows and columns are known as such."""
    columns = [corner, *cells.columns]
    rows = [
        [str(name), *(MISSING if pd.isna(cell) else cell for cell in row)]
        for name, row in zip(cells.index, cells.to_numpy(), strict=True)
    ]
    published = set(scores.published)
    return Table(
        caption,
        columns,
        rows,
        frozenset(place for place, row in enumerate(rows) if row[0] in published),
        frozenset(place for place, name in enumerate(columns) if name in published),
        best,
    )


def _runs_behind(scores: Scores) -> pd.Series:
    """Say on how many runs the accuracies of each estimator stand."""
    n = scores.over_runs("count").loc[scores.common.index]
    counted = {name: _listed_numbers(n[name]) for name in scores.measured}
    notes = {
        name: name.partition("(published")[2].rpartition(")")[0].lstrip(", ") or "not stated"
        for name in scores.published
    }
    return pd.Series(counted | notes)


def _epochs(scores: Scores) -> pd.Series:
    epochs = scores.runs.groupby("label")["n_epochs"]
    measured = {name: _listed_numbers(of_label) or "none" for name, of_label in epochs}
    return pd.Series(measured | dict.fromkeys(scores.published, "as published"))


def _listed_numbers(values: pd.Series) -> str:
    """Write the distinct numbers, or their range if there are many."""
    distinct = sorted(values.dropna().unique())
    if len(distinct) > 4:
        return f"{distinct[0]:,.0f} to {distinct[-1]:,.0f}"
    return ", ".join(f"{value:,.0f}" for value in distinct)


def _versions(column: pd.Series) -> str:
    found: dict[str, set[str]] = {}
    for text in column[column != ""].unique():
        for package, version in json.loads(text).items():
            found.setdefault(package, set()).add(str(version))
    return ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in sorted(found.items()))


def _by_rank(common: pd.DataFrame) -> list[str]:
    return list(average_ranks(common).sort_values(kind="stable").index)


def _best(values: pd.Series) -> list[str]:
    return list(values.index[values == values.max()])


def plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with row and column names that a plot shows as they are.

    Long ones are cut short, and a dollar sign starts no formula.
    """

    def plain(name: object) -> str:
        text = " ".join(str(name).split())
        if len(text) > _LONGEST_DRAWN_NAME:
            text = text[: _LONGEST_DRAWN_NAME - 1] + "…"
        return text.replace("$", r"\$")

    columns = unique_names([plain(name) for name in table.columns])
    return table.set_axis(columns, axis=1).set_axis([plain(name) for name in table.index])


def _drawn_published(scores: Scores, drawn: pd.DataFrame, names: list[str]) -> set[str]:
    pairs = zip(names, drawn.columns, strict=True)
    return {shown for name, shown in pairs if name in scores.published}


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.1f}"


def _number(value: float, digits: int) -> str:
    return MISSING if pd.isna(value) else f"{value:,.{digits}f}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _count(n: int, noun: str, plural: str | None = None) -> str:
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def _one_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:_LONGEST_ERROR] if lines else "no message"

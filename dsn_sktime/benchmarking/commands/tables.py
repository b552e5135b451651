"""The command ``tables``: parameters and multiply-adds per data set, from shapes alone."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from dsn_sktime.benchmarking.commands import arguments
from dsn_sktime.benchmarking.data.datasets import Dataset
from dsn_sktime.benchmarking.estimators.costs import costs
from dsn_sktime.benchmarking.estimators.registry import make

_DEFAULT = ("dsn", "dsn-nogroups", "dsn-dense", "oscnn", "inceptiontime", "resnet", "fcn")
_SHAPE = ["n_variates", "series_length", "n_classes"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``dsn-benchmark``."""
    command = commands.add_parser(
        "tables",
        help="parameters and multiply-adds of networks on data sets, without training",
        description="Parameters (thousands) and multiply-adds (millions per series) of networks, "
        "as in tables 1 to 3 of the DSN paper: counted from the shapes of the data, nothing is "
        "trained. In sparse layers only activated weights count.",
    )
    arguments.add_datasets(command)
    option = command.add_argument
    names = f"networks by short name or module:factory ({' '.join(_DEFAULT)})"
    option("-e", "--estimators", nargs="+", default=_DEFAULT, metavar="NAME", help=names)
    option("--csv", type=Path, metavar="FILE", help="write the exact counts as CSV")
    markdown = "write the printed table to this file too"
    option("--markdown", type=Path, metavar="FILE", help=markdown)
    command.set_defaults(run=_tables)


def cost_table(datasets: Iterable[Dataset], estimators: Sequence[str]) -> pd.DataFrame:
    """Count parameters and multiply-adds per series: a row per data set and estimator.

    Raise ValueError if an estimator is unknown or not a torch network.
    """
    classifiers, rows = {name: make(name, seed=0) for name in estimators}, []
    for dataset, (name, classifier) in product(datasets, classifiers.items()):
        shape = {column: getattr(dataset, column) for column in _SHAPE}
        counted = costs(classifier, **shape)
        if counted is None:
            raise ValueError(f"estimator {name!r} is not a torch network: nothing to count.")
        rows.append({"dataset": dataset.name, **shape, "estimator": name, **counted._asdict()})
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """Return a :func:`cost_table` as Markdown: a line per data set, and their mean.

    A cell holds parameters in thousands and multiply-adds in millions.
    """
    cells = table.assign(cell=_cells(table)).set_index("dataset")
    names = table["estimator"].unique()
    lines = [["data set", "m", "L", "c", *names], ["---", *["---:"] * (3 + len(names))]]
    for dataset, rows in cells.groupby(level=0, sort=False):
        lines.append([str(dataset), *map(str, rows[_SHAPE].iloc[0]), *rows["cell"]])
    means = table.groupby("estimator")[["n_parameters", "multiply_adds"]].mean().loc[names]
    lines.append(["**mean**", "", "", "", *_cells(means)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cells(counts: pd.DataFrame) -> list[str]:
    pairs = zip(counts["n_parameters"], counts["multiply_adds"], strict=True)
    return [f"{a / 1e3:,.1f} K, {b / 1e6:,.1f} M" for a, b in pairs]


def _tables(args: argparse.Namespace) -> None:
    table = cost_table(arguments.find_datasets(args), args.estimators)
    markdown = to_markdown(table)
    print(markdown, end="")
    if args.csv:
        table.to_csv(args.csv, index=False)
    if args.markdown:
        args.markdown.write_text(markdown, encoding="utf-8")

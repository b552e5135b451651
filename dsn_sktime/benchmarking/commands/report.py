"""The command ``report``: the comparison of the estimators in a results file, as a page."""

import argparse
from pathlib import Path

from dsn_sktime.benchmarking.report.build import build
from dsn_sktime.benchmarking.report.page import check_installed
from dsn_sktime.benchmarking.report.published import read_published
from dsn_sktime.benchmarking.run import results


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``dsn-benchmark``."""
    command = commands.add_parser("report", help="compare the estimators of a results file")
    option = command.add_argument
    option("results", type=Path, metavar="RESULTS.csv", help="written by 'run'")
    published = "published accuracies to show beside the measured ones"
    option("--published", type=Path, nargs="+", default=[], metavar="CSV", help=published)
    output = "where the pages are written"
    option("--output", type=Path, required=True, metavar="FOLDER", help=output)
    names = "compare these only, measured or published (all)"
    option("--estimators", nargs="+", default=[], metavar="NAME", help=names)
    reference = "the estimator that the others are compared with (the first)"
    option("--reference", metavar="NAME", help=reference)
    split = "'default' or, for resamples, '5-fold' and the like ('default' where it was run)"
    option("--split", metavar="PROTOCOL", help=split)
    command.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> None:
    check_installed()
    rows = results.read(args.results)
    if rows.empty:
        raise ValueError(f"{args.results} holds no results yet. Write some with 'run'.")
    published = [read_published(path) for path in args.published]
    page = build(rows, published, args.estimators, args.reference, args.split)
    args.output.mkdir(parents=True, exist_ok=True)
    page.write(args.output / "report")
    print("\n".join(page.paragraphs))
    print(f"Written: {args.output / 'report.html'} and {args.output / 'report.md'}")

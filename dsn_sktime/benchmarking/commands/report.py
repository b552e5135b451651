"""The command ``report``: the comparison of the estimators in a results file, as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsn_sktime.benchmarking.report.build import build
from dsn_sktime.benchmarking.report.page import check_installed
from dsn_sktime.benchmarking.report.published import read_published
from dsn_sktime.benchmarking.run import results

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m dsn_sktime.benchmarking``."""
    command = commands.add_parser("report", help="compare the estimators of a results file")
    command.add_argument("results", type=Path, metavar="RESULTS.csv", help="written by 'run'")
    command.add_argument(
        "--published", type=Path, nargs="+", default=[], metavar="CSV",
        help="published accuracies to show beside the measured ones",
    )  # fmt: skip
    command.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where the pages are written"
    )
    command.add_argument(
        "--estimators", nargs="+", default=[], metavar="NAME",
        help="compare these only, measured or published (all)",
    )  # fmt: skip
    command.add_argument(
        "--reference", metavar="NAME",
        help="the estimator that the others are compared with (the first)",
    )  # fmt: skip
    command.add_argument(
        "--split", metavar="PROTOCOL",
        help="'default' or, for resamples, '5-fold' and the like ('default' where it was run)",
    )  # fmt: skip
    command.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> None:
    check_installed()
    rows = results.read(args.results)
    if rows.empty:
        raise ValueError(f"{args.results} holds no results yet. Write some with 'run'.")
    page = build(
        rows,
        [read_published(path) for path in args.published],
        estimators=args.estimators,
        reference=args.reference,
        protocol=args.split,
    )
    args.output.mkdir(parents=True, exist_ok=True)
    page.write(args.output / "report")
    print("\n".join(page.paragraphs))
    print(f"Written: {args.output / 'report.html'} and {args.output / 'report.md'}")

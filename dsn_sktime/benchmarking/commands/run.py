"""The command ``run``: estimators x data sets x seeds into a results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsn_sktime.benchmarking.commands.arguments import (
    add_datasets,
    add_machine,
    count_from,
    find_datasets,
    run_jobs,
)
from dsn_sktime.benchmarking.estimators.registry import ESTIMATORS, entry
from dsn_sktime.benchmarking.run.jobs import plan

__all__ = ["add_parser"]

_ESTIMATORS = "\n".join(f"  {name:<17} {known.about}" for name, known in ESTIMATORS.items())

_EPILOG = f"""\
estimators:
{_ESTIMATORS}
  module:factory    any class or function that makes an sktime classifier without arguments

examples:
  python -m dsn_sktime.benchmarking run -d GunPoint ArrowHead -e dsn minirocket --epochs 100
  python -m dsn_sktime.benchmarking run --all archive -e dsn-paper oscnn --seeds 5 --workers 8

The result of each job is a file in FILE.jobs; all of them are written to FILE at the end. Several
processes may share them. A job that has a result is not run again, so start the same command again
after a crash, or a longer one to add to it.
The exit status is 0, 1 if a job failed, 2 if nothing could be run.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m dsn_sktime.benchmarking``."""
    command = commands.add_parser(
        "run",
        help="fit and score classifiers on data sets of the archives",
        description="Fit and score estimators x data sets x seeds, and keep a result per job.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_datasets(command)
    command.add_argument(
        "-e", "--estimators", nargs="+", required=True, metavar="NAME",
        help="short names, see below",
    )  # fmt: skip
    command.add_argument(
        "-r", "--results", type=Path, default=Path("results.csv"), metavar="FILE",
        help="results file that is added to (results.csv)",
    )  # fmt: skip
    group = command.add_argument_group("protocol")
    group.add_argument(
        "--seeds", nargs="+", type=count_from(0), default=[1], metavar="N",
        help="one number: that many seeds, from 0 (1); several: these seeds",
    )  # fmt: skip
    group.add_argument(
        "--folds", type=count_from(2), default=0, metavar="K",
        help="instead of the archive's split, K stratified folds of all series, shuffled by seed",
    )  # fmt: skip
    group.add_argument(
        "--epochs", type=count_from(1), metavar="N", help="training epochs of networks (their own)"
    )
    add_machine(command)
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    for name in args.estimators:
        entry(name)
    seeds = range(args.seeds[0]) if len(args.seeds) == 1 else args.seeds
    if not seeds:
        raise ValueError("--seeds with one number must be at least 1, found 0: it is a count.")
    found = find_datasets(args)
    jobs = plan(found, args.estimators, seeds, args.folds, args.n_jobs, args.epochs)
    summary = run_jobs(jobs, args.results, args)
    return int(summary.failed + summary.failed_before > 0)

"""The command ``run``: estimators x data sets x seeds into a results file."""

import argparse
from pathlib import Path

from dsn_sktime.benchmarking.commands import arguments
from dsn_sktime.benchmarking.estimators.registry import ESTIMATORS, entry
from dsn_sktime.benchmarking.run.jobs import plan

_ESTIMATORS = "\n".join(f"  {name:<17} {known.about}" for name, known in ESTIMATORS.items())

_EPILOG = f"""\
estimators:
{_ESTIMATORS}
  module:factory    any class or function that makes an sktime classifier without arguments

examples:
  dsn-benchmark run -d GunPoint ArrowHead -e dsn minirocket --epochs 100
  dsn-benchmark run --all archive -e dsn-paper oscnn --seeds 5 --workers 8

The result of each job is a file in FILE.jobs; all of them are written to FILE at the end. Several
processes may share them. A job that has a result is not run again, so start the same command again
after a crash, or a longer one to add to it.
The exit status is 0, 1 if a job failed, 2 if nothing could be run.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``dsn-benchmark``."""
    command = commands.add_parser(
        "run",
        help="fit and evaluate classifiers on data sets of the archives",
        description="Fit and evaluate estimators x data sets x seeds; each job has one result.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_datasets(command)
    names, results = "short names, see below", "results file to add to (results.csv)"
    option, path = command.add_argument, Path("results.csv")
    option("-e", "--estimators", nargs="+", required=True, metavar="NAME", help=names)
    option("-r", "--results", type=Path, default=path, metavar="FILE", help=results)
    option, number = command.add_argument_group("protocol").add_argument, arguments.count_from
    seeds = "one number: that many seeds, from 0 (1); several: these seeds"
    option("--seeds", nargs="+", type=number(0), default=[1], metavar="N", help=seeds)
    folds = "instead of the archive's split, K stratified folds of all series, shuffled by seed"
    option("--folds", type=number(2), default=0, metavar="K", help=folds)
    epochs = "training epochs of networks (their own)"
    option("--epochs", type=number(1), metavar="N", help=epochs)
    arguments.add_machine(command)
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    for name in args.estimators:
        entry(name)
    seeds = range(args.seeds[0]) if len(args.seeds) == 1 else args.seeds
    if not seeds:
        raise ValueError("--seeds with one number must be at least 1, found 0: it is a count.")
    found = arguments.find_datasets(args)
    jobs = plan(found, args.estimators, seeds, args.folds, args.n_jobs, args.epochs)
    return 0 if arguments.run_jobs(jobs, args.results, args) else 1

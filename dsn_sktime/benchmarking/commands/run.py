"""The command ``run``: estimators x data sets x seeds into a results file."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

from dsn_sktime.benchmarking import datasets, results
from dsn_sktime.benchmarking.estimators import ESTIMATORS, entry
from dsn_sktime.benchmarking.jobs import Job, plan
from dsn_sktime.benchmarking.runner import Runner, Summary

__all__ = [
    "add_dataset_arguments",
    "add_machine_arguments",
    "add_parser",
    "chosen_datasets",
    "run_jobs",
    "tell_of_broken_lines",
]

_ESTIMATORS = "\n".join(f"  {name:<14} {known.about}" for name, known in ESTIMATORS.items())

_EPILOG = f"""\
estimators:
{_ESTIMATORS}
  module:factory any class or function that makes an sktime classifier without arguments

examples:
  python -m dsn_sktime.benchmarking run -d GunPoint ArrowHead -e dsn minirocket --epochs 100
  python -m dsn_sktime.benchmarking run --all archive -e dsn-paper oscnn --seeds 5 --workers 8

The results file may be shared by several processes. A job that it holds is not run again,
so start the same command again after a crash, or a longer one to add to it.
The exit status is 0, 1 if a job failed, 2 if nothing could be run.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m dsn_sktime.benchmarking``."""
    command = commands.add_parser(
        "run",
        help="fit and score classifiers on data sets of the archives",
        description="Fit and score estimators x data sets x seeds; append a line per job.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_dataset_arguments(command)
    command.add_argument(
        "-e",
        "--estimators",
        nargs="+",
        required=True,
        metavar="NAME",
        help="short names, see below",
    )
    command.add_argument(
        "-r", "--results", type=Path, default=Path("results.csv"), metavar="FILE",
        help="results file that is appended to (results.csv)",
    )  # fmt: skip
    _add_protocol_arguments(command.add_argument_group("protocol"))
    add_machine_arguments(command.add_argument_group("where and how"))
    command.set_defaults(run=_run)


def add_dataset_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options that choose data sets."""
    group = command.add_argument_group("data sets (one or more of these)")
    group.add_argument("-d", "--datasets", nargs="+", default=[], metavar="NAME", help="by name")
    group.add_argument(
        "--list", type=Path, metavar="FILE", help="by a text file, one name a line, # for comments"
    )
    group.add_argument(
        "--all", nargs="?", const="", metavar="FOLDER",
        help="all of a folder of .ts files, --data-path if none is named",
    )  # fmt: skip
    group.add_argument(
        "--data-path", type=Path, metavar="FOLDER",
        help="folder of NAME/NAME_TRAIN.ts and NAME/NAME_TEST.ts; what it lacks is fetched into it "
        "by sktime's loader (sktime's own folder)",
    )  # fmt: skip


def _add_protocol_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--seeds", nargs="+", type=_natural, default=[1], metavar="N",
        help="one number: that many seeds, from 0 (1); several: these seeds",
    )  # fmt: skip
    group.add_argument(
        "--folds", type=_folds, default=0, metavar="K",
        help="instead of the archive's split, K stratified folds of all series, shuffled by seed",
    )  # fmt: skip
    group.add_argument(
        "--epochs", type=_positive, metavar="N", help="training epochs of networks (their own)"
    )


def add_machine_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options that :func:`run_jobs` reads, and ``--n-jobs``."""
    group.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="processes, a job in each (1)"
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on the workers of this dask scheduler instead"
    )
    group.add_argument(
        "--n-jobs", type=_positive, default=1, metavar="N", help="cores of each classifier (1)"
    )
    group.add_argument(
        "--retry-failed", action="store_true", help="run jobs again that failed before"
    )


def chosen_datasets(chosen: argparse.Namespace) -> list[datasets.Dataset]:
    """Find the data sets that the options of :func:`add_dataset_arguments` name.

    Raises
    ------
    ValueError
        If they name none, or one that is not to be had or malformed.
    """
    names = list(chosen.datasets)
    if chosen.list:
        names += datasets.names_listed(chosen.list)
    folder = chosen.data_path
    if chosen.all is not None:
        folder = Path(chosen.all) if chosen.all else folder
        if folder is None:
            raise ValueError("--all needs a folder: --all FOLDER or --data-path FOLDER.")
        names += datasets.names_in(folder)
    if not names:
        raise ValueError("no data set is named: use --datasets, --list or --all.")
    with tqdm(dict.fromkeys(names), unit="data set", desc="finding", leave=False) as bar:
        return [datasets.find(name, chosen.data_path or folder) for name in bar]


def _run(chosen: argparse.Namespace) -> int:
    for name in chosen.estimators:
        entry(name)
    tell_of_broken_lines(chosen.results)
    seeds = range(chosen.seeds[0]) if len(chosen.seeds) == 1 else chosen.seeds
    jobs = plan(
        chosen_datasets(chosen),
        chosen.estimators,
        seeds,
        chosen.folds,
        chosen.n_jobs,
        chosen.epochs,
    )
    summary = run_jobs(jobs, chosen.results, chosen)
    return int(summary.failed + summary.failed_before > 0)


def run_jobs(jobs: list[Job], path: Path, chosen: argparse.Namespace) -> Summary:
    """Run the jobs as the options of :func:`add_machine_arguments` say, and print a summary.

    Raises
    ------
    OSError
        If the results file cannot be written.
    ValueError
        As :meth:`dsn_sktime.benchmarking.runner.Runner.run`.
    """
    runner = Runner(path, chosen.workers, chosen.scheduler, chosen.retry_failed)
    try:
        runner.run(jobs)
    finally:
        if any(vars(runner.summary).values()):
            print(_told(runner.summary, len(jobs), path))
    return runner.summary


def tell_of_broken_lines(path: Path) -> None:
    """Print a warning of each kind of line that reading a results file leaves out."""
    if not path.is_file():
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results.read(path)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)


def _told(summary: Summary, n_jobs: int, path: Path) -> str:
    parts = [f"{n_jobs} jobs: {summary.done} done, {summary.failed} failed"]
    if summary.done_before or summary.failed_before:
        parts.append(f"{summary.done_before} done and {summary.failed_before} failed before")
    if summary.elsewhere:
        parts.append(f"{summary.elsewhere} left to another process that is running them")
    left = n_jobs - sum(vars(summary).values())
    if left:
        parts.append(f"{left} not run")
    hint = " --retry-failed runs again what failed." if summary.failed_before else ""
    return f"{', '.join(parts)}. Results: {path}.{hint}"


def _natural(text: str) -> int:
    return _at_least(0, text)


def _positive(text: str) -> int:
    return _at_least(1, text)


def _folds(text: str) -> int:
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, found {text!r}")
    return int(text)

"""Options that several commands have."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from dsn_sktime.benchmarking.data import datasets
from dsn_sktime.benchmarking.run.jobs import Job
from dsn_sktime.benchmarking.run.runner import Runner

_LARGEST = 2**32 - 1  # of a seed
_DATA_PATH = """folder of NAME/NAME_TRAIN.ts and NAME/NAME_TEST.ts; missing data sets are fetched
    into it by sktime's loader (sktime's own folder)"""


def add_datasets(command: argparse.ArgumentParser) -> None:
    """Add the options that choose data sets."""
    group = command.add_argument_group("data sets (one or more of these)")
    option = group.add_argument
    option("-d", "--datasets", nargs="+", default=[], metavar="NAME", help="by name")
    listed = "by a text file, one name a line, # for comments"
    option("--list", type=Path, metavar="FILE", help=listed)
    of_folder = "all of a folder of .ts files, --data-path if none is named"
    option("--all", nargs="?", const="", metavar="FOLDER", help=of_folder)
    option("--data-path", type=Path, metavar="FOLDER", help=_DATA_PATH)


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add the options that :func:`run_jobs` reads, and ``--n-jobs``."""
    option, number = command.add_argument_group("where and how").add_argument, count_from(1)
    option("--workers", type=number, default=1, metavar="N", help="processes, a job in each (1)")
    there = "run on the workers of this dask scheduler instead"
    option("--scheduler", metavar="ADDRESS", help=there)
    option("--n-jobs", type=number, default=1, metavar="N", help="cores of each classifier (1)")
    option("--retry-failed", action="store_true", help="run jobs again that failed before")


def find_datasets(args: argparse.Namespace) -> list[datasets.Dataset]:
    """Find the data sets that the options of :func:`add_datasets` name, and print warnings.

    Raise ValueError if they name none, or one that cannot be found or is malformed.
    """
    names = list(args.datasets)
    if args.list:
        names += datasets.names_listed(args.list)
    folder = args.data_path
    if args.all is not None:
        folder = Path(args.all) if args.all else folder
        if folder is None:
            raise ValueError("--all needs a folder: --all FOLDER or --data-path FOLDER.")
        names += datasets.names_in(folder)
    if not names:
        raise ValueError("no data set is named: use --datasets, --list or --all.")
    with (
        tqdm(dict.fromkeys(names), unit="data set", desc="finding", leave=False) as bar,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        found = [datasets.find(name, args.data_path or folder) for name in bar]
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return found


def run_jobs(jobs: list[Job], path: Path, args: argparse.Namespace) -> bool:
    """Run jobs as the options of :func:`add_machine` say, print counts, return if none failed.

    Raise what :meth:`dsn_sktime.benchmarking.run.runner.Runner.run` raises.
    """
    runner = Runner(path, args.workers, args.scheduler, args.retry_failed)
    n = runner.counts
    try:
        runner.run(jobs)
    finally:
        text = f"{len(jobs)} jobs: {n['done']} done, {n['failed']} failed"
        if n["done before"] or n["failed before"]:
            text += f", {n['done before']} done and {n['failed before']} failed before"
        if n["elsewhere"]:
            text += f", {n['elsewhere']} left to another process that is running them"
        if left := len(jobs) - n.total():
            text += f", {left} not run"
        hint = " --retry-failed runs failed jobs again." if n["failed before"] else ""
        if n.total():
            print(f"{text}. Results: {path}.{hint}")
    return not n["failed"] + n["failed before"]


def count_from(least: int) -> Callable[[str], int]:
    """Return the type of an option that is an integer of at least ``least``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= _LARGEST):
            wanted = f"an integer of at least {least} and below 2**32"
            raise argparse.ArgumentTypeError(f"must be {wanted}, found {text!r}")
        return int(text)

    return parse

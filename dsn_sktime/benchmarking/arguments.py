"""Options that several commands have."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from dsn_sktime.benchmarking import datasets
from dsn_sktime.benchmarking.run.jobs import Job
from dsn_sktime.benchmarking.run.runner import Runner


def add_datasets(command: argparse.ArgumentParser) -> None:
    """Add the options that choose data sets."""
    option = command.add_argument_group("data sets (one or more of these)").add_argument
    option("-d", "--datasets", nargs="+", default=[], metavar="NAME", help="by name")
    option("--list", type=Path, metavar="FILE", help="by a text file, one name a line")
    option("--all", nargs="?", const="", metavar="FOLDER", help="all of a folder (--data-path)")
    text = "folder of NAME/NAME_TRAIN.ts and NAME_TEST.ts; missing ones are fetched (sktime's)"
    option("--data-path", type=Path, metavar="FOLDER", help=text)


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add the options that :func:`run_jobs` reads, and ``--n-jobs``."""
    option, number = command.add_argument_group("where and how").add_argument, count_from(1)
    option("--workers", type=number, default=1, metavar="N", help="processes, a job in each (1)")
    option("--scheduler", metavar="ADDRESS", help="run on the workers of this dask scheduler")
    option("--n-jobs", type=number, default=1, metavar="N", help="cores of each classifier (1)")
    option("--retry-failed", action="store_true", help="run jobs again that failed before")


def find_datasets(args: argparse.Namespace) -> list[datasets.Dataset]:
    """Find the data sets that the options of :func:`add_datasets` name.

    Raise ValueError if they name none, or one that cannot be found or is malformed.
    """
    names, folder = list(args.datasets), args.data_path
    if args.list:
        names += datasets.names_listed(args.list)
    if args.all is not None:
        folder = Path(args.all) if args.all else folder
        if folder is None:
            raise ValueError("--all needs a folder: --all FOLDER or --data-path FOLDER.")
        names += datasets.names_in(folder)
    if not names:
        raise ValueError("no data set is named: use --datasets, --list or --all.")
    with tqdm(dict.fromkeys(names), unit="data set", desc="reading", leave=False) as bar:
        return [datasets.find(name, args.data_path or folder) for name in bar]


def run_jobs(jobs: list[Job], path: Path, args: argparse.Namespace) -> bool:
    """Run jobs as the options of :func:`add_machine` say, print counts, return if none failed."""
    runner = Runner(path, args.workers, args.scheduler, args.retry_failed)
    try:
        runner.run(jobs)
    finally:
        if n := runner.counts:
            n["not run"] = len(jobs) - n.total()
            text = ", ".join(f"{n[kind]} {kind}" for kind in sorted(n) if n[kind])
            hint = " --retry-failed runs failed jobs again." if n["failed before"] else ""
            print(f"{len(jobs)} jobs: {text}. Results: {path}.{hint}")
    return not n["failed"] + n["failed before"]


def count_from(least: int) -> Callable[[str], int]:
    """Return the type of an option that is an integer of at least ``least``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) < 2**32):
            wanted = f"an integer of at least {least} and below 2**32"
            raise argparse.ArgumentTypeError(f"must be {wanted}, found {text!r}")
        return int(text)

    return parse

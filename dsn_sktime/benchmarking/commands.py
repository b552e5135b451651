"""The commands of ``dsn-benchmark``: their options, and what they do."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from dsn_sktime.benchmarking import datasets
from dsn_sktime.benchmarking.estimators.registry import ESTIMATORS, costs, make
from dsn_sktime.benchmarking.report import build, comparison, page, study
from dsn_sktime.benchmarking.report.study import STUDIES
from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import Job, environment, plan
from dsn_sktime.benchmarking.run.runner import Runner
from dsn_sktime.benchmarking.speed import engine, limits, rivals

_ESTIMATORS = "\n".join(f"  {name:<17} {known.about}" for name, known in ESTIMATORS.items())
_RUN_EPILOG = f"""\
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
# Data sets, epochs and seeds. The small ones come with sktime, so a study needs no network.
_SMALL = (["ItalyPowerDemand", "GunPoint", "ArrowHead"], 50, 2)
_FULL = (datasets.UCR_85, 1000, 5)
_STUDIES = "\n".join(f"  {key:<9} {', '.join(one.estimators)}" for key, one in STUDIES.items())
_OF_DEFAULT = [name for name, one in STUDIES.items() if one.reference == study.DEFAULT]
_STUDY = f"""\
Run a study and write its table and plots. Small by default: {", ".join(_SMALL[0])},
{_SMALL[1]} epochs, {_SMALL[2]} seeds. An interrupted study resumes when it is started again.

{_STUDIES}
"""
_COUNTED = ("dsn", "dsn-nogroups", "dsn-dense", "oscnn", "inceptiontime", "resnet", "fcn")
_SHAPE = ["n_variates", "series_length", "n_classes"]
_NO_GPU = "skipped: torch sees no CUDA device here, so no training step on a GPU was measured."


def _integer(least: int, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) < 2**32):
        wanted = f"an integer of at least {least} and below 2**32"
        raise argparse.ArgumentTypeError(f"must be {wanted}, found {text!r}")
    return int(text)


_COUNT = partial(_integer, 1)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.epilog = _RUN_EPILOG
    _add_datasets(command)
    option, path = command.add_argument, Path("results.csv")
    option("-e", "--estimators", nargs="+", required=True, metavar="NAME", help="listed below")
    option("-r", "--results", type=Path, default=path, metavar="FILE", help=f"added to ({path})")
    option = command.add_argument_group("protocol").add_argument
    seeds = "one number: that many seeds, from 0 (1); several: these seeds"
    option("--seeds", nargs="+", type=partial(_integer, 0), default=[1], metavar="N", help=seeds)
    folds = "instead of the archive's split, K stratified folds of all series, shuffled by seed"
    option("--folds", type=partial(_integer, 2), default=0, metavar="K", help=folds)
    option("--epochs", type=_COUNT, metavar="N", help="training epochs of networks (their own)")
    _add_machine(command)


def _run(args: argparse.Namespace) -> int:
    seeds = range(args.seeds[0]) if len(args.seeds) == 1 else args.seeds
    if not seeds:
        raise ValueError("--seeds with one number must be at least 1, found 0: it is a count.")
    found = _find_datasets(args)
    jobs = plan(found, args.estimators, seeds, args.folds, args.n_jobs, args.epochs)
    return 0 if _run_jobs(jobs, args.results, args) else 1


def _add_report(command: argparse.ArgumentParser) -> None:
    option = command.add_argument
    option("results", type=Path, metavar="RESULTS.csv", help="written by 'run'")
    text = "published accuracies to show beside the measured ones"
    option("--published", type=Path, nargs="+", default=[], metavar="CSV", help=text)
    option("--output", type=Path, required=True, metavar="FOLDER", help="folder of the pages")
    option("--estimators", nargs="+", default=[], metavar="NAME", help="those to compare (all)")
    option("--reference", metavar="NAME", help="compare the others with this one (the first)")
    option("--split", metavar="PROTOCOL", help="'default' or such as '5-fold' ('default')")


def _report(args: argparse.Namespace) -> None:
    page.check_installed()
    rows = results.read(args.results)
    if rows.empty:
        raise ValueError(f"{args.results} holds no results yet. Write some with 'run'.")
    published = [comparison.read_published(path) for path in args.published]
    made = build.build(rows, published, args.estimators, args.reference, args.split)
    args.output.mkdir(parents=True, exist_ok=True)
    made.write(args.output / "report")
    print("\n".join(made.paragraphs))
    print(f"Written: {args.output / 'report.html'} and {args.output / 'report.md'}")


def _add_study(command: argparse.ArgumentParser) -> None:
    command.description = _STUDY
    option, folder = command.add_argument, Path("studies")
    option("name", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    option("--output", type=Path, default=folder, metavar="FOLDER", help=f"of pages ({folder})")
    full = f"{len(_FULL[0])} data sets of the UCR archive, {_FULL[1]} epochs, {_FULL[2]} seeds"
    option("--full", action="store_true", help=f"{full}: days to weeks")
    own = f"training epochs ({_SMALL[1]}; of {', '.join(_OF_DEFAULT)} each setting's own)"
    option("--epochs", type=_COUNT, metavar="N", help=own)
    option("--seeds", type=_COUNT, metavar="N", help=f"that many seeds, from 0 ({_SMALL[2]})")
    _add_datasets(command)
    _add_machine(command)


def _study(args: argparse.Namespace) -> int:
    page.check_installed()
    names, n_epochs, n_seeds = _FULL if args.full else _SMALL
    if not (args.datasets or args.list or args.all is not None):
        args.datasets = names
    trained = args.epochs or (None if args.name in _OF_DEFAULT else n_epochs)
    found, seeds = _find_datasets(args), range(args.seeds or n_seeds)
    jobs = plan(found, STUDIES[args.name].estimators, seeds, 0, args.n_jobs, trained)
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "results.csv"
    _run_jobs(jobs, path, args)
    rows, digests = results.read(path), {job.digest for job in jobs}
    compared, failed = study.compare(args.name, rows[rows["job"].isin(digests)])
    study.page(args.name, compared, failed).write(args.output / args.name)
    numbers = study.table(args.name, compared)
    numbers.round(6).to_csv(args.output / f"{args.name}.csv")
    print(numbers.iloc[:, :10].round(4).to_string())
    print(f"Written: {args.output / args.name}.csv, .md and .html")
    return int(len(failed) > 0)


def _add_tables(command: argparse.ArgumentParser) -> None:
    _add_datasets(command)
    option = command.add_argument
    names = f"networks by short name or module:factory ({' '.join(_COUNTED)})"
    option("-e", "--estimators", nargs="+", default=_COUNTED, metavar="NAME", help=names)
    option("--csv", type=Path, metavar="FILE", help="write the exact counts as CSV")
    option("--markdown", type=Path, metavar="FILE", help="write the printed table to this file too")


def _tables(args: argparse.Namespace) -> None:
    table = cost_table(_find_datasets(args), args.estimators)
    markdown = to_markdown(table)
    print(markdown, end="")
    if args.csv:
        table.to_csv(args.csv, index=False)
    if args.markdown:
        args.markdown.write_text(markdown, encoding="utf-8")


def cost_table(datasets: Iterable[datasets.Dataset], estimators: Sequence[str]) -> pd.DataFrame:
    """Count parameters and multiply-adds per series: a row per data set and estimator.

    Raise ValueError if an estimator is unknown or not a torch network.
    """
    classifiers, rows = {name: make(name, seed=0) for name in estimators}, []
    for dataset, (name, classifier) in product(datasets, classifiers.items()):
        shape = {column: getattr(dataset, column) for column in _SHAPE}
        counted = costs(classifier, **shape)
        if not counted:
            raise ValueError(f"estimator {name!r} is not a torch network: nothing to count.")
        rows.append({"dataset": dataset.name, **shape, "estimator": name, **counted})
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """Return a :func:`cost_table` as Markdown: a line per data set, and their mean.

    A cell holds parameters in thousands and multiply-adds in millions.
    """
    counts = ["n_parameters", "multiply_adds"]
    means = table.groupby("estimator", sort=False)[counts].mean().reset_index()
    rows = pd.concat([table, means.assign(dataset="**mean**", **dict.fromkeys(_SHAPE, ""))])
    cells = [f"{a / 1e3:,.1f} K, {b / 1e6:,.1f} M" for a, b in rows[counts].to_numpy()]
    lines = [["data set", "m", "L", "c", *means["estimator"]]]
    lines.append(["---", *["---:"] * (3 + len(means))])
    for shape, group in rows.assign(cell=cells).groupby(["dataset", *_SHAPE], sort=False):
        lines.append([*map(str, shape), *group["cell"]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _add_speed(command: argparse.ArgumentParser) -> None:
    option = command.add_argument
    option("--repeats", type=_COUNT, default=15, metavar="N", help="timed turns of each (15)")
    option("--rocket", action="store_true", help="also predict 100 series, beside MiniROCKET")
    option("--latency", action="store_true", help="also predict a single series")
    option("--limits", action="store_true", help="also start-up and memory (takes minutes)")
    text = "cuda: the captured training step against the eager masked dense one (cpu)"
    option("--device", choices=("cpu", "cuda"), default="cpu", help=text)
    option("--json", type=Path, metavar="FILE", help="write the results to this file as well")


def _speed(args: argparse.Namespace) -> None:
    n, threads = args.repeats, sorted({1, os.cpu_count() or 1})
    if args.device == "cuda" and not torch.cuda.is_available():
        print(_NO_GPU, file=sys.stderr)
        return
    if args.device == "cuda":
        tables = {"rows": [engine.measure_gpu(n)]}
    else:
        tables = {"rows": engine.measure(n, threads), "figures": engine.figures(n)}
        tables["rockets"] = rivals.rockets(n, threads) if args.rocket else []
        tables["latency"] = rivals.latency(n, threads) if args.latency else []
        tables["limits"] = limits.measure() if args.limits else []
    tables = {name: rows for name, rows in tables.items() if rows}
    for rows in tables.values():
        print(pd.DataFrame(rows).round(2).to_string(index=False))
    if args.json:
        machine = environment() | {"repeats": n}
        args.json.write_text(json.dumps({"machine": machine, **tables}, indent=2) + "\n")


def _add_datasets(command: argparse.ArgumentParser) -> None:
    """Add the options that choose data sets."""
    option = command.add_argument_group("data sets (one or more of these)").add_argument
    option("-d", "--datasets", nargs="+", default=[], metavar="NAME", help="by name")
    option("--list", type=Path, metavar="FILE", help="by a text file, one a line, # for comments")
    option("--all", nargs="?", const="", metavar="FOLDER", help="all of a folder of .ts files")
    text = "folder of NAME/NAME_TRAIN.ts and NAME/NAME_TEST.ts; others are fetched into it"
    option("--data-path", type=Path, metavar="FOLDER", help=text)


def _add_machine(command: argparse.ArgumentParser) -> None:
    """Add the options that :func:`_run_jobs` reads, and ``--n-jobs``."""
    option = command.add_argument_group("where and how").add_argument
    option("--workers", type=_COUNT, default=1, metavar="N", help="processes, a job in each (1)")
    option("--scheduler", metavar="ADDRESS", help="run on the workers of this dask scheduler")
    option("--n-jobs", type=_COUNT, default=1, metavar="N", help="cores of each classifier (1)")
    option("--retry-failed", action="store_true", help="run jobs again that failed before")


def _find_datasets(args: argparse.Namespace) -> Iterator[datasets.Dataset]:
    """Find the data sets that the options of :func:`_add_datasets` name, when they are needed.

    Raise ValueError if they name none, or one that cannot be found or is malformed.
    """
    names = [*args.datasets, *(datasets.names_listed(args.list) if args.list else [])]
    folder = Path(args.all) if args.all else args.data_path
    places = dict.fromkeys(names, args.data_path or folder)
    if args.all is not None:
        if folder is None:
            raise ValueError("--all needs a folder: --all FOLDER or --data-path FOLDER.")
        places |= dict.fromkeys(datasets.names_in(folder), folder)
    if not places:
        raise ValueError("no data set is named: use --datasets, --list or --all.")
    with tqdm(places.items(), unit="data set", desc="reading", leave=False) as bar:
        for name, place in bar:
            yield datasets.find(name, place)


def _run_jobs(jobs: list[Job], path: Path, args: argparse.Namespace) -> bool:
    """Run jobs as the options of :func:`_add_machine` say, print counts, return if none failed."""
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


# Help, function that adds options, function that takes the arguments and may return a status.
COMMANDS: dict[str, tuple[str, Callable, Callable]] = {
    "run": ("fit and evaluate classifiers on data sets of the archives", _add_run, _run),
    "report": ("compare the estimators of a results file", _add_report, _report),
    "study": (f"compare settings of DSN: {', '.join(STUDIES)}", _add_study, _study),
    "tables": ("parameters (K) and multiply-adds (M) of untrained networks", _add_tables, _tables),
    "speed": ("speedup of the sparse engine over masked dense torch", _add_speed, _speed),
}

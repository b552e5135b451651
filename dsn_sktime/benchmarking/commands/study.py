"""The command ``study``: run one of the paper's studies and write its table and plots."""

import argparse
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dsn_sktime.benchmarking.commands import arguments
from dsn_sktime.benchmarking.data.archive import UCR_85
from dsn_sktime.benchmarking.report.comparison import split_runs
from dsn_sktime.benchmarking.report.page import check_installed
from dsn_sktime.benchmarking.report.study import STUDIES, page, table
from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import Job, plan


class _Size(NamedTuple):
    datasets: tuple[str, ...]
    epochs: int
    seeds: int


# All three come with sktime, so a study needs no network.
_SMALL = _Size(("ItalyPowerDemand", "GunPoint", "ArrowHead"), epochs=50, seeds=2)
_FULL = _Size(UCR_85, epochs=1000, seeds=5)
_SHOWN = ["mean_accuracy", "average_rank", "n_datasets", "n_parameters", "multiply_adds"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m dsn_sktime.benchmarking``."""
    listed = "\n".join(
        f"  {name:<9} {study.title}: {', '.join(study.settings)}" for name, study in STUDIES.items()
    )
    command = commands.add_parser(
        "study",
        help="one of the paper's studies: sparsity, size, groups, fix, growth",
        description=(
            "Run one of the paper's studies and write its table and plots:\n\n"
            f"{listed}\n\nSmall by default: {', '.join(_SMALL.datasets)}, {_SMALL.epochs} "
            f"epochs, {_SMALL.seeds} seeds. Started again, it continues where it was stopped."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option, number = command.add_argument, arguments.count_from(1)
    option("name", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    output, folder = "where results.csv, tables and plots are written (studies)", Path("studies")
    option("--output", type=Path, default=folder, metavar="FOLDER", help=output)
    full = f"{len(UCR_85)} data sets of the UCR archive, {_FULL.epochs} epochs, {_FULL.seeds} seeds"
    option("--full", action="store_true", help=f"{full}: days to weeks")
    option("--epochs", type=number, metavar="N", help=f"training epochs ({_SMALL.epochs})")
    seeds = f"that many seeds, from 0 ({_SMALL.seeds})"
    option("--seeds", type=number, metavar="N", help=seeds)
    arguments.add_datasets(command)
    arguments.add_machine(command)
    command.set_defaults(run=_study)


def _study(args: argparse.Namespace) -> int:
    check_installed()
    size = _FULL if args.full else _SMALL
    if not (args.datasets or args.list or args.all is not None):
        args.datasets = list(size.datasets)
    found, estimators = arguments.find_datasets(args), list(STUDIES[args.name].settings.values())
    seeds, n_epochs = range(args.seeds or size.seeds), args.epochs or size.epochs
    jobs = plan(found, estimators, seeds, n_jobs=args.n_jobs, n_epochs=n_epochs)
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "results.csv"
    arguments.run_jobs(jobs, path, args)
    runs, failed = _of_jobs(results.read(path), jobs, args.name)
    page(args.name, runs, failed).write(args.output / args.name)
    numbers = table(args.name, runs)
    numbers.round(6).to_csv(args.output / f"{args.name}.csv")
    print(numbers[_SHOWN].round(4).to_string())
    for form in ("csv", "md", "html"):
        print(f"Written: {args.output / args.name}.{form}")
    return int(len(failed) > 0)


def _of_jobs(rows: pd.DataFrame, jobs: list[Job], name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs of the jobs that succeeded and that failed, labelled by setting."""
    study = STUDIES[name]
    setting_of = {estimator: setting for setting, estimator in study.settings.items()}
    rows = rows[rows["job"].isin({job.digest for job in jobs})]
    parts = split_runs(rows, "default")
    runs, failed = (part.assign(label=part["estimator"].map(setting_of)) for part in parts)
    if study.paper not in set(runs["label"]):
        errors = failed.loc[failed["label"] == study.paper, "error"]
        reason = f": {errors.iloc[0]}" if len(errors) else ", another process has its jobs."
        raise ValueError(f"the setting {study.paper!r} has no result yet{reason}")
    return runs, failed

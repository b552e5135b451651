"""``study``: run one of the paper's studies and write its table and plots."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dsn_sktime.benchmarking import results
from dsn_sktime.benchmarking.archive import UCR_85
from dsn_sktime.benchmarking.comparison import failed_runs, successful_runs
from dsn_sktime.benchmarking.jobs import Job, plan
from dsn_sktime.benchmarking.page import check_installed
from dsn_sktime.benchmarking.run import (
    add_dataset_arguments,
    add_machine_arguments,
    chosen_datasets,
    run_jobs,
    tell_of_broken_lines,
)
from dsn_sktime.benchmarking.studies import STUDIES, table, write

__all__ = ["add_parser"]


class _Size(NamedTuple):
    datasets: tuple[str, ...]
    epochs: int
    seeds: int


# All three come with sktime, so a study needs no network.
_SMALL = _Size(("ItalyPowerDemand", "GunPoint", "ArrowHead"), epochs=50, seeds=2)
_FULL = _Size(UCR_85, epochs=1000, seeds=5)
_SHOWN = ["mean_accuracy", "average_rank", "n_datasets", "n_parameters", "multiply_adds"]


def add_parser(commands: Any) -> None:
    """Add the subcommand ``study``."""
    listed = "\n".join(
        f"  {name:<9} {study.title}: {', '.join(study.settings)}" for name, study in STUDIES.items()
    )
    command = commands.add_parser(
        "study",
        help="one of the paper's studies: sparsity, size, groups, fix, growth",
        description=(
            "Run one of the paper's studies and write its table and plots:\n\n"
            f"{listed}\n\nSmall by default: {', '.join(_SMALL.datasets)}, {_SMALL.epochs} "
            f"epochs, {_SMALL.seeds} seeds. Started again, it goes on where it was stopped."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    command.add_argument(
        "--output",
        type=Path,
        default=Path("studies"),
        metavar="FOLDER",
        help="where results.csv, tables and plots are written (studies)",
    )
    command.add_argument(
        "--full",
        action="store_true",
        help=f"{len(_FULL.datasets)} data sets of the UCR archive, {_FULL.epochs} epochs, "
        f"{_FULL.seeds} seeds: days to weeks",
    )
    command.add_argument(
        "--epochs", type=int, metavar="N", help=f"training epochs ({_SMALL.epochs})"
    )
    command.add_argument(
        "--seeds", type=int, metavar="N", help=f"that many seeds, from 0 ({_SMALL.seeds})"
    )
    add_dataset_arguments(command)
    add_machine_arguments(command.add_argument_group("where and how"))
    command.set_defaults(run=_study)


def _study(chosen: argparse.Namespace) -> int:
    check_installed()
    jobs = _jobs(chosen)
    chosen.output.mkdir(parents=True, exist_ok=True)
    path = chosen.output / "results.csv"
    tell_of_broken_lines(path)
    run_jobs(jobs, path, chosen)
    runs, failed = _of_jobs(results.read(path), jobs, chosen.name)
    write(chosen.name, runs, failed, chosen.output)
    print(table(chosen.name, runs)[_SHOWN].round(4).to_string())
    for form in ("csv", "md", "html"):
        print(f"Written: {chosen.output / chosen.name}.{form}")
    return int(len(failed) > 0)


def _jobs(chosen: argparse.Namespace) -> list[Job]:
    size = _FULL if chosen.full else _SMALL
    for name in ("epochs", "seeds"):
        given = getattr(chosen, name)
        if given is not None and given < 1:
            raise ValueError(f"--{name} must be at least 1, found {given}.")
    if not (chosen.datasets or chosen.list or chosen.all is not None):
        chosen.datasets = list(size.datasets)
    return plan(
        chosen_datasets(chosen),
        list(STUDIES[chosen.name].settings.values()),
        range(chosen.seeds or size.seeds),
        n_jobs=chosen.n_jobs,
        n_epochs=chosen.epochs or size.epochs,
    )


def _of_jobs(rows: pd.DataFrame, jobs: list[Job], name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs of the jobs that succeeded and that failed, labelled by setting."""
    study = STUDIES[name]
    setting_of = {estimator: setting for setting, estimator in study.settings.items()}
    rows = rows[rows["job"].isin({job.digest for job in jobs})]
    runs = successful_runs(rows, "default")
    failed = failed_runs(rows, runs, "default")
    runs, failed = (part.assign(label=part["estimator"].map(setting_of)) for part in (runs, failed))
    if study.paper not in set(runs["label"]):
        errors = failed.loc[failed["label"] == study.paper, "error"]
        reason = f": {errors.iloc[0]}" if len(errors) else ", another process has its jobs."
        raise ValueError(f"the setting {study.paper!r} has no result yet{reason}")
    return runs, failed

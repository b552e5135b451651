"""The command ``study``: run a study and write its table and plots."""

import argparse
from pathlib import Path

from dsn_sktime.benchmarking.commands import arguments
from dsn_sktime.benchmarking.data.archive import UCR_85
from dsn_sktime.benchmarking.report.page import check_installed
from dsn_sktime.benchmarking.report.study import DEFAULT, STUDIES, page, split_by_setting, table
from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import plan

# Data sets, epochs and seeds. The small ones come with sktime, so a study needs no network.
_SMALL = (("ItalyPowerDemand", "GunPoint", "ArrowHead"), 50, 2)
_FULL = (UCR_85, 1000, 5)
_OF_DEFAULT = [name for name, one in STUDIES.items() if one.compared_with == DEFAULT]
_SHOWN = ["mean_accuracy", "average_rank", "n_datasets", "n_parameters", "multiply_adds"]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``dsn-benchmark``."""
    listed = [f"  {key:<9} {one.title}: {', '.join(one.settings)}" for key, one in STUDIES.items()]
    names, n_epochs, n_seeds = _SMALL
    text = ("Run a study and write its table and plots:", "\n".join(listed))
    size = f"{', '.join(names)}, {n_epochs} epochs, {n_seeds} seeds"
    again = f"Small by default: {size}. An interrupted study resumes when it is started again."
    command = commands.add_parser(
        "study",
        help=f"a study of the paper or of the default recipe: {', '.join(STUDIES)}",
        description="\n\n".join((*text, again)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option, number = command.add_argument, arguments.count_from(1)
    option("name", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
    output, folder = "where results.csv, tables and plots are written (studies)", Path("studies")
    option("--output", type=Path, default=folder, metavar="FOLDER", help=output)
    full = f"{len(_FULL[0])} data sets of the UCR archive, {_FULL[1]} epochs, {_FULL[2]} seeds"
    option("--full", action="store_true", help=f"{full}: days to weeks")
    own = f"training epochs ({n_epochs}; of {', '.join(_OF_DEFAULT)} each setting's own)"
    option("--epochs", type=number, metavar="N", help=own)
    option("--seeds", type=number, metavar="N", help=f"that many seeds, from 0 ({n_seeds})")
    arguments.add_datasets(command)
    arguments.add_machine(command)
    command.set_defaults(run=_study)


def _study(args: argparse.Namespace) -> int:
    check_installed()
    names, n_epochs, n_seeds = _FULL if args.full else _SMALL
    if not (args.datasets or args.list or args.all is not None):
        args.datasets = list(names)
    found, estimators = arguments.find_datasets(args), list(STUDIES[args.name].settings.values())
    seeds = range(args.seeds or n_seeds)
    trained = args.epochs or (None if args.name in _OF_DEFAULT else n_epochs)
    jobs = plan(found, estimators, seeds, n_jobs=args.n_jobs, n_epochs=trained)
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "results.csv"
    arguments.run_jobs(jobs, path, args)
    rows, digests = results.read(path), {job.digest for job in jobs}
    runs, failed = split_by_setting(args.name, rows[rows["job"].isin(digests)])
    page(args.name, runs, failed).write(args.output / args.name)
    numbers = table(args.name, runs)
    numbers.round(6).to_csv(args.output / f"{args.name}.csv")
    print(numbers[_SHOWN].round(4).to_string())
    for form in ("csv", "md", "html"):
        print(f"Written: {args.output / args.name}.{form}")
    return int(len(failed) > 0)

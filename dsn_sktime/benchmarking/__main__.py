"""Command line: ``python -m dsn_sktime.benchmarking COMMAND``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd

from dsn_sktime.benchmarking import cuda_speed, report, run, speed, study, tables

_PROGRAM = "python -m dsn_sktime.benchmarking"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status.

    Whatever the user can mend, a wrong name as well as a full disk, ends in one sentence.
    """
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Benchmarks of DSN and other time series classifiers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run.add_parser(commands)
    report.add_parser(commands)
    study.add_parser(commands)
    tables.add_parser(commands)
    _add_speed(commands)
    chosen = parser.parse_args(arguments)
    try:
        return chosen.run(chosen) or 0
    except (ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _add_speed(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("speed", help="the sparse engine beside masked dense torch")
    command.add_argument("--repeats", type=int, default=15, help="timed turns of each (15)")
    command.add_argument(
        "--rocket", action="store_true", help="compare predictions with sktime's ROCKETs as well"
    )
    command.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: the captured training step beside the eager masked dense one (cpu)",
    )
    command.add_argument("--json", type=Path, help="write the results to this file as well")
    command.set_defaults(run=_speed)


def _speed(chosen: argparse.Namespace) -> None:
    if chosen.device == "cuda":
        result = cuda_speed.measure()
        if result is not None:
            print(json.dumps(result, indent=2))
        return
    thread_counts = tuple(sorted({1, os.cpu_count() or 1}))
    result = speed.measure(chosen.repeats, thread_counts)
    result["figures"] = speed.figures(chosen.repeats)
    if chosen.rocket:
        result["rockets"] = speed.rockets()
    for table in ("rows", "figures", "rockets"):
        if table in result:
            print(pd.DataFrame(result[table]).round(2).to_string(index=False))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""Command line: ``python -m dsn_sktime.benchmarking speed``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pandas as pd

from dsn_sktime.benchmarking import report, speed, study


def main(arguments: list[str] | None = None) -> None:
    """Run a benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m dsn_sktime.benchmarking", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report.add_parser(commands)
    study.add_parser(commands)
    command = commands.add_parser("speed", help="the sparse engine beside masked dense torch")
    command.add_argument("--repeats", type=int, default=15, help="timed turns of each (15)")
    command.add_argument("--json", type=Path, help="write the results to this file as well")
    command.set_defaults(run=_speed)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


def _speed(chosen: argparse.Namespace) -> None:
    thread_counts = tuple(sorted({1, os.cpu_count() or 1}))
    result = speed.measure(chosen.repeats, thread_counts)
    print(pd.DataFrame(result["rows"]).round(2).to_string(index=False))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

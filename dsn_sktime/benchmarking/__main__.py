"""Command line: ``python -m dsn_sktime.benchmarking COMMAND``."""

from __future__ import annotations

import argparse
import sys

from dsn_sktime.benchmarking import report, run, study, tables
from dsn_sktime.benchmarking.speed import speed

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
    speed.add_parser(commands)
    chosen = parser.parse_args(arguments)
    try:
        return chosen.run(chosen) or 0
    except (ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

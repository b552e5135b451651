"""Command line: ``dsn-benchmark COMMAND``, or ``python -m dsn_sktime.benchmarking COMMAND``."""

import argparse
import sys

from dsn_sktime.benchmarking.commands import report, run, speed, study, tables


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Errors that the user can correct, from a wrong name to a full disk, end in one sentence.
    """
    parser = argparse.ArgumentParser(
        prog="dsn-benchmark", description="Benchmarks of DSN and other time series classifiers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (run, report, study, tables, speed):
        command.add_parser(commands)
    args = parser.parse_args(arguments)
    try:
        return args.run(args) or 0
    except (ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

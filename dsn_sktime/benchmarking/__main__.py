"""Command line: ``dsn-benchmark COMMAND``, or ``python -m dsn_sktime.benchmarking COMMAND``."""

import argparse
import sys

from dsn_sktime.benchmarking.commands import COMMANDS


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Errors that the user can correct, from a wrong name to a full disk, end in one sentence.
    """
    about = "Benchmarks of DSN and other time series classifiers."
    parser = argparse.ArgumentParser("dsn-benchmark", description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (about, add_options, run) in COMMANDS.items():
        form = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=about, description=about, formatter_class=form)
        add_options(command)
        command.set_defaults(run=run)
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

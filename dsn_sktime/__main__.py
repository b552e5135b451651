"""``python -m dsn_sktime compile`` compiles the sparse kernels and keeps them on disk."""

from __future__ import annotations

import argparse


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dsn_sktime",
        description="Prepare dsn_sktime; python -m dsn_sktime.benchmarking compares classifiers.",
    )
    commands = parser.add_subparsers(required=True)
    commands.add_parser("compile", help="compile the kernels of training and prediction")
    parser.parse_args(arguments)
    # Only now: it imports torch.
    from dsn_sktime.kernels import compile_kernels, sparse

    if sparse is None:
        parser.error("the sparse kernels need numba, found none. Install numba.")
    compile_kernels(every_length=True)
    print("The kernels of training and prediction are compiled.")


if __name__ == "__main__":
    main()

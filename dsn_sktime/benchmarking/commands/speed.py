"""The command ``speed``: the sparse engine beside masked dense torch, and what else takes time."""

import argparse
import json
import os
import platform
from pathlib import Path

import pandas as pd
import torch

from dsn_sktime.benchmarking.commands.arguments import count_from
from dsn_sktime.benchmarking.speed import cuda, engine, limits, rivals


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``dsn-benchmark``."""
    text = "speedup of the sparse engine over masked dense torch"
    option = (command := commands.add_parser("speed", help=text)).add_argument
    repeats = "timed turns of each (15)"
    option("--repeats", type=count_from(1), default=15, metavar="N", help=repeats)
    rocket = "also compare predictions of 100 series with MiniROCKET's"
    option("--rocket", action="store_true", help=rocket)
    latency = "also time the prediction of a single series"
    option("--latency", action="store_true", help=latency)
    start_up = "also measure start-up time and the memory of large panels (takes minutes)"
    option("--limits", action="store_true", help=start_up)
    device = "cuda: the captured training step against the eager masked dense one (cpu)"
    option("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    option("--json", type=Path, metavar="FILE", help="write the results to this file as well")
    command.set_defaults(run=_speed)


def _speed(args: argparse.Namespace) -> None:
    n, threads = args.repeats, sorted({1, os.cpu_count() or 1})
    if args.device == "cuda":
        tables = {"rows": cuda.measure(n)}
    else:
        tables = {"rows": engine.measure(n, threads), "figures": engine.figures(n)}
        if args.rocket:
            tables["rockets"] = rivals.rockets(n, threads)
        if args.latency:
            tables["latency"] = rivals.latency(n, threads)
        if args.limits:
            tables["limits"] = limits.measure()
    tables = {name: rows for name, rows in tables.items() if rows}
    for rows in tables.values():
        print(pd.DataFrame(rows).round(2).to_string(index=False))
    if args.json and tables:
        machine = {
            "processor": platform.processor() or platform.machine(),
            "gpu": torch.cuda.get_device_name() if args.device == "cuda" else None,
            "torch": torch.__version__,
            "repeats": n,
        }
        args.json.write_text(json.dumps({"machine": machine, **tables}, indent=2) + "\n")

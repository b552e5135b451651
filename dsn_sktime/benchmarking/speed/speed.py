"""Speed of the sparse engine compared with masked dense convolutions, in one run.

Timings are interleaved and medians compared. What bounds the engine and how it grows is
measured the same way: see :func:`figures`.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from dsn_sktime.analysis import count_flops, count_parameters
from dsn_sktime.benchmarking.speed import cuda, rivals, startup_and_memory
from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork, train_step
from dsn_sktime.benchmarking.speed.timing import median_seconds
from dsn_sktime.kernels import sparse_conv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training.adam import Adam

_Call = Callable[[], object]
_Case = tuple[int, int, int]

# Batch size, variates, time steps.
CASES = ((16, 1, 96), (16, 1, 500), (16, 9, 128), (3, 1, 250))
_N_CLASSES = 3
# Shape at which the engine's scaling is measured.
_LONG = (16, 1, 500)
_STEPS_IN_A_ROW = 5


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to ``python -m dsn_sktime.benchmarking``."""
    command = commands.add_parser(
        "speed", help="speedup of the sparse engine over masked dense torch"
    )
    option, path = command.add_argument, "write the results to this file as well"
    option("--repeats", type=int, default=15, help="timed turns of each (15)")
    rocket = "also compare predictions of 100 series with MiniROCKET's"
    option("--rocket", action="store_true", help=rocket)
    latency = "also time the prediction of a single series"
    option("--latency", action="store_true", help=latency)
    limits = "also measure start-up time and the memory of large panels (takes minutes)"
    option("--limits", action="store_true", help=limits)
    device = "cuda: the captured training step against the eager masked dense one (cpu)"
    option("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    option("--json", type=Path, help=path)
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if args.repeats < 1:
        raise ValueError(f"--repeats must be at least 1, found {args.repeats}.")
    if args.device == "cuda":
        result = cuda.measure()
        if result is not None:
            print(json.dumps(result, indent=2))
        return
    thread_counts = tuple(sorted({1, os.cpu_count() or 1}))
    result = measure(args.repeats, thread_counts)
    result["figures"] = figures(args.repeats)
    if args.rocket:
        result["rockets"] = rivals.rockets(args.repeats, thread_counts)
    if args.latency:
        result["latency"] = rivals.latency(args.repeats, thread_counts)
    if args.limits:
        result["limits"] = startup_and_memory.measure()
    for table in ("rows", "figures", "rockets", "latency", "limits"):
        if table in result:
            print(pd.DataFrame(result[table]).round(2).to_string(index=False))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(n_repeats: int, thread_counts: tuple[int, ...]) -> dict[str, Any]:
    """Time training steps and predictions of both networks.

    Return "machine" and "rows", one row per case, task and thread count, with the median
    milliseconds of both and their ratio.
    """
    before, rows = torch.get_num_threads(), []
    tasks = (("training step", _training), ("prediction", _prediction))
    try:
        for n_threads, case, (task, prepare) in product(thread_counts, CASES, tasks):
            torch.set_num_threads(n_threads)
            seconds = median_seconds(
                *prepare(case), n_repeats=n_repeats, n_in_a_row=_STEPS_IN_A_ROW
            )
            sparse, dense = (1e3 * each for each in seconds)
            row = {"task": task, "threads": n_threads, **dict(zip("BmL", case, strict=True))}
            rows.append({**row, "sparse_ms": sparse, "dense_ms": dense, "ratio": dense / sparse})
    finally:
        torch.set_num_threads(before)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "repeats": n_repeats,
    }
    return {"machine": machine, "rows": rows}


def figures(n_repeats: int) -> list[dict[str, Any]]:
    """Measure on one thread what the engine's speed and memory depend on, by "figure"."""
    length, n = _LONG[2], n_repeats
    counted = count_flops(_networks(_LONG)[0], length)
    (predict, dense_predict), (step, _) = _prediction(_LONG), _training(_LONG)
    half = _training((*_LONG[:2], length // 2))[0]
    sparser, sparsest = (_training(_LONG, sparsity)[0] for sparsity in (0.9, 0.99))
    values = {
        "forward convolution / matrix product, rate": _convolution_rate(n),
        "prediction / matrix product, rate": _rate(predict, counted.activated, n),
        "masked dense prediction / matrix product, rate": _rate(dense_predict, counted.dense, n),
        # The gradients by the two factors of a product are as much again each.
        "training step / matrix product, rate": _rate(step, 3 * counted.activated, n),
        "step at S = 0.9 / at S = 0.8": _ratio(sparser, step, n),
        "step at S = 0.99 / at S = 0.8": _ratio(sparsest, step, n),
        f"step at L = {length} / {length // 2}": _ratio(step, half, n),
        "stored state / dense network's": _state_ratio(),
    }
    return [{"figure": name, "value": value} for name, value in values.items()]


def _convolution_rate(n_repeats: int) -> float:
    """Return a convolution's rate of multiply-adds relative to a matrix product's."""
    conv = _networks(_LONG)[0].sparse_convs()[1]
    x = torch.randn(_LONG[0], conv.groups.in_channels, _LONG[2] + conv.groups.kernel_size - 1)
    values, shape = conv.values.detach(), conv.groups.shape

    def convolve() -> None:
        with torch.no_grad():
            sparse_conv1d(x, values, conv.index, shape, conv.kernel_index)

    return _rate(convolve, len(values) * _LONG[2], n_repeats)


def _rate(run: _Call, n_each: int, n_repeats: int) -> float:
    """Return the rate of ``n_each`` multiply-adds per series relative to a matrix product's."""
    n = 512
    left, right = torch.randn(n, n), torch.randn(n, n)
    ratio = _ratio(run, lambda: torch.mm(left, right), n_repeats)
    return _LONG[0] * n_each / n**3 / ratio


def _ratio(run: _Call, other: _Call, n_repeats: int) -> float:
    """Return the time of a call relative to another's, on one thread."""
    with compute_threads(1):
        seconds, other_seconds = median_seconds(
            run, other, n_repeats=n_repeats, n_in_a_row=_STEPS_IN_A_ROW
        )
    return seconds / other_seconds


def _state_ratio() -> float:
    """Return bytes of parameters, gradients, Adam's state and index relative to dense ones."""
    network = _networks(_LONG)[0]
    optimizer = Adam(network.parameters(), 3e-4)
    kept = [*network.parameters(), *(conv.index for conv in network.sparse_convs())]
    kept += [*network.parameters()]  # Their gradients.
    kept += [tensor for state in optimizer.state.values() for tensor in state.values()]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    return n_bytes / (count_parameters(network).dense * 4 * 4)


def _networks(
    case: _Case, sparsity: float = 0.8
) -> tuple[DSNNetwork, MaskedDenseNetwork, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    settings: dict[str, Any] = {
        "sparsity": sparsity,
        "topology_init": "random",
        "generator": generator,
    }
    network = DSNNetwork(case[1], _N_CLASSES, **settings)
    x = torch.randn(case, generator=generator)
    y = torch.randint(_N_CLASSES, case[:1], generator=generator)
    return network, MaskedDenseNetwork(network), x, y


def _training(case: _Case, sparsity: float = 0.8) -> tuple[_Call, _Call]:
    network, masked, x, y = _networks(case, sparsity)
    ours, torchs = Adam(network.parameters(), 3e-4), torch.optim.Adam(masked.parameters(), 3e-4)

    def sparse() -> None:
        with compute_threads(torch.get_num_threads()):
            ours.zero_grad()
            F.cross_entropy(network(x), y).backward()
            ours.step()

    return sparse, lambda: train_step(masked, torchs, x, y)


def _prediction(case: _Case) -> tuple[_Call, _Call]:
    network, masked, x, _ = _networks(case)
    predict = torch.no_grad()(lambda model: model(x))
    return partial(predict, network.eval()), partial(predict, masked.eval())

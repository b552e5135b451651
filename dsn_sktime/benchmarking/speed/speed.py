"""Speed of the sparse engine beside masked dense convolutions, in one run.

Timings are interleaved and medians compared. What bounds the engine and how it grows is
measured the same way: see :func:`figures`.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from dsn_sktime.analysis import count_flops, count_parameters
from dsn_sktime.benchmarking.speed import cuda, startup_and_memory
from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork, train_step
from dsn_sktime.benchmarking.speed.timing import median_seconds
from dsn_sktime.kernels import sparse_conv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training.adam import Adam

# Batch size, variates, time steps.
CASES = ((16, 1, 96), (16, 1, 500), (16, 9, 128), (3, 1, 250))
_N_CLASSES = 3
# Shape that the engine's growth is measured at.
_LONG = (16, 1, 500)
_STEPS_IN_A_ROW = 5


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of ``python -m dsn_sktime.benchmarking``."""
    command = commands.add_parser("speed", help="the sparse engine beside masked dense torch")
    option, path = command.add_argument, "write the results to this file as well"
    option("--repeats", type=int, default=15, help="timed turns of each (15)")
    rocket = "compare predictions with sktime's ROCKETs as well"
    option("--rocket", action="store_true", help=rocket)
    limits = "measure start-up and the memory of large panels as well, which takes minutes"
    option("--limits", action="store_true", help=limits)
    device = "cuda: the captured training step beside the eager masked dense one (cpu)"
    option("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    option("--json", type=Path, help=path)
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    if args.device == "cuda":
        result = cuda.measure()
        if result is not None:
            print(json.dumps(result, indent=2))
        return
    thread_counts = tuple(sorted({1, os.cpu_count() or 1}))
    result = measure(args.repeats, thread_counts)
    result["figures"] = figures(args.repeats)
    if args.rocket:
        result["rockets"] = rockets()
    if args.limits:
        result["limits"] = startup_and_memory.measure()
    for table in ("rows", "figures", "rockets", "limits"):
        if table in result:
            print(pd.DataFrame(result[table]).round(2).to_string(index=False))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(n_repeats: int, thread_counts: tuple[int, ...]) -> dict[str, Any]:
    """Time training steps and predictions of both networks.

    Return "machine" and "rows", one row per case, task and thread count, with the median
    milliseconds of both and their ratio.
    """
    before = torch.get_num_threads()
    rows = []
    try:
        for n_threads in thread_counts:
            torch.set_num_threads(n_threads)
            for case in CASES:
                for task, prepare in (("training step", _training), ("prediction", _prediction)):
                    sparse, dense = prepare(case)
                    sizes = dict(zip(("B", "m", "L"), case, strict=True))
                    row = {"task": task, "threads": n_threads, **sizes}
                    rows.append({**row, **_compared(sparse, dense, n_repeats)})
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


def _compared(
    sparse: Callable[[], object], dense: Callable[[], object], n_repeats: int
) -> dict[str, float]:
    seconds = median_seconds(sparse, dense, n_repeats, _STEPS_IN_A_ROW)
    sparse_ms, dense_ms = (1e3 * each for each in seconds)
    return {"sparse_ms": sparse_ms, "dense_ms": dense_ms, "ratio": dense_ms / sparse_ms}


def figures(n_repeats: int) -> list[dict[str, Any]]:
    """Measure what the engine's speed and memory depend on, on one thread, by "figure"."""
    length = _LONG[2]
    halved = (*_LONG[:2], length // 2)
    counted = count_flops(_networks(_LONG)[0], length)
    predict, dense_predict = _prediction(_LONG)
    step, _ = _training(_LONG)
    return [
        {"figure": name, "value": value}
        for name, value in (
            ("forward convolution / matrix product, rate", _convolution_rate(n_repeats)),
            ("prediction / matrix product, rate", _rate(predict, counted.activated, n_repeats)),
            (
                "masked dense prediction / matrix product, rate",
                _rate(dense_predict, counted.dense, n_repeats),
            ),
            # The gradients by the two factors of a product are as much again each.
            ("training step / matrix product, rate", _rate(step, 3 * counted.activated, n_repeats)),
            ("step at S = 0.9 / at S = 0.8", _steps_ratio(_LONG, 0.9, _LONG, 0.8, n_repeats)),
            ("step at S = 0.99 / at S = 0.8", _steps_ratio(_LONG, 0.99, _LONG, 0.8, n_repeats)),
            (
                f"step at L = {length} / {length // 2}",
                _steps_ratio(_LONG, 0.8, halved, 0.8, n_repeats),
            ),
            ("stored state / dense network's", _state_ratio()),
        )
    ]


def _convolution_rate(n_repeats: int) -> float:
    """Return the rate of multiply-adds of a layer's convolution, by a matrix product's."""
    conv = _networks(_LONG)[0].sparse_convs()[1]
    x = torch.randn(_LONG[0], conv.groups.in_channels, _LONG[2] + conv.groups.kernel_size - 1)
    values, shape = conv.values.detach(), conv.groups.shape

    def convolve() -> None:
        with torch.no_grad():
            sparse_conv1d(x, values, conv.index, shape, conv.kernel_index)

    return _rate(convolve, len(values) * _LONG[2], n_repeats)


def _rate(run: Callable[[], object], n_each: int, n_repeats: int) -> float:
    """Return the rate of ``n_each`` multiply-adds per series, by that of a matrix product."""
    n = 512
    left, right = torch.randn(n, n), torch.randn(n, n)
    with compute_threads(1):
        ours, products = median_seconds(
            run, lambda: torch.mm(left, right), n_repeats, _STEPS_IN_A_ROW
        )
    return _LONG[0] * n_each / ours / (n**3 / products)


def _steps_ratio(
    case: tuple[int, int, int],
    sparsity: float,
    other: tuple[int, int, int],
    other_sparsity: float,
    n_repeats: int,
) -> float:
    """Return the time of a training step by that of another."""
    step, other_step = _training(case, sparsity)[0], _training(other, other_sparsity)[0]
    with compute_threads(1):
        seconds, other_seconds = median_seconds(step, other_step, n_repeats, _STEPS_IN_A_ROW)
    return seconds / other_seconds


def _state_ratio() -> float:
    """Return the bytes of parameters, gradients, Adam's state and index by a dense network's."""
    network = _networks(_LONG)[0]
    optimizer = Adam(network.parameters(), 3e-4)
    kept = [*network.parameters(), *(conv.index for conv in network.sparse_convs())]
    kept += [*network.parameters()]  # Their gradients.
    kept += [tensor for state in optimizer.state.values() for tensor in state.values()]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    return n_bytes / (count_parameters(network).dense * 4 * 4)


def rockets(n_series: int = 100, n_steps: int = 300) -> list[dict[str, Any]]:
    """Time the prediction of univariate series by DSN, MiniROCKET and ROCKET, all warmed up.

    Return "classifier" and "ms" per series, the least of three predictions on all cores.
    """
    # Both are slow to import, and needed here only.
    from sktime.classification.kernel_based import RocketClassifier

    from dsn_sktime import DSNClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_series, 1, n_steps)), np.arange(n_series) % 2
    classifiers = {
        "DSN": DSNClassifier(n_epochs=1, n_jobs=-1, random_state=0),
        "MiniROCKET": RocketClassifier(rocket_transform="minirocket", n_jobs=-1, random_state=0),
        "ROCKET": RocketClassifier(n_jobs=-1, random_state=0),
    }
    rows = []
    for name, classifier in classifiers.items():
        classifier.fit(X[:20], y[:20]).predict(X)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            classifier.predict(X)
            times.append(time.perf_counter() - started)
        rows.append({"classifier": name, "ms": 1e3 * min(times) / n_series})
    return rows


def _networks(
    case: tuple[int, int, int], sparsity: float = 0.8
) -> tuple[DSNNetwork, MaskedDenseNetwork, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(
        case[1], _N_CLASSES, sparsity=sparsity, topology_init="random", generator=generator
    )
    x = torch.randn(case, generator=generator)
    y = torch.randint(_N_CLASSES, case[:1], generator=generator)
    return network, MaskedDenseNetwork(network), x, y


def _training(
    case: tuple[int, int, int], sparsity: float = 0.8
) -> tuple[Callable[[], object], Callable[[], object]]:
    network, masked, x, y = _networks(case, sparsity)
    ours, torchs = Adam(network.parameters(), 3e-4), torch.optim.Adam(masked.parameters(), 3e-4)

    def sparse() -> None:
        with compute_threads(torch.get_num_threads()):
            ours.zero_grad()
            F.cross_entropy(network(x), y).backward()
            ours.step()

    return sparse, lambda: train_step(masked, torchs, x, y)


def _prediction(
    case: tuple[int, int, int],
) -> tuple[Callable[[], object], Callable[[], object]]:
    network, masked, x, _ = _networks(case)
    network.eval()
    masked.eval()

    def sparse() -> None:
        with torch.no_grad():
            network(x)

    def dense() -> None:
        with torch.no_grad():
            masked(x)

    return sparse, dense

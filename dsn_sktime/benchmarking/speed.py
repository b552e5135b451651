"""Speed of the sparse engine beside masked dense convolutions, in one run.

The two take turns of a few steps in a row, so that both see the same machine, and each
its own data in the caches as in training; medians are compared.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from dsn_sktime.benchmarking.masked_dense import MaskedDenseNetwork
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training.adam import Adam

__all__ = ["CASES", "measure"]

# Batch size, variates, time steps.
CASES = ((16, 1, 96), (16, 1, 500), (16, 9, 128), (3, 1, 250))
_N_CLASSES = 3
_STEPS_IN_A_ROW = 5


def measure(n_repeats: int, thread_counts: tuple[int, ...]) -> dict[str, Any]:
    """Time training steps and predictions of both networks.

    Parameters
    ----------
    n_repeats : int
        Timed turns of each.
    thread_counts : tuple of int

    Returns
    -------
    dict
        "machine" and "rows", one row per case, task and thread count, with the median
        milliseconds of both and their ratio.
    """
    before = torch.get_num_threads()
    rows = []
    try:
        for n_threads in thread_counts:
            torch.set_num_threads(n_threads)
            for case in CASES:
                for task, prepare in (("training step", _training), ("prediction", _prediction)):
                    sparse, dense = prepare(case, n_threads)
                    row = {"task": task, "threads": n_threads, "B": case[0], "m": case[1]}
                    rows.append({**row, "L": case[2], **_take_turns(sparse, dense, n_repeats)})
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


def _take_turns(
    sparse: Callable[[], object], dense: Callable[[], object], n_repeats: int
) -> dict[str, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(n_repeats + 2):
        for run, kept in zip((sparse, dense), times, strict=True):
            started = time.perf_counter()
            for _ in range(_STEPS_IN_A_ROW):
                run()
            # The first turns compile, fill caches and wake threads.
            if turn >= 2:
                kept.append(1e3 * (time.perf_counter() - started) / _STEPS_IN_A_ROW)
    sparse_ms, dense_ms = (statistics.median(kept) for kept in times)
    return {"sparse_ms": sparse_ms, "dense_ms": dense_ms, "ratio": dense_ms / sparse_ms}


def _networks(
    case: tuple[int, int, int],
) -> tuple[DSNNetwork, MaskedDenseNetwork, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(case[1], _N_CLASSES, topology_init="random", generator=generator)
    x = torch.randn(case, generator=generator)
    y = torch.randint(_N_CLASSES, case[:1], generator=generator)
    return network, MaskedDenseNetwork(network), x, y


def _training(
    case: tuple[int, int, int], n_threads: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    network, masked, x, y = _networks(case)
    ours, torchs = Adam(network.parameters(), 3e-4), torch.optim.Adam(masked.parameters(), 3e-4)

    def sparse() -> None:
        with compute_threads(n_threads):
            ours.zero_grad()
            F.cross_entropy(network(x), y).backward()
            ours.step()

    def dense() -> None:
        torchs.zero_grad()
        F.cross_entropy(masked(x), y).backward()
        torchs.step()
        masked.apply_masks()

    return sparse, dense


def _prediction(
    case: tuple[int, int, int], n_threads: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    network, masked, x, _ = _networks(case)
    network.eval()
    masked.eval()

    def sparse() -> None:
        with compute_threads(n_threads), torch.no_grad():
            network(x)

    def dense() -> None:
        with torch.no_grad():
            masked(x)

    return sparse, dense

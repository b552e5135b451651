"""The sparse engine beside masked dense convolutions, and what its speed depends on.

What is compared takes turns, and medians are compared.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch.nn import functional as F

from dsn_sktime.analysis import count_flops
from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork, train_step
from dsn_sktime.benchmarking.speed.timing import median_seconds
from dsn_sktime.kernels import sparse_conv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training.adam import Adam

Call = Callable[[], object]
Case = tuple[int, int, int]

# Batch size, variates, time steps.
CASES: tuple[Case, ...] = ((16, 1, 96), (16, 1, 500), (16, 9, 128), (3, 1, 250))
# Shape at which the engine's scaling is measured.
LONG: Case = (16, 1, 500)
_N_CLASSES = 3
_STEPS_IN_A_ROW = 5


def measure(n_repeats: int, thread_counts: Iterable[int]) -> list[dict[str, Any]]:
    """Time training steps and predictions of both networks.

    Return a row per task, case and thread count, with the median milliseconds of both, their
    ratio, and how many times faster each is than on the first number of threads.
    """
    before, counts, rows = torch.get_num_threads(), list(thread_counts), []
    tasks = (("training step", _training), ("prediction", _prediction))
    try:
        for (task, prepare), case in product(tasks, CASES):
            calls = [_on_threads(n, call) for n, call in product(counts, prepare(case))]
            times = median_seconds(*calls, n_repeats=n_repeats, n_in_a_row=_STEPS_IN_A_ROW)
            sparse, dense = ([1e3 * one for one in times[start::2]] for start in (0, 1))
            for n_threads, ours, theirs in zip(counts, sparse, dense, strict=True):
                row = {"task": task, "threads": n_threads, **dict(zip("BmL", case, strict=True))}
                row |= {"sparse_ms": ours, "dense_ms": theirs, "ratio": theirs / ours}
                gains = {"sparse_gain": sparse[0] / ours, "dense_gain": dense[0] / theirs}
                rows.append({**row, **gains})
    finally:
        torch.set_num_threads(before)
    return rows


def figures(n_repeats: int) -> list[dict[str, Any]]:
    """Measure on one thread what the engine's speed depends on, by "figure".

    A rate is that of multiply-adds, relative to the rate of a product of 512 x 512 matrices.
    """
    batch_size, n_variates, length = LONG
    half = (batch_size, n_variates, length // 2)
    network, matrix = networks(LONG)[0], torch.randn(512, 512)
    calls: dict[str, Call] = {
        "matrix product": lambda: torch.mm(matrix, matrix),
        "convolution": _convolution(network),
        **dict(zip(("prediction", "masked dense prediction"), _prediction(LONG), strict=True)),
        "step": _training(LONG)[0],
        "step at S = 0.9": _training(LONG, 0.9)[0],
        "step at S = 0.99": _training(LONG, 0.99)[0],
        "shorter step": _training(half)[0],
    }
    with compute_threads(1):
        times = median_seconds(*calls.values(), n_repeats=n_repeats, n_in_a_row=_STEPS_IN_A_ROW)
    seconds, counted = dict(zip(calls, times, strict=True)), count_flops(network, length)
    n_multiply_adds = {
        "convolution": len(network.sparse_convs()[1].values) * length,
        "prediction": counted.activated,
        "masked dense prediction": counted.dense,
        # The gradients by the two factors of a product are as much again each.
        "step": 3 * counted.activated,
    }
    product_rate = len(matrix) ** 3 / seconds["matrix product"]
    values = {
        f"{name} / matrix product, rate": batch_size * n / seconds[name] / product_rate
        for name, n in n_multiply_adds.items()
    }
    for name in ("step at S = 0.9", "step at S = 0.99"):
        values[f"{name} / at S = 0.8"] = seconds[name] / seconds["step"]
    values[f"step at L = {length} / {half[2]}"] = seconds["step"] / seconds["shorter step"]
    return [{"figure": name, "value": value} for name, value in values.items()]


def networks(
    case: Case, sparsity: float = 0.8, device: torch.device | str = "cpu"
) -> tuple[DSNNetwork, MaskedDenseNetwork, torch.Tensor, torch.Tensor]:
    """Return both networks, and a batch of a case with its labels."""
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(
        case[1], _N_CLASSES, sparsity=sparsity, topology_init="random", generator=generator
    )
    x = torch.randn(case, generator=generator)
    y = torch.randint(_N_CLASSES, case[:1], generator=generator)
    masked = MaskedDenseNetwork(network)
    return network.to(device), masked.to(device), x.to(device), y.to(device)


def _training(case: Case, sparsity: float = 0.8) -> tuple[Call, Call]:
    network, masked, x, y = networks(case, sparsity)
    ours, torchs = Adam(network.parameters(), 3e-4), torch.optim.Adam(masked.parameters(), 3e-4)

    def sparse() -> None:
        ours.zero_grad()
        F.cross_entropy(network(x), y).backward()
        ours.step()

    return _as_estimators(sparse), partial(train_step, masked, torchs, x, y)


def _prediction(case: Case) -> tuple[Call, Call]:
    network, masked, x, _ = networks(case)
    predict = torch.no_grad()(lambda model: model(x))
    return _as_estimators(partial(predict, network.eval())), partial(predict, masked.eval())


def _as_estimators(call: Call) -> Call:
    """Return a call of the sparse kernels that leaves torch one thread, as the estimators do."""

    def run() -> None:
        with compute_threads(torch.get_num_threads()):
            call()

    return run


def _on_threads(n_threads: int, call: Call) -> Call:
    def run() -> None:
        torch.set_num_threads(n_threads)
        call()

    return run


def _convolution(network: DSNNetwork) -> Call:
    """Return a call of the second layer's convolution alone."""
    conv, (batch_size, _, length) = network.sparse_convs()[1], LONG
    x = torch.randn(batch_size, conv.groups.in_channels, length + conv.groups.kernel_size - 1)
    arguments = x, conv.values.detach(), conv.index, conv.groups.shape, conv.kernel_index
    return partial(torch.no_grad()(sparse_conv1d), *arguments)

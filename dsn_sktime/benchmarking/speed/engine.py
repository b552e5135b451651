"""The sparse engine beside masked dense convolutions, and what its speed depends on."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.benchmark import Timer

from dsn_sktime.analysis import count_flops
from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork
from dsn_sktime.kernels import sparse_conv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import compute_threads
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.batches import Batch
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs

Call = Callable[[], object]
Case = tuple[int, int, int]

# Batch size, variates, time steps; below those of the engine's scaling and of a GPU.
CASES: tuple[Case, ...] = ((16, 1, 96), (16, 1, 500), (16, 9, 128), (3, 1, 250))
LONG: Case = (16, 1, 500)
ON_GPU: Case = (16, 1, 300)


def median_seconds(
    calls: Iterable[Call], n_repeats: int, n_in_a_row: int = 5, thread_counts: Sequence[int] = (1,)
) -> list[float]:
    """Time calls, each on each number of torch's threads, and return their median seconds.

    They take turns of some calls in a row, after two that torch's timer leaves out, so that each
    finds its own data in the caches. The first turn compiles and is left out as well.
    """
    timers = [
        Timer("call()", globals={"call": call}, num_threads=n)
        for call, n in product(calls, thread_counts)
    ]
    turns = [[one.timeit(n_in_a_row).mean for one in timers] for _ in range(1 + n_repeats)]
    return np.median(turns[1:], axis=0).tolist()


def measure(n_repeats: int, thread_counts: Sequence[int]) -> list[dict[str, Any]]:
    """Time training steps and predictions of both networks.

    Return a row per task, case and thread count, with the median milliseconds of both, their
    ratio, and how many times faster each is than on the first number of threads.
    """
    rows = []
    tasks = {"training step": _training, "prediction": _prediction}
    for (task, prepare), case in product(tasks.items(), CASES):
        seconds = median_seconds(prepare(case), n_repeats, thread_counts=thread_counts)
        sparse, dense = 1e3 * np.reshape(seconds, (2, -1))
        for n_threads, ours, theirs in zip(thread_counts, sparse, dense, strict=True):
            row = {"task": task, "threads": n_threads, **dict(zip("BmL", case, strict=True))}
            row |= {"sparse_ms": ours, "dense_ms": theirs, "ratio": theirs / ours}
            rows.append(row | {"sparse_gain": sparse[0] / ours, "dense_gain": dense[0] / theirs})
    return rows


def measure_gpu(
    n_repeats: int, case: Case = ON_GPU, device: str = "cuda", graphs: CudaGraphs | None = None
) -> dict[str, float]:
    """Time the captured training step beside the eager one of the masked dense network.

    Return "B", "m", "L", steps per second "captured_per_s" and "dense_per_s", and "ratio".
    """
    kept = graphs or CudaGraphs(torch.device(device))
    calls = _training(case, device=device, wrap=lambda step: CapturedStep(step, kept))
    captured, dense = median_seconds(calls, n_repeats, n_in_a_row=20)
    row = {"captured_per_s": 1 / captured, "dense_per_s": 1 / dense, "ratio": dense / captured}
    return dict(zip("BmL", case, strict=True)) | row


def figures(n_repeats: int) -> list[dict[str, Any]]:
    """Measure on one thread what the engine's speed depends on, by "figure".

    A rate is that of multiply-adds, relative to the rate of a product of 512 x 512 matrices.
    """
    batch_size, n_variates, length = LONG
    half = (batch_size, n_variates, length // 2)
    network, matrix = _networks(LONG)[0], torch.randn(512, 512)
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
        times = median_seconds(calls.values(), n_repeats)
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


def _networks(
    case: Case, sparsity: float = 0.8, device: str = "cpu"
) -> tuple[DSNNetwork, MaskedDenseNetwork, torch.Tensor, torch.Tensor]:
    """Return both networks, and a batch of a case with its labels."""
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(case[1], 3, sparsity=sparsity, topology_init="random", generator=generator)
    x = torch.randn(case, generator=generator)
    y = torch.randint(3, case[:1], generator=generator)
    masked = MaskedDenseNetwork(network)
    return network.to(device), masked.to(device), x.to(device), y.to(device)


def _training(
    case: Case, sparsity: float = 0.8, device: str = "cpu", wrap: Callable = lambda step: step
) -> tuple[Call, Call]:
    """Return a training step of each network; ``wrap`` takes the sparse one's, of a Batch."""
    network, masked, x, y = _networks(case, sparsity, device)
    # A captured graph reads the learning rate from a tensor.
    lr = torch.tensor(3e-4, dtype=torch.float64, device=device)
    ours, torchs = Adam(network.parameters(), lr), torch.optim.Adam(masked.parameters(), 3e-4)

    def step(batch: Batch) -> torch.Tensor:
        with compute_threads(torch.get_num_threads()):
            ours.zero_grad()
            loss = F.cross_entropy(network(batch.values), batch.target)
            loss.backward()
            ours.step()
        return loss.detach()

    def masked_step() -> None:
        torchs.zero_grad()
        F.cross_entropy(masked(x), y).backward()
        torchs.step()
        masked.apply_masks()

    return partial(wrap(step), Batch(x, None, y, None)), masked_step


def _prediction(case: Case) -> tuple[Call, Call]:
    network, masked, x, _ = _networks(case)

    @torch.no_grad()
    def sparse() -> None:
        with compute_threads(torch.get_num_threads()):
            network(x)

    network.eval()
    return sparse, partial(torch.no_grad()(masked.eval()), x)


def _convolution(network: DSNNetwork) -> Call:
    """Return a call of the second layer's convolution alone."""
    conv, (batch_size, _, length) = network.sparse_convs()[1], LONG
    x = torch.randn(batch_size, conv.groups.in_channels, length + conv.groups.kernel_size - 1)
    arguments = x, conv.values.detach(), conv.index, conv.groups.shape, conv.kernel_index
    return partial(torch.no_grad()(sparse_conv1d), *arguments)

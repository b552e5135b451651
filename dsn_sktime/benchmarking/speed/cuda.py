"""Speed of the captured training step on a GPU against the eager masked dense network."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from dsn_sktime.benchmarking.speed.masked_dense import MaskedDenseNetwork, train_step
from dsn_sktime.benchmarking.speed.timing import median_seconds
from dsn_sktime.network import DSNNetwork
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.batches import Batch
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs, Graphs

# Batch size, variates, time steps.
CASE = (16, 1, 300)
SKIPPED = (
    "skipped: torch sees no CUDA device here, so training steps on a GPU were not measured. "
    "Install a CUDA build of torch on a machine with an NVIDIA GPU."
)
_N_CLASSES = 3
_STEPS_IN_A_ROW = 20


def measure(n_repeats: int = 15) -> dict[str, Any] | None:
    """Time training steps of both networks on the current CUDA device.

    Return "machine" and "rows", the one row being that of :func:`compare`; None, after a sentence
    on stderr, where torch sees no GPU.
    """
    if not torch.cuda.is_available():
        print(SKIPPED, file=sys.stderr)
        return None
    device = torch.device("cuda", torch.cuda.current_device())
    machine = {"gpu": torch.cuda.get_device_name(device), "repeats": n_repeats}
    machine |= {"torch": torch.__version__, "cuda": torch.version.cuda}
    machine["tf32_convolutions"] = torch.backends.cudnn.allow_tf32
    row = compare(device, CudaGraphs(device), torch.cuda.synchronize, CASE, n_repeats)
    return {"machine": machine, "rows": [row]}


def compare(
    device: torch.device,
    graphs: Graphs,
    synchronize: Callable[[], object],
    case: tuple[int, int, int],
    n_repeats: int,
) -> dict[str, float]:
    """Time the captured step and the eager masked dense one alternately, for a case (B, m, L).

    Return "B", "m", "L", steps per second "captured_per_s" and "dense_per_s", and "ratio".
    """
    steps = _steps(device, graphs, case)
    seconds = median_seconds(
        *steps, n_repeats=n_repeats, n_in_a_row=_STEPS_IN_A_ROW, synchronize=synchronize
    )
    captured, dense = (1 / each for each in seconds)
    row = {"captured_per_s": captured, "dense_per_s": dense, "ratio": captured / dense}
    return dict(zip("BmL", case, strict=True)) | row


def _steps(
    device: torch.device, graphs: Graphs, case: tuple[int, int, int]
) -> tuple[Callable[[], object], Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(case[1], _N_CLASSES, topology_init="random", generator=generator)
    masked = MaskedDenseNetwork(network).to(device)
    masked.masks = [mask.to(device) for mask in masked.masks]
    network.to(device)
    x = torch.randn(case, generator=generator).to(device)
    y = torch.randint(_N_CLASSES, case[:1], generator=generator).to(device)
    batch = Batch(x, None, y, None)
    lr = torch.tensor(3e-4, dtype=torch.float64, device=device)
    ours, torchs = Adam(network.parameters(), lr), torch.optim.Adam(masked.parameters(), 3e-4)

    def step(batch: Batch) -> torch.Tensor:
        ours.zero_grad()
        loss = F.cross_entropy(network(batch.values), batch.target)
        loss.backward()
        ours.step()
        return loss.detach()

    captured = CapturedStep(step, graphs)
    return lambda: captured(batch), lambda: train_step(masked, torchs, x, y)

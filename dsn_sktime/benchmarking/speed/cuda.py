"""The captured training step on a GPU beside the eager one of the masked dense network."""

import sys
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from dsn_sktime.benchmarking.speed.engine import Case, networks
from dsn_sktime.benchmarking.speed.masked_dense import train_step
from dsn_sktime.benchmarking.speed.timing import median_seconds
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.batches import Batch
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs

CASE: Case = (16, 1, 300)
SKIPPED = (
    "skipped: torch sees no CUDA device here, so training steps on a GPU were not measured. "
    "Install a CUDA build of torch on a machine with an NVIDIA GPU."
)
_STEPS_IN_A_ROW = 20


def measure(n_repeats: int) -> list[dict[str, float]]:
    """Return the row of :func:`compare` on the current CUDA device.

    Return none, after a sentence on stderr, where torch sees no GPU.
    """
    if not torch.cuda.is_available():
        print(SKIPPED, file=sys.stderr)
        return []
    device = torch.device("cuda", torch.cuda.current_device())
    return [compare(device, CudaGraphs(device), torch.cuda.synchronize, CASE, n_repeats)]


def compare(
    device: torch.device,
    graphs: CudaGraphs,
    synchronize: Callable[[], object],
    case: Case,
    n_repeats: int,
) -> dict[str, float]:
    """Time the captured step and the eager masked dense one alternately, for a case (B, m, L).

    Return "B", "m", "L", steps per second "captured_per_s" and "dense_per_s", and "ratio".
    """
    network, masked, x, y = networks(case, device=device)
    lr = torch.tensor(3e-4, dtype=torch.float64, device=device)
    ours, torchs = Adam(network.parameters(), lr), torch.optim.Adam(masked.parameters(), 3e-4)

    def step(batch: Batch) -> torch.Tensor:
        ours.zero_grad()
        loss = F.cross_entropy(network(batch.values), batch.target)
        loss.backward()
        ours.step()
        return loss.detach()

    seconds = median_seconds(
        partial(CapturedStep(step, graphs), Batch(x, None, y, None)),
        partial(train_step, masked, torchs, x, y),
        n_repeats=n_repeats,
        n_in_a_row=_STEPS_IN_A_ROW,
        synchronize=synchronize,
    )
    captured, dense = (1 / each for each in seconds)
    row = {"captured_per_s": captured, "dense_per_s": dense, "ratio": captured / dense}
    return dict(zip("BmL", case, strict=True)) | row

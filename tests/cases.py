"""Networks and batches of any shape, drawn or chosen because they are special."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import untraced
from torch import Tensor, nn

from dsn_sktime.layers import PADDINGS, SparseConv1d
from dsn_sktime.network import DSNNetwork


def drawn(test: Callable, max_examples: int = 50) -> Callable:
    """Draw the same examples in every run."""
    return untraced(settings(deadline=None, derandomize=True, max_examples=max_examples)(test))


seeds = st.integers(0, 2**32 - 1)

# Fewer series than a vector has lanes are cut into segments; 16 fill a vector.
BATCH_SIZES = [1, 2, 3, 5, 16, 17, 64]


class Case:
    """A network and a batch; all numbers are those of float32.

    Sparsity 1 stands for a single activated weight.
    """

    def __init__(
        self,
        kernel_size: int = 9,
        n_groups: int = 1,
        filters: int = 2,
        variates: int = 3,
        sparsity: float = 0.5,
        lengths: tuple[int, ...] = (5, 5),
        padding: str = "replicate",
        n_layers: int = 2,
        n_bottleneck: int = 3,
        n_pool: int = 4,
        seed: int = 0,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.padding = padding
        self.lengths = np.array(lengths)
        self.n_steps = int(self.lengths.max())
        self.network = DSNNetwork(
            variates,
            3,
            n_layers,
            filters,
            kernel_size,
            n_groups,
            0,
            padding,
            n_pool=n_pool,
            n_bottleneck=n_bottleneck,
            generator=torch.Generator().manual_seed(seed),
        )
        for conv in self.network.sparse_convs():
            self._set_topology(conv, sparsity)
        for norm in self.norms:
            norm.weight.data = self.normal(norm.num_features).sign() * self.uniform(norm)
            norm.bias.data = self.normal(norm.num_features)
            norm.running_mean = self.normal(norm.num_features)
            norm.running_var = self.uniform(norm)
        self.conv = self.network.sparse_convs()[0]
        self.x = self.series(variates)

    @property
    def norms(self) -> list[nn.Module]:
        """BatchNorm of the layers and of the head."""
        return [*(module.norm for module in self.network.sparse_modules()), self.network.head.norm]

    def _set_topology(self, conv: SparseConv1d, sparsity: float) -> None:
        """Draw a share of each group's region, which may be none of it."""
        groups = conv.groups
        regions = [groups.region(group) for group in range(groups.n_kernel_groups)]
        chosen = [
            self.rng.choice(region, int((1 - sparsity) * len(region)), replace=False)
            for region in regions
        ]
        index = np.sort(np.concatenate(chosen))
        index = index if len(index) else self.rng.choice(regions[-1], 1)
        conv.index = torch.from_numpy(index)
        conv.values = nn.Parameter(self.normal(len(index)))

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(size=shape)).float()

    def uniform(self, norm: nn.Module) -> Tensor:
        return torch.from_numpy(self.rng.uniform(0.5, 1.5, norm.num_features)).float()

    def series(self, n_channels: int) -> Tensor:
        """Draw a batch (B, n_channels, L); what stands after a series' end is 0."""
        x = self.normal(len(self.lengths), n_channels, self.n_steps)
        return x * self.observed

    @property
    def observed(self) -> Tensor:
        steps = torch.arange(self.n_steps)
        return (steps < torch.from_numpy(self.lengths)[:, None])[:, None].float()

    @property
    def lengths_or_none(self) -> Tensor | None:
        """Lengths, where a series is padded."""
        is_full = (self.lengths == self.n_steps).all()
        return None if is_full else torch.from_numpy(self.lengths)

    def wide(self) -> DSNNetwork:
        """Return the network in float64, which the masked dense path computes."""
        return copy.deepcopy(self.network).double()

    def scores_of(self, wide: DSNNetwork) -> Tensor:
        """Return what a network in float64 makes of the batch."""
        return wide(self.x.double(), torch.from_numpy(self.lengths))

    def keep_from_zero(self) -> None:
        """Move BatchNorm's biases so that nothing before a ReLU is close to zero in training.

        Where rounding decides whether ReLU passes, gradients of float32 and of float64 have
        nothing in common. Each channel keeps values on both sides.
        """
        for number, module in enumerate(self.network.sparse_modules()):
            module.norm.bias.data.zero_()
            wide = self.wide()
            before = []
            wide.sparse_modules()[number].norm.register_forward_hook(
                lambda module, inputs, output, before=before: before.append(output.detach())
            )
            self.scores_of(wide)
            channels = before[0].transpose(0, 1)[:, self.observed[:, 0] > 0]
            gaps = [float(self._gap(channel)) for channel in channels]
            module.norm.bias.data = -torch.tensor(gaps)

    def _gap(self, values: Tensor) -> float:
        """Return the middle of the widest gap among the values that are not extreme."""
        values = values.sort().values
        left = len(values) // 4
        inner = values[left : max(len(values) - left, 2)]
        gaps = inner.diff()
        if len(gaps) == 0 or gaps.max() < 1e-3:
            return float(values[0]) + self.rng.choice([-0.5, 0.5])
        widest = gaps.argmax()
        return float(inner[widest : widest + 2].mean())


@st.composite
def options_of_cases(draw: st.DrawFn) -> dict[str, Any]:
    kernel_size = draw(st.integers(1, 41))
    n_series = draw(st.sampled_from(BATCH_SIZES))
    # One step of one series cannot be trained on.
    least = 2 if n_series == 1 else 1
    n_steps = draw(st.integers(least, max(least, min(90, 3000 // n_series))))
    lengths = st.integers(least, n_steps)
    return {
        "kernel_size": kernel_size,
        "n_groups": draw(st.integers(1, min(4, kernel_size))),
        "filters": draw(st.integers(1, 5)),
        "variates": draw(st.sampled_from([1, 1, 2, 3, 12])),
        "sparsity": draw(st.sampled_from([0, 0.5, 0.8, 0.99])),
        "lengths": tuple(
            draw(st.lists(lengths, min_size=n_series, max_size=n_series))
            if draw(st.booleans())
            else [n_steps] * n_series
        ),
        "padding": draw(st.sampled_from(PADDINGS)),
        "n_layers": draw(st.integers(1, 3)),
        "n_bottleneck": draw(st.sampled_from([1, 2, 5, 17])),
        "n_pool": draw(st.integers(2, 9)),
        "seed": draw(seeds),
    }


def every_case(test: Callable) -> Callable:
    """Draw cases, and always run those that are known to be special."""
    special = [
        {"sparsity": 1.0},  # a single activated weight
        {"sparsity": 0.99, "filters": 4, "kernel_size": 41, "n_groups": 4},  # groups without any
        {"kernel_size": 1, "n_groups": 1, "lengths": (2,)},
        {"kernel_size": 41, "lengths": (1, 1, 1), "padding": "zeros"},  # longer than the series
        {"kernel_size": 40, "lengths": (7, 1, 40), "filters": 9},
        {"kernel_size": 39, "lengths": (40,) * 64, "filters": 9, "sparsity": 0.8},
        {"kernel_size": 39, "lengths": (500,), "variates": 1, "sparsity": 0.8},  # many segments
        # Groups of several stretches of columns.
        {"kernel_size": 39, "lengths": (300,) * 15 + (170,), "variates": 1, "sparsity": 0.8},
        # The paper's channels: several parts of rows, several blocks of input channels.
        {
            "kernel_size": 39,
            "n_groups": 3,
            "lengths": (30, 1, 17),
            "filters": 47,
            "n_bottleneck": 47,
            "sparsity": 0.97,
        },
        # Blocks of one channel, of which a sparse topology leaves many empty.
        {"kernel_size": 41, "lengths": (20,) * 300, "filters": 6, "sparsity": 0.97},
    ]

    def run(options: dict[str, Any]) -> None:
        test(case=Case(**options))

    update_wrapper(run, test, ("__module__", "__name__", "__qualname__", "__doc__"))
    del run.__wrapped__  # Its arguments are not those of the test.
    for options in special:
        run = example(options=options)(run)
    # Each test of the engine draws others.
    return drawn(given(options=options_of_cases())(run), max_examples=25)

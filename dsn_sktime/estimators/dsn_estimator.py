"""Base class of DSN's estimators: network, recipe, ridge head and features."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import ceil
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from dsn_sktime.estimators.ensemble import Trained
from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.estimators.memory import Sizes
from dsn_sktime.estimators.network_estimator import NetworkEstimator
from dsn_sktime.estimators.ridge_head import STATISTICS, RidgeHead, RidgeHeadFit, center_kernels
from dsn_sktime.layers import HEADS, PADDINGS
from dsn_sktime.network import DSNNetwork
from dsn_sktime.runtime import default_switches
from dsn_sktime.topology import TOPOLOGY_INITS, KernelGroups
from dsn_sktime.training import Batch, Objective, SparseRecipe, SparseTrainer, Use, random_stream
from dsn_sktime.training.checks import check_choice, check_integer, check_number


class DSNEstimator(NetworkEstimator):
    """Estimator whose networks are Dynamic Sparse Networks.

    A subclass derives from this class first and from the base class of its task second. It
    writes the constructor and ``_ridge_targets``.
    """

    _tags = {"authors": ["QiaoXiao7282", "dsn_sktime"], "maintainers": ["dsn_sktime"]}

    _network_name = "DSN"
    _trainer = SparseTrainer

    n_layers: int
    n_filters: int
    n_bottleneck: int | None
    kernel_size: int
    n_kernel_groups: int
    sparsity: float
    topology_init: str
    padding: str
    n_pool: int
    head: str
    diverse: bool
    networks_: list[DSNNetwork]  # type: ignore[assignment]
    heads_: list[RidgeHead | None]  # type: ignore[assignment]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for sktime's contract tests."""
        tiny = {"n_epochs": 2, "batch_size": 32, "n_layers": 2, "n_filters": 3, "kernel_size": 9}
        gradient = {"growth": "gradient", "delta_t": 1, "topology_init": "random"}
        others = {"padding": "zeros", "weight_decay": 0.1, "n_estimators": 2, "n_pool": 5}
        return [tiny, {**tiny, **gradient, **others}]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("n_layers", "n_filters", "kernel_size", "n_kernel_groups", "n_pool"):
            check_integer(name, getattr(self, name), 1)
        if self.n_bottleneck is not None:
            check_integer("n_bottleneck", self.n_bottleneck, 1)
        check_number("sparsity", self.sparsity, "[0, 1)")
        check_choice("topology_init", self.topology_init, TOPOLOGY_INITS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("head", self.head, ("ridge", *HEADS))
        check_choice("diverse", self.diverse, (True, False))

    def _check_shape(self, n_variates: int, n_steps: int, n_outputs: int) -> None:
        for number, settings in enumerate(self._variations()[: self.n_estimators], start=1):
            kernel_size = settings.get("kernel_size", self.kernel_size)
            try:
                self._check_kernel_size(kernel_size, n_variates)
            except ValueError as error:
                if kernel_size == self.kernel_size:
                    raise
                raise ValueError(
                    f"{error} This is network {number} of n_estimators={self.n_estimators}, which "
                    f"diverse=True gives kernel_size={kernel_size}. With diverse=False, all have "
                    f"kernel_size={self.kernel_size}."
                ) from None

    def _check_kernel_size(self, kernel_size: int, n_variates: int) -> None:
        # Kernel groups check their own limits. The first layer reads univariate series
        # directly, every other layer the output of a 1x1 convolution.
        for in_channels in (self._width, 1 if n_variates == 1 else self._width):
            KernelGroups(
                in_channels,
                self.n_filters * self.n_kernel_groups,
                kernel_size,
                self.n_kernel_groups,
                self.sparsity,
            )

    @property
    def _width(self) -> int:
        return self.n_bottleneck or self.n_filters

    def _sizes(self, n_variates: int, n_steps: int, n_outputs: int) -> Sizes:
        channels, width = self.n_filters * self.n_kernel_groups, self._width
        first = width if n_variates > 1 else 1
        n_more = self.n_layers - 1
        # About half of the kernels' positions or more lie in an exploration region.
        positions = channels * self.kernel_size * (first + n_more * width) / 2
        from_series = n_variates * width if n_variates > 1 else 0
        n_bins = 1 if self.head == "linear" else self.n_pool
        return Sizes(
            layers=self.n_layers,
            sparse_weights=(1 - self.sparsity) * positions,
            dense_weights=from_series + channels * (n_more * width + n_outputs),
            # Per layer: the outputs of the 1x1 and of the sparse convolution.
            activations=n_steps * (first + n_more * width + self.n_layers * channels)
            + n_bins * (channels + n_outputs),
        )

    def _relative_cost(self, number: int) -> float:
        # At the same sparsity, a kernel has as many times more weights as it is longer.
        return float(self._network_settings(number)["kernel_size"])

    def _build_network(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int, generator: torch.Generator
    ) -> DSNNetwork:
        sizes = self._network_settings(number)
        return DSNNetwork(n_variates, n_outputs, **sizes, generator=generator)

    def _network_settings(self, number: int) -> dict[str, Any]:
        variations = self._variations()
        variation = variations[number % len(variations)]
        settings = {**self._arguments_for(DSNNetwork), **variation}
        return {**settings, "head": "bins"} if self.head == "ridge" else settings

    def _variations(self) -> list[dict[str, Any]]:
        """Return the settings in which networks of an ensemble differ from the first, by turns."""
        if not self.diverse:
            return [{}]
        size, n_groups = int(self.kernel_size), int(self.n_kernel_groups)
        # A multiple of n_kernel_groups: others would lose taps to rounding in the regions.
        half = size // 2 // n_groups * n_groups
        return [
            {},
            {"padding": _other(self.padding, PADDINGS)},
            {"kernel_size": size - half},
            {"kernel_size": size + half},
            {"topology_init": _other(self.topology_init, TOPOLOGY_INITS)},
        ]

    def _begin_head(
        self, data: Batch, shape: tuple[int, int, int], objective: Objective, number: int, seed: int
    ) -> RidgeHeadFit | None:
        if self.head != "ridge":
            return None
        rng = random_stream(seed, Use.RIDGE_HEAD, 0)
        n_variates, _, n_outputs = shape
        drawn = torch.Generator().manual_seed(int(rng.integers(2**31)))
        untrained = self._untrained_networks(n_variates, number, drawn)
        for variate, network in enumerate(untrained):
            center_kernels(network, variate % 2)
            network.to(data.values.device)
        targets, weight = data.target.cpu(), data.sample_weight
        weight = torch.ones(len(targets)) if weight is None else weight.cpu()
        problem = self._ridge_targets(targets, weight, n_outputs, objective)
        return RidgeHeadFit(untrained, data.panel, *problem, rng)

    def _untrained_networks(
        self, n_variates: int, number: int, generator: torch.Generator
    ) -> list[DSNNetwork]:
        """Return the ridge head's networks, of one layer and one variate.

        Together they have at least as many channels as all layers of the trained network. Members
        of an ensemble have as many, and each kernel group of the smallest kernel has a weight.
        """
        settings = self._network_settings(number)
        density = 1 - Fraction(str(settings["sparsity"]))
        sizes = [one.get("kernel_size", self.kernel_size) for one in self._variations()]
        least = ceil(1 / (density * (min(sizes) // self.n_kernel_groups)))
        n_filters = max(ceil(self.n_layers * self.n_filters / n_variates), least)
        settings |= {"n_layers": 1, "n_filters": n_filters, "topology_init": "random"}
        return [DSNNetwork(1, 1, **settings, generator=generator) for _ in range(n_variates)]

    def _build_head(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int, file_format: int
    ) -> RidgeHead | None:
        if self.head != "ridge":
            return None
        drawn = torch.Generator()
        if file_format == 1:
            settings = self._network_settings(number)
            untrained = [DSNNetwork(n_variates, n_outputs, **settings, generator=drawn)]
        else:
            untrained = self._untrained_networks(n_variates, number, drawn)
        n_channels = self.n_layers * self.n_filters * self.n_kernel_groups
        convs = [conv for network in untrained for conv in network.sparse_convs()]
        n_channels += sum(conv.groups.out_channels for conv in convs)
        coef = np.zeros((len(STATISTICS) * n_channels, n_outputs))
        return RidgeHead(untrained, coef, np.zeros(n_outputs))

    def _ridge_targets(
        self, targets: Tensor, weight: Tensor, n_outputs: int, objective: Objective
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return targets (n, n_outputs), weights, and whether the outputs are logits."""
        raise NotImplementedError

    def _recipe(self, n_series: int) -> SparseRecipe:
        numbers = {**self._arguments_for(SparseRecipe), "batch_size": self._batch_size(n_series)}
        return SparseRecipe(**numbers)

    def _set_fitted(self, trained: list[Trained]) -> None:
        super()._set_fitted(trained)
        self.n_activated_ = self.networks_[0].n_activated

    @default_switches()
    def pooled_features(self, X: Any) -> np.ndarray:
        """Compute what the heads of the networks read: float64 (n, d)."""
        check_trained(self)
        raw = self._check_convert_X_for_predict(X)
        return np.concatenate(self._apply(raw, _features), axis=1)

    def pooled_feature_names(self) -> np.ndarray:
        """Return a name for each column of the features."""
        check_trained(self)
        names: list[str] = []
        for member, (network, head) in enumerate(zip(self.networks_, self.heads_, strict=True)):
            read = {"trained": network}
            first, statistics = len(network.layers), [f"bin{one}" for one in range(network.n_pool)]
            if head is not None:
                first, statistics = 1, list(STATISTICS)
                for variate, one in enumerate(head.networks):
                    which = f"_variate{variate}" if len(head.networks) > 1 else ""
                    read[f"untrained{which}"] = cast(DSNNetwork, one)
            for kind, one in read.items():
                layers = range(first, len(one.layers) + 1)
                channels = range(one.sparse_convs()[0].groups.out_channels)
                names += [
                    f"member{member}_{kind}_layer{layer}_channel{channel}_{statistic}"
                    for layer, channel, statistic in product(layers, channels, statistics)
                ]
        return np.array(names, dtype=object)


def _features(network: Any, head: RidgeHead | None, *series: Any) -> Tensor:
    """Return what the head reads, or the network's own."""
    if head is not None:
        return head.features(network, *series).flatten(1)
    return network.features(*series, pool=network.n_pool).flatten(1)


def _other(chosen: str, both: Sequence[str]) -> str:
    return next(name for name in both if name != chosen)

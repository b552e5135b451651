"""Ridge head: a linear model of the features of a trained network and of random kernels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

from dsn_sktime.estimators.network_estimator import prediction_batches
from dsn_sktime.layers import FeatureNetwork
from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.runtime import single_blas_thread
from dsn_sktime.training import Batch, update_bn

# Of "stats", the pooling of its features, in their order.
STATISTICS = ("mean", "max", "positive")

_ALPHAS = np.logspace(-3, 3, 10)
_LOG_TEMPERATURES = np.linspace(-2, 5, 141)
# BatchNorm's statistics of untrained networks are means over batches of this size.
_BATCH_SIZE = 16
# More do not change a linear model of some thousand features by much.
_MAX_SERIES = 10_000


class Ridge(NamedTuple):
    """Linear model of p features, fitted by penalized least squares."""

    coef: np.ndarray  # (p, c)
    intercept: np.ndarray  # (c,)
    # Outputs for each training series of the model fitted to all others, (n, c).
    held_out: np.ndarray


# The number of threads changes the last digits of sums.
@single_blas_thread()
def fit_ridge(features: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Ridge:
    """Fit a ridge regression of targets (n, c) on standardized features (n, p).

    The penalty is the one of ten from 1e-3 to 1e3 with the least leave-one-out error, as in
    ``sklearn.linear_model.RidgeCV``, whose leave-one-out predictions are not in the units of the
    targets in all supported versions. The model that is returned reads features that are not
    standardized.
    """
    x = features.astype(np.float64)
    share = weight / weight.sum()
    mean = share @ x
    x -= mean
    scale = np.sqrt(share @ x**2)
    # A feature that is constant, but for rounding or a few steps; activations are of about 1.
    # Scaled up, it would outweigh all others where it varies in new series, as where a centered
    # kernel reads nothing but padding in series that are as short as those of the training.
    scale[scale <= np.maximum(1e-6 * np.abs(mean), 1e-4)] = 1
    target_mean = share @ targets
    # Weights of mean 1 act like repeated rows, at the same penalty.
    root = np.sqrt(share * len(x))[:, None]
    x *= root / scale
    y = root * (targets - target_mean)
    left, squared, right = _thin_svd(x)
    projected = left.T @ y
    shrinkage = squared / (squared + _ALPHAS[:, None])
    # The intercept's leverage is the share of the weight.
    leverages = shrinkage @ (left**2).T + share
    best_error = np.inf
    for alpha, kept, leverage in zip(_ALPHAS, shrinkage, leverages, strict=True):
        residual = (y - left @ (kept[:, None] * projected)) / root
        residual /= np.maximum(1 - leverage, 1e-12)[:, None]
        error = float((share @ residual**2).sum())
        if error < best_error:
            best_error, best_alpha, best_residual = error, alpha, residual
    factor = np.sqrt(squared) / (squared + best_alpha)
    coef = right @ (factor[:, None] * projected) / scale[:, None]
    return Ridge(coef, target_mean - mean @ coef, targets - best_residual)


def _thin_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left vectors, squared singular values and right vectors.

    By the eigenvectors of the smaller Gram matrix, several times faster than an SVD and exact
    enough for the smallest penalty.
    """
    is_wide = len(x) <= x.shape[1]
    squared, vectors = np.linalg.eigh(x @ x.T if is_wide else x.T @ x)
    is_kept = squared > 1e-12 * max(squared[-1], 1e-300)
    squared, vectors = squared[is_kept], vectors[:, is_kept]
    others = (x.T if is_wide else x) @ vectors / np.sqrt(squared)
    return (vectors, squared, others) if is_wide else (others, squared, vectors)


def fit_temperature(outputs: np.ndarray, class_indices: np.ndarray, weight: np.ndarray) -> float:
    """Return the factor that makes ``outputs`` logits of the least log loss [1]_.

    The targets are smoothed as by Platt, so that it stays finite where all are right.

    References
    ----------
    .. [1] Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML
       2017.
    """
    n, n_classes = outputs.shape
    smoothing = 1 / (n + 2)
    is_class = class_indices[:, None] == np.arange(n_classes)
    targets = weight[:, None] * (is_class * (1 - smoothing) + smoothing / n_classes)

    def log_loss(log_factor: float) -> float:
        return -float((targets * log_softmax(np.exp(log_factor) * outputs, axis=1)).sum())

    # A grid: where a search ends depends on the last digits of the outputs.
    return float(np.exp(min(_LOG_TEMPERATURES, key=log_loss)))


@torch.no_grad()
def center_kernels(network: DSNNetwork, first: int) -> None:
    """Subtract their mean from the weights of each kernel of every second output channel.

    Kernels whose weights sum to 0, as all of ROCKET's do [1]_, answer to changes of their input
    and not to its level, except beside padding with zeros. A single weight becomes 0.

    References
    ----------
    .. [1] A. Dempster, F. Petitjean and G. I. Webb, "ROCKET: exceptionally fast and accurate
       time series classification using random convolutional kernels", Data Mining and Knowledge
       Discovery 34, 2020, section 3.1.
    """
    for conv in network.sparse_convs():
        _, in_channels, kernel_size = conv.groups.shape
        values, kernels = conv.values.numpy(), conv.index.numpy() // kernel_size
        # Kernels without activated weights would divide by zero.
        means = np.bincount(kernels, values) / np.maximum(np.bincount(kernels), 1)
        is_centered = kernels // in_channels % 2 == first
        values[is_centered] -= means[kernels[is_centered]]


class RidgeHead(nn.Module):
    """Linear model of the pooled features of a trained network and of untrained ones.

    The outputs are the mean of three: those of the trained network's own head for the mean over
    time, and those of two ridge regressions on mean, maximum and share of positive values of
    activations, one of all layers of the trained network and one of untrained networks. The
    features of the latter do not depend on the targets, so the leave-one-out predictions of their
    ridge calibrate the logits of both where these are classifiers.

    Parameters
    ----------
    untrained : list of FeatureNetwork
        Each reads its ``n_variates``, in their order: one each, with a single layer; of files of
        format 1, all variates by one network as large as the trained one.
    coef : float64 array of shape (p, c)
        For the features of the trained network, and then of the untrained ones.
    intercept : float64 array of shape (c,)
    """

    def __init__(
        self, untrained: Sequence[FeatureNetwork], coef: np.ndarray, intercept: np.ndarray
    ) -> None:
        super().__init__()
        for number, network in enumerate(untrained):
            # Files of format 1 have a single one, of this name.
            self.add_module(f"untrained{number or ''}", network)
        self.register_buffer("coef", torch.from_numpy(coef))
        self.register_buffer("intercept", torch.from_numpy(intercept))
        self.coef: Tensor
        self.intercept: Tensor

    @property
    def networks(self) -> list[FeatureNetwork]:
        """The untrained networks."""
        return cast("list[FeatureNetwork]", [*self.children()])

    def forward(self, network: FeatureNetwork, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute the outputs for a batch by the trained network, in eval mode: float64 (B, c)."""
        trained, untrained = self._both_features(network, x, lengths)
        # In eval mode the head is linear in the bins. Their average is the mean over time, up to
        # a few steps of more weight where the length is no multiple of the number of bins.
        norm = cast(nn.BatchNorm1d, network.layers[-1].norm)
        mean = trained[:, -norm.num_features :, :1]
        features = torch.cat([trained, untrained], 1).flatten(1)
        return (network.head(mean) + features.double() @ self.coef + self.intercept) / 3

    def match_backend(self, network: FeatureNetwork) -> None:
        """Use the backend of the trained network, which may be set after the fit."""
        for one in self.networks:
            if one.backend != network.backend:
                one.backend = network.backend

    def features(self, network: FeatureNetwork, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute the features of the trained network and then those of the untrained ones.

        Mean, maximum and share of positive values of each channel of all layers, (B, C, 3).
        """
        return torch.cat(self._both_features(network, x, lengths), 1)

    def _both_features(
        self, network: FeatureNetwork, x: Tensor, lengths: Tensor | None
    ) -> list[Tensor]:
        self.match_backend(network)
        return [_statistics(some, x, lengths) for some in ([network], self.networks)]


def _statistics(networks: Sequence[FeatureNetwork], x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the statistics of networks, each of which reads its own variates: (B, C, 3)."""
    pairs = zip(networks, _split_variates(networks, x), strict=True)
    return torch.cat([one.features(part, lengths, "all", "stats") for one, part in pairs], 1)


def _split_variates(networks: Sequence[FeatureNetwork], x: Tensor) -> tuple[Tensor, ...]:
    return x.split([one.n_variates for one in networks], 1)


def _sample_rows(
    targets: np.ndarray, weight: np.ndarray, are_classes: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample at most 10,000 rows for the ridge regressions, including some of each class.

    Returns rows and their weights, which keep the shares of the classes.
    """
    rows = rng.permutation(len(targets))
    if not are_classes or len(rows) <= _MAX_SERIES:
        return rows[:_MAX_SERIES], weight[rows[:_MAX_SERIES]]
    # A class without rows would never be predicted.
    class_indices = targets.argmax(1)
    drawn = pd.Series(class_indices[rows])
    is_spare = drawn.groupby(drawn).cumcount() >= max(1, _MAX_SERIES // (10 * targets.shape[1]))
    rows = rows[np.argsort(is_spare.to_numpy(), kind="stable")][:_MAX_SERIES]
    n_all, n_drawn = (np.bincount(one) for one in (class_indices, class_indices[rows]))
    factor = n_all / np.maximum(n_drawn, 1)
    return rows, weight[rows] * factor[class_indices[rows]]


class _Untrained(nn.ModuleList):
    """Untrained networks, each of which reads its own variates."""

    def forward(self, x: Tensor, lengths: Tensor | None) -> None:
        """Run all layers; in training mode, this updates the statistics of BatchNorm."""
        networks = cast("list[FeatureNetwork]", [*self])
        for network, part in zip(networks, _split_variates(networks, x), strict=True):
            network.features(part, lengths)


class RidgeHeadFit:
    """Fit of a ridge head in two halves: what reads the untrained networks can be done first.

    The BatchNorm statistics of the untrained networks are set to those of the training series. At
    most 10,000 of these are used, sampled at random with some of each class. With ``are_logits``
    the targets are 1 for a series' class and -1 for the others, and the outputs are scaled to
    logits.
    """

    def __init__(
        self,
        untrained: Sequence[FeatureNetwork],
        panel: Panel,
        targets: np.ndarray,
        weight: np.ndarray,
        are_logits: bool,
        rng: np.random.Generator,
    ) -> None:
        rows, self._weight = _sample_rows(targets, weight, are_logits, rng)
        self._panel, self._rows = panel, torch.from_numpy(rows).to(panel.values.device)
        self._targets = targets[rows]
        self._untrained = untrained
        module = _Untrained(untrained)
        update_bn(module, self._batches())
        module.eval()
        features = self._training_features(untrained)
        started = time.perf_counter()
        self._ridge = fit_ridge(features, self._targets, self._weight)
        self._ridge_seconds = time.perf_counter() - started
        self._factor = 1.0
        if are_logits:
            class_indices = self._targets.argmax(1)
            self._factor = fit_temperature(self._ridge.held_out, class_indices, self._weight)

    def seconds_to_finish(self, network: FeatureNetwork) -> float:
        """Estimate the time of :meth:`finish` by a network that is not trained yet."""
        started = time.perf_counter()
        self._training_features([network.eval()])
        return time.perf_counter() - started + self._ridge_seconds

    def finish(self, trained: FeatureNetwork) -> RidgeHead:
        """Fit the ridge of the trained network, which is in eval mode; return the head."""
        fits = (
            fit_ridge(self._training_features([trained]), self._targets, self._weight),
            self._ridge,
        )
        coef = self._factor * np.concatenate([fit.coef for fit in fits])
        intercept = self._factor * (fits[0].intercept + fits[1].intercept)
        return RidgeHead(self._untrained, coef, intercept).to(self._panel.values.device)

    @torch.no_grad()
    def _training_features(self, networks: Sequence[FeatureNetwork]) -> np.ndarray:
        """Return the statistics of the training series, (n, p)."""
        found = [
            _statistics(networks, chunk.values, chunk.lengths).flatten(1).cpu()
            for chunk in self._chunks()
        ]
        return torch.cat(found).numpy()

    def _batches(self) -> Iterator[Batch]:
        for chunk in self._chunks():
            # BatchNorm needs more than one value for a variance; its update reads no targets.
            if len(chunk) > 1 or chunk.values.shape[2] > 1:
                yield Batch(chunk.values, chunk.lengths, chunk.values, None)

    def _chunks(self) -> Iterator[Panel]:
        return prediction_batches(self._panel.take(self._rows), _BATCH_SIZE)

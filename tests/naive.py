"""Plain-loop float64 oracles of the Dynamic Sparse Network; they import no part of it.

A series is an array of shape (C, L). Batches are lists of series, each of its own length,
so that padding cannot leak into anything by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def relative_error(found: object, expected: object) -> float:
    """Largest deviation, relative to the largest expected magnitude."""
    found = np.asarray(found, dtype=np.float64)
    expected = np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    scale = np.abs(expected).max() or 1.0
    return float(np.abs(found - expected).max() / scale)


def central_differences(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Gradient of a scalar function of an array."""
    gradient = np.zeros_like(x)
    step = 1e-6
    for place in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[place] += step
        below[place] -= step
        gradient[place] = (function(above) - function(below)) / (2 * step)
    return gradient


def dense_kernels(layer: Any) -> np.ndarray:
    """Kernels (C_out, C_in, k) of a sparse layer, zeros included, in float64."""
    kernels = np.zeros(layer.groups.n_dense)
    kernels[layer.index.numpy()] = layer.values.detach().double().numpy()
    return kernels.reshape(layer.groups.shape)


def source_step(step: int, length: int, kernel_size: int, padding: str) -> int | None:
    """Time step of the series that stands at a step of the padded one; None for a zero."""
    if padding == "replicate":
        return min(step, length - 1)
    shifted = step - (kernel_size - 1) // 2
    return shifted if 0 <= shifted < length else None


def convolve(x: np.ndarray, kernels: np.ndarray, padding: str) -> np.ndarray:
    """Convolve one series (C_in, L) with kernels (C_out, C_in, k) to (C_out, L)."""
    c_out, c_in, k = kernels.shape
    length = x.shape[1]
    y = np.zeros((c_out, length))
    for o in range(c_out):
        for t in range(length):
            for i in range(c_in):
                for tap in range(k):
                    source = source_step(t + tap, length, k, padding)
                    if source is not None:
                        y[o, t] += kernels[o, i, tap] * x[i, source]
    return y


def convolve_gradients(
    x: np.ndarray, kernels: np.ndarray, padding: str, y_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of ``sum(y_gradient * convolve(x, kernels))`` by x and by kernels."""
    c_out, c_in, k = kernels.shape
    length = x.shape[1]
    x_gradient, kernels_gradient = np.zeros_like(x), np.zeros_like(kernels)
    for o in range(c_out):
        for t in range(length):
            for i in range(c_in):
                for tap in range(k):
                    source = source_step(t + tap, length, k, padding)
                    if source is not None:
                        x_gradient[i, source] += y_gradient[o, t] * kernels[o, i, tap]
                        kernels_gradient[o, i, tap] += y_gradient[o, t] * x[i, source]
    return x_gradient, kernels_gradient


def source_columns(
    lengths: Iterable[int], n_steps: int, kernel_size: int, padding: str
) -> np.ndarray:
    """Step that each tap reads at each step: (B, L, k), or ``n_steps`` for a zero.

    Steps at or after a series' length read zeros only.
    """
    lengths = list(lengths)
    sources = np.full((len(lengths), n_steps, kernel_size), n_steps)
    of_length = {}
    for length in set(lengths):
        rows = [
            [source_step(t + tap, length, kernel_size, padding) for tap in range(kernel_size)]
            for t in range(length)
        ]
        of_length[length] = [[n_steps if s is None else s for s in row] for row in rows]
    for b, length in enumerate(lengths):
        sources[b, :length] = of_length[length]
    return sources


def convolve_batch(x: np.ndarray, kernels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Do :func:`convolve` for series padded to one length: (B, C_in, L) to (B, C_out, L).

    The same sums in fewer loops, for shapes that plain loops would take minutes for.
    """
    windows = _windows(x, sources)
    return np.einsum("bitk,oik->bot", windows, kernels, optimize=True)


def convolve_batch_gradients(
    x: np.ndarray, kernels: np.ndarray, sources: np.ndarray, y_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Do :func:`convolve_gradients` for series padded to one length."""
    by_kernels = np.einsum("bot,bitk->oik", y_gradient, _windows(x, sources), optimize=True)
    by_windows = np.einsum("bot,oik->bitk", y_gradient, kernels, optimize=True)
    n_series, n_channels, n_steps = x.shape
    by_x = np.zeros((n_series, n_channels, n_steps + 1))
    for b in range(n_series):
        for tap in range(kernels.shape[2]):
            # Several steps may read one: its gradients add up.
            np.add.at(by_x[b].T, sources[b, :, tap], by_windows[b, :, :, tap].T)
    return by_x[:, :, :n_steps], by_kernels


def _windows(x: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """What each tap reads, (B, C, L, k)."""
    with_zero = np.concatenate([x, np.zeros_like(x[:, :, :1])], axis=2)
    return np.stack([one[:, source] for one, source in zip(with_zero, sources, strict=True)])


def pointwise(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a matrix (C_out, C_in) at each time step of one series."""
    y = np.zeros((len(matrix), x.shape[1]))
    for o in range(len(matrix)):
        for t in range(x.shape[1]):
            for i in range(len(x)):
                y[o, t] += matrix[o, i] * x[i, t]
    return y


def channel_statistics(batch: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean and biased variance of each channel over all steps of all series; their count."""
    n_channels = len(batch[0])
    mean, variance = np.zeros(n_channels), np.zeros(n_channels)
    for channel in range(n_channels):
        observed = [value for series in batch for value in series[channel]]
        mean[channel] = math.fsum(observed) / len(observed)
        variance[channel] = math.fsum((v - mean[channel]) ** 2 for v in observed) / len(observed)
    return mean, variance, sum(series.shape[1] for series in batch)


def normalize(
    batch: list[np.ndarray], norm: dict[str, np.ndarray], training: bool, eps: float = 1e-5
) -> list[np.ndarray]:
    """Batch norm; ``norm`` holds weight, bias, running_mean and running_var."""
    mean, variance = norm["running_mean"], norm["running_var"]
    if training:
        mean, variance, _ = channel_statistics(batch)
    normalized = []
    for series in batch:
        y = np.zeros_like(series)
        for channel in range(len(series)):
            for t in range(series.shape[1]):
                z = (series[channel, t] - mean[channel]) / math.sqrt(variance[channel] + eps)
                y[channel, t] = norm["weight"][channel] * z + norm["bias"][channel]
        normalized.append(y)
    return normalized


def adaptive_pool(x: np.ndarray, n_bins: int) -> np.ndarray:
    """Average one series over bins floor(j L / n)..ceil((j + 1) L / n)."""
    length = x.shape[1]
    pooled = np.zeros((len(x), n_bins))
    for channel in range(len(x)):
        for j in range(n_bins):
            start, stop = j * length // n_bins, -(-(j + 1) * length // n_bins)
            pooled[channel, j] = sum(x[channel, t] for t in range(start, stop)) / (stop - start)
    return pooled


def head_scores(batch: list[np.ndarray], head: dict, n_pool: int, training: bool) -> np.ndarray:
    """Pool, mix channels to classes, normalize, average over the bins."""
    pooled = [pointwise(adaptive_pool(series, n_pool), head["classes"]) for series in batch]
    return np.array([s.mean(axis=1) for s in normalize(pooled, head["norm"], training)])


def network_scores(
    batch: list[np.ndarray],
    layers: list[dict],
    head: dict,
    padding: str,
    n_pool: int,
    training: bool,
) -> np.ndarray:
    """Logits (B, c). A layer holds bottleneck (matrix or None), kernels (dense) and norm."""
    for layer in layers:
        if layer["bottleneck"] is not None:
            batch = [pointwise(series, layer["bottleneck"]) for series in batch]
        batch = [convolve(series, layer["kernels"], padding) for series in batch]
        batch = normalize(batch, layer["norm"], training)
        batch = [np.maximum(series, 0) for series in batch]
    return head_scores(batch, head, n_pool, training)


def omni_scale_scores(
    batch: list[np.ndarray], layers: list[dict], classes: dict[str, np.ndarray], training: bool
) -> np.ndarray:
    """Logits (B, c) of an OS-CNN.

    A layer holds convolutions, a list of (kernels (n, C_in, k), bias (n,)), and norm.
    """
    for layer in layers:
        batch = [
            np.concatenate(
                [
                    convolve(x, kernels, "zeros") + bias[:, None]
                    for kernels, bias in layer["convolutions"]
                ]
            )
            for x in batch
        ]
        batch = normalize(batch, layer["norm"], training)
        batch = [np.maximum(x, 0) for x in batch]
    means = np.array([[sum(channel) / len(channel) for channel in x] for x in batch])
    return means @ classes["weight"].T + classes["bias"]


def first_positions(
    channels: Iterable[int], c_in: int, k: int, n_taps: int, budget: int
) -> list[int]:
    """Activate tap 0 of all channel pairs, then tap 1, ... until the budget is spent."""
    channels = list(channels)
    positions = [
        (o * c_in + i) * k + tap for tap in range(n_taps) for o in channels for i in range(c_in)
    ]
    return sorted(positions[:budget])


def updated_positions(
    weights: dict[int, float], region: list[int], fraction: float, gradient: np.ndarray
) -> tuple[list[int], list[int]]:
    """Survivors and grown positions of one group of kernels, grown by dense gradient."""
    if len(weights) == len(region):
        return sorted(weights), []
    n_drop = math.ceil(fraction * len(weights))
    by_magnitude = sorted(weights, key=lambda position: (abs(weights[position]), position))
    survivors = sorted(by_magnitude[n_drop:])
    inactive = [position for position in region if position not in survivors]
    inactive.sort(key=lambda position: (-abs(gradient[position]), position))
    return survivors, sorted(inactive[:n_drop])


def drop_fraction(progress: float, alpha: float) -> float:
    """Cosine from alpha to 0 over the first 80 % of training, never below 0.001."""
    if progress >= 0.8:
        return 0.001
    return max(alpha / 2 * (1 + math.cos(math.pi * progress / 0.8)), 0.001)


def enrf(kernel: np.ndarray) -> int:
    """Distance of the first and the last activated tap (True) of one kernel, inclusive."""
    taps = [tap for tap in range(len(kernel)) if kernel[tap]]
    return taps[-1] - taps[0] + 1 if taps else 0


def adam(
    weight: float,
    gradients: Iterable[float],
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    state: tuple[float, float, int] = (0.0, 0.0, 0),
) -> float:
    """Return one scalar weight after a step of Adam along each gradient.

    ``state`` has the moments and the number of steps to start from.
    """
    first, second, n_done = (float(number) for number in state)
    for step, gradient in enumerate(gradients, start=int(n_done) + 1):
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
        weight -= lr * weight_decay * weight
        weight -= lr * corrected[0] / (math.sqrt(corrected[1]) + eps)
    return weight

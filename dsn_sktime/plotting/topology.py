"""Plots of a layer's activated weights and of receptive fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from dsn_sktime.analysis import receptive_fields
from dsn_sktime.estimators.dsn_estimator import DSNEstimator
from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.plotting._axes import COLORS, axes_or_new, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dsn_sktime.network import DSNNetwork


def plot_activated_weights(
    estimator: DSNEstimator, ax: Axes | None = None, layer: int = 1, initial: bool = False
) -> Axes:
    """Plot which taps of a layer's kernels are activated.

    Each row is an output channel, each column a tap; the color is the share of input channels
    for which the tap is activated. Lines mark the exploration regions of the kernel groups.
    For an ensemble, the first network is plotted.

    Parameters
    ----------
    estimator : DSNClassifier or DSNRegressor
        Fitted.
    ax : Axes, optional
        A new figure's if None.
    layer : int, default=1
        Layer to draw, counted from 1.
    initial : bool, default=False
        Plot the network before training instead; if ``random_state`` is no integer, another
        one that is drawn like it.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If the estimator is not a DSN.
    NotFittedError
        If there is no trained network.
    ValueError
        If the network has no such layer.
    """
    _check_trained_dsn(estimator)
    networks = _initial_networks(estimator) if initial else estimator.networks_
    network = next(iter(networks))
    convs = network.sparse_convs()
    if not 1 <= layer <= len(convs):
        raise ValueError(f"layer must lie in 1..{len(convs)}, found {layer}.")
    groups = convs[layer - 1].groups
    share = convs[layer - 1].dense_mask().double().mean(1).cpu().numpy()
    ax = axes_or_new(ax)
    image = ax.imshow(
        share,
        aspect="auto",
        interpolation="none",
        cmap="Blues",
        vmin=0,
        vmax=max(share.max(), 1e-9),
        extent=(0.5, groups.kernel_size + 0.5, groups.out_channels + 0.5, 0.5),
    )
    for group in range(groups.n_kernel_groups):
        top = group * groups.channels_per_group + 0.5
        taps = groups.region_taps(group)
        bottom = top + groups.channels_per_group
        ax.plot(
            [0.5, taps + 0.5, taps + 0.5, 0.5], [bottom, bottom, top, top], color=COLORS[1], lw=1
        )
    if groups.in_channels > 1:
        ax.figure.colorbar(image, ax=ax, label="share of input channels")
    ax.set(
        xlabel="tap (time steps)",
        ylabel="output channel",
        title=f"Activated weights, layer {layer}: {groups.n_kernel_groups} kernel groups",
    )
    return ax


def plot_receptive_fields(
    estimator: DSNEstimator, ax: Axes | None = None, initial: bool = False
) -> Axes:
    """Plot the distribution of receptive fields after each layer.

    For an ensemble, the mean over the networks is plotted.

    Parameters
    ----------
    estimator : DSNClassifier or DSNRegressor
        Fitted.
    ax : Axes, optional
        A new figure's if None.
    initial : bool, default=False
        Plot the networks before training instead, as :func:`plot_activated_weights`.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If the estimator is not a DSN.
    NotFittedError
        If there is no trained network.
    """
    _check_trained_dsn(estimator)
    networks = [*_initial_networks(estimator)] if initial else estimator.networks_
    ax = axes_or_new(ax)
    n_layers = estimator.n_layers
    kernel_size = max(network.kernel_size for network in networks)
    fractions = np.zeros((n_layers, n_layers * (kernel_size - 1) + 2))
    for network in networks:
        table = receptive_fields(network)
        fractions[table["layer"] - 1, table["receptive_field"]] += table["fraction"]
    fractions /= len(networks)
    for layer, shares in enumerate(fractions, start=1):
        sizes = np.arange(1, layer * (kernel_size - 1) + 2)
        color = COLORS[(layer - 1) % len(COLORS)]
        ax.step(sizes, shares[sizes], where="mid", color=color, label=f"{layer}")
        ax.fill_between(sizes, shares[sizes], step="mid", color=color, alpha=0.15)
    ax.set(
        xlabel="receptive field (time steps)",
        ylabel="fraction of paths",
        title="Receptive fields",
        xlim=(0, np.flatnonzero(fractions.any(0)).max() + 2),
        ylim=(0, None),
    )
    ax.legend(title="after layer")
    return ax


def plot_growth(estimator: DSNEstimator, ax: Axes | None = None) -> Axes:
    """Plot the share of activated weights that each topology update drops and grows elsewhere.

    For an ensemble, the mean over the networks is plotted.

    Parameters
    ----------
    estimator : DSNClassifier or DSNRegressor
        Fitted.
    ax : Axes, optional
        A new figure's if None.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If the estimator is not a DSN.
    NotFittedError
        If there is no trained network.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    _check_trained_dsn(estimator)
    ax = axes_or_new(ax)
    history = pd.DataFrame(estimator.history_)
    n_activated = np.array([network.n_activated for network in estimator.networks_])
    shares = history["n_grown"] / n_activated[history["network"]]
    grown = shares.groupby(history["epoch"]).mean()
    ax.bar(grown.index, grown, width=0.8, color=COLORS[2])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(
        xlabel="epoch",
        ylabel="share of activated weights",
        title="Weights dropped and grown elsewhere",
        xlim=(-0.5, grown.index[-1] + 0.5),
        ylim=(0, None if grown.any() else 1),
    )
    open_frame(ax)
    return ax


def _initial_networks(estimator: DSNEstimator) -> Iterator[DSNNetwork]:
    # The number of time steps changes nothing.
    shape = estimator.n_variates_, 1, getattr(estimator, "n_classes_", 1)
    for number in estimator._network_numbers:
        yield cast("DSNNetwork", estimator.make_network(*shape, number))


def _check_trained_dsn(estimator: DSNEstimator) -> None:
    if not isinstance(estimator, DSNEstimator):
        raise TypeError(
            "estimator must be a fitted DSNClassifier or DSNRegressor, found "
            f"{type(estimator).__name__}, which has no kernels with activated taps to show."
        )
    check_trained(estimator)

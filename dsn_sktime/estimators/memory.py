"""Memory that networks take, estimated before anything is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dsn_sktime.estimators.parameters import resolve_device
from dsn_sktime.runtime import memory_size
from dsn_sktime.training.checks import brief_repr

if TYPE_CHECKING:
    from dsn_sktime.estimators.network_estimator import NetworkEstimator

# Minimum bytes: an activated weight has a value and an int32 position, and in training the
# best epoch's copy, a gradient, two moments and a step count; dense weights have no position.
# A layer's modules, tensors and their optimizer states are Python objects.
_KEPT_BYTES = {"sparse_weights": 8, "dense_weights": 4, "layers": 2**13}
_TRAINED_BYTES = {"sparse_weights": 32, "dense_weights": 24, "layers": 2**15}


class Sizes(NamedTuple):
    """Sizes of a network, to estimate its memory before anything is allocated."""

    layers: int
    sparse_weights: float
    dense_weights: int
    # Minimum number of values of one series that a training step holds at a time.
    activations: int


def check_memory(estimator: NetworkEstimator, n_series: int, shape: tuple[int, int, int]) -> None:
    """Raise if the networks of an estimator take more memory than there is.

    ``shape`` is variates, time steps of the longest series, outputs.
    """
    available = memory_size(resolve_device(estimator.device))
    needed = _bytes(estimator, n_series, shape)
    if needed <= available:
        return
    # Name the parameter whose default would save most.
    given = estimator.get_params(deep=False)
    saving = {}
    for name, default in estimator.get_param_defaults().items():
        changed = type(estimator)(**{**given, name: default})
        try:
            saving[name] = needed - _bytes(changed, n_series, shape)
        except ValueError:  # The default does not go with the other parameters.
            is_lower = np.max(default) < np.max(given[name])
            saving[name] = needed - available if is_lower else 0
    name = max(saving, key=lambda name: saving[name])
    what, remedy = f"{name}={brief_repr(given[name])}", f"Lower {name}."
    if saving[name] <= 0:
        n_variates, n_steps, n_outputs = shape
        what = f"{n_variates=}, {n_steps=}, {n_outputs=}"
        what = f"{n_series=}, {what}" if n_series > 1 else what
        remedy = "Use fewer series, variates, time steps or classes."
    raise ValueError(
        f"{what} needs at least {needed / 2**30:,.0f} GiB of memory, found "
        f"{available / 2**30:,.0f} GiB here. {remedy}"
    )


def _bytes(estimator: NetworkEstimator, n_series: int, shape: tuple[int, int, int]) -> float:
    sizes = estimator._sizes(*shape)
    kept = sum(getattr(sizes, name) * n_bytes for name, n_bytes in _KEPT_BYTES.items())
    trained = sum(getattr(sizes, name) * n_bytes for name, n_bytes in _TRAINED_BYTES.items())
    n_in_batch = min(estimator._batch_size(n_series), n_series)
    trained += 4 * n_in_batch * sizes.activations
    n_variates, n_steps, _ = shape
    # All series are padded to the longest.
    panel = 4 * n_series * n_variates * n_steps
    return panel + (estimator.n_estimators - 1) * kept + trained

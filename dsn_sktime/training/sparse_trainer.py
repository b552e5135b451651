"""Training of one network and its topology (paper, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dsn_sktime.layers import SparseConv1d
from dsn_sktime.network import DSNNetwork
from dsn_sktime.topology import update_topology
from dsn_sktime.training.batches import Batch, Use, random_stream
from dsn_sktime.training.recipe import SparseRecipe
from dsn_sktime.training.trainer import Trainer
from dsn_sktime.training.weight_state import WeightState

__all__ = ["SparseTrainer", "update_layer"]


class SparseTrainer(Trainer):
    """Dynamic sparse training of one network.

    The state of an epoch is kept before the topology update at its end.

    Parameters
    ----------
    network : DSNNetwork
        Trained in place, on the device where it lies.
    recipe : SparseRecipe
    objective, seed, callbacks, run_id, name, augment
        As in :class:`Trainer`; the seed fixes the random growth too.

    Attributes
    ----------
    history : list of dict
        As in :class:`Trainer`, and "drop_fraction", "n_dropped", "n_grown".
    best_epoch, best_state, n_resumed, optimizer, should_stop, graphs
        As in :class:`Trainer`.
    """

    network: DSNNetwork
    recipe: SparseRecipe

    def _take_step(
        self, step: Callable[[Batch], Tensor], batch: Batch, epoch: int, is_last: bool
    ) -> Tensor:
        if not (is_last and self._grows_by_gradient(epoch)):
            return step(batch)
        # Not replayed from a CUDA graph: Python code stores the dense gradient.
        self._keep_dense_gradients(True)
        try:
            return self._step(batch)
        finally:
            self._keep_dense_gradients(False)

    def _grows_by_gradient(self, epoch: int) -> bool:
        return self.recipe.growth == "gradient" and self.recipe.is_update_epoch(epoch)

    def _keep_dense_gradients(self, keep: bool) -> None:
        for layer in self.network.sparse_convs():
            layer.keep_dense_gradient = keep

    def _end_epoch(self, epoch: int) -> dict[str, Any]:
        drop_fraction = self.recipe.drop_fraction((epoch + 1) / self.recipe.n_epochs)
        n_moved = 0
        if self.recipe.is_update_epoch(epoch):
            rng = random_stream(self.seed, Use.GROWTH, epoch)
            for layer in self.network.sparse_convs():
                n_moved += update_layer(layer, self.followers, drop_fraction, rng)
        return {"drop_fraction": drop_fraction, "n_dropped": n_moved, "n_grown": n_moved}


def update_layer(
    layer: SparseConv1d,
    followers: Sequence[WeightState],
    drop_fraction: float,
    rng: np.random.Generator,
) -> int:
    """Drop and grow weights of one layer, and move the state of each weight.

    Survivors keep value, moments, average and step counts; grown weights start at 0 and
    without.

    Parameters
    ----------
    layer : SparseConv1d
        With a ``dense_gradient``, weights grow where it is largest and it is used up;
        without, they grow at random.
    followers : sequence of WeightState
        The optimizer, and the average if there is one.
    drop_fraction : float
    rng : numpy Generator

    Returns
    -------
    int
        Number of weights dropped, and of weights grown.
    """
    update = update_topology(
        layer.groups,
        layer.index,
        layer.values.detach(),
        drop_fraction,
        rng,
        layer.dense_gradient,
    )
    layer.move_weights(update.index, update.source)
    for follower in followers:
        follower.replace_weights(layer.values, update.source)
    layer.dense_gradient = None
    return update.n_grown

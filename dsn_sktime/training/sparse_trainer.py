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


class SparseTrainer(Trainer):
    """Dynamic sparse training of one network.

    The state of an epoch is kept before the topology update at its end.

    Parameters
    ----------
    network : DSNNetwork
        Trained in place, on the device where it lies.
    recipe : SparseRecipe
    objective, seed, callbacks, run_id, name, augment, validation
        As in :class:`Trainer`; the seed fixes the random growth too.

    Attributes
    ----------
    history : list of dict
        As in :class:`Trainer`, and "drop_fraction", "n_dropped", "n_grown".
    best_epoch, best_state, n_resumed, optimizer, should_stop, is_interrupted, graphs
        As in :class:`Trainer`.
    """

    network: DSNNetwork
    recipe: SparseRecipe

    def _take_step(
        self, step: Callable[[Batch], Tensor], batch: Batch, epoch: int, is_last: bool
    ) -> Tensor:
        is_used = self.recipe.growth == "gradient" and self.recipe.is_update_epoch(epoch)
        if not (is_last and is_used):
            return step(batch)
        layers = self.network.sparse_convs()
        for layer in layers:
            layer.keep_dense_gradient = True
        try:
            # Not replayed from a CUDA graph: Python code stores the dense gradient.
            return self._step(batch)
        finally:
            for layer in layers:
                layer.keep_dense_gradient = False

    def _end_epoch(self, epoch: int, progress: float) -> dict[str, Any]:
        drop_fraction = self.recipe.drop_fraction(progress)
        n_moved = 0
        # Not where the time is used up: the grown weights would never be trained.
        is_due = self.recipe.is_update_epoch(epoch) and progress < 1
        rng = random_stream(self.seed, Use.GROWTH, epoch)
        for layer in self.network.sparse_convs():
            if is_due:
                n_moved += update_layer(layer, self.followers, drop_fraction, rng)
            else:
                layer.dense_gradient = None
        return {"drop_fraction": drop_fraction, "n_dropped": n_moved, "n_grown": n_moved}


def update_layer(
    layer: SparseConv1d,
    followers: Sequence[WeightState],
    drop_fraction: float,
    rng: np.random.Generator,
) -> int:
    """Drop and grow weights of one layer, and return how many.

    Survivors keep value, moments, average and step counts; grown weights start at 0 and
    without. They grow where the layer's ``dense_gradient`` is largest, or at random if it has
    none.
    """
    values, gradient = layer.values.detach(), layer.dense_gradient
    update = update_topology(layer.groups, layer.index, values, drop_fraction, rng, gradient)
    layer.move_weights(update.index, update.source)
    for follower in followers:
        follower.replace_weights(layer.values, update.source)
    layer.dense_gradient = None
    return update.n_grown

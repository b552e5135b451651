"""Trains one network and its topology (paper, Algorithm 1)."""

from __future__ import annotations

from typing import Any

from dsn_sktime.network import DSNNetwork
from dsn_sktime.training.recipe import Recipe
from dsn_sktime.training.topology import update_layer
from dsn_sktime.training.trainer import Trainer

__all__ = ["SparseTrainer"]

# A use of randomness, beside those of the trainer.
_GROWTH = 1


class SparseTrainer(Trainer):
    """Dynamic sparse training of one network.

    The model is the state (weights, topology, BatchNorm statistics) at the end of the
    epoch with the lowest mean training loss, the later one of a tie, before the topology
    update of that epoch.

    Parameters
    ----------
    network : DSNNetwork
        Trained in place, on the device where it lies.
    recipe : Recipe
    seed : int
        Fixes the order of batches and the random growth.
    callbacks, class_weight, run_id, name
        As in :class:`Trainer`.

    Attributes
    ----------
    history : list of dict
        As in :class:`Trainer`, and "drop_fraction", "n_dropped", "n_grown".
    best_epoch, should_stop
        As in :class:`Trainer`.
    """

    network: DSNNetwork
    recipe: Recipe

    def _begin_batch(self, epoch: int, is_last: bool) -> bool:
        by_gradient = self.recipe.growth == "gradient" and self.recipe.is_update_epoch(epoch)
        self._keep_dense_gradients(by_gradient and is_last)
        return not (by_gradient and is_last)

    def _end_epoch(self, epoch: int) -> dict[str, Any]:
        self._keep_dense_gradients(False)
        drop_fraction = self.recipe.drop_fraction((epoch + 1) / self.recipe.n_epochs)
        n_dropped = self._update_topology(epoch, drop_fraction)
        return {"drop_fraction": drop_fraction, "n_dropped": n_dropped, "n_grown": n_dropped}

    def _keep_dense_gradients(self, keep: bool) -> None:
        for layer in self.network.sparse_convs():
            layer.keep_dense_gradient = keep

    def _update_topology(self, epoch: int, drop_fraction: float) -> int:
        if not self.recipe.is_update_epoch(epoch):
            return 0
        rng = self._rng(_GROWTH, epoch)
        return sum(
            update_layer(layer, self.optimizer, drop_fraction, rng)
            for layer in self.network.sparse_convs()
        )

"""Dynamic sparse training of one network (paper, Algorithm 1)."""

from dsn_sktime.training.callbacks import Callback, Checkpoint, EarlyStopping, ProgressBar
from dsn_sktime.training.recipe import GROWTHS, Recipe
from dsn_sktime.training.trainer import Trainer

__all__ = [
    "GROWTHS",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "ProgressBar",
    "Recipe",
    "Trainer",
]

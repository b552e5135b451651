"""Training of one network; with topology updates, the paper's Algorithm 1."""

from dsn_sktime.training.callbacks import Callback, Checkpoint, EarlyStopping, ProgressBar
from dsn_sktime.training.recipe import GROWTHS, PlateauRecipe, Recipe
from dsn_sktime.training.sparse_trainer import SparseTrainer
from dsn_sktime.training.trainer import Trainer

__all__ = [
    "GROWTHS",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "PlateauRecipe",
    "ProgressBar",
    "Recipe",
    "SparseTrainer",
    "Trainer",
]

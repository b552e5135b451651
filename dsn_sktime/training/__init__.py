"""Training of one network; with topology updates, the paper's Algorithm 1.

``trainer`` holds the loop and ``recipe`` its settings. The loop uses ``objective`` (loss and
metrics), ``batches`` (shuffling, augmentation, random streams), ``schedule`` (learning rates),
``adam``, ``averaging`` (of weights), ``time_budget``, ``cuda_graph`` and the callbacks.
"""

from dsn_sktime.training.averaging import update_bn
from dsn_sktime.training.batches import Batch, Use, random_stream
from dsn_sktime.training.callbacks import EarlyStopping, EpochLog, ProgressBar
from dsn_sktime.training.checkpoint import Checkpoint
from dsn_sktime.training.objective import CrossEntropy, Objective, SquaredError
from dsn_sktime.training.recipe import GROWTHS, KEEPS, SCHEDULES, Recipe, SparseRecipe
from dsn_sktime.training.sparse_trainer import SparseTrainer
from dsn_sktime.training.trainer import Callback, Trainer

__all__ = [
    "GROWTHS",
    "KEEPS",
    "SCHEDULES",
    "Batch",
    "Callback",
    "Checkpoint",
    "CrossEntropy",
    "EarlyStopping",
    "EpochLog",
    "Objective",
    "ProgressBar",
    "Recipe",
    "SparseRecipe",
    "SparseTrainer",
    "SquaredError",
    "Trainer",
    "Use",
    "random_stream",
    "update_bn",
]

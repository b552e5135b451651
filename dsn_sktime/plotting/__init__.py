"""Plots of what a classifier learned and of how classifiers compare.

Needs the extra ``plots``: ``pip install dsn-sktime[plots]``.
"""

from dsn_sktime.plotting.comparison import (
    plot_accuracy_cost,
    plot_critical_difference,
    plot_pairwise,
    plot_settings,
)
from dsn_sktime.plotting.predictions import (
    plot_class_means,
    plot_confusion_matrix,
    plot_contributions,
)
from dsn_sktime.plotting.topology import plot_activated_weights, plot_growth, plot_receptive_fields
from dsn_sktime.plotting.training import plot_history

__all__ = [
    "plot_accuracy_cost",
    "plot_activated_weights",
    "plot_class_means",
    "plot_confusion_matrix",
    "plot_contributions",
    "plot_critical_difference",
    "plot_growth",
    "plot_history",
    "plot_pairwise",
    "plot_receptive_fields",
    "plot_settings",
]

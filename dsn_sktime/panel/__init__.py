"""From users' containers to the networks' input: labels, standardization, Panel.

``read_panel`` turns any container into a RawPanel of plain arrays, ``read_labels`` puts the
labels into its order, ``Standardization.fit`` takes mean and deviation of each variate, and
``Panel.from_raw`` copies the series to float32.
"""

from dsn_sktime.panel.containers import read_panel
from dsn_sktime.panel.labels import read_labels, read_numbers, read_sample_weight
from dsn_sktime.panel.panel import Panel
from dsn_sktime.panel.raw_panel import RawPanel
from dsn_sktime.panel.standardization import Standardization
from dsn_sktime.panel.user_warning import warn_user
from dsn_sktime.panel.variates import match_variates, warn_about_axes

__all__ = [
    "Panel",
    "RawPanel",
    "Standardization",
    "match_variates",
    "read_labels",
    "read_numbers",
    "read_panel",
    "read_sample_weight",
    "warn_about_axes",
    "warn_user",
]

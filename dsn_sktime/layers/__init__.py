"""Torch modules that a Dynamic Sparse Network is built from.

Layers and networks take a batch of shape (B, C, L) and, if series differ in length, their lengths
of shape (B,): time steps at or after a series' length are padding. Their values do not change the
steps before.
"""

from dsn_sktime.kernels import BACKENDS
from dsn_sktime.layers.batch_norm import MaskedBatchNorm1d
from dsn_sktime.layers.feature_network import FeatureLayer, FeatureNetwork
from dsn_sktime.layers.head import HEADS, ClassHead, LinearHead
from dsn_sktime.layers.pointwise_conv1d import PointwiseConv1d
from dsn_sktime.layers.sparse_conv1d import PADDINGS, SparseConv1d
from dsn_sktime.layers.sparse_module import SparseModule

__all__ = [
    "BACKENDS",
    "HEADS",
    "PADDINGS",
    "ClassHead",
    "FeatureLayer",
    "FeatureNetwork",
    "LinearHead",
    "MaskedBatchNorm1d",
    "PointwiseConv1d",
    "SparseConv1d",
    "SparseModule",
]

"""The Omni-Scale CNN (Tang et al., ICLR 2022): kernels of all prime sizes side by side."""

from dsn_sktime.oscnn.kernel_sizes import OSLayerShape, os_layer_shapes, prime_sizes
from dsn_sktime.oscnn.multi_size_conv1d import MultiSizeConv1d
from dsn_sktime.oscnn.network import OSCNNNetwork

__all__ = ["MultiSizeConv1d", "OSCNNNetwork", "OSLayerShape", "os_layer_shapes", "prime_sizes"]

"""The arithmetic of a sparse convolution: values, index and layout in, output out.

:func:`sparse_conv1d` is the one seam through which layers reach it.
"""

from dsn_sktime.kernels.dense import sparse_conv1d

__all__ = ["sparse_conv1d"]

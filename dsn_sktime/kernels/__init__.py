"""The arithmetic of sparse layers: values, index and layout in, output out.

On the CPU only activated weights are stored and multiplied; elsewhere, and as the
tests' oracle, kernels are dense and zero where not activated. ``dispatch`` chooses.

The sparse engine, from the top down: ``sparse`` and ``fused`` are what torch sees, ``step`` and
``plan`` lay out memory and tables, ``forward``, ``backward`` and ``convolution`` are compiled,
``parts`` and ``loops`` what they do with a part of a layer, ``simd`` its inner loops. ``layout``
says what stands where, ``work_sharing`` and ``threads`` who does what.
"""

from dsn_sktime.kernels.dispatch import adam_step, sparse, sparse_conv1d, uses_sparse_kernels
from dsn_sktime.kernels.layout import KernelIndex
from dsn_sktime.kernels.threads import kernel_threads

__all__ = [
    "KernelIndex",
    "adam_step",
    "kernel_threads",
    "sparse",
    "sparse_conv1d",
    "uses_sparse_kernels",
]

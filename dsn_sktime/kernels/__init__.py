"""The arithmetic of sparse layers: values, index and layout in, output out.

On the CPU only activated weights are stored and multiplied; elsewhere, and as the
tests' oracle, kernels are dense and zero where not activated. ``dispatch`` chooses.
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

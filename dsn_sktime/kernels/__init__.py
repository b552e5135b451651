"""The arithmetic of sparse layers: values, index and layout in, output out.

On the CPU only activated weights are stored and multiplied; elsewhere, and as the
tests' oracle, kernels are dense and zero where not activated. ``dispatch`` chooses.

The sparse engine, from the top down: ``engine`` is the autograd function of a network's layers,
``sparse`` that of a convolution alone; ``plan`` lays out memory and records; ``forward``,
``backward`` and ``convolution`` are compiled, of ``loops`` over chunks and inner loops in
``simd``. ``layout`` defines the matrices, ``buffers`` reuses their memory, ``threads`` and
``work_sharing`` spread the work.
"""

from dsn_sktime.kernels.adam import AdamSettings, adam_step
from dsn_sktime.kernels.buffers import release_memory
from dsn_sktime.kernels.dispatch import (
    BACKENDS,
    KernelIndex,
    check_backend,
    sparse,
    sparse_conv1d,
    uses_sparse_kernels,
)
from dsn_sktime.kernels.prepare import compile_kernels
from dsn_sktime.kernels.threads import kernel_threads

__all__ = [
    "BACKENDS",
    "AdamSettings",
    "KernelIndex",
    "adam_step",
    "check_backend",
    "compile_kernels",
    "kernel_threads",
    "release_memory",
    "sparse",
    "sparse_conv1d",
    "uses_sparse_kernels",
]

"""Convolutions of several kernel sizes as one convolution with masked kernels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.kernels import KernelIndex, check_backend, sparse_conv1d
from dsn_sktime.layers.kernel_index_cache import KernelIndexCache
from dsn_sktime.layers.lengths import check_batch, observed_steps
from dsn_sktime.oscnn.kernel_sizes import OSLayerShape


class MultiSizeConv1d(nn.Module):
    """Concatenated outputs of one convolution per kernel size, with bias, stride 1.

    Each pads with zeros, ``(k - 1) // 2`` on the left and ``k // 2`` on the right, to keep
    the length. They are computed as one convolution of kernels of the largest size that
    are masked to their own. Only the weights inside the masks are stored, so no step of an
    optimizer can leave the masks; on the CPU only they are multiplied.

    Parameters
    ----------
    shape : OSLayerShape
        Input channels, filters and kernel sizes.
    generator : torch.Generator, optional
        Draws weights and bias, each size's uniform in +-1/sqrt(in_channels * k) as
        ``torch.nn.Conv1d`` does; torch's global generator if None.
    backend : {"auto", "sparse", "dense"}, default="auto"
        As in :class:`dsn_sktime.layers.SparseConv1d`.

    Attributes
    ----------
    values : Parameter of shape (n_weights,)
        Weights by output channel, input channel and tap; channels by kernel size,
        ascending.
    bias : Parameter of shape (out_channels,)
    """

    index: Tensor
    # For the engine: the topology never changes, so no gradient w.r.t. other weights is asked.
    on_dense_gradient = None

    def __init__(
        self, shape: OSLayerShape, generator: torch.Generator | None = None, backend: str = "auto"
    ) -> None:
        super().__init__()
        check_backend(backend)
        self.backend = backend
        self.shape = shape
        self.values = nn.Parameter(torch.empty(shape.n_weights, device="cpu", dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(shape.out_channels, device="cpu", dtype=torch.float32))
        # Follows from the shape: moved with the module, but no part of its state.
        self.register_buffer("index", torch.from_numpy(_positions(shape)), persistent=False)
        self._kernel_index = KernelIndexCache()
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew.

        Parameters
        ----------
        generator : torch.Generator, optional
            torch's global one if None.
        """
        for kernel_size, kernels, bias in self.convolutions():
            bound = (self.shape.in_channels * kernel_size) ** -0.5
            nn.init.uniform_(kernels, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)

    def convolutions(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield each kernel size with its kernels (n_filters, in_channels, k) and bias.

        They are views of the parameters, without gradients.
        """
        values, biases = self.values.detach(), self.bias.detach()
        n_filters, in_channels = self.shape.n_filters, self.shape.in_channels
        begin = 0
        for number, kernel_size in enumerate(self.shape.kernel_sizes):
            end = begin + n_filters * in_channels * kernel_size
            kernels = values[begin:end].view(n_filters, in_channels, kernel_size)
            yield kernel_size, kernels, biases[number * n_filters : (number + 1) * n_filters]
            begin = end

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convolve a batch.

        Parameters
        ----------
        x : float tensor of shape (B, in_channels, L)
        lengths : int tensor of shape (B,), optional
            Lengths of the series in a padded batch, 1..L. Each series is surrounded by
            zeros from its own last time step on, so its output is the one it has alone.

        Returns
        -------
        float tensor of shape (B, out_channels, L)

        Raises
        ------
        TypeError
            If ``x`` does not have the dtype of the weights, or ``lengths`` is not int64.
        ValueError
            If ``x`` or ``lengths`` have another shape, or a length lies outside 1..L.
        """
        check_batch(x, lengths, self.shape.in_channels, self.values.dtype)
        if lengths is not None:
            x = x.where(observed_steps(lengths, x.shape[2]), 0)
        largest = self.shape.kernel_sizes[-1]
        x = F.pad(x, ((largest - 1) // 2, largest // 2))
        shape = self.shape.dense_shape
        y = sparse_conv1d(
            x, self.values, self.index, shape, self.kernel_index, backend=self.backend
        )
        return y + self.bias[:, None]

    def kernel_index(self) -> KernelIndex:
        """Return the places of the weights as the sparse kernels read them."""
        return self._kernel_index(self._buffers["index"], self.shape.dense_shape)

    def extra_repr(self) -> str:
        """Describe the layer within ``repr``."""
        shape = self.shape
        return (
            f"{shape.in_channels}, {shape.out_channels}, n_filters={shape.n_filters}, "
            f"kernel_sizes={shape.kernel_sizes}"
        )


def _positions(shape: OSLayerShape) -> np.ndarray:
    """Places of the weights in the flattened kernels of the largest size, ascending."""
    mask = np.zeros((len(shape.kernel_sizes), *shape.dense_shape[1:]), dtype=bool)
    largest = shape.kernel_sizes[-1]
    for number, kernel_size in enumerate(shape.kernel_sizes):
        # Where the padding of the largest kernel leaves that of this one.
        first = (largest - 1) // 2 - (kernel_size - 1) // 2
        mask[number, :, first : first + kernel_size] = True
    return np.flatnonzero(mask.repeat(shape.n_filters, axis=0))

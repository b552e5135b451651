"""Batch normalization whose statistics leave out padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsn_sktime.layers.lengths import observed_steps


def check_statistics(x: Tensor, lengths: Tensor | None) -> None:
    """Raise ValueError if a batch has one time step, which has no variance."""
    count = x.shape[0] * x.shape[2] if lengths is None else int(lengths.sum())
    if count == 1:
        raise ValueError(
            "BatchNorm needs more than one time step to train, found one series of one step, or "
            "pooled to one bin. Train on more series at a time, or raise n_pool."
        )


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` that ignores the padding of series.

    With ``lengths`` the mean and variance of a training batch, and the running ones,
    are those of the observed time steps alone. The state is the parent's.

    Parameters
    ----------
    num_features : int
        Channels C.
    """

    # Optional in the parent, always there with its default arguments.
    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float | None

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, device="cpu", dtype=torch.float32)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalize a batch.

        Parameters
        ----------
        x : float tensor of shape (B, C, L)
        lengths : int tensor of shape (B,), optional
            Series' lengths; None if no series is padded.

        Returns
        -------
        float tensor of shape (B, C, L)
            Values in the padding are arbitrary, in training finite.

        Raises
        ------
        ValueError
            If a training batch is one value per channel, which has no variance.
        """
        if not self.training and self.running_mean is not None:
            # Not the parent's, which takes as long as a small prediction may.
            own = self.weight, self.bias, self.running_mean, self.running_var
            return torch.batch_norm(x, *own, False, 0.0, self.eps, False)
        check_statistics(x, lengths)
        if lengths is None:
            return super().forward(x)
        # Cut out, not weighted by zero: the padding may hold NaN, and 0 * NaN is NaN.
        observed, by_step = observed_steps(lengths, x.shape[2])[:, 0], x.transpose(1, 2)
        normalized = torch.zeros_like(by_step)
        normalized[observed] = super().forward(by_step[observed])
        return normalized.transpose(1, 2)

"""The same network with the authors' arithmetic: 0/1 masks over dense convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.network import DSNNetwork


class MaskedDenseNetwork(nn.Module):
    """Copy of a DSNNetwork with replicated padding, the paper's, made of ``torch.nn`` layers."""

    def __init__(self, network: DSNNetwork) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in network.sparse_modules():
            if layer.bottleneck is not None:
                layers.append(_pointwise(layer.bottleneck.weight))
            out_channels, in_channels, kernel_size = layer.conv.groups.shape
            conv = nn.Conv1d(in_channels, out_channels, kernel_size, bias=False)
            conv.register_buffer("mask", layer.conv.dense_mask().float())
            conv.weight.data[layer.conv.dense_mask()] = layer.conv.values.detach()
            layers += [nn.ReplicationPad1d((0, kernel_size - 1)), conv]
            layers += [nn.BatchNorm1d(out_channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.classes = _pointwise(network.get_parameter("head.classes.weight"))
        self.norm = nn.BatchNorm1d(self.classes.out_channels)
        self.n_pool = network.n_pool
        self.apply_masks()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, m, L) to logits (B, c)."""
        pooled = F.adaptive_avg_pool1d(self.layers(x), self.n_pool)
        return self.norm(self.classes(pooled)).mean(2)

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Set the weights that are not activated to zero, as after each training step."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv1d) and hasattr(conv, "mask"):
                conv.weight.mul_(conv.get_buffer("mask"))


def _pointwise(weight: Tensor) -> nn.Conv1d:
    conv = nn.Conv1d(weight.shape[1], weight.shape[0], 1, bias=False)
    conv.weight.data.copy_(weight[:, :, None])
    return conv

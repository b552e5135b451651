"""The same network with the authors' arithmetic: 0/1 masks over dense convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.network import DSNNetwork


class MaskedDenseNetwork(nn.Module):
    """Copy of a DSNNetwork with replicated padding, the paper's, made of ``torch.nn`` layers."""

    def __init__(self, network: DSNNetwork) -> None:
        super().__init__()
        blocks = []
        for layer in network.sparse_modules():
            out_channels, in_channels, kernel_size = layer.conv.groups.shape
            conv = nn.Conv1d(in_channels, out_channels, kernel_size, bias=False)
            conv.register_buffer("mask", layer.conv.dense_mask().float())
            conv.weight.data[layer.conv.dense_mask()] = layer.conv.values.detach()
            block = [nn.ReplicationPad1d((0, kernel_size - 1)), conv]
            block += [nn.BatchNorm1d(out_channels), nn.ReLU()]
            if layer.bottleneck is not None:
                block.insert(0, _pointwise(layer.bottleneck.weight))
            blocks.append(nn.Sequential(*block))
        self.blocks = nn.Sequential(*blocks)
        self.classes = _pointwise(network.get_parameter("head.classes.weight"))
        self.norm = nn.BatchNorm1d(self.classes.out_channels)
        self.n_pool = network.n_pool
        self.apply_masks()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, m, L) to logits (B, c)."""
        pooled = F.adaptive_avg_pool1d(self.blocks(x), self.n_pool)
        return self.norm(self.classes(pooled)).mean(2)

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Set the weights that are not activated to zero, as after each training step."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv1d) and hasattr(conv, "mask"):
                conv.weight.mul_(conv.get_buffer("mask"))


def train_step(
    network: MaskedDenseNetwork, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> None:
    """Take one training step as the authors' code does: dense arithmetic, then the masks."""
    optimizer.zero_grad()
    F.cross_entropy(network(x), y).backward()
    optimizer.step()
    network.apply_masks()


def _pointwise(weight: Tensor) -> nn.Conv1d:
    conv = nn.Conv1d(weight.shape[1], weight.shape[0], 1, bias=False)
    conv.weight.data.copy_(weight[:, :, None])
    return conv

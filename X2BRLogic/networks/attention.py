"""Hybrid attention: which channels of a feature map matter, and where.

Li et al., "HAM: Hybrid attention module in deep convolutional neural networks for image classification" (Pattern
Recognition 2022), as ED2IF2-Net uses it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Weights ``(B, C, 1, 1)`` in (0, 1) of the channels of a map ``(B, C, H, W)``.

    The channels' means and maxima, mixed with learned shares, and a convolution over neighbouring channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.mean_share = nn.Parameter(torch.tensor(0.5))
        self.maximum_share = nn.Parameter(torch.tensor(0.5))
        # The odd number at or above log2(C) / 2 + 1/2, rounded down.
        kernel = math.floor(math.log2(channels) / 2 + 0.5) // 2 * 2 + 1
        self.mix = nn.Conv1d(1, 1, kernel, padding=kernel // 2)

    def forward(self, maps: Tensor) -> Tensor:
        mean, maximum = maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))
        pooled = (0.5 + self.mean_share) * mean + (0.5 + self.maximum_share) * maximum
        return torch.sigmoid(self.mix(pooled[:, None])).transpose(1, 2)[..., None]


class SpatialAttention(nn.Module):
    """A map ``(B, C, H, W)`` weighted by place, apart for its more and its less important channels.

    Each of the two groups is weighted by a 7 x 7 convolution of its mean and its maximum over the channels; a channel
    that is not of the group counts as 0.
    """

    #: Share of the channels that is more important.
    IMPORTANT = 0.6

    def __init__(self, channels: int):
        super().__init__()
        self.important = 2 * math.ceil(math.floor(self.IMPORTANT * channels) / 2)
        self.mix = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1), nn.ReLU(), nn.Sigmoid())

    def forward(self, maps: Tensor, importance: Tensor) -> Tensor:
        best = importance.topk(self.important, dim=1).indices
        more = torch.zeros_like(importance).scatter(1, best, 1.0)
        return self._weighted(maps * more, self.important) + self._weighted(
            maps * (1.0 - more), maps.shape[1] - self.important
        )

    def _weighted(self, group: Tensor, channels: int) -> Tensor:
        summary = torch.stack([group.sum(dim=1) / channels, group.amax(dim=1)], dim=1)
        return group * self.mix(summary)


class HybridAttention(nn.Module):
    """Channel attention, then spatial attention, around an identity path: ``(B, C, H, W)`` to the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention(channels)

    def forward(self, maps: Tensor) -> Tensor:
        importance = self.channel(maps)
        return torch.relu(maps + self.spatial(maps * importance, importance))

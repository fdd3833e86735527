"""Occupancy decoder with conditional batch normalisation.

Mescheder et al., Occupancy Networks (CVPR 2019), supplementary 1.1, after de Vries et al. (NeurIPS 2017) and Dumoulin
et al. (ICLR 2017): every batch normalisation takes its scale gamma and shift beta from the latent,
``CBN(f; c) = gamma(c) * (f - mean) / sqrt(var + eps) + beta(c)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation of point features ``(B, N, C)`` with gamma and beta linear in the latent ``(B, L)``."""

    def __init__(self, latent: int, channels: int):
        super().__init__()
        self.normalise = nn.BatchNorm1d(channels, affine=False)
        self.gamma = nn.Linear(latent, channels)
        self.beta = nn.Linear(latent, channels)
        nn.init.zeros_(self.gamma.weight)
        nn.init.ones_(self.gamma.bias)
        nn.init.zeros_(self.beta.weight)
        nn.init.zeros_(self.beta.bias)

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        flat = self.normalise(features.reshape(-1, features.shape[-1])).view_as(features)
        return torch.addcmul(self.beta(latent)[:, None], self.gamma(latent)[:, None], flat)


class ResidualBlock(nn.Module):
    """Two dense layers, each after conditional normalisation and ReLU, around an identity path."""

    def __init__(self, latent: int, channels: int):
        super().__init__()
        self.norm_in = ConditionalBatchNorm(latent, channels)
        self.dense_in = nn.Linear(channels, channels)
        self.norm_out = ConditionalBatchNorm(latent, channels)
        self.dense_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.dense_out.weight)

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        change = self.dense_in(torch.relu(self.norm_in(features, latent)))
        return features + self.dense_out(torch.relu(self.norm_out(change, latent)))


class OccupancyDecoder(nn.Module):
    """Points and a latent to occupancy logits.

    Coordinates enter as sines and cosines of `octaves` frequencies beside themselves (Tancik et al., NeurIPS 2020):
    bare coordinates, as in Occupancy Networks, blur a structure as thin as a rib.

    Shapes: points ``(B, N, 3)`` in [-0.5, 0.5], latent ``(B, L)``, logits ``(B, N)``.
    """

    def __init__(self, latent: int, hidden: int, blocks: int, octaves: int):
        super().__init__()
        frequencies = 2.0 * math.pi * 2.0 ** torch.arange(octaves)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.lift = nn.Linear(3 + 6 * octaves, hidden)
        self.blocks = nn.ModuleList(ResidualBlock(latent, hidden) for _ in range(blocks))
        self.norm = ConditionalBatchNorm(latent, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, points: Tensor, latent: Tensor) -> Tensor:
        phase = (points[..., None] * self.frequencies).flatten(-2)
        features = self.lift(torch.cat([points, phase.sin(), phase.cos()], dim=-1))
        for block in self.blocks:
            features = block(features, latent)
        return self.out(torch.relu(self.norm(features, latent))).squeeze(-1)

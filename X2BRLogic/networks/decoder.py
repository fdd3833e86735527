"""Occupancy decoder with conditional batch normalisation.

Mescheder et al., Occupancy Networks (CVPR 2019), supplementary 1.1, after de Vries et al. (NeurIPS 2017) and Dumoulin
et al. (ICLR 2017): every batch normalisation takes its scale gamma and shift beta from the latent,
``CBN(f; c) = gamma(c) * (f - mean) / sqrt(var + eps) + beta(c)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    def affine(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift ``(C,)``, float64, that the layer applies for one latent ``(1, L)`` in evaluation mode."""
        deviation = (self.normalise.running_var.double() + self.normalise.eps).sqrt()
        scale = self.gamma(latent)[0].double() / deviation
        return scale, self.beta(latent)[0].double() - self.normalise.running_mean.double() * scale

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

    def fourier(self, points: Tensor) -> Tensor:
        """What the decoder sees of points: ``(B, N, 3 + 6 * octaves)``."""
        phase = (points[..., None] * self.frequencies).flatten(-2)
        return torch.cat([points, phase.sin(), phase.cos()], dim=-1)

    def forward(self, points: Tensor, latent: Tensor) -> Tensor:
        features = self.lift(self.fourier(points))
        for block in self.blocks:
            features = block(features, latent)
        return self.out(torch.relu(self.norm(features, latent))).squeeze(-1)

    @torch.no_grad()
    def folded(self, latent: Tensor) -> FoldedDecoder:
        """The decoder in evaluation mode for one latent ``(1, L)``, in fewer operations."""
        shift = self.lift.bias.double()  # of the features, carried along instead of added
        blocks = []
        for block in self.blocks:
            clamp = _Clamp.of(*block.norm_in.affine(latent), shift)
            scale, offset = block.norm_out.affine(latent)
            weight = block.dense_in.weight.double()
            bias = scale * (weight @ clamp.shift + block.dense_in.bias.double()) + offset
            dense_in = scale[:, None] * weight * clamp.scale
            blocks.append((*clamp.bounds, _right(dense_in), bias.float(), _right(block.dense_out.weight)))
            shift = shift + block.dense_out.bias.double()
        clamp = _Clamp.of(*self.norm.affine(latent), shift)
        weight = self.out.weight.double()[0]
        bias = weight @ clamp.shift + self.out.bias.double()[0]
        out = (*clamp.bounds, (weight * clamp.scale).float(), bias.float())
        return FoldedDecoder(self.frequencies, _right(self.lift.weight), blocks, out)


@dataclass(frozen=True)
class FoldedDecoder:
    """An `OccupancyDecoder` for one image, its conditional normalisations folded into its linear layers.

    ``relu(a x + b)`` is ``a clamp(x) + b`` with a bound at ``-b / a``, below it or above it as the sign of a says. So
    of a normalisation and its ReLU one clamp is left, what scales and shifts goes into the next layer, and biases of
    the residual path move the bounds. Same answer up to rounding.

    Attributes:
        frequencies: of the Fourier features.
        lift: ``(features, hidden)``.
        blocks: lower bound, upper bound, first matrix, its bias, second matrix.
        out: lower bound, upper bound, vector, its bias.
    """

    frequencies: Tensor
    lift: Tensor
    blocks: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]
    out: tuple[Tensor, Tensor, Tensor, Tensor]

    def __call__(self, points: Tensor) -> Tensor:
        """Occupancy logits ``(N,)`` at points ``(N, 3)``."""
        phase = (points[:, :, None] * self.frequencies).flatten(1)
        features = torch.cat([points, phase.sin(), phase.cos()], dim=1) @ self.lift
        for lower, upper, dense_in, bias, dense_out in self.blocks:
            change = torch.addmm(bias, features.clamp(lower, upper), dense_in).relu_()
            features = features.addmm_(change, dense_out)
        lower, upper, weight, bias = self.out
        return torch.addmv(bias, features.clamp(lower, upper), weight)


@dataclass(frozen=True)
class _Clamp:
    """``relu(scale (x + carried) + offset)`` as ``scale clamp(x) + shift``, all ``(C,)``."""

    bounds: tuple[Tensor, Tensor]
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, scale: Tensor, offset: Tensor, carried: Tensor) -> _Clamp:
        shift = offset + scale * carried
        bound = -shift / scale
        # Where the scale is nothing, the result is a constant.
        constant = ~(bound.abs() < torch.finfo(torch.float32).max)
        lower = torch.where(scale > 0, bound, -torch.inf).masked_fill(constant, 0.0)
        upper = torch.where(scale > 0, torch.inf, bound).masked_fill(constant, 0.0)
        shift = torch.where(constant, shift.relu(), shift)
        return cls((lower.float(), upper.float()), scale, shift)


def _right(weight: Tensor) -> Tensor:
    """A layer's matrix ``(out, in)`` as the right factor ``(in, out)``, contiguous, float32."""
    return weight.t().contiguous().float()

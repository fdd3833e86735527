"""X2B2: two radiographs at right angles to an occupancy field.

The X2BR paper's network for two views: one ConvNeXt encoder for both films, multi-head cross-attention (Vaswani et al.,
NeurIPS 2017) between their feature maps, and X2B's occupancy decoder. Of what the paper leaves open: each film asks the
other; the answer is added to its own features by a layer that begins at nothing; places are told apart by learned
encodings of row, column and film, rows shared, as both films see a height in the same row. The ray cube is the first
film's. Departures as in `x2b`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import create_backbone
from .latent import LatentNetwork
from .x2b import X2BConfig


@dataclass(frozen=True)
class X2B2Config(X2BConfig):
    """As `X2BConfig`.

    Attributes:
        heads: of the attention.
    """

    heads: int = 8


class CrossAttention(nn.Module):
    """Features ``(B, T, C)`` that ask those of another film, ``(B, T, C)``, and are added to."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attend = nn.MultiheadAttention(channels, heads, batch_first=True)
        nn.init.zeros_(self.attend.out_proj.weight)

    def forward(self, own: Tensor, other: Tensor, own_places: Tensor, other_places: Tensor) -> Tensor:
        values = self.norm(other)
        answer, _ = self.attend(self.norm(own) + own_places, values + other_places, values, need_weights=False)
        return own + answer


class X2B2(LatentNetwork):
    """Two radiographs ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``."""

    views = 2

    def __init__(self, config: X2B2Config, pretrained: bool = False):
        super().__init__(config.latent, config.hidden, config.blocks, config.octaves)
        self.config = config
        self.backbone = create_backbone(config.encoder, pretrained)
        edge = config.image_size // self.backbone.feature_info[-1]["reduction"]
        width = self.backbone.num_features
        self.rows = nn.Parameter(0.5 * torch.randn(edge, 1, width))
        self.columns = nn.Parameter(0.5 * torch.randn(2, 1, edge, width))
        self.crossings = nn.ModuleList(CrossAttention(width, config.heads) for _ in range(self.views))
        self.narrow = nn.ModuleList(nn.Linear(width, config.channels) for _ in range(self.views))
        self.project = nn.Linear(self.views * config.channels * edge**2, config.latent)

    def encode(self, image: Tensor, second: Tensor) -> Tensor:
        """The latent ``(B, L)`` of a film and of one of the same patient at right angles to it."""
        # Centre the input so that the film's mean grey, not black, is the neutral value.
        maps = self.backbone.forward_features((torch.cat([image, second]) - 0.5) * 4.0)
        films = maps.flatten(2).transpose(1, 2).chunk(2)
        places = (self.rows + self.columns).flatten(1, 2)
        fused = []
        for own, other in ((0, 1), (1, 0)):
            features = self.crossings[own](films[own], films[other], places[own], places[other])
            fused.append(torch.relu(self.narrow[own](features)).flatten(1))
        return self.project(torch.cat(fused, dim=1))

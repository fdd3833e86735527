"""ED2IF2-Net: a coarse field, deformed block by block with the film's local features, and displacement maps.

Zhu et al., "ED2IF2-Net: Learning Disentangled Deformed Implicit Fields and Enhanced Displacement Fields from Single
Images Using Pyramid Vision Transformer" (Applied Sciences 2023, 13, 7577). A pyramid vision transformer; a decoder of
the coarse field; three implicit-field deformation blocks, from the coarsest feature maps to the finest; displacement
maps from feature maps with hybrid attention; the losses of all fields and the Laplacian loss, weighted as there.

Departures, beside those in `displaced`: the second version of the pyramid transformer (Wang et al., 2022), which is the
one in timm; displacement maps half, not as fine as the film; local features narrowed before the deformation blocks, and
these to fit two cores; Fourier features instead of bare coordinates in them; and no features of the point mirrored in
the object's plane of symmetry, as a thorax lies in the cube as the patient stood.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import HybridAttention
from .displaced import DisplacedConfig, DisplacedNetwork
from .pixels import at_pixels


@dataclass(frozen=True)
class ED2IF2Config(DisplacedConfig):
    """As `DisplacedConfig`; the encoder is a pyramid vision transformer of timm, or any other with four feature maps.

    Attributes:
        local: channels of the feature maps that the deformation blocks see.
        state: length of what a deformation block hands on.
    """

    encoder: str = "pvt_v2_b0"
    local: int = 48
    state: int = 96


class DeformationBlock(nn.Module):
    """An implicit-field deformation block (IFDB): what to add to a field at points, and a state for the next block.

    Args:
        features: length of what is known of a point.
        state: length of the state, in and out.

    Shapes: field ``(B, N)``, features ``(B, N, F)``, state ``(B, N, S)``.
    """

    def __init__(self, features: int, state: int):
        super().__init__()
        self.of_value = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32))
        self.lift = nn.Sequential(
            nn.Linear(32 + features + state, state), nn.ReLU(), nn.Linear(state, state), nn.ReLU()
        )
        self.change = nn.Linear(state, 1)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, field: Tensor, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        # Logits of some tens are usual; the layers are made for numbers about one.
        value = self.of_value(0.1 * field[..., None])
        state = self.lift(torch.cat([value, features, state], dim=-1))
        return field + self.change(state).squeeze(-1), state


class ED2IF2(DisplacedNetwork):
    """Coarse field, deformed fields, displacement maps; the deformation loss counts early blocks less, as there."""

    field_weights = (1.0, 0.2, 0.2, 0.6, 1.0)

    def __init__(self, config: ED2IF2Config, pretrained: bool = False):
        super().__init__(config, pretrained, HybridAttention, doublings=1)
        self.narrow = nn.ModuleList(nn.Conv2d(c, config.local, 1) for c in self.channels)
        features = 2 * config.local + self.decoder.lift.in_features
        self.deformations = nn.ModuleList(DeformationBlock(features, config.state) for _ in self.channels[1:])

    def local(self, maps: list[Tensor]) -> list[Tensor]:
        return [narrow(level) for narrow, level in zip(self.narrow, maps, strict=True)]

    def deform(self, coarse: Tensor, maps: list[Tensor], points: Tensor) -> list[Tensor]:
        """One field a block; each block sees two neighbouring levels of the feature maps, the first the coarsest."""
        levels = [at_pixels(level, points) for level in reversed(maps)]
        place = self.decoder.fourier(points)
        state = points.new_zeros(*points.shape[:-1], self.config.state)
        field, fields = coarse, []
        for block, *pair in zip(self.deformations, levels, levels[1:], strict=False):
            field, state = block(field, torch.cat([*pair, place], dim=-1), state)
            fields.append(field)
        return fields

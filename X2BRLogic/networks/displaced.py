"""A coarse field, and displacement maps that add what the film shows to its front and back surfaces.

Li & Zhang, "D2IM-Net: Learning Detail Disentangled Implicit Fields from Single Images" (CVPR 2021). A point takes from
the maps, at its pixel, the displacement of the front surface where the coarse field rises with depth, and that of the
back surface where it falls. The front is where a ray along y enters a bone, the back where it leaves it.

Departures from the paper, common to the networks built on this one. The field is the logit of occupancy, which falls
by `slope` over an edge of the cube where the paper has a signed distance, so a displacement is subtracted, and
cross-entropy takes the place of distances' differences. Front and back are told by the coarse field in training too,
not by the true distance's gradient, and gradually, so that the field stays continuous. A radiograph shows both sides of
a bone alike, so the Laplacian loss is taken of both maps. A ray crosses several bones; as there are two maps, all their
front surfaces move alike, and all their backs. The coarse field is the decoder of Occupancy Networks with Fourier
features (`decoder`), not IM-NET's, and its latent keeps where things are in the film (`ImageEncoder`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .batch import Batch
from .decoder import OccupancyDecoder
from .displacement import DisplacementDecoder
from .encoder import ImageEncoder
from .losses import laplacian_loss, occupancy_loss
from .pixels import at_pixels
from .x2b import X2BConfig

#: In edges of the cube: how far behind a point the coarse field is asked whether it rises. About half a rib.
_BEHIND = 0.01
#: Weight of the Laplacian loss, taken in logits.
_LAPLACIAN = 0.005


@dataclass(frozen=True)
class DisplacedConfig(X2BConfig):
    """As `X2BConfig`.

    Attributes:
        width: channels of the displacement decoder.
        slope: by how much the logit changes over an edge of the cube, where it crosses a surface.
    """

    latent: int = 512
    width: int = 64
    slope: float = 200.0


class DisplacedCode(NamedTuple):
    """What is known of B films: latents ``(B, L)``, displacement maps ``(B, 2, H, W)``, feature maps for `deform`."""

    latent: Tensor
    displacement: Tensor
    maps: list[Tensor]


class DisplacedNetwork(nn.Module):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``.

    Args:
        config: the architecture.
        pretrained: see `create_backbone`.
        attention, doublings: see `DisplacementDecoder`.
    """

    #: Films of a patient that `encode` takes.
    views = 1
    #: Cells along an edge from which the surface is searched, as in `x2b`.
    coarse_cells = 32
    #: Weights in the loss: of the coarse field, of what `deform` returns, of the final field.
    field_weights: tuple[float, ...] = (1.0, 1.0)

    def __init__(
        self,
        config: DisplacedConfig,
        pretrained: bool,
        attention: Callable[[int], nn.Module] = nn.Identity,
        doublings: int = 0,
    ):
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.encoder, config.image_size, config.latent, config.channels, pretrained)
        self.decoder = OccupancyDecoder(config.latent, config.hidden, config.blocks, config.octaves)
        self.channels = [level["num_chs"] for level in self.encoder.backbone.feature_info]
        self.displacement = DisplacementDecoder(self.channels, config.width, attention, doublings)

    def encode(self, image: Tensor) -> DisplacedCode:
        """What the film says of everything, and at each pixel."""
        maps = self.encoder.maps(image)
        return DisplacedCode(self.encoder.latent(maps[-1]), self.displacement(maps), self.local(maps))

    def local(self, maps: list[Tensor]) -> list[Tensor]:
        """The feature maps that `deform` asks for, of the encoder's, finest first."""
        return []

    def deform(self, coarse: Tensor, maps: list[Tensor], points: Tensor) -> list[Tensor]:
        """Fields ``(B, N)`` between the coarse and the final one, each made from that before."""
        return []

    def decode(self, code: DisplacedCode, points: Tensor) -> Tensor:
        """Occupancy logits ``(B, N)`` at ray-cube points ``(B, N, 3)``."""
        return self._fields(code, points)[-1]

    def field(self, code: DisplacedCode) -> Callable[[Tensor], Tensor]:
        """`decode` for one image: points ``(N, 3)`` to logits ``(N,)``, the latent worked in beforehand."""
        folded = self.decoder.folded(code.latent)
        return lambda points: self._fields(code, points[None], lambda asked: folded(asked[0])[None])[-1][0]

    def surface_points(self, code: DisplacedCode, level: float) -> Tensor:
        """None, ``(0, 3)``: this network knows its surface only by asking."""
        return code.latent.new_empty(0, 3)

    def shift_logits(self, offset: float) -> None:
        """Add a constant to every logit from now on."""
        with torch.no_grad():
            self.displacement.out.bias -= offset

    def logits(self, batch: Batch) -> Tensor:
        """Occupancy at a batch's points, ``(B, N)``."""
        return self.decode(self.encode(batch.image), batch.points)

    def loss(self, batch: Batch) -> Tensor:
        """X2B's cross-entropy, of every field, and the Laplacian loss."""
        code = self.encode(batch.image)
        loss = sum(
            weight * occupancy_loss(field, batch.occupied, batch.known)
            for weight, field in zip(self.field_weights, self._fields(code, batch.points), strict=True)
        )
        slope = self.config.slope
        return loss + _LAPLACIAN * slope**2 * laplacian_loss(code.displacement.float() / slope, batch.labels)

    def _fields(
        self, code: DisplacedCode, points: Tensor, coarse_field: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """All fields ``(B, N)`` at points ``(B, N, 3)``, from the coarse to the final one."""
        coarse_field = coarse_field or (lambda asked: self.decoder(asked, code.latent))
        step = points.new_tensor([0.0, _BEHIND, 0.0])
        coarse, behind = coarse_field(torch.cat([points, points + step], dim=1)).chunk(2, dim=1)
        fields = [coarse, *self.deform(coarse, code.maps, points)]
        front, back = at_pixels(code.displacement, points).unbind(-1)
        rising = torch.sigmoid((behind - coarse).float())
        return [*fields, fields[-1] - (rising * front + (1.0 - rising) * back)]

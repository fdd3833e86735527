"""X2B: one radiograph to an occupancy field.

The X2BR paper's single-view network: a ConvNeXt encoder, a linear layer to a 1024-dimensional latent, and an occupancy
decoder of residual blocks with conditional batch normalisation. Departures: points are given in the ray cube
(`X2BRLogic.geometry`), so that a point's x and z are its place in the image whatever the machine's distances; and the
decoder sees Fourier features of the coordinates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from .encoder import ImageEncoder
from .latent import LatentNetwork


@dataclass(frozen=True)
class X2BConfig:
    """The architecture in numbers; stored with the weights.

    Attributes:
        encoder: timm model name.
        image_size: edge of the square input image in pixels.
        channels: see `ImageEncoder`.
        latent, hidden, blocks, octaves: see `OccupancyDecoder`.
    """

    encoder: str = "convnext_atto"
    image_size: int = 224
    channels: int = 12
    latent: int = 1024
    hidden: int = 96
    blocks: int = 4
    octaves: int = 5

    def to_dict(self) -> dict:
        """Plain values, the inverse of ``X2BConfig(**values)``."""
        return asdict(self)


class X2B(LatentNetwork):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``."""

    def __init__(self, config: X2BConfig, pretrained: bool = False):
        super().__init__(config.latent, config.hidden, config.blocks, config.octaves)
        self.config = config
        self.encoder = ImageEncoder(config.encoder, config.image_size, config.latent, config.channels, pretrained)

    def encode(self, image: Tensor) -> Tensor:
        """The latent ``(B, L)``."""
        return self.encoder(image)

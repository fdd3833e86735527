"""X2V: a radiograph through a vision transformer to an occupancy field.

Guven, Ates, Ugurdag, "X2V: 3D Organ Volume Reconstruction From a Planar X-Ray Image With Neural Implicit Methods" (IEEE
Access 2024), which reconstructs lungs: a vision transformer as encoder, and the decoder of Occupancy Networks
(`decoder`). Departures: all patches' features make the latent, narrowed and flattened as in `ImageEncoder`, instead of
one vector for the film; points in the ray cube and with Fourier features, as in `x2b`; a small transformer (ViT-Ti) and
a latent of 512.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .encoder import ImageEncoder
from .latent import LatentNetwork
from .x2b import X2BConfig


@dataclass(frozen=True)
class X2VConfig(X2BConfig):
    """As `X2BConfig`; the encoder is a plain vision transformer of timm."""

    encoder: str = "vit_tiny_patch16_224"
    channels: int = 8
    latent: int = 512


class X2V(LatentNetwork):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``."""

    def __init__(self, config: X2VConfig, pretrained: bool = False):
        super().__init__(config.latent, config.hidden, config.blocks, config.octaves)
        self.config = config
        self.encoder = ImageEncoder(
            config.encoder, config.image_size, config.latent, config.channels, pretrained, img_size=config.image_size
        )

    def encode(self, image: Tensor) -> Tensor:
        """The latent ``(B, L)``."""
        return self.encoder(image)

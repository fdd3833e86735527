"""D2IM-Net: a coarse field from the whole film, and its detail from the film's places.

Li & Zhang (CVPR 2021); see `displaced` for the method and for what is done otherwise. Also otherwise: a residual
network of ten layers instead of eighteen, with its first convolution at stride 2, so that displacement maps are half as
fine as the film.
"""

from __future__ import annotations

from dataclasses import dataclass

from .displaced import DisplacedConfig, DisplacedNetwork


@dataclass(frozen=True)
class D2IMConfig(DisplacedConfig):
    """As `DisplacedConfig`; the encoder is a residual network of timm, or any other with feature maps."""

    encoder: str = "resnet10t"


class D2IM(DisplacedNetwork):
    """Coarse field, displacement maps and their sum; base, detail and Laplacian loss count alike, as in the paper."""

    def __init__(self, config: D2IMConfig, pretrained: bool = False):
        super().__init__(config, pretrained)

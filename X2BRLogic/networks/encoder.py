"""Image encoders: a radiograph to one latent vector."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..files import shown


def create_backbone(variant: str, pretrained: bool = False, **settings) -> nn.Module:
    """A timm model for grey images, without its head; every system calls its own `backbone`.

    `settings` are that model's own. Raises `InputError` for a name that timm does not know.
    """
    if not isinstance(variant, str) or not timm.is_model(variant):
        raise InputError(f"timm has no model {shown(variant)}; try convnext_atto")
    return timm.create_model(variant, pretrained=pretrained, in_chans=1, num_classes=0, global_pool="", **settings)


class ImageEncoder(nn.Module):
    """A timm backbone and a linear layer to the latent.

    The last feature map is narrowed to a few channels and flattened, not averaged: where a rib is in the film is what
    the latent has to carry, and an average over the film forgets it.

    Args:
        variant: name of a timm model with feature maps, e.g. ``convnext_atto``.
        image_size: edge of the square input in pixels.
        latent: length of the latent vector (1024 in the X2BR paper).
        channels: kept of the last feature map.
        pretrained: load timm's ImageNet weights (needs the network the first time).
        settings: see `create_backbone`.

    Shapes: ``(B, 1, S, S)`` in [0, 1] to ``(B, latent)``.
    """

    def __init__(self, variant: str, image_size: int, latent: int, channels: int, pretrained: bool = False, **settings):
        super().__init__()
        self.backbone = create_backbone(variant, pretrained, **settings)
        cells = (image_size // self.backbone.feature_info[-1]["reduction"]) ** 2
        self.narrow = nn.Conv2d(self.backbone.num_features, channels, 1)
        self.project = nn.Linear(channels * cells, latent)

    def maps(self, image: Tensor) -> list[Tensor]:
        """The backbone's feature maps ``(B, C, H, W)``, finest first; all of one size in a plain vision transformer."""
        # Centre the input so that the film's mean grey, not black, is the neutral value.
        return self.backbone.forward_intermediates((image - 0.5) * 4.0, norm=True, intermediates_only=True)

    def latent(self, last: Tensor) -> Tensor:
        """The latent ``(B, L)`` of the last feature map."""
        return self.project(torch.relu(self.narrow(last)).flatten(1))

    def forward(self, image: Tensor) -> Tensor:
        return self.latent(self.maps(image)[-1])

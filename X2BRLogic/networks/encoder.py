"""Image encoders: a radiograph to one latent vector."""

from __future__ import annotations

import timm
from torch import Tensor, nn


class ImageEncoder(nn.Module):
    """A timm backbone, global average pooling and a linear layer to the latent.

    Args:
        variant: name of a timm model, e.g. ``convnext_atto``.
        latent: length of the latent vector (1024 in the X2BR paper).
        pretrained: load timm's ImageNet weights (needs the network the first time).

    Shapes: ``(B, 1, S, S)`` in [0, 1] to ``(B, latent)``.
    """

    def __init__(self, variant: str, latent: int, pretrained: bool = False):
        super().__init__()
        self.backbone = timm.create_model(variant, pretrained=pretrained, in_chans=1, num_classes=0)
        self.project = nn.Linear(self.backbone.num_features, latent)

    def forward(self, image: Tensor) -> Tensor:
        # Centre the input so that the film's mean grey, not black, is the neutral value.
        return self.project(self.backbone((image - 0.5) * 4.0))

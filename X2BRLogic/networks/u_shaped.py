"""A U-shaped network (Ronneberger et al., MICCAI 2015) over a timm encoder: a film to features of its pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import create_backbone


class _Merge(nn.Module):
    """A coarse map brought to the size of a finer one, joined with it and mixed by two convolutions."""

    def __init__(self, coarse: int, fine: int, out: int):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(coarse + fine, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        coarse = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.mix(torch.cat([coarse, fine], dim=1))


class UShaped(nn.Module):
    """What networks share that give every pixel something of its own; they put their heads on `features`.

    Args:
        encoder: timm model name; its feature maps at strides 4 to 32 are used.
        width: channels of the decoder.
        pretrained: load timm's ImageNet weights (needs the network the first time).
    """

    def __init__(self, encoder: str, width: int, pretrained: bool = False):
        super().__init__()
        self.backbone = create_backbone(encoder, pretrained)
        fine, *channels = (level["num_chs"] for level in self.backbone.feature_info)
        coarse = channels.pop()
        self.merges = nn.ModuleList()
        for side in (*reversed(channels), fine):
            self.merges.append(_Merge(coarse, side, width))
            coarse = width

    def features(self, image: Tensor) -> Tensor:
        """``(B, 1, S, S)`` in [0, 1] to ``(B, width, S / 4, S / 4)``."""
        # Centre the input so that the film's mean grey, not black, is the neutral value.
        *finer, features = self.backbone.forward_intermediates((image - 0.5) * 4.0, intermediates_only=True)
        for merge, side in zip(self.merges, reversed(finer), strict=True):
            features = merge(features, side)
        return features

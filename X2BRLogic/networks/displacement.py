"""Displacement maps: what a film's local features say of the front and the back surfaces at each pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.nn import functional


class DisplacementDecoder(nn.Module):
    """Feature maps at strides that double, finest first, to maps ``(B, 2, H, W)``: front and back, in logits.

    From the coarsest on, maps are doubled in size and the next finer ones added; zero at first.

    Args:
        channels: of the feature maps.
        width: channels inside.
        attention: what each feature map, and the last sum, passes through; a module made from a number of channels.
        doublings: how many times the result is doubled in size beyond the finest feature map.
    """

    def __init__(
        self,
        channels: Iterable[int],
        width: int,
        attention: Callable[[int], nn.Module] = nn.Identity,
        doublings: int = 0,
    ):
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(attention(c), nn.Conv2d(c, width, 1), nn.ReLU()) for c in reversed(list(channels))
        )
        self.up = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in self.lateral[1:])
        self.finer = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU()) for _ in range(doublings))
        self.mix = nn.Sequential(attention(width), nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        first, *rest = (lateral(level) for lateral, level in zip(self.lateral, reversed(maps), strict=True))
        features = first
        for up, level in zip(self.up, rest, strict=True):
            features = level + up(_doubled(features))
        for finer in self.finer:
            features = finer(_doubled(features))
        return self.out(self.mix(features))


def _doubled(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)

"""x2b_aligned: a radiograph to occupancy along every pixel's ray at once.

Not in the paper. The geometry of a film is known, so a point has a pixel: in the ray cube its (x, z) is its place in
the image and y runs along its ray. A U-shaped network (Ronneberger et al., MICCAI 2015) gives each pixel its occupancy
at a row of depths; between rays and depths the field is interpolated. One pass of the network is the whole field, and
what the film shows of a rib stays where the film shows it, instead of passing through one latent vector as in X2B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import create_backbone


@dataclass(frozen=True)
class X2BAlignedConfig:
    """The architecture in numbers; stored with the weights.

    Attributes:
        encoder: timm model name; its feature maps at strides 4 to 32 are used.
        image_size: edge of the square input image in pixels.
        depths: samples along a ray, across the cube.
        width: channels of the decoder at its finest level.
        refine: rays are this much denser, along each edge, than the finest feature map.
    """

    encoder: str = "convnext_atto"
    image_size: int = 224
    depths: int = 64
    width: int = 96
    refine: int = 2

    def to_dict(self) -> dict:
        """Plain values, the inverse of ``X2BAlignedConfig(**values)``."""
        return asdict(self)


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


class X2BAligned(nn.Module):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``."""

    #: Cells along an edge from which the surface is searched: the paper's. What falls between their corners is found
    #: from `surface_points`.
    coarse_cells = 32

    def __init__(self, config: X2BAlignedConfig, pretrained: bool = False):
        super().__init__()
        self.config = config
        self.backbone = create_backbone(config.encoder, pretrained)
        fine, *channels = (level["num_chs"] for level in self.backbone.feature_info)
        width, coarse = config.width, channels.pop()
        self.merges = nn.ModuleList()
        for side in (*reversed(channels), fine):
            self.merges.append(_Merge(coarse, side, width))
            coarse = width
        self.rays = nn.Conv2d(width, config.depths * config.refine**2, 1)

    def encode(self, image: Tensor) -> Tensor:
        """The field on its own grid: logits ``(B, 1, depths, rows, columns)``."""
        # Centre the input so that the film's mean grey, not black, is the neutral value.
        *finer, features = self.backbone.forward_intermediates((image - 0.5) * 4.0, intermediates_only=True)
        for merge, side in zip(self.merges, reversed(finer), strict=True):
            features = merge(features, side)
        return functional.pixel_shuffle(self.rays(features), self.config.refine).unsqueeze(1)

    def decode(self, field: Tensor, points: Tensor) -> Tensor:
        """The field of `encode` at ray-cube points, trilinear: ``(B, N, 3)`` to ``(B, N)``."""
        x, y, z = points.unbind(-1)
        # Columns run against x, rows against z, depths along y; grid_sample counts from -1 to 1 over the cells' edges.
        # `surface_points` is the inverse.
        grid = torch.stack([-2.0 * x, -2.0 * z, 2.0 * y], dim=-1)[:, None, None].to(field.dtype)
        sampled = functional.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return sampled[:, 0, 0, 0]

    def field(self, field: Tensor) -> Callable[[Tensor], Tensor]:
        """`decode` for one image: points ``(N, 3)`` to logits ``(N,)``."""
        return lambda points: self.decode(field, points[None])[0]

    def surface_points(self, field: Tensor, level: float) -> Tensor:
        """Where the surface crosses the lines of the field's own grid, ``(S, 3)``, for one image.

        The field is trilinear between its samples, so no part of it reaches the level without one of them: there are
        such points on everything that `decode` can show.
        """
        samples = field[0, 0]
        inside = samples >= level
        found = []
        for axis in range(3):
            lower, upper = (samples.narrow(axis, n, samples.shape[axis] - 1) for n in (0, 1))
            crossed = inside.diff(dim=axis).nonzero()
            before, after = lower[tuple(crossed.t())], upper[tuple(crossed.t())]
            crossed = crossed.to(field.dtype)
            crossed[:, axis] += (level - before) / (after - before)
            found.append(crossed)
        depth, row, column = ((torch.cat(found) + 0.5) / torch.tensor(samples.shape, device=field.device)).unbind(-1)
        return torch.stack([0.5 - column, depth - 0.5, 0.5 - row], dim=-1)

    def shift_logits(self, offset: float) -> None:
        """Add a constant to every logit from now on."""
        with torch.no_grad():
            self.rays.bias += offset

    def forward(self, image: Tensor, points: Tensor) -> Tensor:
        return self.decode(self.encode(image).float(), points)

"""Feature maps asked where points project."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def at_pixels(maps: Tensor, points: Tensor) -> Tensor:
    """Maps ``(B, C, H, W)`` at the pixels of ray-cube points ``(B, N, 3)``, bilinear: ``(B, N, C)`` float32.

    Columns run against x and rows against z, whatever y: in the ray cube a point's place in the image is (x, z).
    """
    x, _, z = points.float().unbind(-1)
    # grid_sample counts from -1 to 1 over the cells' edges.
    places = torch.stack([-2.0 * x, -2.0 * z], dim=-1)[:, None]
    sampled = functional.grid_sample(maps.float(), places, padding_mode="border", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)

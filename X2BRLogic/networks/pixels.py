"""Feature maps asked where points project, and labels where rays run."""

from __future__ import annotations

from collections.abc import Sequence

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


def labels_at_rays(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Labels ``(B, D, R, C)`` on the rays of another grid of this shape, those of the nearest."""
    for axis, count in zip((2, 3), shape, strict=True):
        nearest = (torch.arange(count, device=labels.device) + 0.5) * labels.shape[axis] / count
        labels = labels if labels.shape[axis] == count else labels.index_select(axis, nearest.long())
    return labels

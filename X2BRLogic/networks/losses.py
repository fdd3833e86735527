"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..anatomy import THORAX

#: Between neighbouring rays a depth that differs by more, in edges of the cube, is that of another bone.
_SAME_BONE = 0.05


def occupancy_loss(logits: Tensor, occupied: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points of which the truth is known. All ``(B, N)``."""
    loss = functional.binary_cross_entropy_with_logits(logits.float(), occupied, weight=known, reduction="sum")
    return loss / known.sum().clamp(min=1.0)


def dice_loss(logits: Tensor, occupied: Tensor, known: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over known points (Milletari et al., 3DV 2016), mean over images."""
    inside = torch.sigmoid(logits.float()) * known
    overlap = (inside * occupied).sum(1)
    return 1.0 - ((2.0 * overlap + 1.0) / (inside.sum(1) + (occupied * known).sum(1) + 1.0)).mean()


def surface_depths(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rays of a label grid ``(B, D, R, C)`` (see `Batch`) meet the bones of the thorax first and last.

    Returns:
        ``(B, 2, R, C)`` float32 depths along y of the front and the back, at cells' faces, and ``(B, R, C)`` bool:
        the ray meets a bone at all.
    """
    bone = torch.zeros(256, dtype=torch.uint8, device=labels.device)
    bone[list(THORAX)] = 1
    bone = bone[labels.long()]
    cells = labels.shape[1]
    front = bone.argmax(dim=1)
    back = cells - bone.flip(1).argmax(dim=1)
    return torch.stack([front, back], dim=1) / cells - 0.5, bone.amax(dim=1) > 0


def laplacian(maps: Tensor) -> Tensor:
    """Five-point Laplacian of maps ``(B, C, H, W)`` inside their border: ``(B, C, H - 2, W - 2)``."""
    centre, around = _neighbourhood(maps)
    return sum(around) - 4.0 * centre


def laplacian_loss(displacement: Tensor, labels: Tensor) -> Tensor:
    """How far displacement maps are from bending as the surfaces of the bones bend.

    Li & Zhang (CVPR 2021), the Laplacian loss: near the front surface, at depth d, the signed distance is d - y, near
    the back surface y - d; so what is added to a smooth coarse distance has the Laplacian of d, or its negative.

    Args:
        displacement: ``(B, 2, H, W)``, front and back, in edges of the cube.
        labels: ``(B, D, R, C)``, see `Batch`.

    Returns:
        Squared difference of the Laplacians per cell of the labels' image, mean over cells all of whose neighbours
        see the same bone. Squared, as the mean is right although single depths are rounded to cells.
    """
    depths, seen = surface_depths(labels)
    sign = depths.new_tensor([1.0, -1.0])[:, None, None]
    maps = functional.interpolate(displacement.float(), size=depths.shape[-2:], mode="bilinear", align_corners=False)
    difference = laplacian(maps) - laplacian(depths * sign)
    # A ray without a bone gets a depth from which every other one differs.
    centre, around = _neighbourhood(depths.masked_fill(~seen[:, None], 2.0))
    same = torch.stack([(side - centre).abs() < _SAME_BONE for side in around]).all(0) & (centre < 1.0)
    return (difference.square() * same).sum() / same.sum().clamp(min=1)


def _neighbourhood(maps: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The inner cells of maps ``(..., H, W)``, and their neighbours above, below, left and right."""
    sides = maps[..., :-2, 1:-1], maps[..., 2:, 1:-1], maps[..., 1:-1, :-2], maps[..., 1:-1, 2:]
    return maps[..., 1:-1, 1:-1], list(sides)

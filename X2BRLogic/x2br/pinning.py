"""What the film shows of a bone stays where the film shows it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..detection import Box
from ..geometry import XRayGeometry
from ..template import bone_of

#: Most that a bone is stretched or shrunk in the picture to fill its box; a larger difference is the detector's.
_STRETCH = 1.15
#: A box that is further than this from its bone, mm at the bone, is of another one: levels are some 20 mm apart.
_FARTHEST_MM = 15.0
#: An edge so near to the border of the picture, in pixels, is the picture's and not the bone's.
_BORDER = 2.0


def pinned(
    vertices: Mapping[str, np.ndarray], boxes: Mapping[str, Box], geometry: XRayGeometry
) -> dict[str, np.ndarray]:
    """Vertices ``(N, 3)`` by bone, moved parallel to the detector so that each projected bone fills its box.

    Depth along the beam is kept. A rib is shifted and stretched along columns and rows; other bones, whose form in
    the picture depends on how they are turned, are shifted alone. A bone goes as far as its box's confidence says, and
    not at all where the box is far away.
    """
    moved = dict(vertices)
    for name, box in boxes.items():
        if name not in moved:
            continue
        points = moved[name]
        pixels = geometry.project(points)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        wanted_low, wanted_high = box.edges[:2], box.edges[2:]
        size = np.array(geometry.shape[::-1])
        whole = (wanted_low > _BORDER) & (wanted_high < size - 1 - _BORDER)
        stretch = (wanted_high - wanted_low) / np.maximum(high - low, 1e-6)
        if not bone_of(name).group.startswith("ribs"):
            stretch = np.ones(2)
        stretch = np.clip(stretch, 1 / _STRETCH, _STRETCH)
        off = np.abs((low + high) - (wanted_low + wanted_high))[whole] / 2
        # A shift on the detector is smaller where the bone is, by the magnification.
        scale = geometry.depth(points)[:, None] / geometry.sid
        if (off * geometry.spacing[0] * scale.mean() > _FARTHEST_MM).any():
            continue
        goal = (pixels - (low + high) / 2) * stretch + (wanted_low + wanted_high) / 2
        # A bone that leaves the picture shows no edge there to be pinned by.
        shift = np.where(whole, box.confidence * (goal - pixels), 0.0)
        moved[name] = points + scale * (
            shift[:, :1] * geometry.spacing[1] * geometry.columns + shift[:, 1:] * geometry.spacing[0] * geometry.rows
        )
    return moved

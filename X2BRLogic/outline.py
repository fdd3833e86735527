"""Meshes as the X-ray source sees them: their outlines on the detector, and a picture of them over the film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from . import anatomy

if TYPE_CHECKING:
    import trimesh
    from PIL import Image

    from .geometry import XRayGeometry
    from .radiograph import Radiograph

_PICTURE_EDGE = 640
_BONE = (0.95, 0.87, 0.73)


def outline_segments(mesh: trimesh.Trimesh, geometry: XRayGeometry) -> np.ndarray:
    """The edges at which a surface (RAS mm) turns from the source, as pixels ``(N, 2, 2)``: ends, (column, row).

    Their outermost are the outline of the bone's shadow, the others its inner contours.
    """
    facing = np.einsum("ij,ij->i", mesh.face_normals, geometry.source - mesh.triangles_center) > 0
    turning = facing[mesh.face_adjacency].sum(axis=1) == 1
    edges = mesh.face_adjacency_edges[turning]
    return geometry.project(mesh.vertices[edges.ravel()]).reshape(-1, 2, 2)


def grey_picture(pixels: np.ndarray) -> Image.Image:
    """Pixels ``(rows, columns)`` as a picture of 8 bits, all but the lowest and highest half per cent told apart."""
    from PIL import Image

    low, high = np.percentile(pixels, (0.5, 99.5))
    grey = np.clip((pixels - low) / max(float(high - low), 1e-6), 0, 1) * 255
    return Image.fromarray(grey.astype(np.uint8))


def overlay(radiograph: Radiograph, meshes: Mapping[str, trimesh.Trimesh]) -> Image.Image:
    """The film with the outlines of the meshes over it, bones of `anatomy` in their colours; 640 pixels at most."""
    from PIL import Image, ImageDraw

    film = grey_picture(radiograph.pixels)
    film.thumbnail((_PICTURE_EDGE, _PICTURE_EDGE), Image.Resampling.LANCZOS)
    geometry = radiograph.geometry.resized((film.height, film.width))
    picture = film.convert("RGB")
    draw = ImageDraw.Draw(picture)
    for name, mesh in meshes.items():
        colour = anatomy.BY_NAME[name].colour if name in anatomy.BY_NAME else _BONE
        for ends in outline_segments(mesh, geometry):
            draw.line([tuple(end) for end in ends], fill=tuple(round(255 * part) for part in colour))
    return picture

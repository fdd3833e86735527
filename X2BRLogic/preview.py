"""Pictures of meshes and radiographs, rendered by ray casting: no display, no OpenGL."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import trimesh
from PIL import Image, ImageDraw, ImageFont
from trimesh.ray.ray_pyembree import RayMeshIntersector

from .outline import grey_picture

#: Camera directions: where the viewer stands (RAS), and the world direction to the right of the picture.
SIDES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "front": ((0, 1, 0), (-1, 0, 0)),
    "left side": ((-1, 0, 0), (0, -1, 0)),
    "back": ((0, -1, 0), (1, 0, 0)),
}
_BONE = np.array([232, 218, 190], dtype=np.float32)
_GROUND = np.array([18, 20, 26], dtype=np.float32)
_SUPERSAMPLING = 2
_MARGIN = 1.08


def render(
    mesh: trimesh.Trimesh, side: str, size: int, edge_mm: float, colours: np.ndarray | None = None
) -> np.ndarray:
    """The mesh seen from a side of the patient, orthographic, ``(size, size, 3)`` uint8.

    Args:
        mesh: RAS mm.
        side: a key of `SIDES`.
        edge_mm: world length of the picture's edge; the mesh is centred.
        colours: of the faces, ``(F, 3)`` RGB in 0-255; else all is the colour of bone.
    """
    stands, right = (np.array(v, dtype=np.float64) for v in SIDES[side])
    up = np.array([0.0, 0.0, 1.0])
    fine = size * _SUPERSAMPLING
    ticks = ((np.arange(fine) + 0.5) / fine - 0.5) * edge_mm
    across, down = np.meshgrid(ticks, -ticks)
    distance = float(np.linalg.norm(mesh.extents)) + 10.0
    origins = mesh.bounds.mean(0) + distance * stands + across.reshape(-1, 1) * right + down.reshape(-1, 1) * up
    directions = np.broadcast_to(-stands, origins.shape)
    # Locations come with the hits, so the depth of each is known.
    hits, ray, triangle = RayMeshIntersector(mesh).intersects_location(origins, directions, multiple_hits=False)
    canvas = np.tile(_GROUND, (fine * fine, 1))
    if len(ray):
        facing = np.abs(mesh.face_normals[triangle] @ stands)
        near = ((hits - mesh.bounds.mean(0)) @ stands) / (0.5 * distance)
        # A headlight, and distance fading into the ground, so that front and back of the cage come apart.
        light = (0.25 + 0.75 * facing) * np.clip(0.75 + 0.45 * near, 0.3, 1.0)
        bone = _BONE if colours is None else colours[triangle]
        canvas[ray] = _GROUND + light[:, None] * (bone - _GROUND)
    canvas = canvas.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3).mean((1, 3))
    return canvas.astype(np.uint8)


def _film(pixels: np.ndarray, size: int) -> np.ndarray:
    """A radiograph as a grey picture that fits a square, ``(size, size, 3)`` uint8."""
    picture = grey_picture(pixels)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    square = Image.new("L", (size, size), 0)
    square.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return np.repeat(np.asarray(square)[..., None], 3, axis=2)


def preview(
    pixels: np.ndarray, mesh: trimesh.Trimesh, size: int = 420, bones: Mapping[str, trimesh.Trimesh] | None = None
) -> Image.Image:
    """The radiograph, and the bones from front, side and back at one scale, beside each other.

    Args:
        mesh: all of them in one, RAS mm.
        bones: by name, shown in their colours instead of the mesh where there are any; without the cartilages, which
            are the least certain and would hide the ribs.
    """
    colours = None
    if bones:
        mesh, colours = _coloured(bones)
    edge = float(mesh.extents.max()) * _MARGIN
    tiles = [("radiograph", _film(pixels, size))]
    tiles += [(side, render(mesh, side, size, edge, colours)) for side in SIDES]
    picture = Image.fromarray(np.concatenate([tile for _, tile in tiles], axis=1))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for n, (title, _) in enumerate(tiles):
        draw.text((n * size + 10, 8), title, fill=(235, 235, 235), font=font)
    return picture


def _coloured(bones: Mapping[str, trimesh.Trimesh]) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The bones as one mesh, and the colours of its faces ``(F, 3)``, 0-255; all there is where there are no others."""
    from .template import bone_of

    about = {name: bone_of(name) for name in bones}
    shown = [name for name, bone in about.items() if bone.group != "cartilages"] or list(bones)
    colours = [np.array(about[name].colour, dtype=np.float32) * 255.0 for name in shown]
    mesh = trimesh.util.concatenate([bones[name] for name in shown])
    return mesh, np.repeat(colours, [len(bones[name].faces) for name in shown], axis=0)

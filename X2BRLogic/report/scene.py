"""Bones as numbers that a page can hold: places in 16 bits, errors in 8, as base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from ..surface import simplify

#: More triangles than this are not needed to see a thorax, and would make a page large.
FACES = 160_000
#: A vertex's error is kept in steps of this, mm, up to 255 of them.
ERROR_STEP = 0.1
_FULL = 65535


def scene(meshes: Mapping[str, trimesh.Trimesh], errors: Mapping[str, np.ndarray | None]) -> dict:
    """Numbers of meshes, ready for JSON.

    ``low`` and ``size`` (mm, RAS) are the box that the 16 bits of ``places`` span; ``corners`` are triangles, counted
    in each bone from zero; ``errors`` is missing where there are none; ``counts`` are vertices and triangles by bone.
    """
    total = sum(len(mesh.faces) for mesh in meshes.values())
    light = {name: _light(mesh, errors[name], FACES / total) for name, mesh in meshes.items()}
    vertices = np.concatenate([mesh.vertices for mesh, _ in light.values()])
    low, size = vertices.min(axis=0), float(np.ptp(vertices, axis=0).max())
    places = np.rint((vertices - low) / size * _FULL).astype("<u2")
    corners = np.concatenate([mesh.faces.ravel() for mesh, _ in light.values()]).astype("<u4")
    numbers = {
        "low": np.round(low, 3).tolist(),
        "size": round(size, 3),
        "counts": [[len(mesh.vertices), len(mesh.faces)] for mesh, _ in light.values()],
        "places": _text(places),
        "corners": _text(corners.astype("<u2") if corners.max() <= _FULL else corners),
        "wide": bool(corners.max() > _FULL),
    }
    if all(error is not None for _, error in light.values()):
        steps = np.concatenate([error for _, error in light.values()]) / ERROR_STEP
        numbers |= {"errors": _text(np.clip(np.rint(steps), 0, 255).astype(np.uint8)), "error_step": ERROR_STEP}
    return numbers


def _light(mesh: trimesh.Trimesh, error: np.ndarray | None, part: float) -> tuple[trimesh.Trimesh, np.ndarray | None]:
    """The mesh with no more than a part of its triangles, and its vertices' errors."""
    if part >= 1.0:
        return mesh, error
    fewer = simplify(mesh, max(200, round(len(mesh.faces) * part)))
    nearest = cKDTree(mesh.vertices).query(fewer.vertices)[1]
    return fewer, None if error is None else error[nearest]


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode("ascii")

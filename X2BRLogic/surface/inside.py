"""Which points lie inside a closed mesh."""

from __future__ import annotations

import numpy as np
import trimesh


def contains(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Whether each point lies inside a closed mesh, exact up to rounding in float64.

    The winding number: crossings of the ray along +x, counted with their sign, so that bodies that overlap count as
    their union (parity would make their overlap hollow) while cavities stay empty. A ray through an edge or vertex
    is decided as if the point had been moved by an infinitesimal step (Edelsbrunner and Muecke, Simulation of
    Simplicity, ACM Trans. Graph. 1990), so such a ray crosses exactly one of the faces that meet there.

    Args:
        mesh: closed, consistently oriented; any unit.
        points: shape ``(N, 3)`` in the mesh's frame.

    Returns:
        bool, shape ``(N,)``.
    """
    return among_triangles(mesh.triangles, points)


def among_triangles(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`contains` for corners ``(T, 3, 3)``; triangles that no ray from a point along +x can meet may be left out."""
    # numba is half a second of imports that a reconstruction can do without
    from ._winding import bin_triangles, winding

    points = np.ascontiguousarray(points, dtype=np.float64)
    triangles = np.ascontiguousarray(triangles, dtype=np.float64)
    if not len(points) or not len(triangles):
        return np.zeros(len(points), dtype=bool)
    low = triangles[:, :, 1:].min(axis=(0, 1))
    span = np.maximum(triangles[:, :, 1:].max(axis=(0, 1)) - low, 1e-30)
    bins = int(np.clip(np.sqrt(len(triangles)), 1, 512))
    scale = bins / span
    starts, entries = bin_triangles(triangles, low, scale, bins)
    return winding(points, triangles, low, scale, bins, starts, entries) != 0

"""Rigid iterative closest point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh

from .nearest import Matches


def rigid_icp(
    points: np.ndarray, nearest: Callable[[np.ndarray], Matches], iterations: int = 100, tolerance: float = 2e-3
) -> np.ndarray:
    """The rigid motion that brings `points` onto a surface, by point-to-point ICP from where they lie.

    Besl and McKay, A method for registration of 3-D shapes, IEEE TPAMI 14:239, 1992. `trimesh.registration.icp` is the
    same loop against a point cloud or a slow surface query; `nearest` brings its own.

    Args:
        points: RAS mm, shape (N, 3).
        nearest: matches points to the surface.
        iterations: at most this many.
        tolerance: stop when no point moves further than this, mm.

    Returns:
        4x4 matrix, a rotation and a translation.
    """
    motion = np.eye(4)
    moved = points
    for _ in range(iterations):
        step, after, _ = trimesh.registration.procrustes(moved, nearest(moved).points, reflection=False, scale=False)
        motion = step @ motion
        shift = np.linalg.norm(after - moved, axis=1).max()
        moved = after
        if shift < tolerance:
            break
    return motion

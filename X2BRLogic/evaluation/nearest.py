"""The nearest point of a surface: exact, or among samples as the literature estimates it."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import trimesh
from scipy.spatial import cKDTree

_LEAF_SIZE = 4


@dataclass(frozen=True)
class Matches:
    """What each query point was matched to.

    Attributes:
        points: nearest points, RAS mm, shape (N, 3).
        normals: unit normals of the triangles there, shape (N, 3).
    """

    points: np.ndarray
    normals: np.ndarray


class Nearest:
    """The exact nearest point on triangles, through a bounding volume hierarchy.

    The hierarchy is a complete binary tree in heap order (children of node n: 2n and 2n + 1) over runs of triangles
    in the order of a KD-tree of their centroids. The point of a triangle is that of Ericson, Real-Time Collision
    Detection, 2005, section 5.1.5.
    """

    def __init__(self, triangles: np.ndarray, normals: np.ndarray):
        order = cKDTree(triangles.mean(axis=1), leafsize=_LEAF_SIZE).indices
        self._triangles, self._normals = np.ascontiguousarray(triangles[order]), normals[order]
        leaves = 1 << max(0, int(np.ceil(np.log2(len(order) / _LEAF_SIZE))))
        self._starts = np.linspace(0, len(order), leaves + 1).astype(np.int64)
        self._boxes = np.empty((2 * leaves, 2, 3))
        self._boxes[leaves:, 0] = np.minimum.reduceat(self._triangles.min(axis=1), self._starts[:-1])
        self._boxes[leaves:, 1] = np.maximum.reduceat(self._triangles.max(axis=1), self._starts[:-1])
        while leaves > 1:
            children = self._boxes[leaves : 2 * leaves].reshape(leaves // 2, 2, 2, 3)
            leaves //= 2
            self._boxes[leaves : 2 * leaves, 0] = children[:, :, 0].min(axis=1)
            self._boxes[leaves : 2 * leaves, 1] = children[:, :, 1].max(axis=1)

    @classmethod
    def on_surface(cls, mesh: trimesh.Trimesh) -> Nearest:
        """Matches to the surface of a mesh."""
        solid = mesh.area_faces > 0  # a triangle without area adds no point that its neighbours lack
        return cls(np.asarray(mesh.triangles)[solid], np.asarray(mesh.face_normals)[solid])

    @classmethod
    def among(cls, samples: np.ndarray, normals: np.ndarray) -> Nearest:
        """Matches to the nearest of surface samples, shapes (N, 3), as the literature estimates them by KD-tree.

        Never nearer than the surface itself: with N samples on an area A, two samplings of one surface are on average
        0.5 sqrt(A / N) apart. A sample is a triangle shrunk to a point here: where surfaces are smooth and apart,
        many samples are nearly as near as the nearest, and this tree is then some five times faster than SciPy's.
        """
        return cls(np.repeat(samples[:, None], 3, axis=1), normals)

    def __call__(self, points: np.ndarray) -> Matches:
        """Match query points, RAS mm, shape (N, 3)."""
        # Neighbours one after the other: each starts from the answer of the one before.
        order = cKDTree(points).indices
        nearest, faces = np.empty((len(points), 3)), np.empty(len(points), dtype=np.int64)
        nearest[order], faces[order] = _query(points[order], self._triangles, self._starts, self._boxes)
        return Matches(nearest, self._normals[faces])


@numba.njit(cache=True, error_model="numpy")
def _query(points, triangles, starts, boxes):
    leaves = starts.size - 1
    nearest = np.empty_like(points)
    faces = np.zeros(len(points), dtype=np.int64)
    stack = np.empty(128, dtype=np.int64)
    bounds = np.empty(128)
    for n in range(len(points)):
        p = (points[n, 0], points[n, 1], points[n, 2])
        face = faces[max(n - 1, 0)]
        best, closest = _closest_on_triangle(p, triangles, face)
        stack[0], bounds[0], depth = 1, 0.0, 1
        while depth > 0:
            depth -= 1
            if bounds[depth] >= best:
                continue
            node = stack[depth]
            if node >= leaves:
                for f in range(starts[node - leaves], starts[node - leaves + 1]):
                    squared, candidate = _closest_on_triangle(p, triangles, f)
                    if squared < best:
                        best, closest, face = squared, candidate, f
                continue
            near, far = 2 * node, 2 * node + 1
            to_near, to_far = _to_box(p, boxes, near), _to_box(p, boxes, far)
            if to_far < to_near:
                near, far, to_near, to_far = far, near, to_far, to_near
            if to_far < best:
                stack[depth], bounds[depth] = far, to_far
                depth += 1
            if to_near < best:
                stack[depth], bounds[depth] = near, to_near
                depth += 1
        faces[n] = face
        nearest[n, 0], nearest[n, 1], nearest[n, 2] = closest
    return nearest, faces


@numba.njit(cache=True, error_model="numpy")
def _to_box(p, boxes, node):
    """Squared distance from a point to a box, 0 inside."""
    x = max(boxes[node, 0, 0] - p[0], p[0] - boxes[node, 1, 0], 0.0)
    y = max(boxes[node, 0, 1] - p[1], p[1] - boxes[node, 1, 1], 0.0)
    z = max(boxes[node, 0, 2] - p[2], p[2] - boxes[node, 1, 2], 0.0)
    return x * x + y * y + z * z


@numba.njit(cache=True, error_model="numpy")
def _dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@numba.njit(cache=True, error_model="numpy")
def _minus(u, v):
    return (u[0] - v[0], u[1] - v[1], u[2] - v[2])


@numba.njit(cache=True, error_model="numpy")
def _closest_on_triangle(p, triangles, face):
    """Squared distance to the nearest point of a triangle, and that point."""
    a = (triangles[face, 0, 0], triangles[face, 0, 1], triangles[face, 0, 2])
    b = (triangles[face, 1, 0], triangles[face, 1, 1], triangles[face, 1, 2])
    c = (triangles[face, 2, 0], triangles[face, 2, 1], triangles[face, 2, 2])
    ab, ac = _minus(b, a), _minus(c, a)
    ap, bp, cp = _minus(p, a), _minus(p, b), _minus(p, c)
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0 and d2 <= 0:
        v, w = 0.0, 0.0
    elif d3 >= 0 and d4 <= d3:
        v, w = 1.0, 0.0
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        v, w = d1 / (d1 - d3), 0.0
    elif d6 >= 0 and d5 <= d6:
        v, w = 0.0, 1.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        v, w = 0.0, d2 / (d2 - d6)
    elif va <= 0 and d4 >= d3 and d5 >= d6:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        v, w = vb / (va + vb + vc), vc / (va + vb + vc)
    closest = (a[0] + v * ab[0] + w * ac[0], a[1] + v * ab[1] + w * ac[1], a[2] + v * ab[2] + w * ac[2])
    off = _minus(p, closest)
    return _dot(off, off), closest

"""Vertices moved onto a field's isosurface, and faces turned along it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh
from scipy.sparse import csr_array

#: A vertex moves at most this part of the mesh's median edge a step.
_LONGEST_MOVE = 0.5
#: Weight of staying against following the faces' planes: decides only along the surface, where the planes do not.
_STAY = 0.05
#: A face may turn by at most 60 degrees a step; more is the beginning of a fold.
_LEAST_COSINE = 0.5
#: A gradient further than 45 degrees from its face is not that of the sheet that the face is on.
_TRUST = 0.7
#: Corners of a regular tetrahedron on the unit sphere.
_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def value_and_gradient(
    field: Callable[[np.ndarray], np.ndarray], points: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """A field's values ``(N,)`` and gradients ``(N, 3)`` at points, from its values at the corners of a tetrahedron.

    Exact where the field is linear within `step`; elsewhere a mean over that reach, so that the creases of a sampled
    field do not count.
    """
    corners = points[:, None] + step * _TETRAHEDRON
    values = np.asarray(field(corners.reshape(-1, 3)), dtype=np.float64).reshape(-1, 4)
    return values.mean(axis=1), 0.75 / step * values @ _TETRAHEDRON


def refine(
    mesh: trimesh.Trimesh,
    field: Callable[[np.ndarray], np.ndarray],
    level: float,
    reach: float,
    steps: int = 1,
) -> trimesh.Trimesh:
    """The mesh with its vertices moved so that its faces lie on ``field == level`` and along it.

    A step projects the centre of every face onto the isosurface along the field's gradient, which gives the plane that
    the face should lie in, and puts every vertex where the squared distances to the planes of its faces, weighted by
    their area, are least. Triangles are evened out along the surface. A face whose centre is far from the isosurface,
    or whose field points elsewhere, keeps its own plane. Connections stay as they are; a vertex whose faces would fold
    over stays where it is. Faces may come to pass through others: see `untangle`.

    Source: Ohtake and Belyaev, Dual/Primal Mesh Optimization for Polygonized Implicit Surfaces, ACM Solid Modeling
    2002, with Garland and Heckbert's quadrics. The same two terms, distance and normals, as the refinement by gradient
    descent of Mescheder et al., Occupancy Networks, CVPR 2019, section 3.3, in a few steps instead of tens.

    Args:
        mesh: near the isosurface, faces outward, where the field is less.
        field: points ``(N, 3)`` in the mesh's frame to values ``(N,)``.
        level: the isovalue.
        reach: of the differences that give the gradient, in the mesh's unit: about half the spacing of the samples
            that the mesh was made from.
        steps: each asks the field for four points a face.
    """
    vertices, faces = mesh.vertices.view(np.ndarray).copy(), mesh.faces.view(np.ndarray)
    ones, corner = np.ones(faces.size), faces.ravel()
    around = csr_array((ones, (corner, np.repeat(np.arange(len(faces)), 3))), (len(vertices), len(faces)))
    farthest = _LONGEST_MOVE * float(np.median(mesh.edges_unique_length))
    for _ in range(steps):
        centres = vertices[faces].mean(axis=1)
        value, gradient = value_and_gradient(field, centres, reach)
        length = np.maximum(np.linalg.norm(gradient, axis=1), 1e-12)
        normals = -gradient / length[:, None]
        off = (value - level) / length  # outward, from the centre to the isosurface
        area, before = _areas_and_normals(vertices, faces)
        trust = (np.abs(off) < farthest) & (np.einsum("ij,ij->i", normals, before) > _TRUST)
        normals, off = np.where(trust[:, None], normals, before), np.where(trust, off, 0.0)
        moved = _placed(vertices, centres, normals, off, area, around, farthest)
        vertices = _unfolded(vertices, moved, faces, before)
    return trimesh.Trimesh(vertices, faces, process=False)


def _placed(vertices, centres, normals, off, area, around, farthest) -> np.ndarray:
    """Vertices at the least squares of the distances to the planes of the faces around them."""
    weight = around @ area
    weight = np.maximum(weight, 1e-12)
    outward = around @ (area[:, None] * normals)
    outward /= np.maximum(np.linalg.norm(outward, axis=1), 1e-12)[:, None]
    # Evened out first: to the middle of the faces around, along the surface only.
    middle = around @ (area[:, None] * centres) / weight[:, None] - vertices
    even = vertices + 0.5 * (middle - outward * np.einsum("ij,ij->i", middle, outward)[:, None])
    quadric = around @ (area[:, None] * (normals[:, :, None] * normals[:, None]).reshape(-1, 9))
    quadric = (quadric / weight[:, None]).reshape(-1, 3, 3) + _STAY * np.eye(3)
    distance = off + np.einsum("ij,ij->i", normals, centres)
    pull = around @ (area[:, None] * normals * distance[:, None]) / weight[:, None]
    pull += _STAY * even
    target = np.linalg.solve(quadric, pull[:, :, None])[:, :, 0]
    move = target - vertices
    length = np.maximum(np.linalg.norm(move, axis=1), 1e-12)
    return vertices + move * np.minimum(1.0, farthest / length)[:, None]


def _unfolded(vertices, moved, faces, before) -> np.ndarray:
    """`moved`, but for the vertices of faces that would turn too far, which stay."""
    moved = moved.copy()
    while True:
        _, after = _areas_and_normals(moved, faces)
        stay = np.unique(faces[np.einsum("ij,ij->i", before, after) < _LEAST_COSINE])
        stay = stay[(moved[stay] != vertices[stay]).any(axis=1)]
        if not stay.size:
            return moved
        moved[stay] = vertices[stay]


def _areas_and_normals(vertices, faces) -> tuple[np.ndarray, np.ndarray]:
    """Areas ``(F,)`` and unit normals ``(F, 3)``; a face of no area has a normal of zeros."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    return length / 2, normal / np.maximum(length, 1e-30)[:, None]

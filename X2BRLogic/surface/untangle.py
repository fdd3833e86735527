"""Faces that pass through each other, such as moving vertices and collapsing edges leave, taken apart."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.sparse import coo_array

from .intersections import self_intersections


def untangle(mesh: trimesh.Trimesh, before: np.ndarray | None = None, rounds: int = 40) -> tuple[trimesh.Trimesh, int]:
    """The mesh with fewer faces that pass through each other, most often with none, and how many pairs are left.

    The corners of such faces go back to where they were before, if they were elsewhere; else halfway to the mean of
    their neighbours; and again, as long as there are any. Connections stay as they are.

    Args:
        mesh: closed, or not.
        before: vertices ``(V, 3)`` of the same mesh before it was moved.
        rounds: at most.
    """
    faces, vertices = mesh.faces.view(np.ndarray), mesh.vertices.view(np.ndarray).copy()
    before = vertices.copy() if before is None else before
    can_go_back = (vertices != before).any(axis=1)
    pairs = self_intersections(mesh)
    best, fewest = vertices.copy(), len(pairs)
    for _ in range(rounds):
        if not len(pairs):
            break
        corners = np.unique(faces[pairs])
        back = corners[can_go_back[corners]]
        if back.size:
            vertices[back], can_go_back[back] = before[back], False
            corners = back
        else:
            vertices[corners] += (_mean_of_neighbours(mesh, vertices, corners) - vertices[corners]) / 2
        touched = np.isin(faces, corners).any(axis=1)
        elsewhere = pairs[~touched[pairs].any(axis=1)]
        here = self_intersections(trimesh.Trimesh(vertices.copy(), faces, process=False), touched)
        pairs = np.concatenate([elsewhere, here])
        if len(pairs) < fewest:
            best, fewest = vertices.copy(), len(pairs)
    return trimesh.Trimesh(best, faces, process=False), fewest


def _mean_of_neighbours(mesh: trimesh.Trimesh, vertices: np.ndarray, of: np.ndarray) -> np.ndarray:
    ends = np.concatenate([mesh.edges_unique, mesh.edges_unique[:, ::-1]])
    links = coo_array((np.ones(len(ends)), ends.T), (len(vertices),) * 2).tocsr()[of]
    return (links @ vertices) / links.sum(axis=1)[:, None]

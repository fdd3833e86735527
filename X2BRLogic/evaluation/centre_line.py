"""The centre line of a long bone."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from ..errors import InputError

POINTS = 32
_BINS = 48  # more than points: thin slices first, smoothed after
_SMOOTHING_BINS = 1.5
_END_BINS = 2  # at an end a slice is a cap, and its centroid lies beside the middle


def centre_line(mesh: trimesh.Trimesh, points: int = POINTS) -> np.ndarray:
    """Points ``(points, 3)`` along the middle of a rib-like bone, evenly spaced, RAS mm.

    The two ends are the vertices furthest from each other along the surface; slices of equal geodesic distance from
    one end are reduced to their centroids, smoothed and resampled by arc length. The line begins at the end that lies
    further back (the head of a rib), and stops short of both ends by 4 % of its length.

    Source: the level-set skeleton of Verroust and Lazarus, Extracting skeletal curves from 3D scattered data,
    The Visual Computer 16:15, 2000.

    Raises:
        InputError: the mesh has fewer than four vertices.
    """
    if len(mesh.vertices) < 4:
        raise InputError("a centre line needs a closed surface; this mesh has fewer than four vertices")
    body = max(mesh.split(only_watertight=False), key=lambda part: part.area) if mesh.body_count > 1 else mesh
    vertices = np.asarray(body.vertices)
    a, b = body.edges_unique.T
    graph = coo_matrix((body.edges_unique_length, (a, b)), shape=(len(vertices),) * 2).tocsr()

    def distances(start: int) -> np.ndarray:
        return dijkstra(graph, directed=False, indices=start)

    first = int(np.argmax(distances(0)))
    along = distances(first)
    last = int(np.argmax(along))
    # Measured from both ends, so that the slices lie across the bone at either.
    along = 0.5 * (along + along[last] - distances(last))
    if vertices[first, 1] > vertices[last, 1]:
        along = along[last] - along
    slot = np.clip((along / along.max() * _BINS).astype(int), 0, _BINS - 1)
    weight = np.bincount(slot, minlength=_BINS)
    centroids = np.stack([np.bincount(slot, vertices[:, axis], _BINS) for axis in range(3)], axis=1)
    line = gaussian_filter1d(centroids[weight > 0] / weight[weight > 0, None], _SMOOTHING_BINS, axis=0, mode="nearest")
    return resampled(line[_END_BINS:-_END_BINS], points)


def resampled(line: np.ndarray, points: int) -> np.ndarray:
    """A polyline ``(N, 3)`` at `points` places evenly spaced along it."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    places = np.linspace(0.0, arc[-1], points)
    return np.stack([np.interp(places, arc, line[:, axis]) for axis in range(3)], axis=1)


def curvature(line: np.ndarray) -> np.ndarray:
    """Curvature in 1/mm at the inner points of an evenly spaced polyline ``(N, 3)``, shape ``(N - 2,)``."""
    step = np.linalg.norm(np.diff(line, axis=0), axis=1).mean()
    return np.linalg.norm(line[2:] - 2 * line[1:-1] + line[:-2], axis=1) / step**2

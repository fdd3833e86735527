"""Which points of a lattice lie inside a closed mesh: exact scan conversion by winding number."""

from __future__ import annotations

import math

import numba
import numpy as np
import trimesh


def is_closed(mesh: trimesh.Trimesh) -> bool:
    """True where the oriented triangles have no border, so that "inside" is defined everywhere.

    Every edge is walked as often in one direction as in the other. That is weaker than
    `trimesh.Trimesh.is_watertight`: bones that touch along an edge shared by four triangles are closed too.
    """
    edges = mesh.edges
    forward = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    _, edge = np.unique(np.sort(edges, axis=1) @ [len(mesh.vertices), 1], return_inverse=True)
    return not np.bincount(edge, weights=forward).any()


def occupancy(mesh: trimesh.Trimesh, origin: np.ndarray, spacing: float, shape: tuple[int, int, int]) -> np.ndarray:
    """The lattice points inside a closed mesh.

    A point is inside where the mesh winds around it a number of times other than zero (the non-zero rule), so
    overlapping bones are solid, a cavity whose triangles face inwards is hollow, and a mesh turned inside out is
    the same solid. Columns of points along the superior axis are crossed with the triangles; a column that meets
    an edge or a vertex is given to exactly one of the triangles around it, so nothing leaks. A point on the
    surface itself falls to one side by the half-open rule (the lower face is in, the upper is out).

    Args:
        mesh: closed (`is_closed`), vertices in RAS mm.
        origin: the first lattice point, RAS mm, shape (3,).
        spacing: distance between lattice points in mm.
        shape: number of points along R, A, S.

    Returns:
        Boolean array indexed [r, a, s].
    """
    corners = (mesh.vertices - np.asarray(origin, dtype=np.float64)) / spacing
    # One spare slot on top takes the crossings above the lattice.
    winding = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int16)
    _mark_crossings(corners, np.ascontiguousarray(mesh.faces, dtype=np.int64), winding)
    np.cumsum(winding, axis=2, out=winding)
    return winding[:, :, :-1] != 0


@numba.njit(cache=True, error_model="numpy")
def _crosses(ax, ay, bx, by, x, y):
    """Signed crossing of the ray from (x, y) towards +x with edge ab: +1 upwards, -1 downwards, 0 none.

    Both triangles of an edge must come to the same answer to the last bit, so the edge is always evaluated
    from its lower end (half-open in y, the end itself counts once).
    """
    sign = 1
    if ay > by:
        ax, ay, bx, by = bx, by, ax, ay
        sign = -1
    if ay <= y < by and x < ax + (y - ay) * ((bx - ax) / (by - ay)):
        return sign
    return 0


@numba.njit(cache=True, error_model="numpy")
def _mark_crossings(vertices, faces, winding):
    """Add to `winding` the change of the winding number at the first point above each crossing."""
    columns, rows, top = winding.shape[0], winding.shape[1], winding.shape[2] - 1
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        low, high = min(a[2], b[2], c[2]), max(a[2], b[2], c[2])
        first_i = max(0, math.ceil(min(a[0], b[0], c[0])))
        last_i = min(columns - 1, math.floor(max(a[0], b[0], c[0])))
        first_j = max(0, math.ceil(min(a[1], b[1], c[1])))
        last_j = min(rows - 1, math.floor(max(a[1], b[1], c[1])))
        for i in range(first_i, last_i + 1):
            for j in range(first_j, last_j + 1):
                turn = (
                    _crosses(a[0], a[1], b[0], b[1], i, j)
                    + _crosses(b[0], b[1], c[0], c[1], i, j)
                    + _crosses(c[0], c[1], a[0], a[1], i, j)
                )
                if turn == 0:
                    continue
                z = high
                if area != 0.0:
                    u = ((i - a[0]) * (c[1] - a[1]) - (j - a[1]) * (c[0] - a[0])) / area
                    v = ((b[0] - a[0]) * (j - a[1]) - (b[1] - a[1]) * (i - a[0])) / area
                    # A triangle seen edge-on makes u and v meaningless; the crossing is still within its height.
                    z = min(max(a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2]), low), high)
                # Anticlockwise from above is a face looking up: the column leaves the solid there.
                winding[i, j, min(max(math.ceil(z), 0), top)] -= turn

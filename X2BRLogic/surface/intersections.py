"""Which faces of a mesh pass through each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import trimesh

#: Pairs of faces looked at in one go: bounds the memory.
_PAIRS_AT_ONCE = 1_000_000


def self_intersections(mesh: trimesh.Trimesh, among: np.ndarray | None = None) -> np.ndarray:
    """Pairs of faces ``(P, 2)``, the lower first, of which an edge of one goes through the inside of the other.

    Of two faces with a common vertex the edges opposite to it count. Not counted: faces with a common edge, which
    can only lie folded upon each other, and faces that only touch. Signed volumes in float64, so what lies within
    rounding of touching may go either way.

    Source: Moeller, A Fast Triangle-Triangle Intersection Test, J. Graphics Tools 1997, first step (each triangle
    must have corners on both sides of the other's plane); then signed volumes. Near pairs come from a uniform grid.
    """
    if not len(mesh.faces):
        return np.zeros((0, 2), dtype=np.int64)
    vertices = mesh.vertices.view(np.ndarray) - mesh.bounds.mean(axis=0)
    faces = mesh.faces.view(np.ndarray)
    corners = np.stack([vertices[faces[:, n]] for n in range(3)])
    normals = mesh.face_normals.view(np.ndarray)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for pairs in _near_pairs(corners, among):
        for one, other in ((0, 1), (1, 0)):
            pairs = pairs[_straddles(corners, normals, pairs[:, one], pairs[:, other])]
        first, second = faces[pairs[:, 0]], faces[pairs[:, 1]]
        found.append(pairs[_pierces(vertices, first, second) | _pierces(vertices, second, first)])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _near_pairs(corners: np.ndarray, among: np.ndarray | None) -> Iterator[np.ndarray]:
    """Pairs ``(P, 2)`` of faces whose boxes meet, one of them `among` those wanted; some more than once."""
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    cell = max(1.5 * float(np.maximum.reduce((high - low).T).mean()), float(np.ptp(low, axis=0).max()) / 1000, 1e-30)
    origin = low.min(axis=0)
    begin, end = (((corner - origin) / cell).astype(np.int64) for corner in (low, high))
    shape = end.max(axis=0) + 1
    # Every triangle in every cell that its box meets, of the cells that are wanted.
    span = end - begin + 1
    count = span[:, 0] * span[:, 1] * span[:, 2]
    member = np.repeat(np.arange(len(low)), count)
    within, (_, b, c) = _places_in_rows(count), span[member].T
    step = np.stack([within // (b * c), within // c % b, within % c], axis=1)
    place = (begin[member] + step) @ np.array([shape[1] * shape[2], shape[2], 1])
    if among is not None:
        wanted = np.isin(place, place[among[member]])
        member, place = member[wanted], place[wanted]
    order = np.argsort(place)
    member, place = member[order], place[order]
    # Every entry with those after it in its cell.
    later = np.searchsorted(place, place, side="right") - np.arange(len(place)) - 1
    total = np.append(0, later.cumsum())
    blocks = np.searchsorted(total, np.arange(_PAIRS_AT_ONCE, total[-1], _PAIRS_AT_ONCE))
    for entries in np.split(np.arange(len(place)), blocks):
        number = later[entries]
        entry = np.repeat(entries, number)
        one, other = member[entry], member[entry + 1 + _places_in_rows(number)]
        if among is not None:
            wanted = among[one] | among[other]
            one, other = one[wanted], other[wanted]
        for axis in range(3):
            meet = (low[one, axis] <= high[other, axis]) & (low[other, axis] <= high[one, axis])
            one, other = one[meet], other[meet]
        yield np.stack([one, other], axis=1)


def _places_in_rows(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... for each row, one row after the other."""
    return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)


def _straddles(corners, normals, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether faces `other` have corners on both sides of the planes of faces `one`; `corners` are ``(3, F, 3)``."""
    normal, height = normals[one], np.einsum("ij,ij->i", normals, corners[0])[one]
    distances = [np.einsum("ij,ij->i", normal, corner[other]) - height for corner in corners]
    rounding = 1e-12 * np.abs(corners).max()  # a common corner is on neither side
    return (np.minimum.reduce(distances) < -rounding) & (np.maximum.reduce(distances) > rounding)


def _pierces(vertices: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether an edge of each triangle of `one` goes through the inside of that of `other`."""
    sides = np.sign([_volumes(vertices, *other.T, one[:, n]) for n in range(3)])
    found = np.zeros(len(one), dtype=bool)
    for n, m in ((0, 1), (1, 2), (2, 0)):
        apart = ((one[:, n, None] != other) & (one[:, m, None] != other)).all(axis=1)
        crosses = np.flatnonzero(apart & (sides[n] * sides[m] < 0))
        (a, b, c), p, q = other[crosses].T, one[crosses, n], one[crosses, m]
        around = np.sign([_volumes(vertices, p, q, *edge) for edge in ((a, b), (b, c), (c, a))]).sum(axis=0)
        found[crosses[np.abs(around) == 3]] = True
    return found


def _volumes(vertices: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Six times the signed volumes of tetrahedra given by the indices of their corners."""
    origin = vertices[a]
    return np.einsum("ij,ij->i", np.cross(vertices[b] - origin, vertices[c] - origin), vertices[d] - origin)

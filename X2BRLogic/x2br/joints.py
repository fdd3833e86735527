"""Neighbours that met in the template meet again."""

from __future__ import annotations

import numpy as np

from ..template import Skeleton, bone_of

_AROUND = 8  # vertices that make the place of a joint on a bone
#: How firmly a bone holds its place against the pull of its joints: a vertebra carries its ribs.
_HOLD = {"vertebrae": 0.6, "sternum": 0.6, "cartilages": 0.05}
_HOLD_OF_A_RIB = 0.2
#: How much a bone bends to close what gap is left; vertebrae and sternum do not.
_BEND = {"vertebrae": 0.0, "sternum": 0.0, "cartilages": 3.0}
_REACH_MM = 40.0  # over which it bends
_PASSES = 6


def rejoined(before: Skeleton, vertices: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Vertices ``(N, 3)`` by bone, moved so that joints have no gap but the one they had in `before`.

    Bones are first shifted as wholes, all together, by the least squares of gaps and shifts; what gap is left is
    closed by the more flexible of the two, over some centimetres.
    """
    places = [_Place(before, joint) for joint in before.joints if all(name in vertices for name in joint.parts)]
    if not places:
        return vertices
    names = list(vertices)
    row = {name: n for n, name in enumerate(names)}
    hold = [_HOLD.get(bone_of(name).group, _HOLD_OF_A_RIB) for name in names]
    system, gaps = np.diag(hold), np.zeros((len(names), 3))
    for place in places:
        a, b = (row[name] for name in place.names)
        gap = place.gap(vertices)
        system[[a, b], [a, b]] += 1.0
        system[[a, b], [b, a]] -= 1.0
        gaps[a] += gap
        gaps[b] -= gap
    shifts = np.linalg.solve(system, gaps)
    moved = {name: vertices[name] + shifts[row[name]] for name in names}

    for _ in range(_PASSES):
        moved = _bent(moved, places)
    return moved


def _bent(vertices: dict[str, np.ndarray], places: list[_Place]) -> dict[str, np.ndarray]:
    """Vertices after every joint has pulled the bones that it joins; a bone between two joints needs several passes."""
    change = {name: np.zeros_like(points) for name, points in vertices.items()}
    load = {name: np.ones(len(points)) for name, points in vertices.items()}
    for place in places:
        gap = place.gap(vertices)
        bend = np.array([_BEND.get(bone_of(name).group, 1.0) for name in place.names])
        if not bend.sum():
            continue
        for name, rows, part in zip(place.names, place.vertices, bend / bend.sum() * (1.0, -1.0), strict=True):
            centre = vertices[name][rows].mean(axis=0)
            near = np.exp(-0.5 * ((vertices[name] - centre) ** 2).sum(axis=1) / _REACH_MM**2)
            change[name] += (near * part)[:, None] * gap
            load[name] += near
    # Where two joints pull at one end, their mean counts, not their sum.
    return {
        name: points + change[name] / np.maximum(load[name] - 1.0, 1.0)[:, None] for name, points in vertices.items()
    }


class _Place:
    """Where a joint is on its two bones."""

    def __init__(self, skeleton: Skeleton, joint):
        self.names = joint.parts
        meshes = [skeleton.bones[name] for name in joint.parts]
        self.vertices = [np.argsort(np.linalg.norm(mesh.vertices - joint.point, axis=1))[:_AROUND] for mesh in meshes]
        self._apart = np.subtract(
            *[mesh.vertices[rows].mean(axis=0) for mesh, rows in zip(meshes, self.vertices, strict=True)][::-1]
        )

    def gap(self, vertices: dict[str, np.ndarray]) -> np.ndarray:
        """From the first bone to the second, beyond what it was in the template, ``(3,)``."""
        a, b = (vertices[name][rows].mean(axis=0) for name, rows in zip(self.names, self.vertices, strict=True))
        return b - a - self._apart

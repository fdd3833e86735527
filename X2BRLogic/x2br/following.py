"""Bones that the coarse mesh does not show go where their neighbours go."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..template import Skeleton, bone_of
from .poses import similarity

_AROUND = 12  # vertices of a neighbour that tell how far a joint moved
_SCALE = (0.8, 1.25)


def followed(before: Skeleton, moved: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Vertices ``(N, 3)`` of all bones, given those of the bones that were moved.

    A vertebra goes, turns and grows as the one next to it; cartilage is stretched between the bones that it joins.
    A bone that meets none of the moved ones stays.
    """
    vertices = dict(moved)
    for name, mesh in before.bones.items():
        if name in vertices:
            continue
        joints = [joint for joint in before.joints if name in joint.parts and set(joint.parts) & set(vertices)]
        points = np.asarray(mesh.vertices)
        if not joints:
            vertices[name] = points
        elif bone_of(name).group == "vertebrae":
            neighbour = _other(joints[0], name)
            old = np.asarray(before.bones[neighbour].vertices)
            matrix = similarity(old, vertices[neighbour], np.ones(len(old)), _SCALE)
            vertices[name] = points @ matrix[:3, :3].T + matrix[:3, 3]
        else:
            shifts = np.array([_shift(before, joint, _other(joint, name), vertices) for joint in joints])
            near = np.array([1.0 / np.linalg.norm(points - joint.point, axis=1).clip(1.0) for joint in joints])
            vertices[name] = points + (near / near.sum(axis=0)).T @ shifts
    return vertices


def _other(joint, name: str) -> str:
    return joint.parts[1] if joint.parts[0] == name else joint.parts[0]


def _shift(before: Skeleton, joint, name: str, vertices: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far a bone moved where a joint is, ``(3,)``."""
    old = np.asarray(before.bones[name].vertices)
    rows = np.argsort(np.linalg.norm(old - joint.point, axis=1))[:_AROUND]
    return (vertices[name][rows] - old[rows]).mean(axis=0)

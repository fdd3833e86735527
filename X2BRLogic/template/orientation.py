"""Which way meshes of bones lie: unit and axes, from the bones themselves.

A mesh file seldom says. But left ribs lie left of right ones, the sternum before the spine, and T1 above T12; so the
names of the bones tell the axes, and a thorax is too large to be measured in metres and too small in micrometres.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations, product

import numpy as np
import trimesh

from ..errors import InputError
from . import parts

#: Coordinate systems that can be asked for by name, as matrices to RAS.
AXES = {"RAS": np.eye(3), "LPS": np.diag([-1.0, -1.0, 1.0])}
#: A thorax's longest edge, mm, is between these, with much to spare at both ends: half a rib cage of a child to a
#: whole spine of a giant.
_EXTENT_MM = (80.0, 1200.0)


def to_ras_mm(bones: Mapping[str, trimesh.Trimesh], axes: str | None = None) -> dict[str, trimesh.Trimesh]:
    """Bones turned into RAS and scaled into mm.

    Args:
        bones: meshes by name, in any unit of length from mm to m and axes along R, A, S in any order and sense.
        axes: ``RAS`` or ``LPS`` where it is known; else it is found from the bones.

    Raises:
        InputError: the bones do not tell, or they are of no human size.
    """
    turn = AXES[axes] if axes else _axes_of(bones)
    low = np.min([mesh.bounds[0] for mesh in bones.values()], axis=0)
    high = np.max([mesh.bounds[1] for mesh in bones.values()], axis=0)
    extent = float((high - low).max())
    for unit in (1.0, 10.0, 1000.0):
        if len(bones) < 6 or _EXTENT_MM[0] <= extent * unit <= _EXTENT_MM[1]:
            matrix = np.eye(4)
            matrix[:3, :3] = unit * turn
            return {name: mesh.copy().apply_transform(matrix) for name, mesh in bones.items()}
    raise InputError(f"the bones are {extent:g} long together, which is no thorax in mm, cm or m; check the unit")


def _axes_of(bones: Mapping[str, trimesh.Trimesh]) -> np.ndarray:
    """The signed permutation that takes the file's axes to R, A, S."""
    centre = {name: mesh.bounds.mean(axis=0) for name, mesh in bones.items()}
    right = [
        centre[n] - centre[parts.mirrored_name(n)]
        for n in bones
        if parts.side_of(n) == parts.RIGHT and parts.mirrored_name(n) in bones
    ]
    spine = [centre[name] for name in parts.SPINE if name in bones]
    front = [centre[name] for name in bones if name == "sternum" or name.startswith("costal_cartilage")]
    if not (right and len(spine) > 1 and front):
        raise InputError(
            "the bones do not tell which way they lie: for that a pair of ribs, two vertebrae and the sternum must be "
            "there; say whether they are in RAS or LPS"
        )
    wanted = np.stack([np.mean(right, axis=0), np.mean(front, axis=0) - np.mean(spine, axis=0), spine[0] - spine[-1]])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    best, score = np.eye(3), -np.inf
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), order] = signs
        if (fit := float((turn * wanted).sum())) > score:
            best, score = turn, fit
    return best

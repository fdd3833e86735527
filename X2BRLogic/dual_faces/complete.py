"""Whole bones from the faces that were seen of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import trimesh

from ..anatomy import BY_LABEL
from ..geometry import XRayGeometry
from ..shape_model import Cage, load_cage
from ..surface import untangle
from .maps import BoneMaps, points_of

#: Points of a bone that the model is laid onto, at most: they are spread evenly.
_POINTS = 300
#: A bone that nobody saw is shown where so much of it is in the picture.
_IN_VIEW = 0.5


def completed(
    maps: Mapping[int, BoneMaps], geometry: XRayGeometry, cage: Cage | None = None, both: bool = True
) -> dict[str, trimesh.Trimesh]:
    """The bones of the thorax as closed meshes, RAS mm, by name: a shape model laid onto the faces (MAP).

    What no ray touched comes from the model: the ends of bones, and bones that were not seen but are in view.

    Args:
        maps: by label (`bone_maps`).
        cage: the shape model; by default the one that ships.
        both: faces are known; or the front alone.
    """
    cage = cage or load_cage()
    observed = {}
    for label, bone in maps.items():
        points, normals = points_of(bone, geometry, both)
        chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _POINTS)).round().astype(int))
        observed[BY_LABEL[label].name] = points[chosen], normals[chosen]
    bones = {}
    for name, vertices in cage.fitted(observed).items():
        inside = (np.abs(geometry.ras_to_ray_cube(vertices)) <= 0.5).all(axis=1)
        if name in observed or inside.mean() >= _IN_VIEW:
            # Where a bone is bent far from the mean, thin parts of it come to cross each other.
            bones[name], _ = untangle(trimesh.Trimesh(vertices, cage.faces[name], process=False))
    return bones

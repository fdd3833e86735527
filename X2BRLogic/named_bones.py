"""The named bones of a network that tells them apart, as closed meshes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh

from . import anatomy
from .confidence import CONFIDENCE, ERROR, signs, steepness
from .errors import InputError
from .geometry import XRayGeometry
from .networks import TAU, OccupancyField, TwoViews
from .networks.x2b_aligned import NAMED
from .surface import drop_specks, extract, logit, make_watertight, mise, simplify, split_by_name

#: A piece smaller than this part of a bone's largest one is not of that bone, and less than so much is no bone, mm^3.
_PIECE, _LEAST_MM3 = 0.15, 300.0
#: Faces of a bone, and of all cartilages, at most.
_FACES, _CARTILAGE_FACES = 2000, 8000


def named_bones(
    field: OccupancyField | TwoViews, grid: np.ndarray, geometry: XRayGeometry
) -> dict[str, trimesh.Trimesh]:
    """Each bone of the thorax that the network sees, and the costal cartilages, by name; closed, RAS mm.

    Args:
        field: of a network that has `named`.
        grid: its logits of bone (`surface.mise`).
    """
    parts = split_by_name(grid, logit(TAU), lambda points: field.names(points)[:, 1:], geometry.ray_cube_to_ras)
    bones = {anatomy.BY_LABEL[NAMED[place]].name: _cleaned(mesh, _FACES) for place, mesh in parts}
    bones[anatomy.BY_LABEL[anatomy.CARTILAGES].name] = _cartilages(field, len(grid) - 1, geometry)
    kept = {name: mesh for name, mesh in bones.items() if mesh is not None and abs(mesh.volume) >= _LEAST_MM3}
    return dict(sorted(kept.items(), key=lambda item: anatomy.BY_NAME[item[0]].label))


def signs_of(
    bones: dict[str, trimesh.Trimesh], field: OccupancyField | TwoViews, geometry: XRayGeometry
) -> dict[str, np.ndarray]:
    """`confidence.signs` at each bone's vertices, of the field of bone and its names, or of that of cartilage."""
    soft = anatomy.BY_LABEL[anatomy.CARTILAGES].name

    def at(ask: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda points: ask(geometry.ras_to_ray_cube(points).astype(np.float32))

    bone, names = at(field), at(lambda points: field.names(points)[:, 1:])
    cartilage = at(lambda points: field.names(points)[:, 0])
    found = {}
    for name, mesh in bones.items():
        if name == soft:
            found[name] = signs(steepness(cartilage, mesh.vertices), np.empty((len(mesh.vertices), 0)))
        else:
            found[name] = signs(steepness(bone, mesh.vertices), names(mesh.vertices))
    return found


def bone_facts(bones: dict[str, trimesh.Trimesh]) -> dict:
    """Volume of each bone, and the means of what its vertices carry, ready for JSON."""
    facts = {}
    for name, mesh in bones.items():
        facts[name] = {"volume_ml": round(float(mesh.volume) / 1000.0, 2)}
        for value, digits in ((ERROR, 2), (CONFIDENCE, 3)):
            if value in mesh.vertex_attributes:
                facts[name][value] = round(float(mesh.vertex_attributes[value].mean()), digits)
    return facts


def _cartilages(field: OccupancyField | TwoViews, resolution: int, geometry: XRayGeometry) -> trimesh.Trimesh | None:
    """The costal cartilages as one mesh; they are likelier than not inside it."""
    found = mise(lambda points: field.names(points)[:, 0], resolution, min(64, resolution), 0.5, field.batch)
    try:
        return _cleaned(extract(found.grid, 0.5, geometry.ray_cube_to_ras), _CARTILAGE_FACES)
    except InputError:  # none is in the film
        return None


def _cleaned(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    mesh = drop_specks(mesh, _LEAST_MM3)
    largest = max(abs(piece.volume) for piece in mesh.split(only_watertight=False)) if mesh.body_count > 1 else 0.0
    return make_watertight(simplify(drop_specks(mesh, _PIECE * largest), faces))

"""Is it a thorax? Anatomical realism of bones: number, order, spacing, curvature, alignment, wholeness, overlap.

X2BR (Guven et al., arXiv:2504.08675, 2025) claims that registering a template makes a reconstruction anatomically more
realistic at some cost in IoU, and shows it in pictures. These are figures for the claim. They work on named bones and
on one mesh without names alike: such a mesh is first divided among the true bones, each triangle going to the nearest.
That favours it, for it gets its names from the truth.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from .. import anatomy
from ..errors import InputError
from .centre_line import centre_line, curvature
from .metrics import average_surface_distance
from .nearest import Nearest

#: A triangle of a mesh without names that is further than this (mm) from every true bone belongs to none.
STRAY_MM = 30.0
#: A body of a mesh without names is one bone when so much of its area is one bone's.
ONE_BONE = 0.9
#: A connected part of less than this share of a bone's area is a crumb, of the surface or of its division.
CRUMB = 0.05
#: A bone is found whole when one connected part of the prediction comes this near (mm) to this share of its surface.
NEAR_MM = 10.0
WHOLE = 0.8
_SAMPLES = 2000
_MIDDLE = slice(8, 24)  # of a centre line: heads crowd at the spine, and ends are where scans and cartilage begin

Bones = dict[str, trimesh.Trimesh]


def realism(prediction: Bones | trimesh.Trimesh, truth: Bones) -> dict[str, object]:
    """Figures of anatomical realism of a prediction, against true bones.

    Args:
        prediction: closed meshes by name (`anatomy.BY_NAME`), RAS mm, or one mesh of all bones.
        truth: closed meshes by name. Give only bones that are whole in the scan; the others count neither way.

    Returns:
        Ready for JSON, figures that cannot be had are None:
        ``found`` share of the true bones of which the prediction has any part;
        ``whole`` share of them that one connected part of it covers (`NEAR_MM`, `WHOLE`);
        ``separate`` share of them that are bodies of their own, not grown together with other bones;
        ``parts_a_bone`` connected parts a bone found, 1 at best: more where it is broken;
        ``ribs_in_order`` share of neighbouring ribs of a side, both found, of which the lower one lies lower;
        ``rib_spacing_mm`` mean absolute error of the distance between the middle parts of neighbouring centre lines;
        ``rib_curvature_per_m`` mean absolute error of the centre lines' curvature, 1/m;
        ``rib_length_mm`` mean absolute error of the centre lines' length;
        ``vertebral_angle_deg`` mean error of the directions from vertebra to vertebra;
        ``watertight`` whether every mesh given is closed;
        ``penetration_ml`` volume that lies in more than one bone, 0 for a single mesh;
        ``bone_asd_mm`` mean over the bones found of the symmetric surface distance to the true bone of that name;
        ``bones`` the last one by name.

    Raises:
        InputError: no true bone is a rib or a vertebra, or a name is no bone's.
    """
    unknown = [name for bones in (truth, prediction) if isinstance(bones, dict) for name in bones if not _known(name)]
    if unknown:
        raise InputError(f"no bone is called {unknown[0]!r}; names are as in X2BRLogic.anatomy")
    truth = {name: mesh for name, mesh in truth.items() if anatomy.BY_NAME[name].label in anatomy.THORAX}
    if not truth:
        raise InputError("the truth holds no whole rib, vertebra or sternum; there is nothing to compare with")
    samples = {name: _sampled(mesh) for name, mesh in truth.items()}
    if isinstance(prediction, dict):
        meshes = list(prediction.values())
        found = {name: mesh for name, mesh in prediction.items() if name in truth}
        separate = set(found)
    else:
        meshes = [prediction]
        found, separate = _divided(prediction, samples)

    parts = {name: _parts(mesh) for name, mesh in found.items()}
    largest = {name: max(pieces, key=lambda piece: piece.area) for name, pieces in parts.items()}
    distances = {name: _distance(mesh, truth[name]) for name, mesh in sorted(found.items())}
    return {
        "found": len(found) / len(truth),
        "whole": sum(_covers(largest[name], samples[name]) for name in found) / len(truth),
        "separate": len(separate) / len(truth),
        "parts_a_bone": _mean([len(pieces) for pieces in parts.values()]),
        **_ribs(largest, truth),
        "vertebral_angle_deg": _vertebral_angle(found, truth),
        "watertight": bool(meshes) and all(mesh.is_watertight for mesh in meshes),
        "penetration_ml": _penetration(meshes),
        "bone_asd_mm": _mean(list(distances.values())),
        "bones": distances,
    }


def _known(name: str) -> bool:
    return name in anatomy.BY_NAME


def _sampled(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.asarray(trimesh.sample.sample_surface(mesh, _SAMPLES, seed=0)[0])


def _divided(mesh: trimesh.Trimesh, truth: dict[str, np.ndarray]) -> tuple[Bones, set[str]]:
    """The part of a mesh at each true bone, and the bones that are bodies of their own."""
    names = np.array(list(truth))
    owner = np.repeat(np.arange(len(truth)), [len(points) for points in truth.values()])
    distance, nearest = cKDTree(np.concatenate(list(truth.values()))).query(mesh.triangles_center)
    bone = np.where(distance <= STRAY_MM, owner[nearest], -1)
    found = {names[n]: mesh.submesh([bone == n], append=True) for n in np.unique(bone[bone >= 0])}
    separate = set()
    for body in trimesh.graph.connected_components(mesh.face_adjacency, nodes=np.arange(len(mesh.faces))):
        known = body[bone[body] >= 0]
        area = np.bincount(bone[known], mesh.area_faces[known], minlength=len(names))
        if area.max(initial=0) >= ONE_BONE * mesh.area_faces[body].sum():
            separate.add(str(names[area.argmax()]))
    return found, separate


def _parts(mesh: trimesh.Trimesh) -> list[trimesh.Trimesh]:
    """The connected parts of a bone, without crumbs."""
    return [part for part in mesh.split(only_watertight=False) if part.area >= CRUMB * mesh.area]


def _covers(piece: trimesh.Trimesh, samples: np.ndarray) -> bool:
    offsets = np.linalg.norm(Nearest.on_surface(piece)(samples).points - samples, axis=1)
    return float(np.mean(offsets <= NEAR_MM)) >= WHOLE


def _mean(values: list) -> float | None:
    return float(np.mean(values)) if values else None


def _gap(upper: np.ndarray, lower: np.ndarray) -> float:
    """Mean distance from the middle of one centre line to the next one, mm."""
    return float(cKDTree(lower).query(upper[_MIDDLE])[0].mean())


def _ribs(found: Bones, truth: Bones) -> dict[str, float | None]:
    """Errors of spacing, curvature and length of the ribs, and the share of neighbours in order."""
    ribs = [name for name in found if anatomy.BY_NAME[name].group.startswith("ribs")]
    lines = {name: (centre_line(found[name]), centre_line(truth[name])) for name in ribs}
    # A crumb of a rib may have no length, and then it has no curvature.
    bend = [
        float(np.abs(curvature(ours) - curvature(true)).mean()) * 1000
        for ours, true in lines.values()
        if _length(ours) > 0
    ]
    length = [abs(_length(ours) - _length(true)) for ours, true in lines.values()]
    spacing, order = [], []
    for side in (anatomy.LEFT, anatomy.RIGHT):
        for level in range(1, 12):
            pair = [lines.get(f"rib_{side}_{n}") for n in (level, level + 1)]
            if None not in pair:
                (upper, true_upper), (lower, true_lower) = pair
                spacing.append(abs(_gap(upper, lower) - _gap(true_upper, true_lower)))
                order.append(float(lower[_MIDDLE, 2].mean() < upper[_MIDDLE, 2].mean()))
    return {
        "ribs_in_order": _mean(order),
        "rib_spacing_mm": _mean(spacing),
        "rib_curvature_per_m": _mean(bend),
        "rib_length_mm": _mean(length),
    }


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _vertebral_angle(found: Bones, truth: Bones) -> float | None:
    """Mean angle in degrees between the directions from a vertebra's centroid to the next one's, ours and true."""
    angles = []
    names = [anatomy.BY_LABEL[label].name for label in anatomy.THORACIC_VERTEBRAE]
    for upper, lower in pairwise(names):
        if upper in found and lower in found:
            ways = [bones[lower].centroid - bones[upper].centroid for bones in (found, truth)]
            cosine = np.dot(*ways) / np.prod([np.linalg.norm(way) for way in ways])
            angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))
    return _mean(angles)


def _penetration(meshes: list[trimesh.Trimesh]) -> float | None:
    """The volume in ml that lies in more than one of the closed meshes: the sum of volumes less that of the union."""
    from manifold3d import Manifold, Mesh, OpType

    solids = [
        Manifold(Mesh(np.asarray(p.vertices, dtype=np.float32), np.asarray(p.faces, dtype=np.uint32)))
        for p in meshes
        if p.is_watertight
    ]
    if not solids:
        return None
    union = Manifold.batch_boolean(solids, OpType.Add).volume()
    return max(sum(solid.volume() for solid in solids) - union, 0.0) / 1000


def _distance(mesh: trimesh.Trimesh, truth: trimesh.Trimesh) -> float:
    points, true_points = _sampled(mesh), _sampled(truth)
    to_truth = np.linalg.norm(Nearest.on_surface(truth)(points).points - points, axis=1)
    to_mesh = np.linalg.norm(Nearest.on_surface(mesh)(true_points).points - true_points, axis=1)
    return float(average_surface_distance(to_truth, to_mesh, mesh.area, truth.area))

"""A posed template settles on a coarse mesh: the few ways in which a thorax bends, before every vertex is free."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import trimesh
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from ..template import Skeleton
from ..template.articulated import NAMES, SPREAD, ArticulatedSkeleton
from ..template.projected import EDGE_MM, ProjectedSkeleton

_POINTS = 1500  # of either surface
_ROUNDS = 8
_TRIAL_ROUNDS = 3
#: Up and down from the middle of the picture, about a level apart.
_STARTS_MM = (-50.0, -25.0, 0.0, 25.0, 50.0)
#: The bones of which a coarse mesh is made.
THORAX = frozenset(anatomy.BY_LABEL[label].name for label in anatomy.THORAX)
#: How far a coarse surface lies from the bone it means, mm; what is much further means another bone or none.
_SURFACE_MM = 6.0
#: So many independent measurements is the whole surface worth: neighbours err together.
_WORTH = 150.0


def settled(
    skeleton: Skeleton, coarse: trimesh.Trimesh, geometry: XRayGeometry, boxes: Mapping[str, Box], seed: int = 0
) -> Skeleton:
    """The skeleton bent and moved so that it lies on the coarse mesh and its projection keeps to the boxes.

    Iterated closest points in both directions over the parameters of `template.articulated`, with Geman and McClure's
    weights; the boxes hold what the film shows, the mesh tells the depth that it does not. Without boxes nothing tells
    one level from the next: starts some levels up and down are tried, and the one that fits best is kept.

    Args:
        skeleton: as `fit_template` gives it.
        coarse: closed or not, RAS mm.
        boxes: detected boxes by the bone's name; may be empty.
        seed: of the points that are drawn from the surfaces.
    """
    body = ArticulatedSkeleton(skeleton)
    view = ProjectedSkeleton(body, geometry)
    clouds, first = {}, np.random.default_rng(seed)
    shown = {name: mesh for name, mesh in skeleton.bones.items() if name in THORAX}
    area = sum(mesh.area for mesh in shown.values())
    for name, mesh in shown.items():
        count = max(8, round(_POINTS * mesh.area / area))
        clouds[name] = trimesh.sample.sample_surface(mesh, count, seed=first)[0]
    carried = body.carried(clouds)
    target = trimesh.sample.sample_surface(coarse, _POINTS, seed=first)[0]
    tree = cKDTree(target)
    hold = np.sqrt([box.confidence for box in boxes.values()])[:, None] / EDGE_MM

    def improved(values: np.ndarray, number: int) -> tuple[np.ndarray, float]:
        points = body.move(values, carried)
        ours, theirs = np.arange(len(points)), tree.query(points)[1]
        back = cKDTree(points).query(target)[1]
        own, goal = np.concatenate([ours, back]), np.concatenate([target[theirs], target])
        off = np.linalg.norm(points[own] - goal, axis=1)
        reach = max(3.0 * np.median(off), _SURFACE_MM) if number < 2 else 2.0 * _SURFACE_MM
        weight = np.sqrt(_WORTH / len(own)) / (1.0 + (off / reach) ** 2) / _SURFACE_MM

        def residuals(part):
            trial = part * SPREAD
            surface = (body.move(trial, carried)[own] - goal) * weight[:, None]
            return np.concatenate([(view.misfit(trial, boxes) * hold).ravel(), surface.ravel(), part])

        found = least_squares(residuals, values / SPREAD, method="lm", xtol=1e-3, ftol=1e-3, max_nfev=80)
        return found.x * SPREAD, float(np.mean(off**2 / (off**2 + _SURFACE_MM**2)))

    starts = []
    for up in (0.0,) if boxes else _STARTS_MM:
        values = np.zeros(len(NAMES))
        values[NAMES.index("up")] = up
        for number in range(_TRIAL_ROUNDS):
            values, _ = improved(values, number)
        starts.append((improved(values, _TRIAL_ROUNDS)[1], up, values) if not boxes else (0.0, up, values))
    values = min(starts, key=lambda start: start[0])[2]
    for number in range(_TRIAL_ROUNDS, _ROUNDS):
        values, _ = improved(values, number)
    return body.posed(values)

"""A shape model laid onto points of part of a surface: the most probable pose and shape (MAP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from .linear import LinearModel

_ITERATIONS = 25
_SETTLED_MM = 0.02
#: A point may slide along the surface: what a distance along it counts beside one across it.
_ALONG = 0.05
#: Beyond so many standard deviations a point counts as an outlier (Huber, Robust Estimation, 1964).
_HUBER = 2.0


@dataclass(frozen=True)
class Observed:
    """Points of a part of the shape, as they were measured.

    Attributes:
        part: the vertices of the model that they may belong to.
        points, normals: ``(P, 3)`` mm; unit vectors outward.
    """

    part: slice
    points: np.ndarray
    normals: np.ndarray


@dataclass(frozen=True)
class Prior:
    """What is expected before a point is seen; standard deviations.

    Attributes:
        noise_mm: of a measured point about the surface.
        effective: neighbouring points are wrong together, so those of a part count as so many independent ones.
        rotation_deg, shift_mm: of the pose.
    """

    noise_mm: float = 6.0
    effective: float = 12.0
    rotation_deg: float = 10.0
    shift_mm: float = 100.0


@dataclass(frozen=True)
class Fitted:
    """The most probable shape.

    Attributes:
        vertices: ``(N, 3)`` mm, where the points are.
        coefficients: ``(M,)`` standard deviations.
        rotation: 3x3, of the model.
    """

    vertices: np.ndarray
    coefficients: np.ndarray
    rotation: np.ndarray


def fit(model: LinearModel, observed: Sequence[Observed], prior: Prior, start: np.ndarray | None = None) -> Fitted:
    """Pose and shape that are the most probable given the points; coefficients are normally distributed.

    Each point is matched to the nearest vertex of its part that faces its way, and the sum of squares is minimised,
    over and over (iterated closest points, Besl and McKay, PAMI 1992; with a shape prior as in Rajamani et al., MedIA
    2007). Turns are about the model's centre. Without points the mean comes back, at `start`.

    Args:
        start: ``(3,)`` mm, where the model's centre is to begin with; by default so that parts lie on their points.
    """
    centre = model.mean.mean(axis=0)
    observed = [part for part in observed if len(part.points)]
    if start is None:
        gaps = [part.points.mean(axis=0) - model.mean[part.part].mean(axis=0) for part in observed]
        start = centre + np.mean(gaps, axis=0) if gaps else centre
    rotation, shift, coefficients = Rotation.identity(), np.zeros(3), np.zeros(len(model.modes))

    def vertices() -> np.ndarray:
        return rotation.apply(model.shape(coefficients) - centre) + start + shift

    now = vertices()
    for _ in range(_ITERATIONS if observed else 0):
        matches = [_matched(now[part.part], part, prior) for part in observed]
        index, points, normals, weight = (np.concatenate(values) for values in zip(*matches, strict=True))
        arm = rotation.apply(model.mean[index] - centre)
        modes = np.stack([rotation.apply(mode[index]) for mode in model.modes], axis=-1) if len(model.modes) else None
        # Columns: small rotation, shift, coefficients. Rows: across the surface, and weakly along all axes.
        turn = np.cross(np.eye(3)[:, None], now[index] - start - shift).transpose(1, 2, 0)
        jacobian = np.concatenate(
            [turn, np.broadcast_to(np.eye(3), turn.shape), *([] if modes is None else [modes])], 2
        )
        gap = points - (arm + start)
        across = np.einsum("ni,nik->nk", normals, jacobian), np.einsum("ni,ni->n", normals, gap)
        root = np.sqrt(_ALONG)
        rows = np.concatenate([across[0], root * jacobian.reshape(-1, jacobian.shape[2])])
        goal = np.concatenate([across[1], root * gap.ravel()])
        weights = np.concatenate([weight, np.repeat(weight, 3)])
        deviations = np.repeat([np.deg2rad(prior.rotation_deg), prior.shift_mm], 3)
        precision = np.concatenate([deviations**-2.0, np.ones(len(model.modes))])
        normal = (rows * weights[:, None]).T @ rows + np.diag(precision)
        right = (rows * weights[:, None]).T @ goal
        right[:3] -= precision[:3] * rotation.as_rotvec()
        found = np.linalg.solve(normal, right)
        rotation, shift, coefficients = Rotation.from_rotvec(found[:3]) * rotation, found[3:6], found[6:]
        before, now = now, vertices()
        if np.abs(now - before).max() < _SETTLED_MM:
            break
    return Fitted(now, coefficients, rotation.as_matrix())


def _matched(vertices: np.ndarray, part: Observed, prior: Prior) -> tuple[np.ndarray, ...]:
    """For each point the number of its vertex, the point, its normal and its weight (1 / mm^2)."""
    tree = cKDTree(vertices)
    index = tree.query(part.points)[1]
    across = np.einsum("ni,ni->n", part.normals, part.points - vertices[index])
    count = min(prior.effective / len(part.points), 1.0)
    robust = np.minimum(1.0, _HUBER * prior.noise_mm / np.maximum(np.abs(across), 1e-9))
    first = part.part.start or 0
    return index + first, part.points, part.normals, robust * count / prior.noise_mm**2

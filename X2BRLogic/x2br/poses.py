"""One bone where a registration wants it: moved as a whole first, bent within what a bone does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve


@dataclass(frozen=True)
class Limits:
    """How far a bone may depart from the template's.

    Attributes:
        scale: least and most factor of its size, relative to that of the whole skeleton. Linear dimensions of thoracic
            vertebrae have standard deviations of 5 to 12 % among adults (Panjabi et al., Spine 16:888, 1991); the
            limits are about two of them.
        reach_mm: length over which a bend is felt; 0 for a bone that does not bend.
        bend_mm: standard deviation expected of a bend.
    """

    scale: tuple[float, float]
    reach_mm: float
    bend_mm: float


#: Ribs differ between people in how they curve; vertebrae mostly in size and pose.
RIB = Limits((0.8, 1.25), 45.0, 8.0)
VERTEBRA = Limits((0.85, 1.18), 0.0, 0.0)
STERNUM = Limits((0.8, 1.25), 60.0, 3.0)
CARTILAGE = Limits((0.6, 1.6), 40.0, 8.0)

_CENTRES_A_REACH = 3.0
_MOST_CENTRES = 80


def limits_of(group: str) -> Limits:
    """The limits of a bone of a group of `anatomy`."""
    if group.startswith("ribs"):
        return RIB
    return {"sternum": STERNUM, "cartilages": CARTILAGE}.get(group, VERTEBRA)


def similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """The 4x4 similarity that best takes points ``(N, 3)`` to points ``(N, 3)``, its scale held within bounds.

    Weights ``(N,)`` are inverse variances. Source: Umeyama, IEEE TPAMI 13(4), 1991; a bound on the scale does not
    change the best rotation.
    """
    share = weights / weights.sum()
    centre, goal = share @ source, share @ target
    offsets = source - centre
    left, values, right = np.linalg.svd((share[:, None] * (target - goal)).T @ offsets)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    factor = np.clip((values * sign).sum() / max(share @ (offsets**2).sum(axis=1), 1e-12), *scale)
    matrix = np.eye(4)
    matrix[:3, :3] = factor * rotation
    matrix[:3, 3] = goal - matrix[:3, :3] @ centre
    return matrix


def laid(vertices: np.ndarray, wanted: np.ndarray, spread: np.ndarray, limits: Limits, size: float) -> np.ndarray:
    """The vertices ``(N, 3)`` of a bone near where they are `wanted` ``(N, 3)``, as far as a bone can follow.

    A similarity takes the bone as a whole; what is left is followed by a displacement that is smooth over
    `limits.reach_mm`, long against the bone's thickness, so that the cross-section stays the template's.

    Args:
        spread: ``(N,)`` standard deviation of `wanted`, mm.
        size: scale of the whole skeleton, which `limits.scale` is relative to.
    """
    matrix = similarity(vertices, wanted, spread**-2.0, tuple(size * factor for factor in limits.scale))
    posed = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    if not limits.reach_mm:
        return posed
    return posed + smooth(posed, wanted - posed, spread, limits)


def smooth(points: np.ndarray, residual: np.ndarray, spread: np.ndarray, limits: Limits) -> np.ndarray:
    """The residual ``(N, 3)`` at points ``(N, 3)``, as a Gaussian process of the bone's bends explains it.

    Squared-exponential covariance over `limits.reach_mm`, expanded over some tens of the points (subset of regressors;
    Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 8.14).
    """
    centres = _spread_out(points, limits.reach_mm / _CENTRES_A_REACH)
    to_centres = _kernel(points, points[centres], limits.reach_mm)
    among = to_centres[centres]
    # Neighbouring vertices err together: as many vertices as lie within a third of the reach count as one.
    weight = spread**-2.0 * len(centres) / len(points)
    system = (to_centres.T * weight) @ to_centres + among / limits.bend_mm**2
    system[np.diag_indices_from(system)] += 1e-8 * system.trace() / len(system)
    factor = cho_factor(system, lower=True, check_finite=False)
    return to_centres @ cho_solve(factor, (to_centres.T * weight) @ residual, check_finite=False)


def _kernel(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.exp(-0.5 * np.maximum(squared, 0.0) / reach**2)


def _spread_out(points: np.ndarray, distance: float) -> np.ndarray:
    """Indices of points, each further than `distance` from all others, by farthest point sampling."""
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    while nearest.max() > distance and len(chosen) < _MOST_CENTRES:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)

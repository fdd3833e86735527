"""BCPD, its relatives and CPD, from two shapes to a `Registration`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from ..errors import InputError
from .bcpd import optimise
from .coherence import Coherence, pivots
from .frame import Frame
from .geodesic import mesh_edges, neighbour_edges
from .matching import Matcher
from .mersenne import Random
from .result import Registration, Stages
from .sampling import downsample, landmarks
from .settings import Settings
from .shapes import Shape, remarks_on_surface
from .threads import one_thread

Progress = Callable[[float, str], None]

#: Up to so many points an iteration is too short to be worth a second thread.
_SMALL = 40_000
#: Exact sums over more pairs than this take many seconds an iteration.
_MOST_PAIRS = 4_000_000_000


def run_drift(moving: Shape, fixed: Shape, method: str, settings: Settings, progress: Progress) -> Registration:
    """BCPD, GBCPD, either with ++, or CPD, as `method` says.

    CPD (Myronenko and Song, IEEE TPAMI 32(12), 2010) is BCPD with either a displacement or a motion as a whole and
    with outliers of a density of one over the number of target points; its M-steps are then the same equations.

    Raises:
        InputError: settings that do not go with the method or the shapes.
    """
    if method == "cpd" and settings.transformation in ("srn", "rn", "an"):
        raise InputError(f"CPD moves by n, sr, r or a alone, not {settings.transformation}; or use bcpd")
    stages, warnings = Stages(), []
    frame = _frame(moving.points, fixed.points, method, settings)
    source, target = frame.normalised(moving.points, fixed.points)
    geodesic = method.startswith("gbcpd") and settings.tau > 1e-5
    with stages("sampling"):
        drawn = _draw(source, target, geodesic, method.endswith("++"), settings)
    progress(0.0, "coherence of motion")
    with stages("coherence"):
        coherence, basis = None, np.zeros((len(drawn.source), 0))
        if "n" in settings.transformation:
            coherence = _coherence(moving, source, drawn, geodesic, settings, warnings)
            basis = coherence.basis(drawn.source)
    thinned, near = source[drawn.source], target[drawn.target]
    if not settings.nystrom_p and len(thinned) * len(near) > _MOST_PAIRS:
        raise InputError(
            f"exact sums over {len(thinned)} x {len(near)} pairs would take hours; give nystrom_p (J) a number such "
            "as 300, or use a ++ method"
        )
    small = len(thinned) + len(near) <= _SMALL
    with stages("optimisation"), one_thread() if small else nullcontext():
        solution = optimise(
            thinned, basis, near,
            Matcher(near, len(thinned), drawn.matching, settings),
            _outliers(settings.omega, near, method), settings,
            lambda iteration, sigma: progress(0.1 + 0.8 * iteration / settings.iterations, f"residual {sigma:.4f}"),
        )  # fmt: skip
    progress(0.9, "all vertices")
    with stages("interpolation"):
        displacement, spread = np.zeros_like(source), np.zeros(len(source))
        if coherence is not None:
            displacement, spread = coherence.everywhere(solution.coefficients, solution.spread)
        vertices = solution.motion.of(source + displacement)
    with stages("correspondences"):
        matched = expected_matches(vertices, target, solution.sigma)
    uncertainty = np.cbrt(abs(np.linalg.det(solution.motion.linear))) * spread * frame.fixed_scale
    if method == "cpd":  # which has no posterior
        uncertainty = np.full(len(source), np.nan)
    if not solution.converged:
        warnings.append(f"not converged: {solution.reason} after {len(solution.history)} iterations")
    return Registration(
        method=method,
        vertices=frame.to_mm(vertices),
        correspondences=frame.to_mm(matched),
        similarity=frame.matrix_in_mm(solution.motion.linear, solution.motion.translation),
        sigma=solution.sigma * frame.fixed_scale,
        history=np.array(solution.history) * frame.fixed_scale,
        iterations=len(solution.history),
        reason=solution.reason,
        uncertainty=uncertainty,
        stages=dict(stages),
        warnings=tuple(warnings),
    )


def _frame(moving: np.ndarray, fixed: np.ndarray, method: str, settings: Settings) -> Frame:
    """Normalised coordinates; where the scale may not change, both shapes get the same."""
    normalise = settings.normalise
    if normalise != "e" or settings.transformation not in ("r", "a"):
        return Frame.of(moving, fixed, normalise)
    if method != "cpd":
        return Frame.of(moving, fixed, "y")  # as the author's program
    frame = Frame.of(moving, fixed, "e")
    return frame if settings.transformation == "a" else frame._replace(fixed_scale=frame.moving_scale)


class _Drawn(NamedTuple):
    """Indices of everything that is drawn at random."""

    source: np.ndarray
    target: np.ndarray
    matching: np.ndarray
    landmarks: np.ndarray


def _draw(source: np.ndarray, target: np.ndarray, geodesic: bool, thin: bool, settings: Settings) -> _Drawn:
    """All random choices, in the order in which the author's program makes them."""
    random = Random(settings.seed)
    count = settings.nystrom_g if "n" in settings.transformation else 0
    chosen = landmarks(source, count, random) if geodesic and count else np.arange(0)
    thinning = settings.samplings() if thin else {}
    columns = downsample(target, thinning["x"], random) if "x" in thinning else np.arange(len(target))
    rows = downsample(source, thinning["y"], random) if "y" in thinning else np.arange(len(source))
    points = len(rows) + len(columns)
    matching = random.permutation(points)[: settings.nystrom_p] if settings.nystrom_p else np.arange(0)
    if count and not geodesic:
        chosen = rows[random.permutation(len(rows))[:count]]
    return _Drawn(rows, columns, matching, chosen)


def _coherence(
    moving: Shape, source: np.ndarray, drawn: _Drawn, geodesic: bool, settings: Settings, warnings: list[str]
) -> Coherence:
    """The kernel that the method and the settings ask for; what is odd about the mesh goes into `warnings`."""
    if not geodesic:
        chosen = drawn.landmarks if settings.nystrom_g else drawn.source[pivots(source[drawn.source], settings.beta)]
        return Coherence(source, chosen, settings.beta)
    if not settings.nystrom_g:
        raise InputError("the geodesic kernel needs landmarks; give nystrom_g (K) a number such as 200")
    if len(moving.faces):
        warnings += remarks_on_surface(moving)
        graph = mesh_edges(source, moving.faces, moving.alike)
    else:
        warnings.append("the moving shape has no faces: geodesics go from neighbour to neighbour, 8 of each point")
        graph = neighbour_edges(source)
    return Coherence(source, drawn.landmarks, settings.beta, settings.epsilon, settings.tau, graph)


def _outliers(omega: float, target: np.ndarray, method: str) -> float:
    """Density of outliers: over the target's bounding box, not let go flat; for CPD over its number of points."""
    omega = max(omega, 1e-250)
    extent = np.ptp(target, axis=0)
    volume = len(target) if method == "cpd" else np.maximum(extent, 1e-3 * extent.max()).prod()
    return omega / (1.0 - omega) / float(volume)


def expected_matches(vertices: np.ndarray, target: np.ndarray, sigma: float) -> np.ndarray:
    """Where on the target each vertex ``(N, 3)`` belongs: the mean of at most 30 points within two sigma.

    They weigh as a Gaussian of width sigma; where there are none it is the nearest point.
    """
    tree = cKDTree(target)
    distance, index = tree.query(vertices, k=min(30, len(target)), distance_upper_bound=2.0 * sigma, workers=-1)
    weight = np.exp(-0.5 * (distance / max(sigma, 1e-300)) ** 2)
    alone = np.flatnonzero(~np.isfinite(distance[:, 0]))
    index[alone, 0], weight[alone, 0] = tree.query(vertices[alone])[1], 1.0
    index = np.minimum(index, len(target) - 1)
    return np.einsum("nk,nkd->nd", weight, target[index]) / weight.sum(axis=1)[:, None]

"""Bayesian coherent point drift: variational Bayes for displacement, similarity and matches together.

Source: Hirose, A Bayesian formulation of coherent point drift, IEEE TPAMI 43(7), 2021, figure 2 and section 4; with a
geodesic kernel it is GBCPD (IEEE TPAMI 45(5), 2023), on thinned shapes BCPD++ and GBCPD++ (IEEE TPAMI 43(8), 2021).
Unpublished details (start, stop, floors) are those of the author's program, so that results compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.special import digamma

from ..errors import InputError
from .matching import Match, Matcher
from .settings import Settings
from .similarity import STILL, Motion, fitted


@dataclass(frozen=True)
class Solution:
    """Where the iterations ended, in normalised coordinates.

    The deformed shape is ``motion.of(source + B @ coefficients)``, with B the basis of displacements.

    Attributes:
        motion: similarity (or affine) part.
        coefficients: ``(rank, 3)``.
        spread: ``(rank, rank)``; the norm of a row of ``B @ spread`` is the posterior standard deviation of that
            point's displacement along one axis.
        sigma: residual standard deviation along one axis.
        history: sigma after each iteration.
        reason: why the iterations stopped.
    """

    motion: Motion
    coefficients: np.ndarray
    spread: np.ndarray
    sigma: float
    history: list[float]
    reason: str

    @property
    def converged(self) -> bool:
        """Whether the reason is a good one."""
        return self.reason in (_CONVERGED, _COINCIDE)


_CONVERGED, _COINCIDE = "converged", "the shapes coincide"


def optimise(
    source: np.ndarray,
    basis: np.ndarray,
    target: np.ndarray,
    matcher: Matcher,
    outliers: float,
    settings: Settings,
    progress: Callable[[int, float], None],
) -> Solution:
    """Iterate until the residual no longer changes.

    Args:
        source: ``(M, 3)`` the moving points, normalised.
        basis: ``(M, rank)`` of their displacements; rank 0 for none.
        target: ``(N, 3)``.
        matcher: of the target.
        outliers: their density, as omega / (1 - omega) over the volume in which they lie.
        progress: called with the iteration and sigma.

    Raises:
        InputError: no target point is within reach of the moving shape.
    """
    count = len(source)
    sigma, motion, history, reason = _first_sigma(source, target, settings.gamma), STILL, [], "iterations used up"
    coefficients, factor = np.zeros((basis.shape[1], 3)), np.zeros((0, 0))
    mixing = np.full(count, 1.0 / count)
    deformed = displaced = source
    work = np.empty_like(basis)
    for iteration in range(settings.iterations):
        match = matcher(deformed, mixing, sigma, outliers * (2.0 * math.pi * sigma**2) ** 1.5)
        total = float(match.moving.sum())
        if not total > 1e-6 * len(target):
            if iteration == 0:
                raise InputError(
                    "no target point is within reach of the moving shape: bring them closer, raise gamma, or have each "
                    "normalised by itself (e)"
                )
            reason = "the target went out of reach"
            break
        if basis.shape[1]:
            try:
                coefficients, factor = _displacement(source, basis, match, motion, sigma, settings.lambda_, work)
            except LinAlgError:
                reason = "the equations became singular"
                break
            displaced = source + basis @ coefficients
        if math.isfinite(settings.kappa):
            mixing = np.exp(digamma(settings.kappa + match.moving) - digamma(total + settings.kappa * count))
        motion = fitted(displaced, match, settings.transformation)
        deformed = motion.of(displaced)
        before, sigma = sigma, _residual(deformed, target, match, total)
        history.append(sigma)
        progress(iteration + 1, sigma)
        if sigma < 1e-12:
            reason = _COINCIDE
            break
        if iteration > settings.minimum_iterations and min(sigma, abs(before - sigma)) < settings.tolerance:
            reason = _CONVERGED
            break
    if len(factor):
        # Once more with the last motion and residual: what carries the displacement to vertices left out so far.
        try:
            coefficients, factor = _displacement(source, basis, match, motion, sigma, settings.lambda_, work)
        except LinAlgError:
            pass
    spread = sigma / motion.scale * solve_triangular(factor, np.eye(len(factor)), lower=True, trans="T")
    return Solution(motion, coefficients, spread, sigma, history, reason)


def _first_sigma(source: np.ndarray, target: np.ndarray, gamma: float) -> float:
    """Root of the mean squared distance between all pairs, per axis, times gamma."""
    squared = (source**2).mean() + (target**2).mean() - 2.0 * (source.mean(axis=0) @ target.mean(axis=0)) / 3.0
    return gamma * math.sqrt(squared)


def _displacement(
    source: np.ndarray,
    basis: np.ndarray,
    match: Match,
    motion: Motion,
    sigma: float,
    stiffness: float,
    work: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients ``(rank, 3)`` of the mean displacement given the matches, and the Cholesky factor behind them.

    With the displacement v = B c the paper's update of v is the ridge regression
    ``(B^T N B + lambda sigma^2 / s^2 I) c = B^T N (T^-1(x) - y)``: no matrix as large as the shape.
    """
    np.multiply(basis, np.sqrt(match.moving)[:, None], out=work)
    precision = work.T @ work
    precision[np.diag_indices_from(precision)] += stiffness * (sigma / motion.scale) ** 2
    factor = cho_factor(precision, lower=True, overwrite_a=True, check_finite=False)
    pulled = (match.moments - match.moving[:, None] * motion.translation) @ np.linalg.inv(motion.linear).T
    pulled -= match.moving[:, None] * source
    return cho_solve(factor, basis.T @ pulled, check_finite=False), np.tril(factor[0])


def _residual(deformed: np.ndarray, target: np.ndarray, match: Match, total: float) -> float:
    """Standard deviation along one axis of target points about the moving points that they match."""
    squared = match.fixed @ (target**2).sum(axis=1) + match.moving @ (deformed**2).sum(axis=1)
    squared -= 2.0 * (match.moments * deformed).sum()
    return math.sqrt(abs(squared) / (3.0 * total))

"""Which target point each moving point matches, in expectation: the products with the matching matrix P."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from .gauss_sums import Cells, gaussians
from .settings import Settings

_LEAST = 1e-20


class Match(NamedTuple):
    """Expected matches.

    Attributes:
        moving: ``(M,)`` target points that each moving point matches (P 1).
        moments: ``(M, 3)`` sum of their coordinates (P X).
        fixed: ``(N,)`` probability that each target point is no outlier (P^T 1).
    """

    moving: np.ndarray
    moments: np.ndarray
    fixed: np.ndarray


class Matcher:
    """Matching probabilities between a moving shape and a fixed target ``(N, 3)``.

    ``P[m, n] = b_m g(y_m, x_n) / (c + sum_k b_k g(y_k, x_n))`` with g a Gaussian as wide as the residual and c the
    density of outliers. Far from convergence the sums go by Nystrom's method over some points of both shapes; near it
    (`settings.local`) over neighbours only; else over all pairs.
    Source: Hirose, A Bayesian formulation of coherent point drift, IEEE TPAMI 43(7), 2021, section 4.4.

    Args:
        samples: Nystrom's points, as indices into the moving points followed by the target's; none for exact sums.
    """

    def __init__(self, target: np.ndarray, moving_points: int, samples: np.ndarray, settings: Settings):
        self._target, self._settings = target, settings
        self._all = Cells(target)
        self._near = Cells(target, settings.local_radius) if settings.local else None
        self._moving_samples = samples[samples < moving_points]
        self._target_samples = samples[samples >= moving_points] - moving_points

    def __call__(self, moving: np.ndarray, weights: np.ndarray, width: float, outliers: float) -> Match:
        """Matches of the points `moving` ``(M, 3)`` with mixing `weights` ``(M,)``; `outliers` is c."""
        settings = self._settings
        if self._near is not None and width < settings.local_below:
            radius = min(settings.local_sigmas * width, settings.local_radius)
            return self._summed(moving, weights, width, outliers, Cells(moving, radius), self._near, radius)
        if len(self._moving_samples) + len(self._target_samples):
            match = self._nystrom(moving, weights, width, outliers)
            if match is not None:
                return match
        return self._summed(moving, weights, width, outliers, Cells(moving), self._all, math.inf)

    def _summed(self, moving, weights, width, outliers, moving_cells: Cells, target_cells: Cells, radius) -> Match:
        density = moving_cells.moments(self._target, weights, width, radius)[:, 0]
        inverse, fixed = _inverse(density, outliers, 0.0)
        columns = target_cells.moments(moving, inverse, width, radius) * weights[:, None]
        return Match(np.maximum(columns[:, 0], _LEAST), columns[:, 1:], fixed)

    def _nystrom(self, moving, weights, width, outliers) -> Match | None:
        """``None`` where the approximation fails, as it may once the width is far below the samples' spacing."""
        samples = np.concatenate([moving[self._moving_samples], self._target[self._target_samples]])
        to_moving, to_target = gaussians(samples, moving, width), gaussians(samples, self._target, width)
        among = gaussians(samples, samples, width)
        among[np.diag_indices_from(among)] += 1e-6
        try:
            factor = cho_factor(among, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        density = to_target.T @ cho_solve(factor, to_moving @ weights, check_finite=False)
        inverse, fixed = _inverse(density, outliers, 1e-6 * density.max(initial=0.0))
        values = np.concatenate([inverse[:, None], inverse[:, None] * self._target], axis=1)
        columns = to_moving.T @ cho_solve(factor, to_target @ values, check_finite=False) * weights[:, None]
        if not columns[:, 0].sum() > 0.0:
            return None
        return Match(np.maximum(columns[:, 0], _LEAST), columns[:, 1:], fixed)


def _inverse(density: np.ndarray, outliers: float, least: float) -> tuple[np.ndarray, np.ndarray]:
    """One over the density of moving points and outliers at each target point, and the probability of no outlier.

    Where the density is not above `least`, below what the approximation can tell, the point matches nothing.
    """
    seen = density > least
    inverse = np.zeros_like(density)
    inverse[seen] = 1.0 / (density[seen] + outliers)
    return inverse, density * inverse

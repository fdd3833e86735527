"""The part of a registration that moves a shape as a whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .matching import Match


class Motion(NamedTuple):
    """``x -> linear @ x + translation``; `scale` is the s of ``linear = s R``, 1 where that is affine."""

    linear: np.ndarray
    translation: np.ndarray
    scale: float

    def of(self, points: np.ndarray) -> np.ndarray:
        """The motion of `points` ``(N, 3)``."""
        return points @ self.linear.T + self.translation


STILL = Motion(np.eye(3), np.zeros(3), 1.0)


def fitted(points: np.ndarray, match: Match, kind: str) -> Motion:
    """The motion that best lays `points` ``(M, 3)`` onto their expected matches, in weighed least squares.

    Args:
        kind: letters: a for affine, else r for rotation and translation with s for scale; none of them: no motion.

    Sources: Hirose, IEEE TPAMI 43(7), 2021, section 4.3, update of s, R and t; Myronenko and Song, Point set
    registration: coherent point drift, IEEE TPAMI 32(12), 2010, figures 2 and 3.
    """
    if "a" not in kind and "r" not in kind:
        return STILL
    total = match.moving.sum()
    mean = match.moving @ points / total
    matched_mean = match.moments.sum(axis=0) / total
    centred = points - mean
    cross = match.moments.T @ centred
    if "a" in kind:
        scale, linear = 1.0, np.linalg.lstsq((centred.T * match.moving) @ centred, cross.T, rcond=None)[0].T
    else:
        left, values, right = np.linalg.svd(cross)
        signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
        scale = (values @ signs) / (match.moving @ (centred**2).sum(axis=1)) if "s" in kind else 1.0
        linear = scale * (left * signs) @ right
    return Motion(linear, matched_mean - linear @ mean, float(scale))

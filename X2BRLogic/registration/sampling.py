"""Thinning a point set so that dense parts count no more than sparse ones."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .mersenne import Random
from .settings import Sampling


def stratified(chances: np.ndarray, count: int, random: Random) -> np.ndarray:
    """`count` indices drawn with the given `chances`, one in each stratum of 1/count: sorted, repeats possible."""
    cumulative = np.cumsum(chances / chances.sum())
    at = (np.arange(count) + random.closed(count + 1)[:-1]) / count  # the program draws one more, too
    return np.minimum(np.searchsorted(cumulative, at), len(chances) - 1)


def downsample(points: np.ndarray, how: Sampling, random: Random) -> np.ndarray:
    """Indices of `how.points` of the `points` ``(N, 3)``; all of them where there are no more.

    A point's chance is one over the points in its voxel or within a ball about it.
    Source: Hirose, Acceleration of non-rigid point set registration with downsampling and Gaussian process regression,
    IEEE TPAMI 43(8), 2021, section 3.1.
    """
    if len(points) <= how.points:
        return np.arange(len(points))
    if how.size == 0.0:
        return random.permutation(len(points))[: how.points]
    if how.shape == "ball":
        crowd = cKDTree(points).query_ball_point(points, how.size, return_length=True, workers=-1)
    else:
        crowd = _voxel_mates(points, how.size)
    return stratified(1.0 / crowd, how.points, random)


def landmarks(points: np.ndarray, count: int, random: Random) -> np.ndarray:
    """`count` indices of `points`, repeats possible, spread evenly over voxels of 0.05; all where there are no more."""
    if len(points) <= count:
        return np.arange(len(points))
    return stratified(1.0 / _voxel_mates(points, 0.05), count, random)


def _voxel_mates(points: np.ndarray, size: float) -> np.ndarray:
    """How many points share each point's voxel, itself included."""
    voxels = np.floor((points - points.min(axis=0)) / size).astype(np.int64)
    counts = voxels.max(axis=0) + 1
    flat = (voxels[:, 0] * counts[1] + voxels[:, 1]) * counts[2] + voxels[:, 2]
    _, which, crowd = np.unique(flat, return_inverse=True, return_counts=True)
    return crowd[which]

"""How far apart two sets of points are."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def symmetric_distance(points: np.ndarray, others: np.ndarray) -> float:
    """Mean of both directed mean distances to the nearest point, of ``(N, 3)`` and ``(M, 3)``; mm."""
    there = cKDTree(others).query(points, workers=-1)[0].mean()
    back = cKDTree(points).query(others, workers=-1)[0].mean()
    return float(there + back) / 2.0

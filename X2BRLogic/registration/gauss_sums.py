"""Sums of Gaussians over points: over all of them, or over those within a radius, found through a grid of cells.

One pass over contiguous coordinates with an exponential that the compiler turns into vector instructions does about
1.5 billion pairs a second on two cores, so that the exact sum over some thousand points costs milliseconds.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

# NaN and infinity never reach the kernels: shapes are checked on the way in.
_FAST = {"nsz", "arcp", "contract", "reassoc", "nnan", "ninf"}

#: Beyond this exponent a Gaussian (2e-22 here) is nothing.
_LARGEST = 50.0


@njit(inline="always")
def _exp_minus(t):
    """exp(-t) for t from 0 to 50, to ten digits: (exp(-t / 1024))^1024, as calls to ``exp`` do not become vectors."""
    y = t * (-1.0 / 1024.0)
    p = 1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y * (1.0 / 24.0 + y * (1.0 / 120.0 + y / 720.0)))))
    for _ in range(10):
        p *= p
    return p


@njit(parallel=True, cache=True, nogil=True, fastmath=_FAST)
def _fill_gaussians(queries, x, y, z, factor, out):
    for i in prange(queries.shape[0]):
        a, b, c = queries[i, 0], queries[i, 1], queries[i, 2]
        for j in range(x.size):
            squared = (x[j] - a) ** 2 + (y[j] - b) ** 2 + (z[j] - c) ** 2
            out[i, j] = _exp_minus(min(squared * factor, _LARGEST))


def gaussians(queries: np.ndarray, points: np.ndarray, width: float) -> np.ndarray:
    """``exp(-|q - p|^2 / (2 width^2))`` for queries ``(Q, 3)`` and points ``(P, 3)``; ``(Q, P)`` float64."""
    out = np.empty((len(queries), len(points)))
    _fill_gaussians(queries, *np.ascontiguousarray(points.T), 0.5 / width**2, out)
    return out


@njit(parallel=True, cache=True, nogil=True, fastmath=_FAST)
def gaussians_in_place(values, factor):
    """Replace float32 distances `values` by ``exp(-factor * distance^2)``; infinity becomes 0."""
    for i in prange(values.shape[0]):
        for j in range(values.shape[1]):
            t = factor * values[i, j] * values[i, j]
            values[i, j] = _exp_minus(t) if t < _LARGEST else 0.0


@njit(inline="always")
def _cell_range(at, radius, low, edge, count):
    """First and last cell along one axis that a ball about `at` touches; last < first where it touches none."""
    first = math.floor(max((at - radius - low) / edge, 0.0))
    last = math.floor(min((at + radius - low) / edge, count - 1.0))
    return int(first), int(last)


@njit(parallel=True, cache=True, nogil=True, fastmath=_FAST)
def _near_moments(queries, x, y, z, weights, starts, low, edge, counts, factor, radius, out):
    reach = radius * radius
    for i in prange(queries.shape[0]):
        a, b, c = queries[i, 0], queries[i, 1], queries[i, 2]
        i0, i1 = _cell_range(a, radius, low[0], edge, counts[0])
        j0, j1 = _cell_range(b, radius, low[1], edge, counts[1])
        k0, k1 = _cell_range(c, radius, low[2], edge, counts[2])
        if k1 < k0:
            i1 = i0 - 1
        total, sum_x, sum_y, sum_z = 0.0, 0.0, 0.0, 0.0
        for ci in range(i0, i1 + 1):
            for cj in range(j0, j1 + 1):
                row = (ci * counts[1] + cj) * counts[2]
                # The cells of a row along z lie one after the other in memory.
                for n in range(starts[row + k0], starts[row + k1 + 1]):
                    squared = (x[n] - a) ** 2 + (y[n] - b) ** 2 + (z[n] - c) ** 2
                    gauss = _exp_minus(min(squared * factor, _LARGEST)) if squared <= reach else 0.0
                    gauss *= weights[n]
                    total += gauss
                    sum_x += gauss * x[n]
                    sum_y += gauss * y[n]
                    sum_z += gauss * z[n]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = total, sum_x, sum_y, sum_z


class Cells:
    """Points ``(N, 3)`` sorted into cubic cells, to sum Gaussians over those near a query.

    Args:
        points: finite coordinates.
        edge: of a cell, best the radius of the sums to come; infinity puts all points into one cell.
    """

    def __init__(self, points: np.ndarray, edge: float = math.inf):
        low, high = points.min(axis=0), points.max(axis=0)
        # No more cells than some per point: a tiny radius must not ask for billions of them.
        extent = float((high - low).max()) or 1.0
        edge = min(max(edge, extent / (2.0 * len(points) ** (1 / 3) + 1.0)), 2.0 * extent)
        counts = np.floor((high - low) / edge).astype(np.int64) + 1
        index = np.floor((points - low) / edge).astype(np.int64)
        flat = (index[:, 0] * counts[1] + index[:, 1]) * counts[2] + index[:, 2]
        self._order = np.argsort(flat, kind="stable")
        self._starts = np.zeros(int(counts.prod()) + 1, dtype=np.int64)
        np.cumsum(np.bincount(flat, minlength=int(counts.prod())), out=self._starts[1:])
        self._columns = np.ascontiguousarray(points[self._order].T)
        self._grid = low, edge, counts

    def moments(self, queries: np.ndarray, weights: np.ndarray, width: float, radius: float = math.inf) -> np.ndarray:
        """Sums over the points x_n within `radius` of each query q, weighed by ``w_n exp(-|q - x_n|^2 / (2 width^2))``.

        Returns:
            ``(Q, 4)``: the sum of the weights, and of the points' x, y and z.
        """
        out = np.empty((len(queries), 4))
        radius = min(radius, 1e100)  # its square must stay finite
        _near_moments(
            queries, *self._columns, weights[self._order], self._starts, *self._grid, 0.5 / width**2, radius, out
        )
        return out

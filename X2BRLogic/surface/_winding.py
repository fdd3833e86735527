"""Compiled parts of `inside`."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def _bin(value, low, scale, bins):
    return min(max(int((value - low) * scale), 0), bins - 1)


@numba.njit(cache=True)
def bin_triangles(triangles, low, scale, bins):
    """Triangles over each cell of a grid in the y-z plane, as compressed rows."""
    count = np.zeros(bins * bins + 1, dtype=np.int64)
    entries = np.empty(0, dtype=np.int32)
    for filling in range(2):
        if filling:
            count = np.cumsum(count)
            starts = count.copy()
            entries = np.empty(count[-1], dtype=np.int32)
        for t in range(len(triangles)):
            corners = triangles[t]
            y0 = _bin(corners[:, 1].min(), low[0], scale[0], bins)
            y1 = _bin(corners[:, 1].max(), low[0], scale[0], bins)
            z0 = _bin(corners[:, 2].min(), low[1], scale[1], bins)
            z1 = _bin(corners[:, 2].max(), low[1], scale[1], bins)
            for y in range(y0, y1 + 1):
                for z in range(z0, z1 + 1):
                    cell = y * bins + z
                    if filling:
                        entries[count[cell]] = t
                        count[cell] += 1
                    else:
                        count[cell + 1] += 1
    return starts, entries


@numba.njit(cache=True)
def _side(a, b, y, z):
    """Signed area of (a, b, point) in the y-z plane, and which side that is.

    Both faces of an edge see it the same way round here, so their answers agree to the last bit.
    """
    swapped = a[1] > b[1] or (a[1] == b[1] and a[2] > b[2])
    if swapped:
        a, b = b, a
    area = (b[1] - a[1]) * (z - a[2]) - (b[2] - a[2]) * (y - a[1])
    positive = area >= 0
    return (-area, not positive) if swapped else (area, positive)


@numba.njit(cache=True)
def winding(points, triangles, low, scale, bins, starts, entries):
    number = np.zeros(len(points), dtype=np.int32)
    for n in range(len(points)):
        x, y, z = points[n]
        fy, fz = (y - low[0]) * scale[0], (z - low[1]) * scale[1]
        if not (0 <= fy <= bins and 0 <= fz <= bins):
            continue
        cell = min(int(fy), bins - 1) * bins + min(int(fz), bins - 1)
        for e in range(starts[cell], starts[cell + 1]):
            a, b, c = triangles[entries[e]]
            if a[0] <= x and b[0] <= x and c[0] <= x:
                continue
            area_c, side_c = _side(a, b, y, z)
            area_a, side_a = _side(b, c, y, z)
            if side_a != side_c:
                continue
            area_b, side_b = _side(c, a, y, z)
            if side_b != side_c:
                continue
            total = area_a + area_b + area_c
            if total == 0:
                continue  # edge-on: its neighbours decide
            if (area_a * a[0] + area_b * b[0] + area_c * c[0]) / total > x:
                number[n] += 1 if side_c else -1
    return number

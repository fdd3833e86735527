"""Deformations of a scanned person: where each point of a virtual patient comes from, and volumes taken along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from ..volume import Volume
from .continuation import UNKNOWN

#: Step of the grid on which a deformation is kept, and what it covers (x, y, z): a large adult thorax and its margins.
STEP_MM = 8.0
EXTENT_MM = np.array([480.0, 384.0, 480.0])
#: A deformation that squeezes any volume to less than this share is not used.
MIN_DETERMINANT = 0.05
_NEWTON_STEPS = 60
_CONVERGED_MM = 1e-3


@dataclass(frozen=True)
class Deformation:
    """Where each point of a virtual patient comes from: trilinear between the nodes of a grid, and invertible.

    Attributes:
        source: RAS positions in the subject, ``(Z, Y, X, 3)`` on a grid centred on the RAS origin, float32.
        spacing: grid step in mm.
        determinant: smallest Jacobian determinant of the map over all corners of all cells.
    """

    source: np.ndarray
    spacing: float
    determinant: float

    @classmethod
    def of(cls, source: np.ndarray, spacing: float = STEP_MM) -> Deformation:
        """The deformation with these nodes."""
        source = np.ascontiguousarray(source, dtype=np.float32)
        return cls(source, spacing, float(_smallest_determinant(source, spacing)))

    @property
    def origin(self) -> np.ndarray:
        """RAS position of grid node (0, 0, 0), as x, y, z."""
        return -0.5 * self.spacing * (np.array(self.source.shape[2::-1]) - 1)

    def to_subject(self, points: np.ndarray) -> np.ndarray:
        """Places in the subject, ``(N, 3)``, of points ``(N, 3)`` of the virtual patient, RAS mm.

        Beyond the grid the outermost cells go on.
        """
        out = np.empty((len(points), 3))
        _map(self.source, self.origin, self.spacing, np.ascontiguousarray(points, dtype=np.float64), out)
        return out

    def to_patient(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_subject`, by Newton's method; nan where no point of the grid comes from there."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        out = np.empty_like(points)
        _invert(self.source, self.origin, self.spacing, points, out)
        return out


def grid() -> np.ndarray:
    """Nodes of a deformation's grid, ``(Z, Y, X, 3)`` as x, y, z, mm about the origin."""
    counts = np.round(EXTENT_MM / STEP_MM).astype(int) + 1
    x, y, z = (STEP_MM * (np.arange(n) - (n - 1) / 2) for n in counts)
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return np.stack([xx, yy, zz], axis=-1)


@njit(inline="always")
def _locate(nodes, origin, step, x, y, z):
    """The cell of a point, and where in the cell it is; the outermost cells go on beyond the grid."""
    fx, fy, fz = (x - origin[0]) / step, (y - origin[1]) / step, (z - origin[2]) / step
    i = min(max(int(np.floor(fx)), 0), nodes.shape[2] - 2)
    j = min(max(int(np.floor(fy)), 0), nodes.shape[1] - 2)
    k = min(max(int(np.floor(fz)), 0), nodes.shape[0] - 2)
    return i, j, k, fx - i, fy - j, fz - k


@njit(inline="always")
def _trilinear(nodes, i, j, k, fx, fy, fz, a):
    low = (nodes[k, j, i, a] * (1 - fx) + nodes[k, j, i + 1, a] * fx) * (1 - fy) + (
        nodes[k, j + 1, i, a] * (1 - fx) + nodes[k, j + 1, i + 1, a] * fx
    ) * fy
    high = (nodes[k + 1, j, i, a] * (1 - fx) + nodes[k + 1, j, i + 1, a] * fx) * (1 - fy) + (
        nodes[k + 1, j + 1, i, a] * (1 - fx) + nodes[k + 1, j + 1, i + 1, a] * fx
    ) * fy
    return low * (1 - fz) + high * fz


@njit(parallel=True, cache=True, nogil=True)
def _map(nodes, origin, step, points, out):
    for n in prange(points.shape[0]):
        i, j, k, fx, fy, fz = _locate(nodes, origin, step, points[n, 0], points[n, 1], points[n, 2])
        for a in range(3):
            out[n, a] = _trilinear(nodes, i, j, k, fx, fy, fz, a)


@njit(cache=True)
def _jacobian(nodes, step, i, j, k, fx, fy, fz, matrix):
    """Derivative of the trilinear map within a cell."""
    for a in range(3):
        x = y = z = 0.0
        for p in range(2):
            for q in range(2):
                wy, wz, wx = (fy if p else 1 - fy), (fz if q else 1 - fz), (fx if p else 1 - fx)
                x += wy * wz * (nodes[k + q, j + p, i + 1, a] - nodes[k + q, j + p, i, a])
                y += wx * wz * (nodes[k + q, j + 1, i + p, a] - nodes[k + q, j, i + p, a])
                z += wx * (fy if q else 1 - fy) * (nodes[k + 1, j + q, i + p, a] - nodes[k, j + q, i + p, a])
        matrix[a, 0], matrix[a, 1], matrix[a, 2] = x / step, y / step, z / step


@njit(inline="always")
def _triple(nodes, k, j, i, x, y, z):
    """Triple product of the edges that leave the corner (k + z, j + y, i + x) of a cell, along x, y and z."""
    ux = nodes[k + z, j + y, i + 1, 0] - nodes[k + z, j + y, i, 0]
    uy = nodes[k + z, j + y, i + 1, 1] - nodes[k + z, j + y, i, 1]
    uz = nodes[k + z, j + y, i + 1, 2] - nodes[k + z, j + y, i, 2]
    vx = nodes[k + z, j + 1, i + x, 0] - nodes[k + z, j, i + x, 0]
    vy = nodes[k + z, j + 1, i + x, 1] - nodes[k + z, j, i + x, 1]
    vz = nodes[k + z, j + 1, i + x, 2] - nodes[k + z, j, i + x, 2]
    wx = nodes[k + 1, j + y, i + x, 0] - nodes[k, j + y, i + x, 0]
    wy = nodes[k + 1, j + y, i + x, 1] - nodes[k, j + y, i + x, 1]
    wz = nodes[k + 1, j + y, i + x, 2] - nodes[k, j + y, i + x, 2]
    return ux * (vy * wz - vz * wy) - vx * (uy * wz - uz * wy) + wx * (uy * vz - uz * vy)


@njit(parallel=True, cache=True, nogil=True)
def _smallest_determinant(nodes, step):
    lowest = np.empty(nodes.shape[0] - 1)
    for k in prange(nodes.shape[0] - 1):
        least = np.inf
        for j in range(nodes.shape[1] - 1):
            for i in range(nodes.shape[2] - 1):
                for corner in range(8):
                    least = min(least, _triple(nodes, k, j, i, corner & 1, (corner >> 1) & 1, corner >> 2))
        lowest[k] = least
    return lowest.min() / step**3


@njit(inline="always")
def _solve(m, right, out):
    """Cramer's rule for a 3x3 system: a call of LAPACK would take ten times as long."""
    c0 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c1 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c2 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    determinant = m[0, 0] * c0 + m[0, 1] * c1 + m[0, 2] * c2
    out[0] = c0 * right[0] + (m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]) * right[1]
    out[0] += (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * right[2]
    out[1] = c1 * right[0] + (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) * right[1]
    out[1] += (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * right[2]
    out[2] = c2 * right[0] + (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) * right[1]
    out[2] += (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * right[2]
    for a in range(3):
        out[a] /= determinant


@njit(inline="always")
def _gap(nodes, origin, step, at, goal, gap):
    """What is left from the place that `at` comes from to `goal`: the vector, and its length."""
    i, j, k, fx, fy, fz = _locate(nodes, origin, step, at[0], at[1], at[2])
    for a in range(3):
        gap[a] = goal[a] - _trilinear(nodes, i, j, k, fx, fy, fz, a)
    return np.sqrt(gap[0] ** 2 + gap[1] ** 2 + gap[2] ** 2)


@njit(parallel=True, cache=True, nogil=True)
def _invert(nodes, origin, step, points, out):
    # Without a better idea, the deformation is a shift of the grid's middle.
    middle = nodes[nodes.shape[0] // 2, nodes.shape[1] // 2, nodes.shape[2] // 2]
    reach = -origin + step
    for n in prange(points.shape[0]):
        matrix, gap, move, trial, at = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
        for a in range(3):
            at[a] = points[n, a] - middle[a]
        size = _gap(nodes, origin, step, at, points[n], gap)
        for _ in range(_NEWTON_STEPS):
            if size < _CONVERGED_MM:
                break
            i, j, k, fx, fy, fz = _locate(nodes, origin, step, at[0], at[1], at[2])
            _jacobian(nodes, step, i, j, k, fx, fy, fz, matrix)
            _solve(matrix, gap, move)
            # A step of more than two cells would leave the part of the map that the derivative knows, and one that
            # does not come closer goes back and forth between cells.
            scale = min(1.0, 2.0 * step / max(np.sqrt(move[0] ** 2 + move[1] ** 2 + move[2] ** 2), 1e-12))
            for _ in range(8):
                for a in range(3):
                    trial[a] = at[a] + scale * move[a]
                left = _gap(nodes, origin, step, trial, points[n], gap)
                if left < size:
                    break
                scale *= 0.5
            at[:] = trial
            size = left
        found = size < _CONVERGED_MM
        for a in range(3):
            found &= np.abs(at[a]) <= reach[a]
        for a in range(3):
            out[n, a] = at[a] if found else np.nan


@njit(parallel=True, cache=True, nogil=True)
def _warp(values, labels, ras_to_ijk, nodes, node_origin, node_step, origin, spacing, out_values, out_labels):
    nk, nj, ni = values.shape
    for k in prange(out_values.shape[0]):
        p = np.empty(3)
        for j in range(out_values.shape[1]):
            for i in range(out_values.shape[2]):
                gx, gy, gz, fx, fy, fz = _locate(
                    nodes, node_origin, node_step,
                    origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing,
                )  # fmt: skip
                for a in range(3):
                    p[a] = _trilinear(nodes, gx, gy, gz, fx, fy, fz, a)
                vi = ras_to_ijk[0, 0] * p[0] + ras_to_ijk[0, 1] * p[1] + ras_to_ijk[0, 2] * p[2] + ras_to_ijk[0, 3]
                vj = ras_to_ijk[1, 0] * p[0] + ras_to_ijk[1, 1] * p[1] + ras_to_ijk[1, 2] * p[2] + ras_to_ijk[1, 3]
                vk = ras_to_ijk[2, 0] * p[0] + ras_to_ijk[2, 1] * p[1] + ras_to_ijk[2, 2] * p[2] + ras_to_ijk[2, 3]
                if vi < 0 or vj < 0 or vk < 0 or vi > ni - 1 or vj > nj - 1 or vk > nk - 1:
                    out_values[k, j, i] = -1000
                    # Beside the volume is air, unless its border says that nothing is known.
                    beside = labels[
                        min(max(int(vk + 0.5), 0), nk - 1),
                        min(max(int(vj + 0.5), 0), nj - 1),
                        min(max(int(vi + 0.5), 0), ni - 1),
                    ]
                    out_labels[k, j, i] = UNKNOWN if (vk < 0 or vk > nk - 1 or beside == UNKNOWN) else 0
                    continue
                out_labels[k, j, i] = labels[int(vk + 0.5), int(vj + 0.5), int(vi + 0.5)]
                i0, j0, k0 = min(int(vi), ni - 2), min(int(vj), nj - 2), min(int(vk), nk - 2)
                fi, fj, fk = vi - i0, vj - j0, vk - k0
                total = 0.0
                for dk in range(2):
                    wk = fk if dk else 1 - fk
                    for dj in range(2):
                        w = wk * (fj if dj else 1 - fj)
                        total += w * (values[k0 + dk, j0 + dj, i0] * (1 - fi) + values[k0 + dk, j0 + dj, i0 + 1] * fi)
                out_values[k, j, i] = int(np.floor(total + 0.5))


def warp(ct: Volume, labels: Volume, deformation: Deformation, spacing: float) -> tuple[Volume, Volume]:
    """The virtual patient's CT and labels, centred on the RAS origin, on an isotropic RAS grid of `spacing` mm.

    HU are interpolated linearly, labels take their nearest voxel. What the volume does not cover is air in the CT; in
    the labels it is `UNKNOWN` above and below the volume and beside what is `UNKNOWN` itself. The two inputs share one
    grid whose k axis is the patient's.
    """
    counts = np.round(EXTENT_MM / spacing).astype(int)
    origin = -0.5 * spacing * (counts - 1)
    values = np.empty(counts[::-1], dtype=np.int16)
    names = np.empty(counts[::-1], dtype=np.uint8)
    _warp(
        ct.array, labels.array, ct.ras_to_ijk, deformation.source, deformation.origin, deformation.spacing,
        origin, spacing, values, names,
    )  # fmt: skip
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return Volume(values, matrix), Volume(names, matrix)

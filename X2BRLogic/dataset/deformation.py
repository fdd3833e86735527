"""Smooth, invertible deformations of a thorax: another build, another posture, another spine.

A deformation is the map from a point of the new patient to the point of the scanned subject whose tissue lies there,
sampled on a coarse grid and interpolated linearly. It is accepted only where its Jacobian determinant stays positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy import ndimage

from ..volume import Volume

_STEP_MM = 12.0
_EXTENT_MM = np.array([480.0, 384.0, 480.0])  # x, y, z: holds a large adult thorax
_MIN_DETERMINANT = 0.25
#: Label of a voxel that the scan did not cover.
UNKNOWN = 255


@dataclass(frozen=True)
class Deformation:
    """Where each point of a virtual patient comes from.

    Attributes:
        source: RAS positions in the subject, ``(Z, Y, X, 3)`` on a grid centred on the RAS origin.
        spacing: grid step in mm.
        determinant: smallest Jacobian determinant of the map on its grid.
    """

    source: np.ndarray
    spacing: float
    determinant: float

    @property
    def origin(self) -> np.ndarray:
        """RAS position of grid node (0, 0, 0), as x, y, z."""
        return -0.5 * self.spacing * (np.array(self.source.shape[2::-1]) - 1)


def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = np.round(_EXTENT_MM / _STEP_MM).astype(int) + 1
    x, y, z = (_STEP_MM * (np.arange(n) - (n - 1) / 2) for n in counts)
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return xx, yy, zz


def _smooth_noise(rng: np.random.Generator, shape, scale_mm: float, amplitude_mm: float) -> np.ndarray:
    """A Gaussian random field of the given correlation length and standard deviation, ``(Z, Y, X, 3)``."""
    noise = rng.standard_normal((*shape, 3))
    noise = ndimage.gaussian_filter(noise, (*[scale_mm / _STEP_MM] * 3, 0), mode="wrap")
    return noise * (amplitude_mm / noise.std())


def _determinant(source: np.ndarray) -> float:
    """The smallest Jacobian determinant over the grid's cells."""
    gradients = [np.gradient(source, _STEP_MM, axis=axis) for axis in (2, 1, 0)]
    return float(np.linalg.det(np.stack(gradients, axis=-1)).min())


def random_deformation(rng: np.random.Generator, centre: np.ndarray, strength: float = 1.0) -> Deformation:
    """Draw a deformation of a subject whose thorax is centred at `centre` (RAS mm).

    Spreads are standard deviations over adults, in mm at 150 mm from the centre unless said otherwise: size 7 % in all
    and 4 % for each axis; kyphosis 7, scoliosis 5 (half a wave over 300 mm); rib slope 5 degrees (pump handle), flank
    height 6 (bucket handle), depth of the chest by level 5 % (barrel); twist 2.5 degrees over 150 mm; and smooth local
    variation of 3 mm over 60 mm and 1 mm over 30 mm. `strength` scales them all.
    """
    xx, yy, zz = _grid()
    span = 150.0

    def draw(spread: float) -> float:
        # Truncated, so that no rare draw makes a patient nobody ever met.
        return float(np.clip(rng.standard_normal(), -2.2, 2.2)) * spread * strength

    scale = np.exp(draw(0.07) + np.array([draw(0.04) for _ in range(3)]))
    kyphosis, scoliosis, phase = draw(7.0), draw(5.0), rng.uniform(0, 2 * np.pi)
    slope, flank, twist = np.tan(np.deg2rad(draw(5.0))), draw(6.0), np.deg2rad(draw(2.5))
    barrel, barrel_level = draw(0.05), rng.uniform(-100, 60)
    local = _smooth_noise(rng, xx.shape, 60.0, 3.0 * strength) + _smooth_noise(rng, xx.shape, 30.0, 1.0 * strength)

    # Rib slope and flank height act on what lies in front of or beside the spine, not on the spine itself.
    in_front = np.maximum(yy + 60.0, 0.0)
    beside = np.maximum(np.abs(xx) - 30.0, 0.0)
    depth = 1.0 + barrel * np.exp(-(((zz - barrel_level) / 90.0) ** 2))
    angle = twist * np.clip(zz / span, -1.2, 1.2)
    x = (np.cos(angle) * xx - np.sin(angle) * yy) * scale[0] + scoliosis * np.sin(np.pi * zz / (2 * span) + phase)
    y = (np.sin(angle) * xx + np.cos(angle) * yy) * scale[1] * depth + kyphosis * (zz / span) ** 2
    z = zz * scale[2] + slope * in_front + flank * beside / span
    base = np.stack([x, y, z], axis=-1)

    while True:
        source = base + local
        determinant = _determinant(source)
        if determinant > _MIN_DETERMINANT:
            return Deformation((source + centre).astype(np.float32), _STEP_MM, determinant)
        local = 0.5 * local
        base = 0.8 * base + 0.2 * np.stack([xx, yy, zz], axis=-1)


@njit(parallel=True, cache=True, nogil=True)
def _warp(values, labels, ras_to_ijk, nodes, node_origin, node_step, origin, spacing, out_values, out_labels):
    nk, nj, ni = values.shape
    for k in prange(out_values.shape[0]):
        p = np.empty(3)
        for j in range(out_values.shape[1]):
            for i in range(out_values.shape[2]):
                fx = (origin[0] + i * spacing - node_origin[0]) / node_step
                fy = (origin[1] + j * spacing - node_origin[1]) / node_step
                fz = (origin[2] + k * spacing - node_origin[2]) / node_step
                gx = min(max(int(fx), 0), nodes.shape[2] - 2)
                gy = min(max(int(fy), 0), nodes.shape[1] - 2)
                gz = min(max(int(fz), 0), nodes.shape[0] - 2)
                fx -= gx
                fy -= gy
                fz -= gz
                for a in range(3):
                    low = (nodes[gz, gy, gx, a] * (1 - fx) + nodes[gz, gy, gx + 1, a] * fx) * (1 - fy) + (
                        nodes[gz, gy + 1, gx, a] * (1 - fx) + nodes[gz, gy + 1, gx + 1, a] * fx
                    ) * fy
                    high = (nodes[gz + 1, gy, gx, a] * (1 - fx) + nodes[gz + 1, gy, gx + 1, a] * fx) * (1 - fy) + (
                        nodes[gz + 1, gy + 1, gx, a] * (1 - fx) + nodes[gz + 1, gy + 1, gx + 1, a] * fx
                    ) * fy
                    p[a] = low * (1 - fz) + high * fz
                vi = ras_to_ijk[0, 0] * p[0] + ras_to_ijk[0, 1] * p[1] + ras_to_ijk[0, 2] * p[2] + ras_to_ijk[0, 3]
                vj = ras_to_ijk[1, 0] * p[0] + ras_to_ijk[1, 1] * p[1] + ras_to_ijk[1, 2] * p[2] + ras_to_ijk[1, 3]
                vk = ras_to_ijk[2, 0] * p[0] + ras_to_ijk[2, 1] * p[1] + ras_to_ijk[2, 2] * p[2] + ras_to_ijk[2, 3]
                if vi < 0 or vj < 0 or vk < 0 or vi > ni - 1 or vj > nj - 1 or vk > nk - 1:
                    out_values[k, j, i] = -1000
                    # Only above and below the scan is anything missing: its sides are outside the body.
                    out_labels[k, j, i] = UNKNOWN if (vk < 0 or vk > nk - 1) else 0
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

    HU are interpolated linearly, labels take their nearest voxel; what the scan did not cover (above and below) is air
    in the CT and `UNKNOWN` in the labels. The two inputs share one grid whose k axis is the patient's.
    """
    counts = np.round(_EXTENT_MM / spacing).astype(int)
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

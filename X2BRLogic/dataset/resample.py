"""CT and labels onto the grid of a data set: cubes along R, A and S."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..volume import Volume
from ..volume_io import LOWEST_HU, match_grid

#: A voxel averages over its width; a Gaussian of this part of a width (FWHM = 1) stands for that.
_SIGMA_PER_WIDTH = 1 / np.sqrt(8 * np.log(2))


def grid_of(scan: Volume, spacing: float, edge: int | None = None) -> Volume:
    """The grid: an empty volume of cubes of `spacing` mm that covers the scan, or has `edge` cubes along each edge.

    Its axes are R, A and S. The volume's array takes no memory.
    """
    low, high = scan.corners.min(0), scan.corners.max(0)
    counts = np.full(3, edge) if edge else np.ceil((high - low) / spacing - 1e-3).astype(int)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = low + spacing / 2
    if edge:
        matrix[:3, 3] = (low + high) / 2 - spacing * (counts - 1) / 2
    return Volume(np.broadcast_to(np.int16(0), counts[::-1]), matrix)


def resample(ct: Volume, labels: Volume, spacing: float, edge: int | None = None) -> tuple[Volume, Volume]:
    """CT (int16) and labels (uint8) on `grid_of` the CT.

    HU are smoothed along the axes on which the scan is finer than the grid, to what voxels of the grid's size would
    have measured, then interpolated linearly; outside of the scan there is air. A label is that of the nearest voxel.
    A scan that is on the grid already is not touched.

    Args:
        labels: on the CT's grid.
    """
    grid = grid_of(ct, spacing, edge)
    if ct.array.shape == grid.array.shape and np.allclose(ct.ijk_to_ras, grid.ijk_to_ras, atol=1e-3):
        return Volume(ct.array.astype(np.int16, copy=False), grid.ijk_to_ras), labels
    finer = np.maximum(spacing**2 - ct.spacing**2, 0.0) ** 0.5
    sigma = finer / ct.spacing * _SIGMA_PER_WIDTH
    smooth = ndimage.gaussian_filter(ct.array, sigma[::-1], output=np.float32, mode="nearest", truncate=3.0)
    step = (ct.ras_to_ijk @ grid.ijk_to_ras)[:3]
    values = ndimage.affine_transform(
        smooth, step[::-1, 2::-1], step[::-1, 3], grid.array.shape, order=1, mode="constant", cval=LOWEST_HU
    )
    array = np.round(values, out=values).astype(np.int16)
    return Volume(array, grid.ijk_to_ras), match_grid(labels, Volume(array, grid.ijk_to_ras))

"""The grid on which bones are named: cubic voxels along RAS, whatever the scan's own."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...volume import Volume

#: Edge of a voxel, mm: the grid of the models' training data, and half the thickness of a rib.
SPACING_MM = 1.5


def upright(volume: Volume, *, order: int, outside: float) -> Volume:
    """`volume` resampled to cubes of `SPACING_MM` whose axes run right, front and up.

    Args:
        volume: any orientation and spacing.
        order: 0 nearest (labels) or 1 linear (a CT; voxels finer than the grid are averaged first).
        outside: value where the scan did not reach.
    """
    low, high = volume.corners.min(axis=0), volume.corners.max(axis=0)
    to_ras = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    to_ras[:3, 3] = low + SPACING_MM / 2
    shape = np.maximum(np.ceil((high - low) / SPACING_MM - 1e-3), 1).astype(int)[::-1]
    array = volume.array
    if order:
        # Half the coarser voxel, less what the finer one blurs already: plain sampling would keep all of the noise.
        sigma = 0.5 * np.sqrt(np.maximum((SPACING_MM / volume.spacing) ** 2 - 1.0, 0.0))[::-1]
        array = ndimage.gaussian_filter(array, sigma, output=np.float32, mode="nearest", truncate=3.0)
    step = volume.ras_to_ijk @ to_ras
    matrix, offset = step[2::-1, 2::-1], step[2::-1, 3]
    array = ndimage.affine_transform(
        array, matrix, offset, output_shape=tuple(shape), order=order, mode="grid-constant", cval=outside
    )
    return Volume(array, to_ras)

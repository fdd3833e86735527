"""Rays of an X-ray geometry through a volume of any orientation."""

from __future__ import annotations

import numpy as np

from ..geometry import XRayGeometry
from ..volume import Volume
from . import siddon


class RayTracer:
    """Line integrals of ``max(value + offset, 0)`` along the rays of any number of geometries.

    The running sums are made once for each main axis and kept, so further views cost only their rays.

    Args:
        volume: any real type, any orientation, also oblique or flipped. Whole numbers are summed without rounding.
        offset: added to every voxel before clamping at zero.
    """

    def __init__(self, volume: Volume, offset: int = 0):
        self._volume = volume
        self._offset = offset
        self._sums: dict[int, np.ndarray] = {}

    def _sums_along(self, axis: int) -> np.ndarray:
        if axis not in self._sums:
            values = self._volume.array
            shape = list(values.shape)
            shape[axis] += 1
            sums = np.empty(shape, dtype=siddon.sums_type(values))
            siddon.running_sums(values, axis, sums.dtype.type(self._offset), sums)
            self._sums[axis] = sums
        return self._sums[axis]

    def integrate(self, geometry: XRayGeometry) -> np.ndarray:
        """One integral a pixel, in value times mm, float32 ``(rows, columns)``. Rays end at the detector."""
        volume = self._volume
        to_ijk = volume.ras_to_ijk[:3, :3]
        # The axis along which the central ray crosses most voxels. In i, j, k order; the array's axes run k, j, i.
        main = int(np.argmax(np.abs(to_ijk @ geometry.to_source)))
        order = [main, *(a for a in range(3) if a != main)]
        sums = self._sums_along(2 - main)
        # Voxel n lies between n and n + 1 in the kernel, between n - 0.5 and n + 0.5 in index coordinates.
        source, origin = volume.to_ijk(np.stack([geometry.source, geometry.detector_origin])) + 0.5
        column = to_ijk @ (geometry.columns * geometry.spacing[1])
        row = to_ijk @ (geometry.rows * geometry.spacing[0])
        image = np.empty(geometry.shape, dtype=np.float32)
        siddon.line_integrals(
            sums.reshape(-1),
            np.array([volume.array.shape[2 - a] for a in order], dtype=np.int64),
            np.array([sums.strides[2 - a] // sums.itemsize for a in order], dtype=np.int64),
            source[order],
            origin[order],
            column[order],
            row[order],
            np.ascontiguousarray(volume.ijk_to_ras[:3, :3][:, order]),
            image,
        )
        return image

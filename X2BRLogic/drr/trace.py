"""Rays of an X-ray geometry through a volume of any orientation."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from ..geometry import XRayGeometry
from ..volume import Volume
from . import siddon


class GridRays(NamedTuple):
    """The rays of a geometry in the voxel coordinates of a grid, reordered to (main, u, v).

    Voxel n lies between n and n + 1. `siddon.line_integrals` says what the arrays mean.

    Attributes:
        order: which of i, j, k are main, u and v; main is the axis along which the central ray crosses most voxels.
        size: ``(3,)`` number of voxels along main, u, v.
        source, origin, column_step, row_step: ``(3,)`` focal spot, centre of pixel (0, 0), steps to its neighbours.
        scale: 3x3, voxel coordinates to mm.
    """

    order: list[int]
    size: np.ndarray
    source: np.ndarray
    origin: np.ndarray
    column_step: np.ndarray
    row_step: np.ndarray
    scale: np.ndarray


def grid_rays(volume: Volume, geometry: XRayGeometry) -> GridRays:
    """The rays of `geometry` as the kernels take them."""
    to_ijk = volume.ras_to_ijk[:3, :3]
    main = int(np.argmax(np.abs(to_ijk @ geometry.to_source)))
    order = [main, *(a for a in range(3) if a != main)]
    # Voxel n lies between n and n + 1 in the kernels, between n - 0.5 and n + 0.5 in index coordinates.
    source, origin = volume.to_ijk(np.stack([geometry.source, geometry.detector_origin])) + 0.5
    column = to_ijk @ (geometry.columns * geometry.spacing[1])
    row = to_ijk @ (geometry.rows * geometry.spacing[0])
    size = np.array([volume.array.shape[2 - a] for a in order], dtype=np.int64)
    scale = np.ascontiguousarray(volume.ijk_to_ras[:3, :3][:, order])
    return GridRays(order, size, source[order], origin[order], column[order], row[order], scale)


def element_strides(array: np.ndarray, order: list[int]) -> np.ndarray:
    """Distance in the flattened `array` ``(K, J, I)`` between neighbours along the axes `order` of i, j, k, int64."""
    return np.array([array.strides[2 - a] // array.itemsize for a in order], dtype=np.int64)


#: Memory of running sums that no tracer uses any more, at most one block: the next CT is about as large as the last,
#: and to get fresh pages from the system can take longer than to fill them.
_spare: list[np.ndarray] = []


def _borrow(shape: tuple[int, ...], kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An array of undefined content, and the block of bytes that it lies in."""
    size = int(np.prod(shape)) * kind.itemsize
    block = _spare.pop() if _spare else None
    if block is None or not size <= block.size <= 2 * size:
        block = np.empty(size, dtype=np.uint8)
    return block[:size].view(kind).reshape(shape), block


def _give_back(block: np.ndarray) -> None:
    _spare[:] = [block]


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
            sums, block = _borrow(tuple(shape), siddon.sums_type(values))
            weakref.finalize(self, _give_back, block)
            siddon.running_sums(values, axis, sums.dtype.type(self._offset), sums)
            self._sums[axis] = sums
        return self._sums[axis]

    def integrate(self, geometry: XRayGeometry) -> np.ndarray:
        """One integral a pixel, in value times mm, float32 ``(rows, columns)``. Rays end at the detector."""
        order, size, *rays = grid_rays(self._volume, geometry)
        sums = self._sums_along(2 - order[0])
        image = np.empty(geometry.shape, dtype=np.float32)
        siddon.line_integrals(sums.reshape(-1), size, element_strides(sums, order), *rays, image)
        return image

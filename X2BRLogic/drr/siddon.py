"""Exact line integrals through a voxel grid, a run of voxels at a time.

Siddon (Med. Phys. 12, 1985, 252-255) sums voxel values weighted by the length of the ray inside each. A ray that goes
mostly along one axis of the grid stays in the same column of voxels for many steps. With the running sums of every
column at hand the whole run costs two look-ups, so the work is counted in columns crossed, not voxels crossed: the
same integral, exact, about five times sooner at the divergence of a radiograph.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True, nogil=True)
def running_sums(values, axis, offset, sums):
    """Fill `sums` with the running sums of ``max(values + offset, 0)`` along `axis`.

    Args:
        values: ``(K, J, I)``, any real type.
        axis: 0, 1 or 2.
        offset: added before clamping, so that air counts nothing (1000 for Hounsfield units).
        sums: output, the shape of `values` but one longer along `axis`; entry n is the sum of the first n values.
    """
    nk, nj, ni = values.shape
    if axis == 0:
        for j in prange(nj):
            for i in range(ni):
                sums[0, j, i] = 0
            for k in range(nk):
                for i in range(ni):
                    sums[k + 1, j, i] = sums[k, j, i] + max(values[k, j, i] + offset, 0)
    elif axis == 1:
        for k in prange(nk):
            for i in range(ni):
                sums[k, 0, i] = 0
            for j in range(nj):
                for i in range(ni):
                    sums[k, j + 1, i] = sums[k, j, i] + max(values[k, j, i] + offset, 0)
    else:
        for k in prange(nk):
            for j in range(nj):
                sums[k, j, 0] = 0
                for i in range(ni):
                    sums[k, j, i + 1] = sums[k, j, i] + max(values[k, j, i] + offset, 0)


@njit(inline="always")
def enter_grid(source, size, d0, d1, d2):
    """Where a ray from the source by (d0, d1, d2) enters the grid, and its first crossings of planes.

    Rays through values and rays through labels both start here, so that they agree to the pixel.

    Returns:
        hit: whether it crosses the grid at all; the rest means nothing otherwise.
        w, end: main coordinates between which it does, growing; u and v are linear in w.
        iu, iv: the column of voxels at w.
        next_u, next_v: w of the next crossing of a u-plane and of a v-plane.
        step_u, step_v: distance in w between such crossings.
        turn_u, turn_v: what a crossing adds to iu and iv.
    """
    # Clip the segment source-pixel (a from 0 to 1) to the grid.
    enter, leave = 0.0, 1.0
    for axis in range(3):
        d = d0 if axis == 0 else (d1 if axis == 1 else d2)
        if d == 0.0:
            if not 0.0 <= source[axis] < size[axis]:
                leave = -1.0
        else:
            near = -source[axis] / d
            far = (size[axis] - source[axis]) / d
            enter = max(enter, min(near, far))
            leave = min(leave, max(near, far))
    if leave <= enter or d0 == 0.0:
        return False, 0.0, 0.0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0
    su, sv = d1 / d0, d2 / d0
    w = source[0] + enter * d0
    end = source[0] + leave * d0
    if d0 < 0.0:
        w, end = end, w
    w = max(w, 0.0)
    end = min(end, float(size[0]))
    u = source[1] + (w - source[0]) * su
    v = source[2] + (w - source[0]) * sv
    iu = min(max(int(u), 0), size[1] - 1)
    iv = min(max(int(v), 0), size[2] - 1)
    step_u = math.inf if su == 0.0 else abs(1.0 / su)
    step_v = math.inf if sv == 0.0 else abs(1.0 / sv)
    turn_u, turn_v = 1 if su > 0.0 else -1, 1 if sv > 0.0 else -1
    next_u = math.inf if su == 0.0 else w + ((iu + (su > 0.0)) - u) / su
    next_v = math.inf if sv == 0.0 else w + ((iv + (sv > 0.0)) - v) / sv
    return True, w, end, iu, iv, next_u, next_v, step_u, step_v, turn_u, turn_v


@njit(inline="always")
def mm_per_step(scale, su, sv):
    """Millimetres for one unit of w on a ray along (1, su, sv); `scale`: 3x3, voxel coordinates to mm."""
    length = 0.0
    for axis in range(3):
        mm = scale[axis, 0] + scale[axis, 1] * su + scale[axis, 2] * sv
        length += mm * mm
    return math.sqrt(length)


@njit(inline="always")
def _until(flat, base, stride, size, w):
    """The integral of one column from its start to the coordinate `w`."""
    n = min(int(w), size - 1)
    at = base + n * stride
    low = flat[at]
    return low + (flat[at + stride] - low) * (w - n)


@njit(parallel=True, cache=True, nogil=True, fastmath={"nsz", "arcp", "contract"})
def line_integrals(flat, size, stride, source, origin, column_step, row_step, scale, image):
    """Integrate along the ray from the source to each pixel.

    All coordinates are voxel coordinates, reordered to (main, u, v), with voxel n between n and n + 1.

    Args:
        flat: the running sums along the main axis, flattened.
        size: number of voxels along (main, u, v).
        stride: distance in `flat` between neighbours along (main, u, v).
        source: the focal spot.
        origin, column_step, row_step: centre of pixel (0, 0) and the steps to its neighbours.
        scale: 3x3, voxel coordinates to mm, so that lengths are physical whatever the grid's shape.
        image: output ``(rows, columns)``: values times mm.
    """
    rows, columns = image.shape
    for row in prange(rows):
        for column in range(columns):
            d0 = origin[0] + row * row_step[0] + column * column_step[0] - source[0]
            d1 = origin[1] + row * row_step[1] + column * column_step[1] - source[1]
            d2 = origin[2] + row * row_step[2] + column * column_step[2] - source[2]
            hit, w, end, iu, iv, next_u, next_v, step_u, step_v, turn_u, turn_v = enter_grid(source, size, d0, d1, d2)
            if not hit:
                image[row, column] = 0.0
                continue
            base = iu * stride[1] + iv * stride[2]
            total = -_until(flat, base, stride[0], size[0], w)
            while True:
                stop = min(next_u, next_v)
                if stop >= end:
                    break
                stop = max(stop, w)
                total += _until(flat, base, stride[0], size[0], stop)
                if next_u <= next_v:
                    iu += turn_u
                    if iu < 0 or iu >= size[1]:
                        end = -1.0
                        break
                    next_u += step_u
                else:
                    iv += turn_v
                    if iv < 0 or iv >= size[2]:
                        end = -1.0
                        break
                    next_v += step_v
                base = iu * stride[1] + iv * stride[2]
                total -= _until(flat, base, stride[0], size[0], stop)
            if end >= 0.0:
                total += _until(flat, base, stride[0], size[0], end)
            image[row, column] = total * mm_per_step(scale, d1 / d0, d2 / d0)


def sums_type(values: np.ndarray) -> np.dtype:
    """Smallest type that holds running sums without rounding: whole Hounsfield units stay whole in int32."""
    return np.dtype(np.int32) if np.issubdtype(values.dtype, np.integer) else np.dtype(np.float64)

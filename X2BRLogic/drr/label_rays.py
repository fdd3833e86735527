"""Exact traversal of a label map: where each ray enters and leaves each bone, and how far it runs inside.

The rays are those of `siddon.line_integrals`, started by the same code and walked column by column in the same order.
Labels have no running sums, so inside a column the ray goes voxel by voxel (Amanatides and Woo, Eurographics 1987,
3-10), but only where the box around the bones lets it meet one.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .siddon import enter_grid, mm_per_step


@njit(parallel=True, cache=True, nogil=True, fastmath={"nsz", "arcp", "contract"})
def trace_labels(
    flat, size, stride, source, origin, column_step, row_step, scale,
    low, high, bone_of, window, crops, path, front, back,
):  # fmt: skip
    """All bones in one walk along each ray from the source to its pixel.

    Coordinates and the first eight arguments are those of `siddon.line_integrals`.

    Args:
        flat: the label map, flattened, unsigned.
        low, high: first and one past the last voxel along (main, u, v) that may belong to a bone.
        bone_of: from label to number of the bone, -1 where the label is none of them.
        window: first and one past the last row, first and one past the last column whose rays may meet a bone.
        crops: int64 ``(bones, 4)``: each bone's first row, first column, number of columns, and place in the outputs.
        path, front, back: outputs, float32, the bones' crops one after the other. Length inside the bone, distance
            from the source to the first entry and to the last exit, mm. Written only where the ray meets the bone.
    """
    bones = crops.shape[0]
    for row in prange(window[0], window[1]):
        # What one ray found, by bone; `met` lists those it met, so that the rest need no clearing.
        inside, first, last = np.zeros(bones), np.empty(bones), np.empty(bones)
        met = np.empty(bones, np.int64)
        for column in range(window[2], window[3]):
            d0 = origin[0] + row * row_step[0] + column * column_step[0] - source[0]
            d1 = origin[1] + row * row_step[1] + column * column_step[1] - source[1]
            d2 = origin[2] + row * row_step[2] + column * column_step[2] - source[2]
            hit, w, end, iu, iv, next_u, next_v, step_u, step_v, turn_u, turn_v = enter_grid(source, size, d0, d1, d2)
            if not hit:
                continue
            count = 0
            start = w
            while True:
                crossing = min(next_u, next_v)
                stop = min(max(crossing, w), end)
                if low[1] <= iu < high[1] and low[2] <= iv < high[2]:
                    base = iu * stride[1] + iv * stride[2]
                    for n in range(max(int(start), low[0]), min(math.ceil(stop), high[0])):
                        bone = bone_of[flat[base + n * stride[0]]]
                        if bone < 0:
                            continue
                        begin, finish = max(start, float(n)), min(stop, float(n + 1))
                        if finish <= begin:
                            continue
                        if inside[bone] == 0.0:
                            met[count] = bone
                            count += 1
                            first[bone] = begin
                        inside[bone] += finish - begin
                        last[bone] = finish
                if crossing >= end:
                    break
                start = stop
                if next_u <= next_v:
                    iu += turn_u
                    next_u += step_u
                    if iu < 0 or iu >= size[1]:
                        break
                else:
                    iv += turn_v
                    next_v += step_v
                    if iv < 0 or iv >= size[2]:
                        break
            if count == 0:
                continue
            mm = mm_per_step(scale, d1 / d0, d2 / d0)
            for m in range(count):
                bone = met[m]
                at = crops[bone, 3] + (row - crops[bone, 0]) * crops[bone, 2] + column - crops[bone, 1]
                path[at] = inside[bone] * mm
                # The walk goes along the main axis, which may be against the ray.
                near, far = abs(first[bone] - source[0]), abs(last[bone] - source[0])
                front[at], back[at] = min(near, far) * mm, max(near, far) * mm
                inside[bone] = 0.0

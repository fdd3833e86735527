"""One diffeomorphism from many moving bones: each bone moves as it is told, and the flesh between them gives way.

A polyaffine flow (Arsigny, Pennec and Ayache, Med. Image Anal. 9, 2005, 507-523): every point is carried by a velocity
that is a weighted mean of the bones' own. Bone b moves along ``T_b^t``, t from 0 to 1; the weights are functions of
the distance to the bones *as they are at that moment*, so a bone stays in its own motion all the way and arrives as it
was, only turned, shifted and scaled. The flow is a product of small steps, each close to the identity and so
invertible; where a draw is too violent for that, the determinant tells.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ... import anatomy
from .armature import DISTANCE_STEP_MM, DISTANCE_UNIT_MM, REACH_MM, Armature
from .transforms import apply, square_root

#: Steps of the flow, a power of two: the step of a transform is its repeated square root.
_HALVINGS = 2
STEPS = 2**_HALVINGS
#: Inverse-distance weights ``((d + core)^-1 - (reach + core)^-1)^2``, mm: flat within the core, zero at the reach.
_CORE_MM = 1.5
#: Where the nearest bone is so far off, half of the motion is that of the trunk at that level.
_TRUNK_MM = 25.0
#: The trunk is cut into levels, each with an affine motion of its own fitted to the bones about it.
SLICES_MM = np.arange(-260.0, 261.0, 20.0)
_SLICE_SPREAD_MM = 35.0
_TABLE_STEP_MM = 5.0
_TABLE_FROM_MM = -400.0
_TABLE_LENGTH = 161
_BLOCK = 4
_SHOULDER_SHARE = 0.4
#: One point in so many is enough for a fit.
_EVERY = 4


def trunk_motion(bones: Armature, motions: np.ndarray, overall: np.ndarray, girth: float) -> np.ndarray:
    """Affine motions of the trunk's levels, fitted to the bones about each: ``(len(SLICES_MM), 4, 4)``.

    Args:
        motions: ``(B, 4, 4)`` of the bones.
        overall: 4x4, what a level does where no bone is near; it also keeps the fits from running wild.
        girth: scale across, beyond what the bones do.
    """
    points = [p[::_EVERY] for p in bones.points]
    before = np.concatenate(points)
    after = np.concatenate([apply(m, p) for m, p in zip(motions, points, strict=True)])
    # The shoulders take their surroundings along, but an arm must not take the chest.
    share = [_SHOULDER_SHARE if anatomy.BY_LABEL[int(n)].group == "shoulder" else 1.0 for n in bones.labels]
    share = np.repeat(share, [len(p) for p in points])
    residual = after - apply(overall, before)
    fits = np.empty((len(SLICES_MM), 4, 4))
    for n, level in enumerate(SLICES_MM):
        exponent = -0.5 * ((before[:, 2] - level) / _SLICE_SPREAD_MM) ** 2
        weight = np.exp(exponent - exponent.max()) * share
        # Lengths in units of 100 mm, so that one ridge serves slopes and offset.
        design = np.column_stack([(before - [0, 0, level]) / 100.0, np.ones(len(before))])
        normal = (design * weight[:, None]).T @ design
        ridge = np.diag([0.02, 0.02, 0.1, 1e-4]) * weight.sum()
        slope = np.linalg.solve(normal + ridge, (design * weight[:, None]).T @ residual)
        extra = np.zeros((4, 4))
        extra[:3, :3] = slope[:3].T / 100.0
        extra[:3, 3] = slope[3] - extra[:3, :3] @ [0, 0, level]
        fits[n] = overall + extra
    return fits @ np.diag([girth, girth, 1.0, 1.0])


def flow_back(bones: Armature, motions: np.ndarray, levels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where points of the moved body come from.

    Args:
        motions: ``(B, 4, 4)`` of the bones, armature to moved body.
        levels: ``(len(SLICES_MM), 4, 4)`` of the trunk (`trunk_motion`).
        points: ``(Z, Y, X, 3)`` mm about the centre, a regular grid or close to one.

    Returns:
        Their places before the motion, the same shape.
    """
    step, level_step = np.linalg.inv(motions), np.linalg.inv(levels)
    for _ in range(_HALVINGS):
        step, level_step = square_root(step), square_root(level_step)
    pulls = np.empty((STEPS, *step.shape))
    tables = np.empty((STEPS, _TABLE_LENGTH, 3, 4))
    pulls[0] = step
    level_pull = level_step
    for n in range(STEPS):
        if n:
            pulls[n] = pulls[n - 1] @ step
            level_pull = level_pull @ level_step
        tables[n] = _level_table(level_pull, level_step)
    sizes = np.array([d.shape for d in bones.distances])
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(1))])
    flat = np.concatenate([d.ravel() for d in bones.distances])
    out = np.array(points, dtype=np.float32)
    _flow(out, step[:, :3], pulls[:, :, :3], tables, flat, offsets, sizes, bones.origins / DISTANCE_STEP_MM)
    return out


def _level_table(pull: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The trunk's step by height, at the moment when `pull` takes its levels back to where they began."""
    heights = _TABLE_FROM_MM + _TABLE_STEP_MM * np.arange(_TABLE_LENGTH)
    now = np.linalg.solve(pull, np.stack([[0, 0, z, 1] for z in SLICES_MM])[..., None])[:, 2, 0]
    exponent = -0.5 * ((heights[:, None] - now) / 18.0) ** 2
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    return np.einsum("hs,sij->hij", weight / weight.sum(1, keepdims=True), step[:, :3])


@njit(inline="always")
def _distance(flat, offset, size, x, y, z):
    """Distance at a place in grid units, linearly interpolated; the reach outside of the grid."""
    if x < 0 or y < 0 or z < 0 or x > size[2] - 1.001 or y > size[1] - 1.001 or z > size[0] - 1.001:
        return np.float32(REACH_MM)
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = x - i, y - j, z - k
    base = offset + (k * size[1] + j) * size[2] + i
    row, sheet = size[2], size[1] * size[2]
    a = flat[base] * (1 - fx) + flat[base + 1] * fx
    b = flat[base + row] * (1 - fx) + flat[base + row + 1] * fx
    c = flat[base + sheet] * (1 - fx) + flat[base + sheet + 1] * fx
    d = flat[base + sheet + row] * (1 - fx) + flat[base + sheet + row + 1] * fx
    value = (a * (1 - fy) + b * fy) * (1 - fz) + (c * (1 - fy) + d * fy) * fz
    return np.float32(value * DISTANCE_UNIT_MM)


@njit(parallel=True, cache=True, nogil=True)
def _flow(points, steps, pulls, tables, flat, offsets, sizes, origins):
    """Carry `points` back through all steps, in place, block by block so that most bones can be passed over."""
    count = steps.shape[0]
    nz, ny, nx = points.shape[:3]
    bz, by, bx = (nz + _BLOCK - 1) // _BLOCK, (ny + _BLOCK - 1) // _BLOCK, (nx + _BLOCK - 1) // _BLOCK
    beyond = 1.0 / (REACH_MM + _CORE_MM)
    trunk_weight = (1.0 / (_TRUNK_MM + _CORE_MM) - beyond) ** 2
    for block in prange(bz * by * bx):
        z0, y0, x0 = (block // (by * bx)) * _BLOCK, ((block // bx) % by) * _BLOCK, (block % bx) * _BLOCK
        z1, y1, x1 = min(z0 + _BLOCK, nz), min(y0 + _BLOCK, ny), min(x0 + _BLOCK, nx)
        near = np.empty(count, dtype=np.int64)
        for n in range(pulls.shape[0] - 1, -1, -1):
            middle = np.zeros(3)
            for k in range(z0, z1):
                for j in range(y0, y1):
                    for i in range(x0, x1):
                        for a in range(3):
                            middle[a] += points[k, j, i, a]
            middle /= (z1 - z0) * (y1 - y0) * (x1 - x0)
            radius = 0.0
            for k in range(z0, z1):
                for j in range(y0, y1):
                    for i in range(x0, x1):
                        span = 0.0
                        for a in range(3):
                            span += (points[k, j, i, a] - middle[a]) ** 2
                        radius = max(radius, span)
            # A bone's frame may be a little larger than ours; the surplus also covers the distance map's rounding.
            radius = 1.3 * np.sqrt(radius) + 2.0
            kept = 0
            for b in range(count):
                m = pulls[n, b]
                x = m[0, 0] * middle[0] + m[0, 1] * middle[1] + m[0, 2] * middle[2] + m[0, 3]
                y = m[1, 0] * middle[0] + m[1, 1] * middle[1] + m[1, 2] * middle[2] + m[1, 3]
                z = m[2, 0] * middle[0] + m[2, 1] * middle[1] + m[2, 2] * middle[2] + m[2, 3]
                x = x / DISTANCE_STEP_MM - origins[b, 0]
                y = y / DISTANCE_STEP_MM - origins[b, 1]
                z = z / DISTANCE_STEP_MM - origins[b, 2]
                # Outside of its grid: the way to the grid, beyond which the bone is out of reach.
                ox = max(-x, 0.0, x - sizes[b, 2] + 1.0)
                oy = max(-y, 0.0, y - sizes[b, 1] + 1.0)
                oz = max(-z, 0.0, z - sizes[b, 0] + 1.0)
                if ox > 0 or oy > 0 or oz > 0:
                    if np.sqrt(ox * ox + oy * oy + oz * oz) * DISTANCE_STEP_MM > radius:
                        continue
                elif _distance(flat, offsets[b], sizes[b], x, y, z) - radius > REACH_MM:
                    continue
                near[kept] = b
                kept += 1
            for k in range(z0, z1):
                for j in range(y0, y1):
                    for i in range(x0, x1):
                        px, py, pz = points[k, j, i, 0], points[k, j, i, 1], points[k, j, i, 2]
                        height = (pz - _TABLE_FROM_MM) / _TABLE_STEP_MM
                        row = min(max(int(height), 0), _TABLE_LENGTH - 2)
                        part = min(max(height - row, 0.0), 1.0)
                        low, high = tables[n, row], tables[n, row + 1]
                        total = trunk_weight
                        sx, sy, sz = 0.0, 0.0, 0.0
                        for c in range(4):
                            v = px if c == 0 else (py if c == 1 else (pz if c == 2 else 1.0))
                            sx += (low[0, c] * (1 - part) + high[0, c] * part) * v
                            sy += (low[1, c] * (1 - part) + high[1, c] * part) * v
                            sz += (low[2, c] * (1 - part) + high[2, c] * part) * v
                        sx *= total
                        sy *= total
                        sz *= total
                        for q in range(kept):
                            b = near[q]
                            m = pulls[n, b]
                            x = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
                            y = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
                            z = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                            d = _distance(
                                flat, offsets[b], sizes[b],
                                x / DISTANCE_STEP_MM - origins[b, 0],
                                y / DISTANCE_STEP_MM - origins[b, 1],
                                z / DISTANCE_STEP_MM - origins[b, 2],
                            )  # fmt: skip
                            if d >= REACH_MM:
                                continue
                            w = (1.0 / (d + _CORE_MM) - beyond) ** 2
                            s = steps[b]
                            sx += w * (s[0, 0] * px + s[0, 1] * py + s[0, 2] * pz + s[0, 3])
                            sy += w * (s[1, 0] * px + s[1, 1] * py + s[1, 2] * pz + s[1, 3])
                            sz += w * (s[2, 0] * px + s[2, 1] * py + s[2, 2] * pz + s[2, 3])
                            total += w
                        points[k, j, i, 0] = sx / total
                        points[k, j, i, 1] = sy / total
                        points[k, j, i, 2] = sz / total

"""One Triton kernel that walks rays from column to column, as `siddon.line_integrals` does, each in a thread."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

_RAYS_A_WARP = 32


@triton.jit
def _sum_until(sums, base, stride, size, w, going):
    """Sum of a column's whole voxels up to the coordinate w, and the part of the next."""
    n = tl.minimum(w.to(tl.int32), size - 1)
    at = sums + base + n.to(tl.int64) * stride
    low = tl.load(at, mask=going, other=0)
    high = tl.load(at + stride, mask=going, other=0)
    return low, (high - low).to(tl.float32) * (w - n.to(tl.float32))


@triton.jit
def _crossings(at, slope, w, index):
    """Where a ray first crosses a plane of an axis, the distance to its next crossing, and the way it goes."""
    turn = tl.where(slope > 0, 1, -1)
    still = slope == 0
    divisor = tl.where(still, 1.0, slope)
    ahead = (index + tl.where(slope > 0, 1, 0)).to(tl.float32) - at
    first = tl.where(still, float("inf"), w + ahead / divisor)
    step = tl.where(still, 0.0, tl.abs(1.0 / divisor))
    return first, step, turn


@triton.jit
def walk(sums, rays, integrals, count, size_w, size_u, size_v, stride_w, stride_u, stride_v, RAYS: tl.constexpr):
    """Integrals of `RAYS` rays; `rays` is what `torch_siddon._rays` makes, ``(7, count)``."""
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    exists = ray < count
    rays += ray
    start = tl.load(rays, mask=exists, other=0.0)
    end = tl.load(rays + count, mask=exists, other=0.0)
    u = tl.load(rays + 2 * count, mask=exists, other=0.0)
    v = tl.load(rays + 3 * count, mask=exists, other=0.0)
    slope_u = tl.load(rays + 4 * count, mask=exists, other=0.0)
    slope_v = tl.load(rays + 5 * count, mask=exists, other=0.0)
    mm = tl.load(rays + 6 * count, mask=exists, other=0.0)

    iu = tl.minimum(tl.maximum(u.to(tl.int32), 0), size_u - 1)
    iv = tl.minimum(tl.maximum(v.to(tl.int32), 0), size_v - 1)
    first_u, step_u, turn_u = _crossings(u, slope_u, start, iu)
    first_v, step_v, turn_v = _crossings(v, slope_v, start, iv)
    crossed_u, crossed_v = tl.zeros_like(iu), tl.zeros_like(iv)
    total = tl.zeros_like(start)
    going = exists & (end > start)
    while tl.max(going.to(tl.int32), axis=0) > 0:
        # From counts, not by adding steps: float32 would drift.
        next_u = first_u + crossed_u.to(tl.float32) * step_u
        next_v = first_v + crossed_v.to(tl.float32) * step_v
        stop = tl.minimum(next_u, next_v)
        cut = tl.maximum(tl.minimum(stop, end), start)
        base = iu.to(tl.int64) * stride_u + iv.to(tl.int64) * stride_v
        low, low_part = _sum_until(sums, base, stride_w, size_w, start, going)
        high, high_part = _sum_until(sums, base, stride_w, size_w, cut, going)
        total += tl.where(going, (high - low).to(tl.float32) + (high_part - low_part), 0.0)
        across_u = next_u <= next_v
        crossed_u += tl.where(across_u, 1, 0)
        crossed_v += tl.where(across_u, 0, 1)
        iu += tl.where(across_u, turn_u, 0)
        iv += tl.where(across_u, 0, turn_v)
        going = going & (stop < end) & (iu >= 0) & (iu < size_u) & (iv >= 0) & (iv < size_v)
        start = cut
    tl.store(integrals + ray, total * mm, mask=exists)


def march(sums: torch.Tensor, rays: torch.Tensor, size: list[int], stride: list[int]) -> torch.Tensor:
    """The integrals ``(rays,)``, float32. See `torch_siddon` for the arguments."""
    count = rays.shape[1]
    integrals = torch.empty(count, dtype=torch.float32, device=rays.device)
    # One warp a program: it ends when the longest of 32 neighbouring rays does.
    walk[(triton.cdiv(count, _RAYS_A_WARP),)](
        sums, rays, integrals, count, *size, *stride, RAYS=_RAYS_A_WARP, num_warps=1
    )
    return integrals

"""The ray tracer on PyTorch tensors: many views at once, on a graphics card or wherever PyTorch runs.

The same integral as `siddon`, from the same running sums: along its main axis a ray is cut where it passes from one
column of voxels to the next, and every piece costs two look-ups. On CUDA one kernel walks all rays (`triton_siddon`);
elsewhere, or where Triton is missing, plain tensor operations sort the cuts of each ray. Gradients are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from .trace import GridRays, grid_rays

try:
    from .triton_siddon import march as _march_fused
except ImportError:  # PyTorch without Triton
    _march_fused = None

#: Rays of a batch, 28 bytes each.
_RAYS = 1 << 24
#: Memory for the cuts of a batch of rays on the path without Triton, bytes.
_MEMORY = 1 << 28
_BYTES_A_CUT = 80


class TorchRayTracer:
    """Line integrals of ``max(value + offset, 0)`` along the rays of many geometries at once.

    Args:
        volume: as for `RayTracer`; it is copied to the device.
        offset: added to every voxel before clamping at zero.
        device: where to compute, e.g. ``cuda``.
    """

    def __init__(self, volume: Volume, offset: int = 0, device: str | torch.device = "cuda"):
        self._volume = volume
        self._device = torch.device(device)
        whole = np.issubdtype(volume.array.dtype, np.integer)
        # Sums that round nothing: whole Hounsfield units stay whole in int32.
        self._kind = torch.int32 if whole else torch.float64
        values = torch.from_numpy(volume.array.astype(np.int32 if whole else np.float32)).to(self._device)
        self._values = (values + offset).clamp_(min=0)
        self._sums: dict[int, torch.Tensor] = {}

    def _sums_along(self, axis: int) -> torch.Tensor:
        if axis not in self._sums:
            shape = list(self._values.shape)
            shape[axis] += 1
            sums = torch.zeros(shape, dtype=self._kind, device=self._device)
            sums.narrow(axis, 1, shape[axis] - 1).copy_(torch.cumsum(self._values, axis, dtype=self._kind))
            self._sums[axis] = sums
        return self._sums[axis]

    @torch.inference_mode()
    def integrate(self, geometries: Sequence[XRayGeometry]) -> torch.Tensor:
        """One integral a pixel and view, in value times mm, float32 ``(views, rows, columns)`` on the device.

        Raises `InputError` when there is no view, or the detectors differ in their number of pixels.
        """
        shapes = {geometry.shape for geometry in geometries}
        if len(shapes) != 1:
            raise InputError("views to be rendered at once need one detector size in pixels; render them one by one")
        images = torch.empty(len(geometries), *shapes.pop(), dtype=torch.float32, device=self._device)
        views = [grid_rays(self._volume, geometry) for geometry in geometries]
        # Views with one main axis share its sums, and are one batch.
        march = _march_fused if self._device.type == "cuda" and _march_fused else _march
        most = max(1, _RAYS // images[0].numel())
        for order in {tuple(view.order) for view in views}:
            along = [n for n, view in enumerate(views) if tuple(view.order) == order]
            sums = self._sums_along(2 - order[0])
            stride = [sums.stride(2 - axis) for axis in order]
            for batch in (along[n : n + most] for n in range(0, len(along), most)):
                rays = torch.cat([_rays(views[n], images.shape[1:], self._device) for n in batch], dim=1)
                integrals = march(sums.view(-1), rays, views[batch[0]].size.tolist(), stride)
                images[batch] = integrals.view(len(batch), *images.shape[1:])
        return images


def _rays(view: GridRays, shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Where each ray of a view runs through the grid.

    Returns:
        Float32 ``(7, rows * columns)``: main coordinates w at which the ray enters and leaves (equal where it misses),
        u and v where it enters, their slopes against w, and mm for one unit of w.
    """
    # In double precision: the source is far off in voxels, the crossings must not feel it.
    source, origin, column_step, row_step, scale = (
        torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in view[2:]
    )
    size = torch.from_numpy(view.size).to(device, torch.float64)
    row = torch.arange(shape[0], device=device, dtype=torch.float64)[:, None, None]
    column = torch.arange(shape[1], device=device, dtype=torch.float64)[:, None]
    direction = ((origin - source) + row * row_step + column * column_step).view(-1, 3)
    # Clip the segment source-pixel (from 0 to 1) to the grid. Along an axis that the ray does not go, 0/0 or x/0.
    bounds = torch.stack([-source, size - source])[:, None] / direction
    bounds = bounds.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    enter = bounds.amin(0).amax(1).clamp(min=0)
    leave = bounds.amax(0).amin(1).clamp(max=1)
    inside = (leave > enter) & (direction[:, 0] != 0)
    w = source[0] + torch.stack([enter, leave]) * direction[:, 0]
    first, last = torch.where(inside, w.amin(0), 0).clamp(min=0), torch.where(inside, w.amax(0), 0).minimum(size[0])
    slope = torch.where(inside[:, None], direction[:, 1:] / direction[:, :1], 0)
    at = source[1:] + (first - source[0])[:, None] * slope
    mm = (scale[:, 0] + slope @ scale[:, 1:].T).norm(dim=1)
    return torch.stack([first, last, *at.T, *slope.T, mm]).to(torch.float32)


def _march(sums: torch.Tensor, rays: torch.Tensor, size: list[int], stride: list[int]) -> torch.Tensor:
    """The integrals ``(rays,)`` by tensor operations: the cuts of a ray, sorted; the column at each piece's middle."""
    reach = (rays[4:6].abs() * (rays[1] - rays[0])).amax(1)  # columns crossed, at most
    counts = [int(n) + 2 for n in reach.tolist()]
    batch = max(1, _MEMORY // (_BYTES_A_CUT * (sum(counts) + 2)))
    return torch.cat([_march_batch(sums, part, size, stride, counts) for part in rays.split(batch, dim=1)])


def _march_batch(sums, rays, size, stride, counts) -> torch.Tensor:
    first, last, u, v, slope_u, slope_v, mm = (r[:, None] for r in rays)
    cuts = [first, last]
    for at, slope, count in ((u, slope_u, counts[0]), (v, slope_v, counts[1])):
        n = torch.arange(count, device=rays.device, dtype=torch.float32)
        planes = torch.where(slope > 0, at.floor() + 1 + n, at.ceil() - 1 - n)
        # Beyond the end there is nothing to cut; nor for a ray along the axis, where this is not a number.
        cuts.append((first + (planes - at) / slope).nan_to_num(nan=torch.inf).clamp(first, last))
    cuts = torch.cat(cuts, dim=1).sort(dim=1).values
    middle = 0.5 * (cuts[:, 1:] + cuts[:, :-1]) - first
    base = (u + middle * slope_u).long().clamp_(0, size[1] - 1) * stride[1]
    base += (v + middle * slope_v).long().clamp_(0, size[2] - 1) * stride[2]

    def until(w):
        """Sums up to the last whole voxel, and the part of the next."""
        n = w.long().clamp_(0, size[0] - 1)
        low = sums[base + n * stride[0]]
        return low, (sums[base + (n + 1) * stride[0]] - low) * (w - n)

    (low, low_part), (high, high_part) = until(cuts[:, :-1]), until(cuts[:, 1:])
    return (((high - low) + (high_part - low_part)).sum(1) * mm[:, 0]).to(torch.float32)

"""The spinal canal, from which every place in the thorax is counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...errors import InputError

#: Bone around the canal is looked for at these distances from its middle, mm, in so many directions.
_RING_MM = np.arange(8.0, 19.0, 2.5)
_DIRECTIONS = 12
#: What fills the canal: cord, fluid and fat, HU.
_CANAL_HU = (-20.0, 110.0)
#: Arches and pedicles come once a vertebra: a direction counts as closed when bone is there somewhere along so much.
_ALONG_MM = 24.0
#: Grid of the search, mm.
_SPACING_MM = 3.0
_LEAST_SCORE = 0.4


@dataclass(frozen=True)
class Canal:
    """The middle of the spinal canal in every slice.

    Attributes:
        x: RAS mm towards the right, one a slice ``(K,)``; as RAS has it, left is negative.
        y: RAS mm towards the front ``(K,)``.
        z: RAS mm towards the head ``(K,)``, rising.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    def beside(self, points: np.ndarray) -> np.ndarray:
        """RAS points ``(N, 3)`` as ``(right, front, up)`` mm, counted from the canal at their height."""
        height = points[:, 2]
        across = np.interp(height, self.z, self.x), np.interp(height, self.z, self.y)
        return np.column_stack([points[:, 0] - across[0], points[:, 1] - across[1], height])

    def places(self, height: np.ndarray, ahead: float = 0.0) -> np.ndarray:
        """RAS places ``(N, 3)`` at heights of the canal, or so many mm in front of it, square to the spine."""
        x, y = np.interp(height, self.z, self.x), np.interp(height, self.z, self.y)
        lean = ndimage.gaussian_filter1d(np.gradient(self.y, self.z), 20.0 / (self.z[1] - self.z[0]), mode="nearest")
        lean = np.interp(height, self.z, lean)
        scale = ahead / np.sqrt(1.0 + lean**2)
        return np.column_stack([x, y + scale, height - scale * lean])


def find_canal(hu: np.ndarray, spacing: float, origin: np.ndarray) -> Canal:
    """Follow the spinal canal through an upright stack of axial slices.

    A ring of bone around soft tissue marks the canal: for every voxel, the share of directions in which bone stands
    at the distance of the canal's wall. The path of least cost through the slices is found by dynamic programming.

    Args:
        hu: Hounsfield units ``[k, j, i]``, axes along RAS.
        spacing: edge of the cubic voxels, mm.
        origin: RAS mm of voxel (0, 0, 0).

    Raises:
        InputError: no spine runs through the scan.
    """
    step = max(1, round(_SPACING_MM / spacing))
    score = _ring_score(hu[::step, ::step, ::step], step * spacing)
    path = _best_path(-np.log(np.clip(score, 0.02, 1.0)))
    along = score[np.arange(len(path)), path[:, 0], path[:, 1]]
    if len(path) * step * spacing < 60.0 or np.median(along) < _LEAST_SCORE:
        raise InputError("no spine was found in the CT; give a CT of a whole thorax in Hounsfield units")
    smooth = ndimage.gaussian_filter1d(path.astype(np.float64), 9.0 / (step * spacing), axis=0, mode="nearest") * step
    slices = np.arange(hu.shape[0])
    row, column = (np.interp(slices, np.arange(len(path)) * step, smooth[:, axis]) for axis in (0, 1))
    return Canal(origin[0] + spacing * column, origin[1] + spacing * row, origin[2] + spacing * slices)


def _ring_score(hu: np.ndarray, spacing: float) -> np.ndarray:
    """How much a voxel looks like the middle of the canal, 0 to 1, shape of `hu`."""
    bone = ndimage.gaussian_filter(hu, 0.5) > 150
    soft = ndimage.gaussian_filter(hu, 0.7)
    closed = np.zeros(hu.shape, dtype=np.float32)
    for angle in np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
        hit = np.zeros(hu.shape, dtype=bool)
        for distance in _RING_MM / spacing:
            rows, columns = round(distance * np.sin(angle)), round(distance * np.cos(angle))
            hit |= np.roll(bone, (-rows, -columns), axis=(1, 2))
        seen = ndimage.uniform_filter1d(hit.astype(np.float32), round(_ALONG_MM / spacing), axis=0)
        closed += np.minimum(1.5 * seen, 1.0) / _DIRECTIONS
    filled = ((soft > _CANAL_HU[0]) & (soft < _CANAL_HU[1])).astype(np.float32)
    filled = ndimage.uniform_filter1d(filled, round(_ALONG_MM / 2 / spacing), axis=0)
    return ndimage.gaussian_filter(closed * filled, (0, 0.7, 0.7))


def _best_path(cost: np.ndarray, reach: int = 2, stiffness: float = 0.1) -> np.ndarray:
    """The cheapest path from the first slice to the last, at most `reach` voxels aside a slice; ``(K, 2)`` as j, i."""
    slices, rows, columns = cost.shape
    moves = [(dj, di) for dj in range(-reach, reach + 1) for di in range(-reach, reach + 1)]
    total, choices = cost[0].copy(), []
    for k in range(1, slices):
        padded = np.pad(total, reach, constant_values=np.inf)
        options = np.stack(
            [
                padded[reach + dj : reach + dj + rows, reach + di : reach + di + columns]
                + stiffness * (dj * dj + di * di)
                for dj, di in moves
            ]
        )
        choices.append(options.argmin(axis=0))
        total = options.min(axis=0) + cost[k]
    place = np.unravel_index(total.argmin(), total.shape)
    path = [place]
    for choice in reversed(choices):
        dj, di = moves[choice[place]]
        place = (place[0] + dj, place[1] + di)
        path.append(place)
    return np.array(path[::-1])

"""One surface a bone, from a field of all bones and what says which bone a place belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import trimesh
from scipy import ndimage

from .extract import isosurface, outward

#: Values far outside every bone.
_OUTSIDE = -20.0


def split_by_name(
    grid: np.ndarray,
    level: float,
    scores: Callable[[np.ndarray], np.ndarray],
    to_ras: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[int, trimesh.Trimesh]]:
    """The closed surface of each bone: where the field has its level and the bone's score is the highest.

    Bones that touch share their border and do not overlap, but for what marching cubes rounds.

    Args:
        grid: logits ``(N, N, N)`` at the corners of the cells of [-0.5, 0.5]^3, as `mise` returns them.
        level: of the surface.
        scores: points ``(M, 3)`` float32 to log-odds ``(M, K)``; asked near the surface and inside it only.
        to_ras: cube points to RAS mm.

    Yields:
        Place among the K, and mesh in RAS mm; bones without any point are left out.
    """
    near = ndimage.binary_dilation(grid >= level, np.ones((3, 3, 3), dtype=bool))
    index = np.argwhere(near)
    found = scores((index / (grid.shape[0] - 1) - 0.5).astype(np.float32))
    if not len(index):
        return
    best = found.argmax(axis=1)
    top = np.partition(found, -2, axis=1)[:, -2:]
    inside = grid[near] >= level
    boxes = ndimage.find_objects(_labelled(grid.shape, index[inside], best[inside]), found.shape[1])
    place = np.full(grid.shape, -1, dtype=np.int32)
    place[near] = np.arange(len(index))
    for bone, box in enumerate(boxes):
        if box is None:
            continue
        box = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in box)
        asked = place[box]
        mine = asked[asked >= 0]
        # By how much the bone's score is above those of all others.
        lead = found[mine, bone] - np.where(best[mine] == bone, top[mine, 0], top[mine, 1])
        values = np.full(asked.shape, _OUTSIDE, dtype=np.float32)
        values[asked >= 0] = np.minimum(grid[box][asked >= 0] - level, lead)
        vertices, faces = isosurface(values, 0.0)
        if len(faces):
            cube = (vertices + [side.start for side in box]) / (grid.shape[0] - 1) - 0.5
            yield bone, outward(trimesh.Trimesh(to_ras(cube), faces, process=False))


def _labelled(shape: tuple[int, ...], index: np.ndarray, bone: np.ndarray) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.int32)
    labels[tuple(index.T)] = bone + 1
    return labels

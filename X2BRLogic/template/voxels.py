"""Closed meshes to a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import trimesh

from ..errors import InputError
from ..evaluation.occupancy import occupancy
from ..volume import Volume

MOST_VOXELS = 512**3


def voxelise(
    labelled: Iterable[tuple[int, trimesh.Trimesh]],
    *,
    spacing: float = 1.5,
    like: Volume | None = None,
    margin: float = 6.0,
) -> Volume:
    """A uint8 volume whose voxels carry the label of the mesh that their centre lies in; the first mesh wins.

    Args:
        labelled: pairs of a label and a closed mesh in RAS mm.
        spacing: edge of the voxels in mm, on a grid along R, A and S around the meshes.
        like: a volume whose grid to use instead.
        margin: empty space around the meshes in mm.

    Raises:
        InputError: no mesh, or a spacing that is not positive or makes the volume too large.
    """
    labelled = list(labelled)
    grid = like if like is not None else _grid_around([mesh for _, mesh in labelled], spacing, margin)
    array = np.zeros(grid.array.shape, dtype=np.uint8)
    size = np.array(array.shape[::-1])
    for label, mesh in labelled:
        ijk = grid.to_ijk(mesh.vertices)
        low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, size)
        if (low >= high).any():
            continue
        place = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        # In the grid's own frame, in which its points are a lattice of unit spacing; a mirrored mesh winds the other
        # way round, which is inside all the same.
        local = trimesh.Trimesh(ijk, mesh.faces, process=False)
        inside = occupancy(local, low, 1.0, tuple(high - low)).transpose(2, 1, 0)
        array[place][inside & (array[place] == 0)] = label
    return Volume(array, grid.ijk_to_ras)


def _grid_around(meshes: list[trimesh.Trimesh], spacing: float, margin: float) -> Volume:
    """An empty volume along R, A and S around meshes."""
    if not meshes:
        raise InputError("there is no bone to fill a volume with")
    if not spacing > 0:
        raise InputError(f"the spacing of a volume must be positive, not {spacing:g} mm")
    low = np.min([mesh.bounds[0] for mesh in meshes], axis=0) - margin
    high = np.max([mesh.bounds[1] for mesh in meshes], axis=0) + margin
    count = np.ceil((high - low) / spacing).astype(np.int64) + 1
    if np.prod(count.astype(float)) > MOST_VOXELS:
        listed = " x ".join(map(str, count))
        raise InputError(f"{listed} voxels of {spacing:g} mm are too many; give a coarser spacing")
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = low
    return Volume(np.zeros(count[::-1], dtype=np.uint8), matrix)

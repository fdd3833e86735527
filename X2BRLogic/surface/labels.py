"""Bone labels to closed meshes in patient space."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import trimesh
from scipy import ndimage

from ..errors import InputError
from ..volume import Volume
from .clean import make_watertight, simplify
from .extract import enclosed_volume, isosurface

TRUNCATE = 4.0  # the Gaussian's reach in standard deviations
VOLUME_TOLERANCE = 0.002
SECANT_STEPS = 6


def labels_to_mesh(
    volume: Volume, labels: Iterable[int] | int, *, smooth_mm: float = 0.75, faces: int | None = None
) -> trimesh.Trimesh:
    """One closed mesh, in RAS mm with outward faces, around the voxels of one or several labels together.

    The mask is smoothed by a Gaussian and cut, not at one half, which would shrink thin bones by up to a tenth, but
    at the level that encloses the voxels' volume, to a fifth of a percent.

    Args:
        volume: label map of whole numbers, any orientation, spacing and handedness. A bone cut by the border of the
            volume is closed there.
        labels: label numbers, taken as one body.
        smooth_mm: standard deviation of the Gaussian in mm; 0 keeps the steps of the voxels.
        faces: simplify to about so many faces.

    Raises:
        InputError: none of the voxels has any of the labels, or the map is not of whole numbers.
    """
    wanted = np.unique(np.atleast_1d(np.asarray(labels if np.isscalar(labels) else list(labels), dtype=np.int64)))
    return _mesh(volume, wanted, _boxes(volume), smooth_mm, faces)


def labels_to_meshes(
    volume: Volume, labels: Iterable[int], *, smooth_mm: float = 0.75, faces: int | None = None
) -> dict[int, trimesh.Trimesh]:
    """`labels_to_mesh` for each label by itself. Labels that the map lacks are left out.

    Raises:
        InputError: the map has none of the labels, or is not of whole numbers.
    """
    boxes = _boxes(volume)
    wanted = [int(label) for label in labels]
    meshes = {n: _mesh(volume, np.array([n]), boxes, smooth_mm, faces) for n in wanted if n in boxes}
    if not meshes:
        raise InputError(_absent(wanted, boxes))
    return meshes


def _boxes(volume: Volume) -> dict[int, tuple[slice, slice, slice]]:
    """The box ``[k, j, i]`` of each label that occurs."""
    array = volume.array
    if not np.issubdtype(array.dtype, np.integer):
        if not np.array_equal(array, np.round(array)):
            raise InputError("a label map holds whole numbers; this volume is an image; pass its labels instead")
        array = array.astype(np.int32)
    return {n: box for n, box in enumerate(ndimage.find_objects(array), start=1) if box is not None}


def _absent(wanted: Iterable[int], boxes: dict) -> str:
    names = ", ".join(str(n) for n in wanted) or "none"
    return f"the label map has no voxel with label {names}; it has {', '.join(map(str, boxes)) or 'no label at all'}"


def _mesh(volume: Volume, wanted: np.ndarray, boxes: dict, smooth_mm: float, faces: int | None) -> trimesh.Trimesh:
    found = [boxes[n] for n in wanted if n in boxes]
    if not found:
        raise InputError(_absent(wanted, boxes))
    low = np.min([[span.start for span in box] for box in found], axis=0)
    high = np.max([[span.stop for span in box] for box in found], axis=0)
    mask = np.isin(volume.array[tuple(map(slice, low, high))], wanted)

    sigma = smooth_mm / volume.spacing[::-1]
    margin = np.ceil(TRUNCATE * sigma).astype(int) + 1
    field = np.pad(mask, [(m, m) for m in margin]).astype(np.float32)
    if smooth_mm > 0:
        field = ndimage.gaussian_filter(field, sigma, mode="constant", truncate=TRUNCATE)
    vertices, triangles = _isosurface_of_volume(field, np.count_nonzero(mask))

    kji = vertices + (low - margin)
    # Reversing k, j, i mirrors; so does a left-handed volume.
    if np.linalg.det(volume.ijk_to_ras[:3, :3]) > 0:
        triangles = triangles[:, ::-1]
    mesh = make_watertight(trimesh.Trimesh(volume.to_ras(kji[:, ::-1]), triangles, process=False))
    return mesh if faces is None else simplify(mesh, faces)


def _isosurface_of_volume(field: np.ndarray, target: float) -> tuple[np.ndarray, np.ndarray]:
    """The isosurface of a smoothed mask that encloses `target` voxels, its level found by the secant method."""
    top = float(field.max())
    level, before = 0.5 * top, None
    for _ in range(SECANT_STEPS):
        surface = isosurface(field, level)
        enclosed = enclosed_volume(*surface)
        if abs(enclosed - target) <= VOLUME_TOLERANCE * target:
            break
        if before is None or enclosed == before[1]:
            better = level * enclosed / target
        else:
            better = level + (target - enclosed) * (level - before[0]) / (enclosed - before[1])
        before, level = (level, enclosed), float(np.clip(better, 0.1 * top, 0.9 * top))
    return surface

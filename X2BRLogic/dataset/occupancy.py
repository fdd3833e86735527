"""The occupancy file of a subject: the paper's points and grid, and points near the surface.

``occupancy.npz`` holds

``scale``, ``centre``
    float64; ``(ras - centre) * scale`` takes RAS mm into the unit box (`X2BRLogic.dataset.truth.unit_box`).
``points``, ``inside``
    ``(N, 3)`` float32, uniform in the unit box, and bool ``(N,)``.
``near_points``, ``near_inside``
    the same about the surface; they may lie a little outside the box.
``known``, ``near_known``
    bool ``(N,)``: false where the scan does not tell, beyond its border and in costal cartilage. ``inside`` is what the
    mesh says, also there.
``grid``
    bool ``(32, 32, 32)`` [x, y, z]: the centres of the unit box's cells (`X2BRLogic.dataset.truth.voxelise`).
"""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import trimesh

from .. import anatomy
from ..errors import InputError
from ..files import written_whole
from ..volume import Volume
from .truth import into_box, labels_at, near_surface_samples, uniform_samples, unit_box, voxelise

#: Name of each array, its type and its shape.
ARRAYS = {
    "scale": (np.float64, ()),
    "centre": (np.float64, (3,)),
    "points": (np.float32, ("N", 3)),
    "inside": (np.bool_, ("N",)),
    "known": (np.bool_, ("N",)),
    "near_points": (np.float32, ("M", 3)),
    "near_inside": (np.bool_, ("M",)),
    "near_known": (np.bool_, ("M",)),
    "grid": (np.bool_, (32, 32, 32)),
}
_FIRST = {"N": "points", "M": "near_points"}


def sample(
    mesh: trimesh.Trimesh, labels: Volume, *, points: int, near_points: int, near_mm: float, seed: int
) -> dict[str, np.ndarray]:
    """The arrays of a subject's file.

    Args:
        mesh: the bones as one closed mesh, RAS mm.
        labels: where something is known, and what.
        points, near_points: how many.
        near_mm: standard deviation of the near ones from the surface along each axis.
        seed: the same seed gives the same points.
    """
    scale, centre = unit_box(mesh)
    boxed = into_box(mesh, scale, centre)
    uniform, inside = uniform_samples(boxed, points, seed)
    near, near_inside = near_surface_samples(boxed, near_points, near_mm * scale, seed)
    return {
        "scale": np.float64(scale),
        "centre": centre,
        "points": uniform,
        "inside": inside,
        "known": _known(labels, uniform / scale + centre),
        "near_points": near,
        "near_inside": near_inside,
        "near_known": _known(labels, near / scale + centre),
        "grid": voxelise(boxed),
    }


def _known(labels: Volume, ras: np.ndarray) -> np.ndarray:
    label, in_view = labels_at(labels, ras)
    return in_view & (label != anatomy.CARTILAGES)


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Compressed, whole or not at all."""
    with written_whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays as they should be. Raises `InputError` for a file that is no such thing."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.atleast_1d(file[name]) if shape else file[name] for name, (_, shape) in ARRAYS.items()}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name} is damaged or lacks an array ({error})") from None
    for name, (kind, shape) in ARRAYS.items():
        array = arrays[name]
        # A letter stands for as many as the first array with it has.
        expected = tuple(len(arrays[_FIRST[n]]) if isinstance(n, str) else n for n in shape)
        if array.dtype != kind or array.shape != expected:
            raise InputError(f"{path.name}: {name} is {array.dtype} {array.shape}, not {np.dtype(kind)} {expected}")
    return arrays

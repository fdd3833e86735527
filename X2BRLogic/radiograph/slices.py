"""A radiograph as a volume of one slice: NRRD, NIfTI or MetaImage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..volume_io import read_volume, volume_size
from .film import Film, require_size


def read_slice(path: Path) -> Film:
    """Read a one-slice volume, bone bright. Raises `InputError` for a 3D volume."""
    size = volume_size(path)
    if sum(n > 1 for n in size) != 2:
        listed = " x ".join(map(str, size))
        raise InputError(
            f"{path} is a 3D volume of {listed} voxels, a radiograph has one slice; make one with x2br drr"
        )
    columns, rows = (n for n in size if n > 1)
    require_size(path.name, rows, columns)
    volume = read_volume(path)
    across, down = (axis for axis in range(3) if volume.array.shape[2 - axis] > 1)
    spacing = volume.spacing[down], volume.spacing[across]
    return Film(
        pixels=volume.array.reshape(rows, columns),
        # a header that says nothing reads as 1 mm
        spacing=None if np.allclose(spacing, 1.0) else (float(spacing[0]), float(spacing[1])),
        directions=(_letter(volume.ijk_to_ras[:3, across]), _letter(volume.ijk_to_ras[:3, down])),
    )


def _letter(direction: np.ndarray) -> str:
    """The anatomical direction (R L A P H F) nearest to a RAS vector."""
    axis = int(np.abs(direction).argmax())
    return ("RL", "AP", "HF")[axis][0 if direction[axis] > 0 else 1]

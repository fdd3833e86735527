"""A skeleton from whatever the user has."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from ..files import require_file
from .folder import read_folder
from .orientation import AXES
from .skel_model import SUFFIXES, read_skel
from .skeleton import Skeleton
from .storage import MESHES, TABLE, read_stored


def read_skeleton(path: str | os.PathLike, *, axes: str | None = None) -> Skeleton:
    """A skeleton from a file or folder, RAS mm, closed meshes.

    Args:
        path: a folder that `save_skeleton` wrote (or one of its two files), a folder with one STL, PLY, OBJ or OFF a
            bone, or a SKEL model (``.pkl`` or ``.npz``).
        axes: ``RAS`` or ``LPS`` for a folder of meshes; by default found from the files or from the bones themselves.

    Raises:
        InputError: it is none of these, or damaged.
    """
    path = Path(path)
    if axes is not None and axes not in AXES:
        raise InputError(f"unknown axes {axes!r}; use one of {', '.join(AXES)}")
    if path.is_dir():
        return read_stored(path) if (path / TABLE).is_file() else read_folder(path, axes)
    path = require_file(path)
    if path.name in (MESHES, TABLE):
        return read_stored(path.parent)
    if path.suffix.lower() in SUFFIXES:
        return read_skel(path)
    raise InputError(
        f"{path} is no skeleton that can be read; give a folder with one mesh a bone, {MESHES}, or a SKEL model (.pkl)"
    )

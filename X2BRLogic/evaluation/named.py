"""Named bones: of a reconstruction, or of a label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from scipy import ndimage

from .. import anatomy
from ..dataset.deformation import UNKNOWN
from ..errors import InputError
from ..surface import labels_to_meshes
from ..volume import Volume
from .inputs import LABEL_SUFFIXES, load_shape

_FACES = 2500


def load_bones(path: str | Path) -> dict[str, trimesh.Trimesh]:
    """Bones of the thorax by name, RAS mm: of a label map those that it shows whole, else of a folder of results.

    Raises:
        InputError: there are none in it.
    """
    path = Path(path)
    if path.name.lower().endswith(LABEL_SUFFIXES):
        from ..volume_io import read_labels

        return whole_bones(read_labels(path))
    folder = path / "bones" if (path / "bones").is_dir() else path
    thorax = {anatomy.BY_LABEL[label].name for label in anatomy.THORAX}
    files = sorted(file for file in folder.glob("*.ply") if file.stem in thorax) if folder.is_dir() else []
    if not files:
        raise InputError(f"{path} holds no named bones; give a folder that x2br reconstruct --method x2br has written")
    return {file.stem: load_shape(file) for file in files}


def whole_bones(labels: Volume) -> dict[str, trimesh.Trimesh]:
    """The bones of the thorax that the scan does not cut: closed meshes by name, RAS mm.

    Raises `InputError` where there is none.
    """
    array = labels.array
    outside = np.pad(np.zeros(np.array(array.shape) - 2, dtype=bool), 1, constant_values=True) | (array == UNKNOWN)
    cut = np.unique(array[ndimage.binary_dilation(outside)])
    found = [label for label in np.unique(array) if label in anatomy.THORAX and label not in cut]
    if not found:
        raise InputError("the label map shows no whole bone of the thorax; there is nothing to compare with")
    meshes = labels_to_meshes(labels, found, faces=_FACES)
    return {anatomy.BY_LABEL[label].name: mesh for label, mesh in meshes.items()}

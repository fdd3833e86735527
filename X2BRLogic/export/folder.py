"""A reconstruction into files of the formats asked for, all or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import folder_written_whole
from . import dicom_seg, labels, surfaces, vtp

if TYPE_CHECKING:
    from ..reconstruction import Reconstruction


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        write: takes meshes by name or a label map, and the folder.
        voxels: whether it takes the label map.
        files: that it writes; a folder is one.
    """

    write: Callable
    voxels: bool
    files: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "stl": Format(surfaces.write_stl, False, ("stl",)),
    "ply": Format(surfaces.write_ply, False, ("ply",)),
    "obj": Format(surfaces.write_obj, False, ("bones.obj", "bones.mtl")),
    "vtp": Format(vtp.write_vtp, False, ("bones.vtp",)),
    "nrrd": Format(labels.write_nrrd, True, ("labels.nrrd", labels.LEGEND)),
    "nifti": Format(labels.write_nifti, True, ("labels.nii.gz", labels.LEGEND)),
    "dicomseg": Format(dicom_seg.write_dicom_seg, True, ("bones.dcm",)),
    "segnrrd": Format(labels.write_seg_nrrd, True, ("bones.seg.nrrd",)),
}


def export(reconstruction: Reconstruction, folder: str | os.PathLike, formats: Collection[str]) -> list[Path]:
    """Write the bones into a folder, whole or not at all; returns what was written.

    Surfaces are those of the named bones, or the one of all where there are none; label maps have voxels of 1.5 mm
    along R, A and S. All are in the patient's frame of the reconstruction, as LPS mm.

    Args:
        formats: keys of `FORMATS`.

    Raises:
        InputError: an unknown format, a label map asked for of a reconstruction without named bones, or the folder
            cannot be written to.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        problem = f"unknown format {unknown[0]!r}" if unknown else "no format is given"
        raise InputError(f"{problem}; give some of {', '.join(FORMATS)}")
    chosen = [FORMATS[name] for name in dict.fromkeys(formats)]
    meshes = reconstruction.bones or {surfaces.WHOLE: reconstruction.mesh}
    voxels = reconstruction.label_map() if any(each.voxels for each in chosen) else None
    files = list(dict.fromkeys(file for each in chosen for file in each.files))
    with folder_written_whole(folder) as partial:
        for each in chosen:
            each.write(voxels if each.voxels else meshes, partial)
    return [Path(folder) / file for file in files]

"""A labelled CT on disk: one folder with ``ct`` and ``bones`` volumes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..volume import Volume
from ..volume_io import match_grid, read_ct, read_labels


@dataclass(frozen=True, eq=False)
class Subject:
    """A CT in Hounsfield units (int16) and its bone labels (uint8) on one grid."""

    name: str
    ct: Volume
    labels: Volume


def find_subjects(folder: Path, exclude: Iterable[str] = ()) -> list[Path]:
    """Sub-folders of `folder` that hold a labelled CT, by name, but those to exclude.

    Raises `InputError` if there is none, if none is left, or if one to exclude does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    found = sorted(p for p in folder.iterdir() if p.is_dir() and list(p.glob("ct.*")) and list(p.glob("bones.*")))
    if not found:
        raise InputError(f"{folder} holds no subject; each needs a folder with ct.nii.gz and bones.nii.gz")
    if unknown := sorted(set(exclude) - {path.name for path in found}):
        raise InputError(f"cannot leave out {', '.join(unknown)}: no such subject in {folder}")
    kept = [path for path in found if path.name not in set(exclude)]
    if not kept:
        raise InputError(f"every subject in {folder} is left out; keep one at least")
    return kept


def read_subject(folder: Path) -> Subject:
    """Read one subject. Raises `InputError` for a file that is missing or is not what its name says."""
    files = {}
    for stem in ("ct", "bones"):
        candidates = sorted(folder.glob(f"{stem}.*"))
        if not candidates:
            raise InputError(f"{folder} has no {stem} volume; add {stem}.nii.gz")
        files[stem] = candidates[0]
    ct = read_ct(files["ct"])
    labels = match_grid(read_labels(files["bones"]), ct)
    values = np.ascontiguousarray(np.round(ct.array), dtype=np.int16)
    names = np.ascontiguousarray(labels.array, dtype=np.uint8)
    return Subject(folder.name, Volume(values, ct.ijk_to_ras), Volume(names, ct.ijk_to_ras))

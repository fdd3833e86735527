"""Real people in coarse voxels: for tests of what is done with them, not of how well."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from X2BRLogic.dataset.resample import resample
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.volume_io import write_volume

_SPACING_MM = 4.0


def write_coarse(subjects: Iterable[Path], folder: Path) -> Path:
    """The subjects' CT and bones in voxels of 4 mm, a folder of the same name each, in `folder`, which is returned."""
    for path in subjects:
        subject = read_subject(path)
        (folder / path.name).mkdir(parents=True)
        for name, volume in zip(("ct", "bones"), resample(subject.ct, subject.labels, _SPACING_MM), strict=True):
            write_volume(folder / path.name / f"{name}.nii.gz", volume)
    return folder

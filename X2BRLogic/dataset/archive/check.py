"""Is what came a scan to work with? Told from the DICOM headers, where the index could only guess."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ...dicom_series import read_header
from ...errors import InputError
from .index import MIN_HEIGHT_MM
from .store import Remote

_TAGS = ["Modality", "ImageType", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"]
#: A gantry tilts by up to 30 degrees; beyond, the slices are no axial ones.
_AXIAL = np.cos(np.radians(35))


def damage(folder: Path, files: list[Remote]) -> str | None:
    """What is missing or differs from the bucket's list in a folder of downloaded files, in words."""
    missing = [file.name for file in files if not (folder / file.name).is_file()]
    if missing:
        return f"{len(missing)} of {len(files)} files did not come"
    for file in files:
        path = folder / file.name
        if path.stat().st_size != file.size:
            return f"{file.name} has {path.stat().st_size} bytes instead of {file.size}"
        if file.md5 and _md5(path) != file.md5:
            return f"{file.name} has another MD5 than the archive's"
    return None


def unsuitable(folder: Path, max_thickness: float) -> str | None:
    """Why a downloaded series is no thin axial scan of a thorax, in words; ``None`` when it is one."""
    places, normals = [], []
    for path in sorted(folder.glob("*.dcm")):
        try:
            header = read_header(path, _TAGS)
        except InputError:
            return f"{path.name} cannot be read as DICOM"
        if header.get("Modality") != "CT" or "LOCALIZER" in header.get("ImageType", ()):
            return "it holds images that are no CT slices"
        if float(header.get("SliceThickness") or 0) > max_thickness:
            return f"its slices are {float(header.SliceThickness):g} mm thick"
        if not header.get("ImageOrientationPatient") or not header.get("ImagePositionPatient"):
            return "its slices do not say where they are"
        along, down = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        normals.append(np.cross(along, down))
        places.append(np.array(header.ImagePositionPatient, dtype=float))
    if not places:
        return "it holds no DICOM file"
    if min(abs(normal[2]) for normal in normals) < _AXIAL:
        return "its slices are not axial"
    heights = np.sort([place @ normals[0] for place in places])
    steps = np.diff(heights)
    if len(steps) == 0 or heights[-1] - heights[0] < MIN_HEIGHT_MM - max_thickness:
        return f"it covers {heights[-1] - heights[0]:.0f} mm, a thorax takes {MIN_HEIGHT_MM:.0f}"
    if steps.min() < 1e-3:
        return "several slices lie at one place"
    if steps.max() > min(max_thickness, 1.5 * float(np.median(steps))) + 0.01:
        return f"two neighbouring slices are {steps.max():.1f} mm apart"
    return None


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

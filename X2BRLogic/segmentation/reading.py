"""Bone labels that a user already has, on the grid of the CT."""

from __future__ import annotations

import gzip
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..errors import InputError
from ..files import VOLUMES, is_dicom, require_file, stem, suffix
from ..volume import Volume
from ..volume_io import match_grid, read_labels, read_volume
from .dicom_seg import read_dicom_seg
from .schemes import SCHEMES, allows, label_of_name, numbers_of
from .seg_nrrd import is_slicer_segmentation, read_seg_nrrd

#: Share of the labelled bone that must be as dense as bone, HU: 0.83 to 0.93 in the right place, under 0.35 a
#: centimetre beside it.
_LEAST_DENSE, _DENSE_HU = 0.45, 100
#: Pairs of bones whose order is looked at must be so often right for a numbering to be believed.
_LEAST_ORDERED = 0.9
_FEWEST_PAIRS = 3
#: One numbering is believed before another when it puts so many times more pairs in order.
_CLEARLY_MORE = 1.5


def read_bone_labels(path: str | os.PathLike, ct: Volume, scheme: str = "auto") -> Volume:
    """Labels that belong to a CT, with the numbers of `anatomy`, uint8 on the CT's grid.

    Read are label maps (NIfTI, NRRD, MetaImage), 3D Slicer's segmentations (``.seg.nrrd``, all layers), DICOM SEG, and
    folders with a mask for each structure as TotalSegmentator writes them. Where the file names its structures (by
    name or SNOMED CT code), names decide; plain numbers need a scheme.

    Args:
        path: the file or folder.
        ct: the CT that the labels were made from; any grid.
        scheme: what plain numbers mean: ``x2br``, ``totalsegmentator-v1``, ``totalsegmentator-v2``, or ``auto``: the
            one by which the bones lie in anatomical order.

    Raises:
        InputError: no such file, no bone in it, numbers that fit no scheme or more than one, or labels that do not lie
            on the bone of this CT.
    """
    if scheme not in ("auto", *SCHEMES):
        raise InputError(f"there is no label scheme {scheme!r}; give one of auto, {', '.join(SCHEMES)}")
    path = Path(path)
    if path.is_dir():
        labels = _from_folder(path)
    elif is_dicom(require_file(path)):
        labels = read_dicom_seg(path)
    elif is_slicer_segmentation(path):
        labels = read_seg_nrrd(path)
    else:
        labels = _from_numbers(path, scheme)
    if not labels.array.any():
        raise InputError(f"{path} names no bone of the thorax; give the segmentation of ribs, sternum and vertebrae")
    matched = match_grid(labels, ct)
    _require_on_bone(path, matched, ct)
    return matched


def _require_on_bone(path: Path, labels: Volume, ct: Volume) -> None:
    """Refuse the labels of another patient, series or frame of reference: they miss the bone."""
    hard = (labels.array > 0) & (labels.array != anatomy.CARTILAGES)
    dense = float(np.mean(ct.array[hard] > _DENSE_HU)) if hard.any() else 1.0
    if dense < _LEAST_DENSE:
        raise InputError(
            f"the labels of {path} do not lie on the bone of this CT: {dense:.0%} of them are denser than {_DENSE_HU} "
            "HU; give the labels and the CT of one patient and one series"
        )


def _from_folder(folder: Path) -> Volume:
    """One mask a file, named after its structure."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and suffix(path) in VOLUMES)
    named = {path: label_of_name(stem(path)) for path in files}
    if not any(named.values()):
        dicom = [path for path in sorted(folder.iterdir()) if path.is_file() and is_dicom(path)]
        if len(dicom) == 1:
            return read_dicom_seg(dicom[0])
        raise InputError(
            f"{folder} holds no mask named after a bone, such as rib_left_1.nii.gz; give the folder that "
            "TotalSegmentator wrote, or one file"
        )
    result: Volume | None = None
    for path, label in named.items():
        if label is None:
            continue
        mask = read_volume(path)
        if result is None:
            result = Volume(np.zeros(mask.array.shape, dtype=np.uint8), mask.ijk_to_ras)
        if mask.array.shape != result.array.shape or not np.allclose(mask.ijk_to_ras, result.ijk_to_ras, atol=1e-3):
            raise InputError(f"{path} lies on another grid than the other masks; export all masks of one CT together")
        result.array[mask.array > 0.5] = label
    return result


def _from_numbers(path: Path, scheme: str) -> Volume:
    """A label map of plain numbers."""
    labels = read_labels(path)
    names = _names_in_nifti(path) if scheme == "auto" and suffix(path) in (".nii", ".nii.gz") else {}
    numbers = {number: label_of_name(name) for number, name in names.items()}
    if not any(numbers.values()):
        numbers = numbers_of(_detect(path, labels) if scheme == "auto" else scheme)
    return Volume(renumbered(labels.array, numbers), labels.ijk_to_ras)


def renumbered(array: np.ndarray, numbers: dict[int, int | None]) -> np.ndarray:
    """A label map with other numbers, uint8; what has none becomes 0."""
    table = np.zeros(int(array.max()) + 1, dtype=np.uint8)
    for number, label in numbers.items():
        if number < len(table):
            table[number] = label or 0
    return table[array]


def _names_in_nifti(path: Path) -> dict[int, str]:
    """Structures by number from the label table that TotalSegmentator adds to the header (in XML, after byte 352)."""
    with (gzip.open if suffix(path) == ".nii.gz" else open)(path, "rb") as stream:
        header = stream.read(352)
        offset = int(np.clip(np.frombuffer(header[108:112], dtype="<f4")[0], 352, 2**20)) if len(header) == 352 else 352
        extension = stream.read(offset - 352).decode("utf-8", errors="replace")
    found = re.findall(r'<Label Key="(\d{1,9})"[^<>]*>(?:<!\[CDATA\[)?([^<\]]+)', extension)
    return {int(number): name for number, name in found}


def _detect(path: Path, labels: Volume) -> str:
    """The scheme by which the bones lie as bones do."""
    boxes = ndimage.find_objects(labels.array)
    centres = {
        number: labels.to_ras(np.array([[(s.start + s.stop - 1) / 2 for s in box[::-1]]]))[0]
        for number, box in enumerate(boxes, start=1)
        if box is not None
    }
    pairs = {s: _in_order(centres, numbers_of(s)) for s in SCHEMES if allows(s, set(centres))}
    fitting = sorted((s for s in pairs if pairs[s] >= _FEWEST_PAIRS), key=lambda s: -pairs[s])
    if len(fitting) == 1 or (fitting and pairs[fitting[0]] >= _CLEARLY_MORE * pairs[fitting[1]]):
        return fitting[0]
    listed = ", ".join(str(number) for number in sorted(centres)[:12]) + (", ..." if len(centres) > 12 else "")
    if not fitting:
        raise InputError(
            f"{path}: by no known numbering do its labels ({listed}) lie like bones; name them (as a folder of masks "
            "or a Slicer segmentation), or say the scheme"
        )
    raise InputError(f"{path}: its labels ({listed}) could be {' or '.join(fitting)}; say which with the scheme")


def _in_order(centres: dict[int, np.ndarray], numbers: dict[int, int | None]) -> int:
    """How many pairs of bones lie as they should: ribs and vertebrae descend with their number, left is left of right.

    0 where more than a few do not.
    """
    at = {numbers[n]: centre for n, centre in centres.items() if numbers.get(n)}
    pairs = []
    for group in ("ribs_left", "ribs_right", "vertebrae"):
        present = [at[label] for label in anatomy.labels_of_group(group) if label in at]
        pairs += [bool(upper[2] > lower[2]) for upper, lower in pairwise(present)]
    pairs += [bool(at[n][0] < at[n + 12][0]) for n in range(1, 13) if n in at and n + 12 in at]
    return sum(pairs) if sum(pairs) >= _LEAST_ORDERED * len(pairs) else 0

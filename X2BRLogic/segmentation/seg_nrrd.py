"""3D Slicer's segmentations: NRRD files whose header names the segments, with a layer for those that overlap."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files import reason, suffix
from ..intact import require_all_data, require_sound_header
from ..volume import Volume
from ..volume_io import MAX_VOXELS, quiet_itk
from .schemes import label_of_code, label_of_name

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_slicer_segmentation(path: Path) -> bool:
    """Whether the file is a NRRD whose header has segments."""
    if suffix(path) != ".nrrd":
        return False
    with path.open("rb") as stream:
        header = stream.read(2**20).split(b"\n\n")[0].split(b"\r\n\r\n")[0]
    return re.search(rb"^Segment\d+_LabelValue:=", header, re.MULTILINE) is not None


def read_seg_nrrd(path: Path) -> Volume:
    """The bones among the segments, uint8 labels of `anatomy`; where layers overlap, the later one shows.

    A segment counts by its terminology (a SNOMED CT code and a side), else by its name.

    Raises:
        InputError: the file is damaged.
    """
    require_sound_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_itk():
        try:
            reader.ReadImageInformation()
            layers = reader.GetNumberOfComponents()
            size = reader.GetSize()
            if math.prod(size) * layers > MAX_VOXELS:
                raise InputError(f"{path} has more voxels than can be read; crop the segmentation")
            bits = int(sitk.GetPixelIDValueAsString(reader.GetPixelID()).split("-bit")[0].split()[-1])
            require_all_data(path, math.prod(size) * layers * bits // 8)
            image = reader.Execute()
        except (RuntimeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is no NRRD file, or is damaged ({reason(error)}); export it again") from None
    if image.GetDimension() != 3:
        raise InputError(f"{path} has {image.GetDimension()} dimensions; export the segmentation of one time point")
    array = sitk.GetArrayViewFromImage(image)
    array = array if array.ndim == 4 else array[..., None]
    labels = np.zeros(array.shape[:3], dtype=np.uint8)
    try:
        segments = _segments(image)
    except ValueError as error:
        raise InputError(f"{path} has a segment without a value or layer ({reason(error)}); export it again") from None
    for label, value, layer in segments:
        if 0 <= layer < array.shape[3]:
            labels[array[..., layer] == value] = label
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    to_lps[:3, 3] = image.GetOrigin()
    return Volume(labels, _FLIP @ to_lps)


def _segments(image: sitk.Image) -> list[tuple[int, int, int]]:
    """Label, value in the file, and layer of every segment that is a bone."""
    facts: dict[int, dict[str, str]] = {}
    for key in image.GetMetaDataKeys():
        if found := re.fullmatch(r"Segment(\d+)_(\w+)", key):
            facts.setdefault(int(found[1]), {})[found[2]] = image.GetMetaData(key)
    segments = []
    for number in sorted(facts):
        fact = facts[number]
        label = _of_terminology(fact.get("Tags", "")) or label_of_name(fact.get("Name", ""))
        if label:
            segments.append((label, int(fact.get("LabelValue", number + 1)), int(fact.get("Layer", 0))))
    return segments


def _of_terminology(tags: str) -> int | None:
    """The label that a terminology entry stands for: ``context~category~type~modifier~context~region~modifier``."""
    found = re.search(r"TerminologyEntry:([^|]*)", tags)
    parts = [part.split("^") for part in found[1].split("~")] if found else []
    for concept, modifier in ((2, 3), (5, 6)):
        if len(parts) > modifier and len(parts[concept]) == 3:
            side = parts[modifier][1] if len(parts[modifier]) == 3 else None
            if label := label_of_code(parts[concept][1], side):
                return label
    return None

"""DICOM Segmentation objects (PS3.3 A.51)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..dicom_series import quiet_pydicom, read_header
from ..errors import InputError
from ..files import cut, reason
from ..volume import Volume
from .schemes import label_of_code, label_of_name

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_dicom_seg(path: Path) -> Volume:
    """The bones among the segments, uint8 labels of `anatomy`, on the segmentation's own grid.

    A segment counts by its property type (a SNOMED CT code and a side), else by its label.

    Raises:
        InputError: the file is no segmentation, or is damaged, or highdicom is not installed.
    """
    modality = read_header(path, ["Modality"]).get("Modality")
    if modality != "SEG":
        raise InputError(
            f"{path} is no DICOM segmentation: its modality is {cut(str(modality or 'not given'))}; give the SEG object"
        )
    try:
        import highdicom
    except ImportError:
        raise InputError("reading DICOM SEG needs the package highdicom; pip install highdicom") from None
    with quiet_pydicom():
        try:
            segmentation = highdicom.seg.segread(path)
            labels = {n: _label(segmentation.get_segment_description(n)) for n in segmentation.segment_numbers}
            bones = [number for number, label in labels.items() if label]
            if not bones:
                raise InputError(
                    f"{path} has no segment that is a bone of the thorax; give the segmentation of the bones"
                )
            volume = segmentation.get_volume(
                segment_numbers=bones,
                combine_segments=True,
                relabel=False,
                skip_overlap_checks=True,
                allow_missing_positions=True,
            )
        except InputError:
            raise
        except Exception as error:  # the parser fails on damage with whatever it stumbles over
            raise InputError(
                f"{path} is damaged or an unusual segmentation ({reason(error)}); export it again"
            ) from None
    table = np.zeros(max(bones) + 1, dtype=np.uint8)
    table[bones] = [labels[number] for number in bones]
    # highdicom counts (slice, row, column) and speaks LPS; so the first column of the matrix is that of k.
    ijk_to_lps = np.array(volume.affine)[:, [2, 1, 0, 3]]
    return Volume(table[np.asarray(volume.array)], _FLIP @ ijk_to_lps)


def _label(description) -> int | None:
    """The label that a segment stands for."""
    property_type = description.SegmentedPropertyTypeCodeSequence[0]
    concepts = [(property_type, "SegmentedPropertyTypeModifierCodeSequence")]
    if "AnatomicRegionSequence" in description:
        concepts.append((description.AnatomicRegionSequence[0], "AnatomicRegionModifierSequence"))
    for concept, modifiers in concepts:
        side = concept[modifiers][0].CodeValue if concept.get(modifiers) else None
        if label := label_of_code(concept.get("CodeValue", ""), side):
            return label
    return label_of_name(description.get("SegmentLabel", ""))

"""What each bone is called in the terminologies of DICOM and 3D Slicer."""

from __future__ import annotations

from .. import anatomy

#: SNOMED CT (scheme, value, meaning): what all segments are, category of DICOM PS3.16 CID 7150.
CATEGORY = ("SCT", "123037004", "Anatomical Structure")
_SIDES = {anatomy.LEFT: "Left", anatomy.RIGHT: "Right"}


def bone_code(bone: anatomy.Bone) -> tuple[str, str, str]:
    """The SNOMED CT concept of a bone: scheme, value, meaning."""
    return "SCT", bone.code, bone.meaning


def side_code(bone: anatomy.Bone) -> tuple[str, str, str] | None:
    """The laterality of a bone (DICOM PS3.16 CID 244), ``None`` for one of the midline."""
    return ("SCT", bone.side_code, _SIDES[bone.side]) if bone.side else None


def title(bone: anatomy.Bone) -> str:
    """The bone in words: ``Left fourth rib``."""
    return f"{_SIDES[bone.side]} {bone.meaning.lower()}" if bone.side else bone.meaning


def terminology_entry(bone: anatomy.Bone) -> str:
    """A bone's entry as 3D Slicer's segments keep it: context, category, type and its modifier, and no region."""
    concepts = (CATEGORY, bone_code(bone), side_code(bone) or ("", "", ""))
    words = "~".join("^".join(concept) for concept in concepts)
    context = "Segmentation category and type - 3D Slicer General Anatomy list"
    return f"{context}~{words}~Anatomic codes - DICOM master list~^^~^^"

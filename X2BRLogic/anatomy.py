"""One table of bones: label number, name, group, colour, terminology codes.

Label numbers are those of the training data: ribs 1-24, sternum 25, costal cartilages 26, vertebrae C1 to L5
27-50, sacrum 51, and the shoulder girdle 52-57, which is context and is never reconstructed.
Codes are SNOMED CT, as in DICOM PS3.16 (CID 7304 and the 3D Slicer terminology).
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

LEFT = "left"
RIGHT = "right"
_SIDE_CODE = {LEFT: "7771000", RIGHT: "24028007"}

_ORDINALS = "First Second Third Fourth Fifth Sixth Seventh Eighth Ninth Tenth Eleventh Twelfth".split()
_RIB_CODES = (
    "48535007 78247007 25888004 25523003 15339008 59558009 24915002 5953002 22565002 77644006 58830002 43993008"
).split()
_VERTEBRA_CODES = (
    "14806007 39976000 113205007 5329002 36978003 36054005 87391001 "  # C1-C7
    "64864005 53733008 1626008 73071006 56401006 45296009 62487009 11068009 82687006 7610001 "
    "12989004 23215003 "  # T1-T12
    "66794005 14293000 36470004 11994002 49668003"  # L1-L5
).split()
_LEVELS = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]


@dataclass(frozen=True)
class Bone:
    """One bone.

    Attributes:
        label: value in a label map.
        name: identifier, e.g. ``rib_left_1`` or ``vertebra_T4``.
        group: ``ribs_left``, ``ribs_right``, ``sternum``, ``cartilages``, ``vertebrae`` or ``shoulder``.
        level: ordinal within the group (rib number; 1 for T1, 0 for C7, 13 for L1), ``None`` where there is none.
        side: ``left``, ``right`` or ``None``.
        code: SNOMED CT concept of the structure; laterality is separate (`side_code`).
        meaning: the concept in words.
        colour: RGB in 0-1.
    """

    label: int
    name: str
    group: str
    level: int | None
    side: str | None
    code: str
    meaning: str
    colour: tuple[float, float, float]

    @property
    def side_code(self) -> str | None:
        """SNOMED CT laterality qualifier, ``None`` for a bone of the midline."""
        return _SIDE_CODE.get(self.side)


def _shade(hue: float, level: int, levels: int) -> tuple[float, float, float]:
    """Neighbours differ in lightness, groups in hue, so that a cage can be read at a glance."""
    value = 0.95 if level % 2 else 0.75
    return colorsys.hsv_to_rgb((hue + 0.08 * level / levels) % 1.0, 0.45, value)


def _table() -> tuple[Bone, ...]:
    bones = []
    for offset, side, hue in ((0, LEFT, 0.08), (12, RIGHT, 0.52)):
        for n, (ordinal, code) in enumerate(zip(_ORDINALS, _RIB_CODES, strict=True), start=1):
            bones.append(
                Bone(offset + n, f"rib_{side}_{n}", f"ribs_{side}", n, side, code, f"{ordinal} rib", _shade(hue, n, 12))
            )
    bones.append(Bone(25, "sternum", "sternum", None, None, "56873002", "Sternum", (0.86, 0.78, 0.45)))
    bones.append(
        Bone(26, "costal_cartilages", "cartilages", None, None, "50016007", "Costal cartilage", (0.62, 0.78, 0.72))
    )
    for n, (level, code) in enumerate(zip(_LEVELS, _VERTEBRA_CODES, strict=True)):
        bones.append(
            Bone(27 + n, f"vertebra_{level}", "vertebrae", n - 6, None, code, f"{level} vertebra", _shade(0.28, n, 24))
        )
    bones.append(Bone(51, "sacrum", "vertebrae", 18, None, "54735007", "Sacrum", (0.55, 0.7, 0.5)))
    pairs = (("clavicle", "51299004", 52), ("scapula", "79601000", 54), ("humerus", "85050009", 56))
    for name, code, first in pairs:
        for n, side in enumerate((LEFT, RIGHT)):
            bones.append(
                Bone(first + n, f"{name}_{side}", "shoulder", None, side, code, name.title(), (0.7, 0.7, 0.75))
            )
    return tuple(bones)


BONES: tuple[Bone, ...] = _table()
BY_LABEL: dict[int, Bone] = {bone.label: bone for bone in BONES}
BY_NAME: dict[str, Bone] = {bone.name: bone for bone in BONES}
GROUPS: tuple[str, ...] = ("ribs_left", "ribs_right", "sternum", "cartilages", "vertebrae", "shoulder")

RIBS: tuple[int, ...] = tuple(b.label for b in BONES if b.group.startswith("ribs"))
VERTEBRAE: tuple[int, ...] = tuple(b.label for b in BONES if b.name.startswith("vertebra_"))
THORACIC_VERTEBRAE: tuple[int, ...] = tuple(b.label for b in BONES if b.name.startswith("vertebra_T"))
STERNUM = BY_NAME["sternum"].label
CARTILAGES = BY_NAME["costal_cartilages"].label

#: What "the bones of the thorax" means for the isocentre, for meshes, training and scores.
#: Costal cartilage is not among them: a CT shows it poorly and its label is the weakest of the set.
THORAX: tuple[int, ...] = (*RIBS, STERNUM, *THORACIC_VERTEBRAE)


def labels_of_group(group: str) -> tuple[int, ...]:
    """Label numbers of a group, in anatomical order. Raises `KeyError` for a group that does not exist."""
    if group not in GROUPS:
        raise KeyError(group)
    return tuple(b.label for b in BONES if b.group == group)

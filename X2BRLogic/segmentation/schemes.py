"""Other people's labels: numbers and names of bones, and the label of `anatomy` that each stands for."""

from __future__ import annotations

import re

from .. import anatomy

_CERVICAL_TO_LUMBAR = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
_RIBS = [f"rib_{side}_{n}" for side in (anatomy.LEFT, anatomy.RIGHT) for n in range(1, 13)]
_SHOULDER = [f"{name}_{side}" for name in ("humerus", "scapula", "clavicula") for side in (anatomy.LEFT, anatomy.RIGHT)]


def _numbered(first: int, names: list[str]) -> dict[int, str]:
    return dict(enumerate(names, start=first))


_SPINE = [f"vertebrae_{level}" for level in reversed(_CERVICAL_TO_LUMBAR)]
#: Bones of the thorax and shoulder in TotalSegmentator's multilabel files (`totalsegmentator.map_to_binary`, tasks
#: ``total_v1`` and ``total``). Version 1 has neither sternum nor costal cartilages.
_VERSION_1 = {**_numbered(18, _SPINE), **_numbered(58, _RIBS), **_numbered(82, _SHOULDER), 92: "sacrum"}
_VERSION_2 = {
    25: "sacrum",
    26: "vertebrae_S1",
    **_numbered(27, _SPINE),
    **_numbered(69, _SHOULDER),
    **_numbered(92, _RIBS),
    116: "sternum",
    117: "costal_cartilages",
}
#: What TotalSegmentator is asked for.
TOTALSEGMENTATOR_NAMES = tuple(_VERSION_2.values())

#: Highest number of each scheme, bones or not.
_HIGHEST = {"x2br": 57, "totalsegmentator-v1": 104, "totalsegmentator-v2": 117}
SCHEMES = tuple(_HIGHEST)

_ORDINALS = {bone.meaning.split()[0].lower(): bone.level for bone in anatomy.BONES if bone.group == "ribs_left"}
_LEVEL = re.compile(r"\b(?:vertebrae?|v)?\s*([ctl])\s*(\d{1,2})\b")


def label_of_name(name: str, side: str | None = None) -> int | None:
    """The label that a name stands for, ``None`` if it is no bone of `anatomy`.

    Understood are X2BR's and TotalSegmentator's names and ordinary words: ``rib_left_4``, ``Left fourth rib``,
    ``vertebrae_T4``, ``T4 vertebra``, ``clavicula_left``, ``Costal cartilage``.

    Args:
        side: ``left`` or ``right`` where it is said apart from the name.
    """
    text = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    words = text.split()
    for word in (anatomy.LEFT, anatomy.RIGHT):
        side = word if word in words else side
    if "costal" in words or "cartilage" in words or "cartilages" in words:
        return anatomy.CARTILAGES if "costal" in words else None
    if "rib" in words or "ribs" in words:
        numbers = [int(word) for word in words if word.isdigit()] + [_ORDINALS[w] for w in words if w in _ORDINALS]
        return _label(f"rib_{side}_{numbers[0]}") if len(numbers) == 1 else None
    if "sternum" in words or "manubrium" in words or "xiphoid" in words:
        return anatomy.STERNUM
    if "sacrum" in words or text in ("vertebrae s1", "s1 vertebra", "s1"):
        return _label("sacrum")
    for word, bone in (
        ("clavicula", "clavicle"),
        ("clavicle", "clavicle"),
        ("scapula", "scapula"),
        ("humerus", "humerus"),
    ):
        if word in words:
            return _label(f"{bone}_{side}")
    level = _LEVEL.fullmatch(text) or _LEVEL.fullmatch(text.removesuffix(" vertebra").removesuffix(" vertebrae"))
    return _label(f"vertebra_{level[1].upper()}{int(level[2])}") if level else None


def _label(name: str) -> int | None:
    bone = anatomy.BY_NAME.get(name)
    return bone.label if bone else None


def label_of_code(code: str, side_code: str | None) -> int | None:
    """The label of a SNOMED CT concept and its laterality, ``None`` if it is no bone of `anatomy`."""
    fitting = [bone for bone in anatomy.BONES if bone.code == code and bone.side_code in (None, side_code)]
    return fitting[0].label if len(fitting) == 1 else None


def numbers_of(scheme: str) -> dict[int, int]:
    """Label of `anatomy` by number of a scheme; other organs' numbers are not in it."""
    if scheme == "x2br":
        return {bone.label: bone.label for bone in anatomy.BONES}
    names = _VERSION_1 if scheme == "totalsegmentator-v1" else _VERSION_2
    return {number: label_of_name(name) for number, name in names.items()}


def allows(scheme: str, numbers: set[int]) -> bool:
    """Whether a scheme has all of these numbers."""
    return max(numbers, default=0) <= _HIGHEST[scheme]

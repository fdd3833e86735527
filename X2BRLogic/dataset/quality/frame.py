"""The scan itself: are its values Hounsfield units, do its axes point where they say, and does it hold the thorax?"""

from __future__ import annotations

import numpy as np

from ...anatomy import BY_LABEL, BY_NAME, LEFT, RIBS, RIGHT, STERNUM, THORACIC_VERTEBRAE
from ...volume import Volume
from .levels import RIB_LENGTHS_MM, size_of
from .measure import LUNG_HU, Bone
from .verdict import REJECT, REMARK, Finding

#: A twentieth of any chest CT is air or lung; lung with all its vessels averages -850 HU, so this leaves room (HU).
AIR_HU = -700.0
#: Muscle, fat, blood with and without contrast around the spine: fat is -100, blood in a CT angiogram 300 (HU).
TISSUE_RANGE_HU = (-120.0, 250.0)
#: Slices farther apart than this leave a rib of 6 mm two samples (mm).
THICK_MM = 3.0

#: Thoracic levels that must be in the scan, and those that must not be cut. Chest CTs begin and end near T1 and T12.
VERTEBRAE_PRESENT = range(1, 12)
VERTEBRAE_WHOLE = range(2, 11)
#: The upper ribs, which ring the lungs in every chest CT, must keep this share of their length ...
UPPER_RIBS = range(1, 7)
UPPER_SHARE = 0.8
#: ... the lower ones, whose ends dip below the lungs and out of many scans, this; the floating ribs are not demanded.
LOWER_RIBS = range(7, 11)
LOWER_SHARE = 0.5
#: A rib that has no label should have been in the scan when the scan reaches so far beside the middle of its whole
#: vertebra, and so far below it: neck and tubercle of every rib but the last are within this (mm).
BESIDE_MM = 45.0
BELOW_MM = 25.0


def judge_values(ct: Volume, bones: dict[int, Bone]) -> Finding | None:
    """Hounsfield units or not, and how far apart the slices are."""
    thin = ct.array[::2, ::4, ::4]
    air = float(np.percentile(thin, 5))
    if air > AIR_HU:
        return Finding(
            "ct",
            REJECT,
            f"the CT is not in Hounsfield units: its darkest twentieth ends at {air:.0f}, where lung and air are below "
            f"{AIR_HU:.0f}; apply the rescale slope and intercept of the original series",
        )
    spine = [bone.points for bone in bones.values() if bone.name.startswith("vertebra_")]
    if spine:
        points = np.concatenate(spine)
        box = ct.to_ijk(np.array(np.meshgrid(*zip(points.min(0), points.max(0), strict=True))).reshape(3, -1).T)
        low = np.clip(np.floor(box.min(0)).astype(int), 0, None)
        high = np.ceil(box.max(0)).astype(int) + 1
        around = ct.array[tuple(slice(a, b, 2) for a, b in zip(low[::-1], high[::-1], strict=True))]
        middle = float(np.median(around[around > LUNG_HU])) if (around > LUNG_HU).any() else float("nan")
        if not TISSUE_RANGE_HU[0] <= middle <= TISSUE_RANGE_HU[1]:
            return Finding(
                "ct",
                REJECT,
                f"the CT is not in Hounsfield units: the tissue about the spine has a median of {middle:.0f}, where "
                f"{TISSUE_RANGE_HU[0]:.0f} to {TISSUE_RANGE_HU[1]:.0f} HU is the human range",
            )
    spacing = float(ct.spacing.max())
    if spacing > THICK_MM:
        return Finding("ct", REMARK, f"the slices are {spacing:.1f} mm apart, which blurs thin ribs")
    return None


def judge_orientation(bones: dict[int, Bone]) -> Finding | None:
    """Left is left, the head is up, the sternum is in front."""
    wrong = []
    pairs = [k for k in range(1, 13) if {_rib(LEFT, k), _rib(RIGHT, k)} <= bones.keys()]
    crossed = [k for k in pairs if bones[_rib(LEFT, k)].centre[0] > bones[_rib(RIGHT, k)].centre[0]]
    if crossed:
        wrong.append(
            f"left and right are exchanged in {len(crossed)} of {len(pairs)} pairs of ribs"
            f"{' (' + ', '.join(map(str, crossed)) + ')' if len(crossed) < len(pairs) else ''}"
        )
    spine = [bones[n] for n in THORACIC_VERTEBRAE if n in bones]
    if len(spine) >= 3:
        heights = [bone.centre[2] for bone in spine]
        if np.polyfit(range(len(heights)), heights, 1)[0] > 0:
            wrong.append(
                f"the spine is upside down ({_level(spine[0])} is {heights[-1] - heights[0]:.0f} mm below "
                f"{_level(spine[-1])})"
            )
        behind = np.median([bone.centre[1] for bone in spine]) - (bones[STERNUM].centre[1] if STERNUM in bones else 1e9)
        if behind > 0:
            wrong.append(f"the sternum is {behind:.0f} mm behind the spine")
    if not wrong:
        return None
    names = tuple(bones[_rib(side, k)].name for k in crossed for side in (LEFT, RIGHT))
    return Finding("orientation", REJECT, f"{' and '.join(wrong)}; correct the labels or the scan's directions", names)


def judge_field_of_view(ct: Volume, bones: dict[int, Bone]) -> list[Finding]:
    """Which of T1-T12, ribs and sternum the scan holds, and which it cuts."""
    vertebrae = {BY_LABEL[n].level: bones[n] for n in THORACIC_VERTEBRAE if n in bones}
    lacking = []
    within = range(min(vertebrae, default=13), max(vertebrae, default=0) + 1)
    lacking += [f"T{k}" for k in VERTEBRAE_PRESENT if k not in within]
    lacking += [f"T{k} (cut at the {_sides(vertebrae[k])})" for k in VERTEBRAE_WHOLE if _is_cut(vertebrae.get(k))]
    for label in RIBS:
        bone, named = bones.get(label), BY_LABEL[label]
        if named.level > 10:
            continue
        needed = UPPER_SHARE if named.level in UPPER_RIBS else LOWER_SHARE
        if bone is None:
            if not rib_is_in_view(ct, bones, label):
                lacking.append(f"{named.side} rib {named.level}")
        elif bone.faces and share_of_rib(bones, label) < needed:
            lacking.append(f"{named.side} rib {named.level} ({100 * share_of_rib(bones, label):.0f} % of it)")
    if STERNUM not in bones:
        lacking.append("the sternum")
    cut = [bone for n, bone in bones.items() if bone.faces and (n in RIBS or n in THORACIC_VERTEBRAE or n == STERNUM)]
    names = tuple(bone.name for bone in cut)
    if lacking:
        more = f" and {len(lacking) - 6} more" if len(lacking) > 6 else ""
        told = f"the thorax is incomplete: the scan lacks {', '.join(lacking[:6])}{more}"
        return [Finding("field_of_view", REJECT, told, names)]
    if cut:
        told = ", ".join(f"{_short(bone)} ({_sides(bone)})" for bone in cut)
        return [Finding("field_of_view", REMARK, f"the scan cuts {told}", names)]
    return []


def share_of_rib(bones: dict[int, Bone], label: int) -> float:
    """How much of a rib is there: its length against what the person's whole ribs predict."""
    return bones[label].length / (RIB_LENGTHS_MM[BY_LABEL[label].level - 1] * size_of(bones))


def rib_is_in_view(ct: Volume, bones: dict[int, Bone], label: int) -> bool:
    """Whether a rib that has no label should have one: the scan goes on beside its vertebra.

    The vertebra, or where it has no label the two next to it, must be whole, or the rib of the other side be there for
    the most part.
    """
    named = BY_LABEL[label]
    level = BY_NAME[f"vertebra_T{named.level}"].label
    spine = [bones[n] for n in ((level,) if level in bones else (level - 1, level + 1)) if n in bones]
    partner = _rib(RIGHT if named.side == LEFT else LEFT, named.level)
    if len(spine) < (1 if level in bones else 2):
        return False
    if any(bone.faces for bone in spine) and (partner not in bones or share_of_rib(bones, partner) < UPPER_SHARE):
        return False
    middle = np.mean([bone.centre for bone in spine], axis=0)
    ribs = [bones[n].centre[0] for n in RIBS if n in bones and BY_LABEL[n].side == named.side]
    if ribs:  # not the name, which may be wrong, but the place says on which side to look
        side = np.sign(np.median(ribs) - middle[0])
    else:
        side = -1.0 if named.side == LEFT else 1.0
    ijk = ct.to_ijk(middle + np.array([[side * BESIDE_MM, 0.0, 0.0], [side * BESIDE_MM, 0.0, -BELOW_MM]]))
    return bool((ijk >= 0).all() and (ijk <= np.array(ct.array.shape[::-1]) - 1).all())


def _rib(side: str, level: int) -> int:
    return BY_NAME[f"rib_{side}_{level}"].label


def _is_cut(bone: Bone | None) -> bool:
    return bone is not None and bool(bone.faces)


def _sides(bone: Bone) -> str:
    return " and ".join(bone.faces)


def _level(bone: Bone) -> str:
    return bone.name.removeprefix("vertebra_")


def _short(bone: Bone) -> str:
    """A bone in a list: ``left rib 8``, ``T12``, ``sternum``."""
    named = BY_LABEL[bone.label]
    return f"{named.side} rib {named.level}" if bone.label in RIBS else _level(bone)

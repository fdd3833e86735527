"""The labels themselves: one rib a name, and bone where they say bone."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ...anatomy import BY_LABEL, RIBS, THORACIC_VERTEBRAE
from ...volume import Volume
from .frame import rib_is_in_view, share_of_rib
from .levels import JOINT_MM
from .measure import Bone
from .verdict import REJECT, REMARK, Finding

#: A second piece of this share of a rib is part of another rib, or a rib torn apart; below it, a fracture's splinter.
PIECE_SHARE = 0.15
#: A whole rib shorter than this share of what the person's other ribs predict lacks a part. The ratios between ribs
#: vary by some 6 % from person to person.
SHORT_SHARE = 0.65
#: A name whose pieces are together longer than this against the same prediction is given to more than one rib.
LONG_SHARE = 1.5
#: A piece that comes so near the spine and is so large is a rib of its own (cm3).
RIB_CM3 = 1.0

#: Lung inside a bone's label: coarse labels of thin ribs have 1 % (TotalSegmentator on 2.5 mm slices).
LUNG_SHARE = 0.08
#: Surface without any bone near it: good labels have under 1 %, coarse ones 2 %.
UNSUPPORTED_SHARE = 0.15
#: Bone beside the label, against the label: labels drawn half a voxel inside the cortex have up to 0.4.
LEFT_OUT_SHARE = 1.0
#: Above these a bone is doubtful and is remarked on.
DOUBT = 0.5
#: Mean cross-section of a rib (mm2): adults' are 40 to 120, a first rib with ossified cartilage reaches 150.
RIB_SECTION_MM2 = (12.0, 250.0)
#: Volume of a whole thoracic vertebra with arch and processes (cm3): 19 to 67 in the CTs at hand; halved and doubled.
VERTEBRA_CM3 = (9.0, 135.0)
#: Volume of the sternum (cm3): 45 to 86 in the CTs at hand; halved and doubled.
STERNUM_CM3 = (20.0, 175.0)
#: A thoracic vertebra against the median of the two above and the two below: 0.87 to 1.21 times the volume in the CTs
#: at hand (1.4 once, of a first vertebra whose label is known to be poor), and an outline at most 7 mm farther out.
NEIGHBOUR_FACTORS = (0.5, 1.45)
NEIGHBOUR_REACH_MM = 11.0
#: A vertebra's outline is taken between these percentiles of its voxels, so that no spur decides.
_OUTLINE = (1.0, 99.0)


def judge_ribs(ct: Volume, bones: dict[int, Bone], poor: tuple[str, ...] = ()) -> list[Finding]:
    """Missing, doubled, torn and shortened ribs.

    Args:
        poor: bones whose labels do not follow the bone at all: their pieces and lengths mean nothing.
    """
    wrong, small, names = [], [], []
    spine = [bone.points for bone in bones.values() if bone.name.startswith("vertebra_")]
    spine = cKDTree(np.concatenate(spine)) if spine else None
    for label in RIBS:
        named = BY_LABEL[label]
        told = f"{named.side} rib {named.level}"
        if label not in bones:
            if rib_is_in_view(ct, bones, label):
                partner = label + 12 if label <= 12 else label - 12
                pair_absent = named.level == 12 and partner not in bones
                (small if pair_absent else wrong).append(f"{told} is missing")
                names.append(named.name)
            continue
        bone = bones[label]
        if bone.name in poor:
            continue
        total = sum(len(piece) for piece in bone.pieces)
        cm3 = [bone.volume * len(piece) / total for piece in bone.pieces]
        at_spine = []
        if len(cm3) > 1 and spine is not None:
            at_spine = [v for v, p in zip(cm3, bone.pieces, strict=True) if v >= RIB_CM3 and _reaches(p, spine)]
        if len(at_spine) > 1:
            wrong.append(f"the name {told} is given to {len(at_spine)} ribs ({_list(at_spine)} cm3)")
        elif named.level <= 10 and share_of_rib(bones, label) > LONG_SHARE:
            wrong.append(f"{told} is {share_of_rib(bones, label):.1f} times as long as the other ribs predict")
        elif len(cm3) > 1 and cm3[1] >= PIECE_SHARE * bone.volume:
            wrong.append(f"{told} is in {len(cm3)} pieces ({_list(cm3)} cm3)")
        elif named.level <= 10 and not bone.faces and share_of_rib(bones, label) < SHORT_SHARE:
            wrong.append(f"{told} is {100 * share_of_rib(bones, label):.0f} % as long as the other ribs predict")
        elif len(cm3) > 1:
            small.append(f"{told} has {len(cm3) - 1} splinters")
        else:
            continue
        names.append(named.name)
    found = []
    if wrong:
        found.append(Finding("ribs", REJECT, _sentence(wrong), tuple(names)))
    elif small:
        found.append(Finding("ribs", REMARK, _sentence(small), tuple(names)))
    return found


def judge_segmentation(bones: dict[int, Bone]) -> list[Finding]:
    """Leaks, labels beside the bone, bone left out, sizes that no person has, vertebrae without a label."""
    wrong, doubtful = {}, {}
    for bone in bones.values():
        measured = (
            (bone.lung / LUNG_SHARE, f"{100 * bone.lung:.0f} % of it is lung or air"),
            (bone.unsupported / UNSUPPORTED_SHARE, f"{100 * bone.unsupported:.0f} % of its surface is not at bone"),
            (
                bone.left_out / LEFT_OUT_SHARE,
                f"bone beside it, {100 * bone.left_out:.0f} % of its volume, is left out",
            ),
        )
        worst, told = max(measured)
        if worst > DOUBT:
            (wrong if worst > 1 else doubtful)[bone.name] = told
    for bone in bones.values():
        if bone.name not in wrong and (told := _odd_size(bone) or _odd_neighbour(bone, bones)):
            wrong[bone.name] = told
    levels = [BY_LABEL[n].level for n in THORACIC_VERTEBRAE if n in bones]
    for k in range(min(levels, default=1), max(levels, default=0)):
        if k not in levels:
            wrong[f"vertebra_T{k}"] = "has no label, and those above and below it have"
    if wrong:
        return [Finding("segmentation", REJECT, f"labels do not follow the bone: {_told(wrong)}", tuple(wrong))]
    if doubtful:
        return [Finding("segmentation", REMARK, f"labels are doubtful: {_told(doubtful)}", tuple(doubtful))]
    return []


def _odd_size(bone: Bone) -> str | None:
    """A size outside the human range, in words; a bone that the scan cuts may be small."""
    if bone.label in RIBS:
        size, (low, high), unit = 1000 * bone.volume / max(bone.length, 1.0), RIB_SECTION_MM2, "mm2 thick on average"
    elif bone.label in THORACIC_VERTEBRAE:
        size, (low, high), unit = bone.volume, VERTEBRA_CM3, "cm3"
    elif bone.name == "sternum":
        size, (low, high), unit = bone.volume, STERNUM_CM3, "cm3"
    else:
        return None
    if size > high or (size < low and not bone.faces):
        return f"{size:.0f} {unit}, a person's is {low:.0f} to {high:.0f}"
    return None


def _odd_neighbour(bone: Bone, bones: dict[int, Bone]) -> str | None:
    """A thoracic vertebra that differs from those two above and below it as vertebrae do not, in words."""
    if bone.label not in THORACIC_VERTEBRAE:
        return None
    near = [bones[n] for n in range(bone.label - 2, bone.label + 3) if n != bone.label and n in THORACIC_VERTEBRAE
            and n in bones and not bones[n].faces]  # fmt: skip
    if len(near) < 2:
        return None
    ratio = bone.volume / np.median([other.volume for other in near])
    if ratio > NEIGHBOUR_FACTORS[1] or (ratio < NEIGHBOUR_FACTORS[0] and not bone.faces):
        return f"{ratio:.1f} times the volume of its neighbours"
    # The middle of the next ones up and down, where they are: a leak draws the middle of its own vertebra along.
    next_ones = [other.centre for other in near if abs(other.label - bone.label) == 1]
    middle = np.mean(next_ones, axis=0) if len(next_ones) == 2 else bone.centre
    usual = np.median([np.abs(_outline(other) - other.centre) for other in near], axis=0)
    beyond = float((np.abs(_outline(bone) - middle) - usual).max())
    if beyond > NEIGHBOUR_REACH_MM:
        return f"reaches {beyond:.0f} mm farther than its neighbours"
    return None


def _outline(bone: Bone) -> np.ndarray:
    """Where the bone ends in the six patient directions, RAS mm ``(2, 3)``."""
    return np.percentile(bone.points, _OUTLINE, axis=0)


def _reaches(piece: np.ndarray, spine: cKDTree) -> bool:
    """Whether a piece comes within a joint's distance of the spine."""
    return bool(np.isfinite(spine.query(piece, distance_upper_bound=JOINT_MM)[0]).any())


def _list(values: list[float]) -> str:
    return " + ".join(f"{value:.1f}" for value in values)


def _sentence(parts: list[str]) -> str:
    return "; ".join(parts[:5]) + (f"; and {len(parts) - 5} more" if len(parts) > 5 else "")


def _told(bones: dict[str, str]) -> str:
    return _sentence([f"{name} ({what})" for name, what in bones.items()])

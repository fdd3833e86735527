"""Does rib k belong to vertebra Tk, and are both counted from the right place?

Two independent witnesses. The joints: head and tubercle of rib k sit on Tk, within a few millimetres, and the next
vertebra's are farther. The lengths: from the short first rib they rise steeply to the seventh and fall again,
so a cage whose every name is off by one, ribs and vertebrae together, has a profile that fits its neighbour's numbers
better than its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ...anatomy import BY_LABEL, RIBS
from .measure import Bone
from .verdict import REJECT, REMARK, Finding

#: A joint is narrower than this in any label map; a part of a rib farther from the spine than this has no joint (mm).
JOINT_MM = 15.0
#: The best vertebra must be nearer than the second by this, or the joint says nothing. Labels that leave the joint
#: space free have a gap of 3 to 5 mm at Tk, while the next vertebra is 6 mm and more away (mm).
JOINT_MARGIN_MM = 1.5
#: A joint's gap is the mean over so much of the rib that is nearest the vertebra: no stray voxel decides (mm3).
JOINT_MM3 = 100.0
#: So many ribs at the wrong vertebra are a shift; a single one is more likely a rough label.
WRONG_JOINTS = 2
#: Typical lengths of the bony ribs 1-12 of adults (mm), of which only the ratios count. Means of four CTs' uncut ribs:
#: eight each of ribs 1 to 7, seven of rib 8, four of rib 9, two each of ribs 10 to 12.
RIB_LENGTHS_MM = (120, 190, 225, 249, 267, 274, 279, 265, 235, 208, 149, 83)
#: The floating ribs are left out: theirs differ by half from person to person.
PROFILE_LEVELS = range(1, 11)
#: Lengths fit the right numbers to 0.05-0.06 (standard deviation of the log-ratio; 0.10 in a textbook skeleton that is
#: not among the four), and numbers off by one to 0.13 at best. Names are called shifted when a neighbour's numbers fit
#: to this, and so much better than their own.
PROFILE_FIT = 0.12
PROFILE_FACTOR = 1.5
#: The profile needs so many whole ribs; with fewer, mostly the long middle ones, neighbours look alike.
PROFILE_RIBS = 10


@dataclass(frozen=True)
class Joint:
    """Where a rib meets the spine: level of the vertebra (1 for T1, 0 for C7, 13 for L1) and the gap in mm."""

    level: int
    gap: float


def joints(bones: dict[int, Bone]) -> dict[int, Joint]:
    """The vertebra at which each rib's joints are, by the rib's label; ribs that leave it open are not in it."""
    vertebrae = {BY_LABEL[n].level: bone for n, bone in bones.items() if bone.name.startswith("vertebra_")}
    if not vertebrae:
        return {}
    trees = {level: cKDTree(bone.points) for level, bone in vertebrae.items()}
    spine = cKDTree(np.concatenate([bone.points for bone in vertebrae.values()]))
    found = {}
    for label in RIBS:
        if label not in bones:
            continue
        points = bones[label].points
        distance, _ = spine.query(points, distance_upper_bound=JOINT_MM)
        near = points[np.isfinite(distance)]
        enough = int(np.ceil(JOINT_MM3 / 1000 / bones[label].volume * len(points)))
        if len(near) < enough:
            continue
        gaps = {}
        for level, tree in trees.items():
            distance = np.minimum(tree.query(near, distance_upper_bound=2 * JOINT_MM)[0], 2 * JOINT_MM)
            gaps[level] = float(np.partition(distance, enough - 1)[:enough].mean())
        best, second = sorted(gaps, key=gaps.get)[:2] if len(gaps) > 1 else (*gaps, None)
        if gaps[best] <= JOINT_MM and (second is None or gaps[second] - gaps[best] >= JOINT_MARGIN_MM):
            found[label] = Joint(best, gaps[best])
    return found


def profile_shift(bones: dict[int, Bone]) -> tuple[int, dict[int, float]]:
    """By how much the true numbers differ from the names, as the lengths of whole ribs tell it: -1, 0 or 1.

    Returns also the misfit at each of the three; 0 and none where there are too few whole ribs to tell.
    """
    whole = [(BY_LABEL[n].level, bones[n].length) for n in RIBS if n in bones and not bones[n].faces]
    misfits = {}
    for shift in (-1, 0, 1):
        fits = [(k + shift, length) for k, length in whole if k + shift in PROFILE_LEVELS and length > 0]
        if len(fits) < PROFILE_RIBS:
            return 0, {}
        misfits[shift] = float(np.std([np.log(length / RIB_LENGTHS_MM[k - 1]) for k, length in fits]))
    best = min(misfits, key=misfits.get)
    shifted = misfits[best] < PROFILE_FIT and misfits[best] * PROFILE_FACTOR < misfits[0]
    return (best if shifted else 0), misfits


def size_of(bones: dict[int, Bone]) -> float:
    """The person's ribs against `RIB_LENGTHS_MM`: median ratio of the whole ribs 2 to 8; 1 when none is whole."""
    ratios = [
        bone.length / RIB_LENGTHS_MM[BY_LABEL[n].level - 1]
        for n, bone in bones.items()
        if n in RIBS and 2 <= BY_LABEL[n].level <= 8 and not bone.faces
    ]
    return float(np.median(ratios)) if ratios else 1.0


def judge_levels(bones: dict[int, Bone], found: dict[int, Joint]) -> Finding | None:
    """The gate: ribs at the wrong vertebra, or everything named one level off."""
    own = {BY_LABEL[n].level for n, bone in bones.items() if bone.name.startswith("vertebra_")}
    # a rib whose own vertebra has no label meets the next one, and that is the vertebra's fault
    wrong = {n: joint for n, joint in found.items() if joint.level != BY_LABEL[n].level and BY_LABEL[n].level in own}
    names = tuple(BY_LABEL[n].name for n in wrong)
    told = ", ".join(f"{_rib(n)} meets {_vertebra(joint.level)}" for n, joint in list(wrong.items())[:3])
    if len(wrong) >= WRONG_JOINTS:
        return Finding(
            "levels",
            REJECT,
            f"the ribs do not meet the vertebrae of their number: {len(wrong)} of the {len(found)} ribs that reach the "
            f"spine are at another level ({told}{', ...' if len(wrong) > 3 else ''})",
            names,
        )
    shift, misfits = profile_shift(bones)
    if shift:
        return Finding(
            "levels",
            REJECT,
            f"every rib is numbered one too {'high' if shift < 0 else 'low'}: the ribs' lengths fit an adult's to "
            f"{100 * misfits[shift]:.0f} % when rib 5 is called rib {5 + shift}, to {100 * misfits[0]:.0f} % as named",
            tuple(bones[n].name for n in RIBS if n in bones),
        )
    if wrong:
        return Finding("levels", REMARK, f"one rib is nearest to another vertebra than its own: {told}", names)
    return None


def _rib(label: int) -> str:
    bone = BY_LABEL[label]
    return f"{bone.side} rib {bone.level}"


def _vertebra(level: int) -> str:
    return "C7" if level < 1 else f"T{level}" if level <= 12 else f"L{level - 12}"

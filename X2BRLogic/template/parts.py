"""The parts of a skeleton: their names, their place in the table of bones, and which neighbours meet.

Every bone of `anatomy` is a part under its own name. The costal cartilages, which share one label there, are ten
parts a side: ``costal_cartilage_left_1`` to ``costal_cartilage_right_10``, each with that label.
"""

from __future__ import annotations

import re
from itertools import pairwise

from .. import anatomy
from ..anatomy import LEFT, RIGHT

SIDES = (LEFT, RIGHT)
RIB_LEVELS = range(1, 13)
#: Ribs that reach the sternum through cartilage of their own (1-7) or by that of the rib above (8-10); 11, 12 float.
TRUE_RIBS = range(1, 8)
FALSE_RIBS = range(8, 11)
#: From the lowest of the neck to the last of the loin, in order.
SPINE = tuple(
    f"vertebra_{level}" for level in ["C7", *[f"T{n}" for n in range(1, 13)], *[f"L{n}" for n in range(1, 6)]]
)
THORACIC = tuple(f"vertebra_T{n}" for n in range(1, 13))

_CARTILAGE = re.compile(r"costal_cartilage_(left|right)_([1-9]|10)")


def rib(side: str, level: int) -> str:
    """The name of a rib."""
    return f"rib_{side}_{level}"


def cartilage(side: str, level: int) -> str:
    """The name of a costal cartilage."""
    return f"costal_cartilage_{side}_{level}"


#: The order in which the parts of a skeleton are kept: that of the labels, each side's cartilages from the first.
NAMES = (
    *(bone.name for bone in anatomy.BONES if bone.label < anatomy.CARTILAGES),
    *(cartilage(side, level) for side in SIDES for level in range(1, 11)),
    *(bone.name for bone in anatomy.BONES if bone.label > anatomy.CARTILAGES),
)


def bone_of(name: str) -> anatomy.Bone:
    """The entry of a part in the table of bones. Raises `KeyError` for a name that is no part's."""
    return anatomy.BY_LABEL[anatomy.CARTILAGES] if _CARTILAGE.fullmatch(name) else anatomy.BY_NAME[name]


def mirrored_name(name: str) -> str:
    """The part on the other side; a part of the midline is its own."""
    swap = {LEFT: RIGHT, RIGHT: LEFT}
    return re.sub(f"_({LEFT}|{RIGHT})(?=_|$)", lambda side: f"_{swap[side[1]]}", name)


def side_of(name: str) -> str | None:
    """``left``, ``right``, or ``None`` for a part of the midline."""
    found = re.search(f"_({LEFT}|{RIGHT})(?=_|$)", name)
    return found[1] if found else None


def articulations() -> tuple[tuple[str, str, str], ...]:
    """Which parts meet: ``(kind, part, neighbour)`` for all joints of a thorax.

    Rib k articulates with vertebra Tk, by head and tubercle, and for k = 2 to 10 its head also with T(k-1);
    cartilage k joins rib k to the sternum (1-7) or to the cartilage above (8-10).
    Source: Standring (ed.), Gray's Anatomy, 41st edition, chapter 53, Chest wall.
    """
    meetings = []
    for side in SIDES:
        for level in RIB_LEVELS:
            meetings.append(("costovertebral", rib(side, level), f"vertebra_T{level}"))
            if 2 <= level <= 10:
                meetings.append(("costovertebral", rib(side, level), f"vertebra_T{level - 1}"))
        for level in (*TRUE_RIBS, *FALSE_RIBS):
            meetings.append(("costochondral", rib(side, level), cartilage(side, level)))
        meetings += [("sternocostal", cartilage(side, level), "sternum") for level in TRUE_RIBS]
        meetings += [("interchondral", cartilage(side, k), cartilage(side, k - 1)) for k in FALSE_RIBS]
    meetings += [("intervertebral", upper, lower) for upper, lower in pairwise(SPINE)]
    return tuple(meetings)

"""How much of a thorax a detector sees: one number that tells a frontal chest film from everything else.

The detector knows films of chests alone, upright and bone bright. On anything else it finds few bones, is sure of none,
and they lie in no order; the sum of its confidences, the number of bones that it expects to be right about, says all of
that at once, and costs nothing where bones are detected anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import anatomy
from ..detection import Box, detect
from ..radiograph import Handling, Radiograph

#: So many ribs and thoracic vertebrae are there to be seen.
THORACIC = frozenset(anatomy.BY_LABEL[label].name for label in (*anatomy.RIBS, *anatomy.THORACIC_VERTEBRAE))
#: A film with fewer is told of; with fewer than the second, however it is turned, there is nothing to reconstruct.
#: Set on half of the patients and of the other pictures, see Documentation/benchmarks/fitness.md.
CHEST, NOTHING = 10.0, 2.5
#: A film lies otherwise than it should when it shows so many times the bones that way.
_CLEARER = 2.0


def bones_seen(boxes: Iterable[Box]) -> float:
    """How many of the thorax's 36 ribs and vertebrae the boxes are of, each counted by its confidence."""
    return float(sum(box.confidence for box in boxes if box.name in THORACIC))


def seen_by_handling(radiograph: Radiograph, seen: float | None = None) -> dict[Handling, float]:
    """`bones_seen` of a film in each way that it can have been stored, but for mirrored, which shows as many bones.

    Args:
        seen: as it is, where that is known. Else and for the seven others bones are detected.

    Raises as `detection.detect`.
    """
    found = {} if seen is None else {Handling(): seen}
    for invert in (False, True):
        for turn in (0, 90, 180, 270):
            handling = Handling(turn=turn, invert=invert)
            if handling not in found:
                found[handling] = bones_seen(detect(handling.of(radiograph)).boxes)
    return found


def needed(seen: dict[Handling, float]) -> Handling:
    """What sets the film right: nothing, unless another way than as it is shows a chest and far more of it."""
    best = max(seen, key=lambda handling: seen[handling])
    clear = seen[best] >= max(CHEST, _CLEARER * seen[Handling()])
    return best if clear else Handling()

"""Which bone each detected box is of: doubles set aside, missing levels filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from .. import anatomy
from ..detection import Box

#: A box farther from every free bone of its group than so many pixels' worth of mm at the isocentre is none of them.
_FARTHEST_MM = 30.0
_SHIFTS_MM = np.arange(-90.0, 91.0, 7.5)


def named(boxes: Iterable[Box]) -> tuple[dict[str, Box], list[Box], list[str]]:
    """Boxes by the bone they name, those that name none, and sentences on doubles, of which the surest is kept."""
    kept, nameless, notes = {}, [], []
    for box in sorted(boxes, key=lambda box: -box.confidence):
        if box.name is None:
            nameless.append(box)
        elif box.name in kept:
            notes.append(f"More than one box is called {box.name}; the one of lower confidence was set aside.")
        else:
            kept[box.name] = box
    return kept, nameless, notes


def assigned(
    nameless: Sequence[Box], predicted: Mapping[str, np.ndarray], taken: Mapping[str, Box], mm: float, loose: bool
) -> dict[str, Box]:
    """Boxes without a level given the free bones of their group that they fit best.

    Args:
        nameless: boxes.
        predicted: where bones are expected, ``(x0, y0, x1, y1)`` in pixels by name.
        taken: bones that have their box already.
        mm: of a pixel at the isocentre.
        loose: the expectation may be off by a few levels up or down as a whole; the best shift is tried first.
    """
    best, least = {}, np.inf
    for shift in _SHIFTS_MM if loose else (0.0,):
        matched, cost = _assigned(nameless, predicted, taken, mm, shift)
        if cost < least:
            best, least = matched, cost
    return best


def _assigned(nameless, predicted, taken, mm: float, shift: float) -> tuple[dict[str, Box], float]:
    """The best match for one shift down in mm, and its cost."""
    matched, total = {}, 0.0
    for group in sorted({box.group for box in nameless}):
        boxes = [box for box in nameless if box.group == group]
        free = [name for name in predicted if anatomy.BY_NAME[name].group == group and name not in taken]
        if not free:
            continue
        wanted = np.array([box.edges for box in boxes])
        there = np.array([predicted[name] for name in free]) + np.array([0, shift, 0, shift]) / mm
        cost = np.sqrt(((wanted[:, None] - there[None]) ** 2).mean(axis=2)) * mm
        rows, columns = linear_sum_assignment(np.minimum(cost, _FARTHEST_MM))
        for row, column in zip(rows, columns, strict=True):
            if cost[row, column] < _FARTHEST_MM:
                matched[free[column]] = boxes[row]
        total += float(np.minimum(cost, _FARTHEST_MM)[rows, columns].sum()) + _FARTHEST_MM * (len(boxes) - len(rows))
    return matched, total

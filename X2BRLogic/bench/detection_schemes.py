"""Ways from what a network sees to boxes with levels, which the benchmark compares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..detection import Box
from ..detection.candidates import Candidates
from ..detection.classes import CLASSES, RUNS
from ..detection.naming import named
from ..detection.ordering import order, said_by_others, sequence

#: Score from which a box counts where levels are not looked at; the usual one of detectors.
_SURE = 0.25

Scheme = Callable[[dict[str, Candidates], tuple[int, int]], list[Box]]


def by_level(found: dict[str, Candidates], shape: tuple[int, int]) -> list[Box]:
    """One class a level, and each box what the network calls it."""
    boxes = []
    for group, run in RUNS.items():
        for edges, scores in zip(found[group].edges, found[group].scores, strict=True):
            level = int(scores.argmax())
            boxes.append(Box.of(CLASSES[run][level], edges, float(scores[level])))
    return boxes


def ordered(found: dict[str, Candidates], shape: tuple[int, int]) -> list[Box]:
    """One class a level, and the order of bones over their scores: what `detect` does."""
    return named(found, order(found), shape)[0]


def by_group(found: dict[str, Candidates], shape: tuple[int, int]) -> list[Box]:
    """Groups alone, and levels from the order: the highest rib is the first, and vertebrae are those that ribs meet.

    A box's score for its group is the highest of its levels. Those that are not sure are left out: one of them above
    the first rib would shift all numbers.
    """
    alike = {group: _without_levels(boxes) for group, boxes in found.items()}
    chains = {group: sequence(boxes) for group, boxes in alike.items()}
    chains["vertebrae"] = sequence(alike["vertebrae"], said_by_others("vertebrae", alike, chains))
    return named(alike, chains, shape)[0]


def _without_levels(boxes: Candidates) -> Candidates:
    score = boxes.scores.max(axis=1, initial=0.0)
    sure = score >= _SURE
    return Candidates(boxes.group, boxes.edges[sure], np.repeat(score[sure, None], boxes.scores.shape[1], axis=1))


SCHEMES: dict[str, Scheme] = {
    "one class a level": by_level,
    "one class a level, then the order": ordered,
    "groups, then the order": by_group,
}

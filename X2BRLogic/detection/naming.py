"""Boxes with names from ordered candidates, and in words what was done to them."""

from __future__ import annotations

import numpy as np

from .. import anatomy
from .boxes import Box
from .candidates import Candidates, overlap
from .classes import LABELS, RUNS
from .ordering import Placed

#: A further candidate of a level is told of as found twice where its score is so great and it overlaps no more.
_TOLD, _ELSEWHERE = 0.4, 0.6
#: Confidence of a box that the order renumbered, and of one that was filled in, as parts of those it rests on.
_RENUMBERED, _FILLED = 0.5, 0.3
_GROUP_NAMES = {"ribs_left": "the left ribs", "ribs_right": "the right ribs", "vertebrae": "the vertebrae"}


def named(
    found: dict[str, Candidates], chains: dict[str, list[Placed]], shape: tuple[int, ...]
) -> tuple[list[Box], list[str]]:
    """The boxes, and sentences on what is missing, was found twice, renumbered or filled in.

    A single bone that is missing between two neighbours is filled in half-way between their boxes.

    Args:
        shape: of the film, which boxes are cut to.
    """
    boxes, notes = [], []
    limit = np.array([shape[1], shape[0], shape[1], shape[0]]) - 0.5
    for group, chain in chains.items():
        candidates, run = found[group], RUNS[group]
        names = [anatomy.BY_LABEL[label].name for label in LABELS[run]]
        if not chain:
            notes.append(f"none of {_GROUP_NAMES[group]} was found")
            continue
        placed = {}
        for place in chain:
            score = float(candidates.scores[place.number].max())
            renumbered = place.said != place.level
            placed[place.level] = candidates.edges[place.number], score * (_RENUMBERED if renumbered else 1.0)
        filled, missing = _filled(placed)
        notes += _notes(candidates, chain, names, filled, missing)
        for level, (edges, confidence) in sorted((placed | filled).items()):
            edges = np.clip(edges, -0.5, limit)
            if edges[0] < edges[2] and edges[1] < edges[3]:
                boxes.append(Box.of(names[level], edges, min(confidence, 1.0)))
    return boxes, notes


def _filled(placed: dict[int, tuple[np.ndarray, float]]) -> tuple[dict[int, tuple[np.ndarray, float]], list[int]]:
    """Levels that are missing between others: those that can be filled in, with box and confidence, and the rest."""
    filled, missing = {}, []
    for level in range(min(placed) + 1, max(placed)):
        if level in placed:
            continue
        if level - 1 in placed and level + 1 in placed:
            (above, a), (below, b) = placed[level - 1], placed[level + 1]
            filled[level] = (above + below) / 2, _FILLED * min(a, b)
        else:
            missing.append(level)
    return filled, missing


def _notes(
    candidates: Candidates, chain: list[Placed], names: list[str], filled: dict, missing: list[int]
) -> list[str]:
    notes = []
    renumbered = [place for place in chain if place.said != place.level]
    if renumbered:
        listed = ", ".join(f"{names[place.said]} to {names[place.level]}" for place in renumbered)
        notes.append(f"renumbered by the order of the bones: {listed}")
    doubled = [names[level] for level in _doubled(candidates, chain)]
    if doubled:
        notes.append(f"found twice, the one in order was kept: {', '.join(doubled)}")
    if filled:
        notes.append(f"not found, and filled in between neighbours: {', '.join(names[level] for level in filled)}")
    if missing:
        notes.append(f"not found between others: {', '.join(names[level] for level in missing)}")
    return notes


def _doubled(candidates: Candidates, chain: list[Placed]) -> list[int]:
    """Levels that the network gave to a further box elsewhere, of a good score, that was left out."""
    used = {place.level: place.number for place in chain}
    found = set()
    for number in set(range(len(candidates.edges))) - set(used.values()):
        level = int(candidates.scores[number].argmax())
        if level in used and candidates.scores[number].max() >= _TOLD:
            edges = candidates.edges[[used[level], number]]
            if overlap(edges[:1], edges[1:])[0, 0] < _ELSEWHERE:
                found.add(level)
    return sorted(found)

"""Numbers for bones from the order in which they lie, where a network numbers each by itself.

In each group the candidates, from the top down, get rising levels: the sequence that is best in the sum of how sure the
network is, what levels it gave, and how far apart neighbours lie, found by dynamic programming. Groups speak to each
other: rib k meets T(k), and left and right ribs of a number lie about as high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .candidates import Candidates

#: A candidate is worth the logarithm of its score over this; one that is not worth its place is left out.
_WORTH = 0.01
#: To a level that the network gave no score at all, a candidate still goes, at the price of this share.
_DOUBT = 0.03
#: Price of each level that is passed over between two that are there.
_PASSED = 1.5
#: How much the distance of neighbours varies, as a part of the usual one, and the most that it can cost.
_SPREAD, _MOST_SPREAD = 0.4, 8.0
#: The same for a rib's height against its vertebra's and its fellow's, in vertebrae.
_MEETING, _MOST_MEETING = 0.6, 1.0
#: How far the top of rib k lies below the middle of T(k), in heights of a vertebra: medians over the training films.
MEETING = np.array([-0.74, -0.86, -1.01, -1.19, -1.31, -1.26, -1.28, -1.15, -1.03, -0.85, -0.51, 0.01])
#: Place of T1 among the levels of the spine.
T1 = 7


@dataclass(frozen=True)
class Placed:
    """A candidate with its level.

    Attributes:
        level: place in the group's run of classes, 0 the highest.
        number: of the candidate.
        said: the level that the network gave it.
    """

    level: int
    number: int
    said: int


def order(found: dict[str, Candidates], rounds: int = 2) -> dict[str, list[Placed]]:
    """The candidates that make the best sequence of each group, from the top down.

    Args:
        found: by group, ``vertebrae``, ``ribs_left``, ``ribs_right``.
        rounds: how often each group is looked at again with what the others say.
    """
    chains: dict[str, list[Placed]] = {group: sequence(boxes) for group, boxes in found.items()}
    for _ in range(rounds):
        for group in ("ribs_left", "ribs_right", "vertebrae"):
            chains[group] = sequence(found[group], said_by_others(group, found, chains))
    return chains


def sequence(found: Candidates, others: np.ndarray | float = 0.0) -> list[Placed]:
    """The best rising sequence of one group, from the top down.

    Args:
        others: what else speaks for each level of each candidate, ``(N, L)``, as logarithms.
    """
    count, levels = found.scores.shape
    if not count:
        return []
    by_height = np.argsort(found.heights, kind="stable")
    height, scores = found.heights[by_height], found.scores[by_height]
    others = np.broadcast_to(others, (count, levels))[by_height]
    best = scores.max(axis=1)
    share = (scores + _DOUBT * best[:, None]) / (best[:, None] * (1 + _DOUBT))
    worth = np.log(best / _WORTH)[:, None] + np.log(share) + others
    pitch = _pitch(height, scores)
    # total[n, l]: of the best sequence that ends with candidate n at level l.
    total, before = worth.copy(), np.full((count, levels), -1)
    steps = np.arange(levels)[None, :] - np.arange(levels)[:, None]  # [from, to]
    for n in range(1, count):
        gap = (height[n] - height[:n]) / pitch  # (n,)
        expected = np.maximum(steps, 1)
        price = ((gap[:, None, None] - expected) / (_SPREAD * np.sqrt(expected))) ** 2 / 2
        price = np.minimum(price, _MOST_SPREAD) + _PASSED * (expected - 1)
        through = np.where(steps[None] >= 1, total[:n, :, None] - price, -np.inf).reshape(-1, levels)
        origin = through.argmax(axis=0)
        gain = through[origin, np.arange(levels)]
        joined = gain > 0
        total[n, joined] += gain[joined]
        before[n, joined] = origin[joined]
    n, level = np.unravel_index(total.argmax(), total.shape)
    if total[n, level] <= 0:
        return []
    chain = []
    while True:
        chain.append(Placed(int(level), int(by_height[n]), int(scores[n].argmax())))
        if before[n, level] < 0:
            return chain[::-1]
        n, level = divmod(int(before[n, level]), levels)


def _pitch(height: np.ndarray, scores: np.ndarray) -> float:
    """The usual distance of neighbours: how height grows with level over all pairs, by their scores.

    Where no two candidates differ in level, that of neighbours in height.
    """
    level, weight = scores.argmax(axis=1), scores.max(axis=1)
    step = level[None] - level[:, None]
    pairs = step > 0
    if not pairs.any():
        return max(float(np.median(np.diff(height))), 1.0) if len(height) > 1 else 1.0
    slopes = (height[None] - height[:, None])[pairs] / step[pairs]
    weights = (weight[None] * weight[:, None] * np.minimum(step, 4))[pairs]
    sorted_by = np.argsort(slopes)
    half = np.searchsorted(np.cumsum(weights[sorted_by]), weights.sum() / 2)
    return max(float(slopes[sorted_by][half]), 1.0)


def said_by_others(group: str, found: dict[str, Candidates], chains: dict[str, list[Placed]]) -> np.ndarray:
    """What the other groups say of each level of each candidate: 0 for the level they like best, less for others.

    So they speak for levels, and not for or against there being a bone: one group that is off by a level would else
    take the others with it.
    """
    boxes = found[group]
    out = np.zeros(boxes.scores.shape)
    spine = chains["vertebrae"]
    if len(spine) < 2 or not out.size:
        return out
    middles = found["vertebrae"].heights
    unit = (middles[spine[-1].number] - middles[spine[0].number]) / (spine[-1].level - spine[0].level)
    unit = max(float(unit), 1.0)
    sides = [side for side in ("ribs_left", "ribs_right") if side != group and chains[side]]
    if group == "vertebrae":
        for side in sides:
            levels = np.array([rib.level for rib in chains[side]])
            tops = found[side].tops[[rib.number for rib in chains[side]]]
            out -= _cost(middles, _continued(T1 + levels, tops - MEETING[levels] * unit, unit, out.shape[1]), unit)
    else:
        tops = boxes.tops
        expected = _continued([v.level for v in spine], middles[[v.number for v in spine]], unit, T1 + out.shape[1])
        out -= _cost(tops, expected[T1:] + MEETING * unit, unit)
        for side in sides:
            fellows = found[side].tops[[rib.number for rib in chains[side]]]
            out -= _cost(tops, _continued([rib.level for rib in chains[side]], fellows, unit, out.shape[1]), unit)
    return out - out.max(axis=1, keepdims=True)


def _continued(levels, places: np.ndarray, unit: float, count: int) -> np.ndarray:
    """Heights at levels 0 to `count` - 1 of what is known at some: interpolated between, a unit a level beyond."""
    every = np.arange(count)
    beyond = np.minimum(every - levels[0], 0) + np.maximum(every - levels[-1], 0)
    return np.interp(every, levels, places) + beyond * unit


def _cost(heights: np.ndarray, expected: np.ndarray, unit: float) -> np.ndarray:
    """What each of the heights ``(N,)`` costs at each level, where ``(L,)`` are expected, ``(N, L)``."""
    distance = (heights[:, None] - expected) / unit
    return np.minimum((distance / _MEETING) ** 2 / 2, _MOST_MEETING)

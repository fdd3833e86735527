"""Which height of the subject's spine is which of the atlas's: from the ribs, then from the discs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ... import anatomy
from .ribs import SECTION_MM, RibPiece
from .skeleton import Atlas
from .spine import BODY_STEP_MM, Canal

#: Vertebrae and discs take turns every 20 to 30 mm; slower changes of density than this say nothing, mm.
_PERIOD_MM = 25.0
#: Most that the discs move what the ribs say, less than half a vertebra, and the cost of one more mm of stretch.
_MOST_MM = 9
_STRETCH = 0.6
#: A rib's head is so far from the canal, mm; its slope from there to the section is taken from this much beyond.
_HEAD_MM, _SLOPE_MM = 20.0, 15.0


def match_heights(atlas: Atlas, ribs: dict[int, RibPiece], canal: Canal, body: np.ndarray) -> np.ndarray:
    """Heights of the atlas's canal and the subject's that belong to them, mm, both rising, ``(M, 2)``.

    The heads of the numbered ribs give the heights to within a third of a vertebra; then the gaps between vertebrae
    are laid on each other by dynamic time warping.

    Args:
        ribs: numbered.
        body: `spine.body_density` of the subject.
    """
    coarse = _from_heads(atlas, ribs, canal)
    there = np.arange(atlas.canal.z[0], atlas.canal.z[-1], BODY_STEP_MM)
    here = _carried_on(there, coarse)
    inside = (here >= canal.z[0]) & (here <= canal.z[-1])
    there, here = there[inside], here[inside]
    expected = np.interp(there, *_rhythm(atlas.canal, atlas.body))
    seen = _rhythm(canal, body)
    shifts = np.arange(-_MOST_MM, _MOST_MM + 1)
    cost = -expected[:, None] * np.interp(here[:, None] + shifts, *seen)
    shift = ndimage.gaussian_filter1d(shifts[_cheapest(cost)].astype(np.float64), 5.0, mode="nearest")
    return np.column_stack([there, np.maximum.accumulate(here + shift)])


def _rhythm(canal: Canal, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights, and density there against the neighbourhood's, in units of its usual swing."""
    height = np.arange(canal.z[0], canal.z[-1], BODY_STEP_MM)
    swing = ndimage.gaussian_filter1d(body, 1.5, mode="nearest") - ndimage.uniform_filter1d(body, int(_PERIOD_MM))
    usual = np.sqrt(ndimage.uniform_filter1d(swing**2, int(3 * _PERIOD_MM)))
    return height, np.clip(swing / np.maximum(usual, 1e-6), -2.0, 2.0)


def _cheapest(cost: np.ndarray) -> np.ndarray:
    """The column to take in each row, at most one aside from row to row, at the least total cost."""
    total, choices = cost[0].copy(), []
    for row in cost[1:]:
        padded = np.pad(total, 1, constant_values=np.inf)
        options = np.stack([padded[:-2] + _STRETCH, padded[1:-1], padded[2:] + _STRETCH])
        choices.append(options.argmin(axis=0) - 1)
        total = options.min(axis=0) + row
    path = [int(total.argmin())]
    for choice in reversed(choices):
        path.append(path[-1] + int(choice[path[-1]]))
    return np.array(path[::-1])


def _from_heads(atlas: Atlas, ribs: dict[int, RibPiece], canal: Canal) -> np.ndarray:
    """Heights of the rib heads, atlas and subject, both sides averaged, rising; ``(M, 2)``."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    for label, rib in ribs.items():
        if label in atlas.ribs:
            heads = _head(atlas.ribs[label].line, atlas.canal), _head(rib.line, canal)
            pairs.setdefault(anatomy.BY_LABEL[label].level, []).append(heads)
    table = np.array([np.mean(pairs[level], axis=0) for level in sorted(pairs, reverse=True)])
    kept = [0]
    for row in range(1, len(table)):
        if (table[row] - table[kept[-1]]).min() > 2.0:
            kept.append(row)
    return table[kept]


def _head(line: np.ndarray, canal: Canal) -> float:
    """Height of a rib's head: its line carried on towards the spine."""
    local = canal.beside(line)
    aside = np.abs(local[:, 0])
    beyond = np.flatnonzero(aside >= min(SECTION_MM + _SLOPE_MM, aside.max()))[0]
    run = aside[beyond] - aside[0]
    slope = (line[beyond, 2] - line[0, 2]) / run if run > 5.0 else 0.0
    return float(line[0, 2] - np.clip(slope, -1.0, 1.0) * (SECTION_MM - _HEAD_MM))


def _carried_on(heights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The table's second column at heights of the first, carried on beyond its ends at the usual ratio."""
    size = float(np.clip(np.ptp(table[:, 1]) / max(np.ptp(table[:, 0]), 1.0), 0.75, 1.3)) if len(table) > 1 else 1.0
    found = np.interp(heights, table[:, 0], table[:, 1])
    low, high = heights < table[0, 0], heights > table[-1, 0]
    found[low] = table[0, 1] + size * (heights[low] - table[0, 0])
    found[high] = table[-1, 1] + size * (heights[high] - table[-1, 0])
    return found

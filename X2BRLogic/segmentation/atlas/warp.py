"""The atlas bent onto a subject: thin-plate splines through the spine and the ribs."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from ... import anatomy
from .ribs import SECTION_MM, RibPiece
from .skeleton import Atlas
from .spine import Canal

#: Landmarks every so far along ribs and canal, mm.
_RIB_EVERY_MM, _CANAL_EVERY_MM = 12.0, 8.0
#: A rib's head is so far from the canal, mm; its slope from there to the section is taken from this much beyond. The
#: last ribs are too short and too steep for that.
_HEAD_MM, _SLOPE_MM = 20.0, 15.0
_LOWEST_HEAD = 11
#: Canal, and middle of the vertebral bodies in front of it, mm.
_AHEAD_MM = (0.0, 22.0)
#: The splines may miss a landmark by about this, mm, so that one wrong end of a rib bends little.
_SLACK_MM = 3.0
#: A subject's rib is compared up to this share of the atlas rib's length: a piece may run on into cartilage.
_OVERRUN = 1.1
_ROUNDS = 2
_FARTHEST_MM = 25.0


def fit_atlas(atlas: Atlas, ribs: dict[int, RibPiece], canal: Canal) -> np.ndarray:
    """Where the atlas's points are in the subject, RAS mm ``(N, 3)``.

    Ribs of one number belong together, and so do the heights of the spine at their heads. First a place on a rib is
    found again at the same distance from the spine; then, in turns, each place of the subject's rib is matched to the
    nearest of the bent atlas's rib, so that a rib cut by the scan needs no end.

    Args:
        ribs: numbered, at least two different numbers.
    """
    shared = [label for label in ribs if label in atlas.ribs]
    heads = _heads(atlas, ribs, canal)
    size = float(np.clip(np.ptp(heads[:, 1]) / max(np.ptp(heads[:, 0]), 1.0), 0.75, 1.3)) if len(heads) > 2 else 1.0
    spine = _spine_pairs(atlas, canal, heads, size)
    lines = {label: _every(ribs[label].line, _RIB_EVERY_MM) for label in shared}
    paths = {label: _every(atlas.ribs[label].line, 2.0) for label in shared}
    for label in shared:
        most = round(_OVERRUN * size * atlas.ribs[label].length / _RIB_EVERY_MM) + 1
        lines[label] = lines[label][:most]
    matched = {}
    for label in shared:
        step = _RIB_EVERY_MM / (2.0 * size)
        at = np.minimum(np.round(np.arange(len(lines[label])) * step).astype(int), len(paths[label]) - 1)
        matched[label] = at
    source, target = (np.concatenate(p) for p in zip(spine, _matches(paths, lines, matched), strict=True))
    spline = _spline(source, target)
    for _ in range(_ROUNDS):
        matched = {label: cKDTree(spline(paths[label])).query(lines[label])[1] for label in shared}
        source, target = (np.concatenate(p) for p in zip(spine, _matches(paths, lines, matched), strict=True))
        close = np.linalg.norm(spline(source) - target, axis=1) < _FARTHEST_MM
        spline = _spline(source[close], target[close])
    return spline(atlas.points)


def _matches(paths: dict, lines: dict, matched: dict) -> tuple[np.ndarray, np.ndarray]:
    """Places on the atlas's ribs, and the subject's that they are matched to."""
    return np.concatenate([paths[n][matched[n]] for n in matched]), np.concatenate([lines[n] for n in matched])


def _spline(source: np.ndarray, target: np.ndarray) -> RBFInterpolator:
    source, first = np.unique(np.round(source, 2), axis=0, return_index=True)
    return RBFInterpolator(source, target[first], smoothing=len(source) * _SLACK_MM**2, kernel="thin_plate_spline")


def _every(line: np.ndarray, distance: float) -> np.ndarray:
    """Places along a line at even distances."""
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.arange(0.0, run[-1] + 1e-6, distance)
    return np.column_stack([np.interp(at, run, line[:, axis]) for axis in range(3)])


def _heads(atlas: Atlas, ribs: dict[int, RibPiece], canal: Canal) -> np.ndarray:
    """Heights of the rib heads, atlas and subject, both sides averaged, rising; ``(M, 2)``."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    for label, rib in ribs.items():
        level = anatomy.BY_LABEL[label].level
        if label in atlas.ribs and level <= _LOWEST_HEAD:
            heads = _head(atlas.ribs[label].line, atlas.canal), _head(rib.line, canal)
            pairs.setdefault(level, []).append(heads)
    table = np.array([np.mean(pairs[level], axis=0) for level in sorted(pairs, reverse=True)])
    kept = [0]
    for row in range(1, len(table)):
        if (table[row] - table[kept[-1]]).min() > 2.0:
            kept.append(row)
    return table[kept]


def _head(line: np.ndarray, canal: Canal) -> float:
    """Height of a rib's head: its line carried on towards the spine, so that the ribs' slope does not count."""
    aside = np.abs(canal.beside(line)[:, 0])
    beyond = np.flatnonzero(aside >= min(SECTION_MM + _SLOPE_MM, aside.max()))[0]
    run = aside[beyond] - aside[0]
    slope = (line[beyond, 2] - line[0, 2]) / run if run > 5.0 else 0.0
    return float(line[0, 2] - np.clip(slope, -1.0, 1.0) * (SECTION_MM - _HEAD_MM))


def _spine_pairs(atlas: Atlas, canal: Canal, heads: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Places on the atlas's canal and vertebral bodies, and the subject's places that belong to them."""
    there = np.arange(atlas.canal.z[0], atlas.canal.z[-1], _CANAL_EVERY_MM)
    here = np.interp(there, heads[:, 0], heads[:, 1])
    low, high = there < heads[0, 0], there > heads[-1, 0]
    here[low] = heads[0, 1] + size * (there[low] - heads[0, 0])
    here[high] = heads[-1, 1] + size * (there[high] - heads[-1, 0])
    inside = (here >= canal.z[0]) & (here <= canal.z[-1])
    there, here = there[inside], here[inside]
    return (
        np.concatenate([atlas.canal.places(there, ahead) for ahead in _AHEAD_MM]),
        np.concatenate([canal.places(here, ahead) for ahead in _AHEAD_MM]),
    )

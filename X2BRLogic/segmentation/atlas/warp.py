"""The atlas bent onto a subject: thin-plate splines through the spine and the ribs."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from .discs import match_heights
from .ribs import RibPiece
from .skeleton import Atlas
from .spine import Canal

#: Landmarks every so far along ribs and canal, mm.
_RIB_EVERY_MM, _CANAL_EVERY_MM = 12.0, 8.0
#: Canal, and middle of the vertebral bodies in front of it, mm.
_AHEAD_MM = (0.0, 22.0)
#: The splines may miss a landmark by about this, mm, so that one wrong end of a rib bends little.
_SLACK_MM = 3.0
#: A subject's rib is compared up to this share of the atlas rib's length: a piece may run on into cartilage.
_OVERRUN = 1.1
_ROUNDS = 2
_FARTHEST_MM = 25.0


def fit_atlas(atlas: Atlas, ribs: dict[int, RibPiece], canal: Canal, body: np.ndarray) -> np.ndarray:
    """Where the atlas's points are in the subject, RAS mm ``(N, 3)``.

    Ribs of one number belong together, and heights of the spine as `match_heights` says. First a place on a rib is
    found again at the same distance from the spine; then, in turns, each place of the subject's rib is matched to the
    nearest of the bent atlas's rib, so that a rib cut by the scan needs no end.

    Args:
        ribs: numbered, at least two different numbers.
        body: `spine.body_density` of the subject.
    """
    shared = [label for label in ribs if label in atlas.ribs]
    heights = match_heights(atlas, ribs, canal, body)
    size = float(np.clip(np.ptp(heights[:, 1]) / np.ptp(heights[:, 0]), 0.75, 1.3))
    spine = _spine_pairs(atlas, canal, heights)
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


def _spine_pairs(atlas: Atlas, canal: Canal, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on the atlas's canal and vertebral bodies, and the subject's places that belong to them."""
    every = heights[:: round(_CANAL_EVERY_MM / (heights[1, 0] - heights[0, 0]))]
    return (
        np.concatenate([atlas.canal.places(every[:, 0], ahead) for ahead in _AHEAD_MM]),
        np.concatenate([canal.places(every[:, 1], ahead) for ahead in _AHEAD_MM]),
    )

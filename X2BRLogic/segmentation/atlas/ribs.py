"""Ribs as pieces of their own: where each leaves the spine, and its centre-line from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from ...anatomy import LEFT, RIGHT
from .spine import Canal

#: Distance from the canal's middle at which ribs are separate and nothing else is bone, mm.
SECTION_MM = 42.0
#: Where a rib can cross it, front of the canal (positive) and behind it, mm.
_DEPTH_MM = (-48.0, 32.0)
_AREA_MM2 = (18.0, 420.0)
#: Nearer to the midline than `SECTION_MM` only the front ends of ribs are looked for, so far in front of the canal, mm.
_FRONT_MM = 70.0
_MIDLINE_MM = 20.0
#: Twice this is the thickness that no rib has: what is thicker (contrast in heart and kidneys, the shoulder) is not.
_THICK_MM = 6.5
_STEP_MM = 5.0
_LONGEST_MM = 420.0
#: A rib is nowhere wider than this around its centre-line, mm.
_WIDTH_MM = 10.0


@dataclass(frozen=True)
class RibPiece:
    """A rib as it is found, not yet numbered.

    Attributes:
        side: ``left`` or ``right``.
        line: centre-line from `SECTION_MM` beside the canal forwards, RAS mm ``(N, 3)``.
        area: of the section there, mm^2.
        length: of `line`, mm.
        cut: whether the line ends at the border of the scan.
    """

    side: str
    line: np.ndarray
    area: float
    length: float
    cut: bool


def find_ribs(bone: np.ndarray, canal: Canal, spacing: float, origin: np.ndarray) -> list[RibPiece]:
    """The pieces of bone that leave the spine sideways, both sides, from the top.

    Every piece is seeded where it crosses a surface `SECTION_MM` beside the canal, where ribs are apart. Bone is then
    given to the seed from which it is reached first, and a centre-line runs through the fronts of equal distance.

    Args:
        bone: bone ``[k, j, i]``, axes along RAS.
        canal: of the same scan.
        spacing: edge of the cubic voxels, mm.
        origin: RAS mm of voxel (0, 0, 0).
    """
    thin = bone & ~_thick(bone, spacing)
    pieces = []
    for side, sign in ((LEFT, -1.0), (RIGHT, 1.0)):
        pieces += _side(thin, canal, spacing, np.asarray(origin), side, sign)
    return sorted(pieces, key=lambda piece: -piece.line[0, 2])


def _thick(bone: np.ndarray, spacing: float) -> np.ndarray:
    """The parts of `bone` into which a ball of `_THICK_MM` fits."""
    radius = _THICK_MM / spacing
    core = ndimage.distance_transform_edt(bone) > radius
    return ndimage.distance_transform_edt(~core) <= radius if core.any() else core


def _side(thin, canal: Canal, spacing: float, origin: np.ndarray, side: str, sign: float) -> list[RibPiece]:
    slices, rows, columns = thin.shape
    aside = sign * (origin[0] + spacing * np.arange(columns)[None, :] - canal.x[:, None])
    front = origin[1] + spacing * np.arange(rows)[None, :] - canal.y[:, None] > _FRONT_MM
    least = np.where(front, _MIDLINE_MM, SECTION_MM - 0.75 * spacing)
    index = np.argwhere(thin & (aside[:, None, :] >= least[:, :, None]))
    if not len(index):
        return []
    points = origin + spacing * index[:, ::-1]
    seeds, areas = _sections(thin, canal, spacing, origin, sign, index)
    if not areas:
        return []
    distance, owner = _reach(index, thin.shape, seeds, spacing)
    pieces = []
    for number, area in enumerate(areas):
        mine = np.flatnonzero((owner == number) & np.isfinite(distance))
        line = _centre_line(points[mine], distance[mine], sign)
        last = (line[-1] - origin) / spacing
        margin = np.minimum(last, np.array([columns, rows, slices]) - 1 - last).min() * spacing
        length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
        pieces.append(RibPiece(side, line, area, length, bool(margin < 2 * _STEP_MM)))
    return pieces


def _sections(thin, canal: Canal, spacing: float, origin: np.ndarray, sign: float, index: np.ndarray):
    """Seeds per voxel of `index` (-1 for none), and the area of each section, mm^2."""
    slices, rows, columns = thin.shape
    column = np.round((canal.x + sign * SECTION_MM - origin[0]) / spacing).astype(int)
    column = np.clip(column, 0, columns - 1)
    front = origin[1] + spacing * np.arange(rows)[None, :] - canal.y[:, None]
    cut = thin[np.arange(slices), :, column] & (front > _DEPTH_MM[0]) & (front < _DEPTH_MM[1])
    blobs, count = ndimage.label(cut, np.ones((3, 3)))
    area = np.bincount(blobs.ravel(), minlength=count + 1) * spacing**2
    fit = [n for n in range(1, count + 1) if _AREA_MM2[0] <= area[n] <= _AREA_MM2[1]]
    renumbered = np.full(count + 1, -1)
    renumbered[fit] = np.arange(len(fit))
    on = index[:, 2] == column[index[:, 0]]
    seeds = np.full(len(index), -1)
    seeds[on] = renumbered[blobs[index[on, 0], index[on, 1]]]
    return seeds, [float(area[n]) for n in fit]


def _graph(index: np.ndarray, shape: tuple, spacing: float) -> coo_array:
    """Voxels as nodes, steps to the 26 neighbours as edges with their length in mm."""
    node = np.full(np.array(shape) + 2, -1, dtype=np.int32)
    node[tuple((index + 1).T)] = np.arange(len(index))
    starts, ends, lengths = [], [], []
    for move in np.argwhere(np.ones((3, 3, 3))) - 1:
        if tuple(move) <= (0, 0, 0):
            continue
        other = node[tuple((index + 1 + move).T)]
        have = np.flatnonzero(other >= 0)
        starts.append(have)
        ends.append(other[have])
        lengths.append(np.full(have.size, spacing * np.linalg.norm(move)))
    edges = np.concatenate(starts), np.concatenate(ends)
    return coo_array((np.concatenate(lengths), edges), (len(index),) * 2).tocsr()


def _reach(index: np.ndarray, shape: tuple, seeds: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance through bone from the nearest seed, mm, and which seed that is."""
    roots = np.flatnonzero(seeds >= 0)
    distance, _, nearest = dijkstra(
        _graph(index, shape, spacing),
        directed=False,
        indices=roots,
        return_predecessors=True,
        limit=_LONGEST_MM,
        min_only=True,
    )
    reached = np.flatnonzero(nearest >= 0)
    owner = np.full(len(index), -1)
    owner[reached] = seeds[nearest[reached]]
    return distance, owner


def _centre_line(points: np.ndarray, distance: np.ndarray, sign: float) -> np.ndarray:
    """Through the middles of the fronts at equal distance, looked for straight ahead: past what touches the rib."""
    front = np.floor(distance / _STEP_MM).astype(int)
    line = [points[front == 0].mean(axis=0)]
    heading = np.array([sign, 0.0, 0.0])
    for number in range(1, front.max() + 1):
        here = points[front == number]
        middle = line[-1] + _STEP_MM * heading
        for reach in (1.5 * _WIDTH_MM, _WIDTH_MM):
            near = here[np.linalg.norm(here - middle, axis=1) < reach]
            if not len(near):
                return np.array(line)
            middle = near.mean(axis=0)
        line.append(middle)
        back = line[max(0, len(line) - 4)]
        heading = (line[-1] - back) / max(np.linalg.norm(line[-1] - back), 1e-6)
    return np.array(line)

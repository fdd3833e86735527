"""A name for every voxel of bone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ... import anatomy
from .grid import SPACING_MM
from .refine import displaced, draw_onto
from .ribs import RibPiece
from .skeleton import Atlas

#: A voxel takes the name of the nearest of the atlas's points up to this distance, mm.
_REACH_MM = 6.0
#: Half the height of a rib: so near its centre-line a voxel is the rib's, whatever the atlas's ribs say, mm.
_RIB_MM = 9.0
_ASTRAY_MM = 12.0
#: Cartilage that is not calcified, HU, and how near it must be to the atlas's, mm.
_CARTILAGE_HU = (65.0, 200.0)
_CARTILAGE_MM = 5.0
#: Marrow is what a closing by this takes in, mm.
_MARROW_MM = 5.0
#: Pieces of a bone smaller than this share of its largest are specks.
_SPECK = 0.05


def name_bones(
    hu: np.ndarray, bone: np.ndarray, origin: np.ndarray, ribs: dict[int, RibPiece], atlas: Atlas, places: np.ndarray
) -> np.ndarray:
    """Labels of `anatomy`, uint8 ``[k, j, i]``.

    Args:
        hu: smoothed Hounsfield units on the working grid.
        bone: where bone is.
        origin: RAS mm of voxel (0, 0, 0).
        ribs: numbered, found in `bone`.
        atlas: the atlas.
        places: where its points are in the subject, RAS mm ``(N, 3)``.
    """
    hard = atlas.labels != anatomy.CARTILAGES
    to_index = (places[:, ::-1] - origin[::-1]) / SPACING_MM
    displacement = draw_onto(bone, np.round(to_index[hard]).astype(int))
    tree = cKDTree(places)

    def nearest(index: np.ndarray, reach: float) -> np.ndarray:
        points = origin + SPACING_MM * index[:, ::-1] + displaced(displacement, index)
        distance, which = tree.query(points, distance_upper_bound=reach)
        found = np.isfinite(distance)
        names = np.zeros(len(index), dtype=np.uint8)
        names[found] = atlas.labels[which[found]]
        return names

    labels = np.zeros(bone.shape, dtype=np.uint8)
    index = np.argwhere(bone)
    names = nearest(index, _REACH_MM)
    lines = {label: _on_atlas(rib.line, places[atlas.labels == label]) for label, rib in ribs.items()}
    labels[tuple(index.T)] = _ribs_by_line(origin + SPACING_MM * index[:, ::-1], names, lines)
    soft = np.argwhere(
        (labels == 0) & _around_cartilage(to_index[~hard], bone) & (hu > _CARTILAGE_HU[0]) & (hu < _CARTILAGE_HU[1])
    )
    if len(soft):
        cartilage = nearest(soft, _CARTILAGE_MM) == anatomy.CARTILAGES
        labels[tuple(soft[cartilage].T)] = anatomy.CARTILAGES
    return _tidy(labels)


def _on_atlas(line: np.ndarray, rib: np.ndarray) -> np.ndarray:
    """A rib's centre-line as far as it keeps to the bent atlas's rib: where bones touch it may have gone astray."""
    if not len(rib):
        return line
    astray = np.flatnonzero(cKDTree(rib).query(line)[0] > _ASTRAY_MM)
    return line[: astray[0]] if len(astray) else line


def _ribs_by_line(points: np.ndarray, names: np.ndarray, lines: dict[int, np.ndarray]) -> np.ndarray:
    """The numbers of ribs as they were counted, in place of those that the atlas carried there."""
    line = np.concatenate([np.zeros((0, 3)), *lines.values()])
    of = np.concatenate([np.full(len(places), label, dtype=np.uint8) for label, places in lines.items()])
    distance, which = cKDTree(line).query(points, distance_upper_bound=_RIB_MM)
    on = np.isfinite(distance) & (np.isin(names, anatomy.RIBS) | (names == 0))
    names = names.copy()
    names[on] = of[which[on]]
    return names


def _around_cartilage(index: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Voxels that may be cartilage: the neighbourhood of the atlas's, less bone."""
    near = np.zeros(bone.shape, dtype=bool)
    index = np.round(index).astype(int)
    inside = ((index >= 0) & (index < bone.shape)).all(axis=1)
    near[tuple(index[inside].T)] = True
    return ndimage.binary_dilation(near, iterations=round(10.0 / SPACING_MM)) & ~bone


def _tidy(labels: np.ndarray) -> np.ndarray:
    """Specks dropped, marrow filled."""
    margin = int(np.ceil(_MARROW_MM / SPACING_MM)) + 1
    tidy = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        mask = labels[wide] == label
        pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        size = np.bincount(pieces.ravel())
        size[0] = 0
        least = _SPECK * size.max()
        mask = (size >= least)[pieces]
        if label != anatomy.CARTILAGES:
            mask = _filled(mask, margin) & ((labels[wide] == label) | (labels[wide] == 0))
        free = tidy[wide]
        free[mask & (free == 0)] = label
    return tidy


def _filled(mask: np.ndarray, margin: int) -> np.ndarray:
    """Closed by `_MARROW_MM`, cavities filled."""
    padded = np.pad(mask, margin)
    inner = tuple(slice(margin, -margin) for _ in range(3))
    return ndimage.binary_fill_holes(_closed(padded, _MARROW_MM) | padded)[inner]


def _closed(mask: np.ndarray, radius_mm: float) -> np.ndarray:
    """The mask closed by a ball, through distances."""
    radius = radius_mm / SPACING_MM
    grown = ndimage.distance_transform_edt(~mask) <= radius
    return ndimage.distance_transform_edt(grown) > radius

"""The labelled skeleton as the naming needs it: a label map, its canal, and a centre-line for every rib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import anatomy
from ...volume import Volume
from .grid import SPACING_MM, upright
from .ribs import RibPiece, find_ribs
from .spine import Canal, find_canal

#: What stands for bone and for everything else where there are only labels, HU.
_BONE_HU, _SOFT_HU = 300.0, 40.0
#: One in so many voxels stands for its bone: one each 2.2 mm.
_EVERY = 3


@dataclass(frozen=True)
class Atlas:
    """A labelled skeleton.

    Attributes:
        points: places inside the bones, RAS mm ``(N, 3)``.
        labels: the bone of each, ``(N,)`` uint8.
        canal: the middle of the spinal canal.
        ribs: centre-line by label, from `ribs.SECTION_MM` beside the canal forwards, RAS mm.
    """

    points: np.ndarray
    labels: np.ndarray
    canal: Canal
    ribs: dict[int, RibPiece]


def atlas_from_labels(labels: Volume) -> Atlas:
    """An atlas from a label map with the numbers of `anatomy`.

    Raises:
        InputError: it has no spine.
    """
    grid = upright(labels, order=0, outside=0)
    array = grid.array
    origin = grid.ijk_to_ras[:3, 3]
    canal = find_canal(np.where(array > 0, np.float32(_BONE_HU), np.float32(_SOFT_HU)), SPACING_MM, origin)
    ribs: dict[int, RibPiece] = {}
    for piece in find_ribs(np.isin(array, anatomy.RIBS), canal, SPACING_MM, origin):
        i, j, k = np.round((piece.line[len(piece.line) // 2] - origin) / SPACING_MM).astype(int)
        near = array[max(k - 1, 0) : k + 2, max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2]
        label = int(np.bincount(near.ravel())[1:].argmax()) + 1 if near.any() else 0
        if label in anatomy.RIBS and (label not in ribs or piece.length > ribs[label].length):
            ribs[label] = piece
    index = np.argwhere(array > 0)[::_EVERY]
    return Atlas(grid.to_ras(index[:, ::-1]), array[tuple(index.T)].astype(np.uint8), canal, ribs)

"""Numbers of every labelled bone: size, pieces, what the CT says inside it and around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from ...anatomy import BY_LABEL, RIBS, STERNUM, THORACIC_VERTEBRAE, VERTEBRAE
from ...errors import InputError
from ...volume import Volume

#: Bones are measured on voxels of about this edge (mm): a rib is 6 to 12 mm thick, and a full CT takes minutes.
WORKING_MM = 1.5
#: Lung is below this, fat, marrow and muscle above it, partial volume at a rib's pleural side mostly too (HU).
LUNG_HU = -300.0
#: Denser than muscle, unenhanced blood and cartilage (up to about 80 HU), less dense than a cortex after 1 mm of blur.
TISSUE_HU = 130.0
#: Unlabelled voxels above this are bone, dense contrast or calcified cartilage.
DENSE_HU = 200.0
#: A cortex is looked for, and bone left out is counted, so far from the label's edge: two voxels of 1.5 mm.
EDGE_MM = 3.0
#: Standard deviation of the blur that keeps the noise of a low-dose scan from passing for bone (mm).
DENOISE_MM = 1.0
#: Pieces with a smaller gap count as one: a fracture, or a rib thinned away by thick slices.
GAP_MM = 6.0
#: Smaller pieces are crumbs (cm3).
CRUMB_CM3 = 0.15
#: Around each bone this much is looked at (mm).
_MARGIN_MM = 9.0

#: Border planes with nothing above this are padding or air, in which no bone ends unless it is cut there (HU).
_EMPTY_HU = -900.0

MEASURED = (*RIBS, STERNUM, *(n for n in VERTEBRAE if n >= THORACIC_VERTEBRAE[0] - 1))
_FACES = (("left", "right"), ("back", "front"), ("bottom", "top"))


@dataclass(frozen=True)
class Bone:
    """One bone as labelled.

    Attributes:
        label, name: of `anatomy`.
        volume: cm3.
        faces: of the scan that it touches, among ``left right back front bottom top``: there it is cut.
        pieces: RAS mm of the voxels ``(N, 3)`` of each separate piece, largest first, crumbs left out.
        crumbs: share of the volume in pieces other than the largest.
        length: mm along the largest piece, from one end to the other; 0 for bones that are no ribs.
        median_hu: of all its voxels.
        lung: share of its voxels that are lung or air.
        unsupported: share of its surface with nothing denser than soft tissue within `EDGE_MM`.
        left_out: dense voxels without a label within `EDGE_MM` of it, as a share of its own voxels.
    """

    label: int
    name: str
    volume: float
    faces: tuple[str, ...]
    pieces: tuple[np.ndarray, ...]
    crumbs: float
    length: float
    median_hu: float
    lung: float
    unsupported: float
    left_out: float

    @property
    def points(self) -> np.ndarray:
        """Voxel centres of all pieces, RAS mm ``(N, 3)``."""
        return np.concatenate(self.pieces)

    @property
    def centre(self) -> np.ndarray:
        """Median of the voxel centres, RAS mm."""
        return np.median(self.points, axis=0)

    def to_dict(self) -> dict:
        """JSON-ready, without the points."""
        return {
            "volume_cm3": round(self.volume, 2),
            "cut": list(self.faces),
            "pieces": len(self.pieces),
            "length_mm": round(self.length),
            "median_hu": round(self.median_hu),
            "lung_share": round(self.lung, 3),
            "unsupported_share": round(self.unsupported, 3),
            "left_out_share": round(self.left_out, 3),
        }


def without_padding(ct: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Both without the planes of nothing around the scan, so that the border is where the scan ends.

    Raises:
        InputError: the two are not on one grid.
    """
    if ct.array.shape != labels.array.shape or np.abs(ct.corners - labels.corners).max() > 1e-2:
        raise InputError("the labels are not on the CT's grid; resample them to it first")
    kept = []
    for axis in range(3):
        planes = np.moveaxis(ct.array, axis, 0)
        first, last = 0, len(planes)
        while first < last - 1 and not (planes[first] > _EMPTY_HU).any():
            first += 1
        while last > first + 1 and not (planes[last - 1] > _EMPTY_HU).any():
            last -= 1
        kept.append(slice(first, last))
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] = ct.to_ras([[span.start for span in reversed(kept)]])[0]
    return Volume(ct.array[tuple(kept)], matrix), Volume(labels.array[tuple(kept)], matrix)


def measure(ct: Volume, labels: Volume) -> dict[int, Bone]:
    """Every rib, the sternum, and the vertebrae from C7 down, by label; what the map lacks is left out.

    Args:
        ct: Hounsfield units, any orientation and spacing.
        labels: label numbers of `anatomy` on the same grid; a bone at its border is taken to be cut there.
    """
    faces = _cut_faces(labels)
    step = tuple(int(max(1, (WORKING_MM + 0.1) // edge)) for edge in labels.spacing)
    thin = tuple(slice(None, None, n) for n in step[::-1])
    matrix = labels.ijk_to_ras @ np.diag([*step, 1.0])
    names = Volume(labels.array[thin], matrix)
    boxes = ndimage.find_objects(names.array.astype(np.int32, copy=False), max_label=max(MEASURED))
    bones = {}
    for label in MEASURED:
        if boxes[label - 1] is not None:
            bone = _measure(label, boxes[label - 1], ct.array[thin], names, faces.get(label, ()))
            if bone is not None:
                bones[label] = bone
    return bones


def _cut_faces(labels: Volume) -> dict[int, tuple[str, ...]]:
    """Which faces of the scan each label touches, in the patient's directions."""
    touched: dict[int, set[str]] = {}
    for axis in range(3):
        direction = labels.ijk_to_ras[:3, 2 - axis]  # array axes are k, j, i
        world = int(np.abs(direction).argmax())
        towards = direction[world] > 0
        for last in (False, True):
            name = _FACES[world][int(last == towards)]
            for label in np.unique(np.take(labels.array, -1 if last else 0, axis=axis)):
                touched.setdefault(int(label), set()).add(name)
    order = [face for pair in _FACES for face in pair]
    return {label: tuple(sorted(names, key=order.index)) for label, names in touched.items()}


def _measure(label: int, box: tuple[slice, ...], hu: np.ndarray, names: Volume, faces: tuple[str, ...]) -> Bone | None:
    spacing = names.spacing[::-1]  # k, j, i
    margin = np.ceil(_MARGIN_MM / spacing).astype(int)
    low = [max(0, span.start - m) for span, m in zip(box, margin, strict=True)]
    around = tuple(slice(a, span.stop + m) for a, span, m in zip(low, box, margin, strict=True))
    near, hu = names.array[around], hu[around].astype(np.float32)
    mask = near == label
    cm3 = float(np.prod(spacing)) / 1000

    reach = np.maximum(1, np.round(EDGE_MM / spacing)).astype(int)
    joined = _grown(mask, np.maximum(1, np.round(GAP_MM / 2 / spacing)).astype(int))
    which, count = ndimage.label(joined, np.ones((3, 3, 3)))
    sizes = np.bincount(which[mask], minlength=count + 1)
    kept = [n for n in np.argsort(-sizes, kind="stable") if sizes[n] * cm3 >= CRUMB_CM3]
    if not kept:
        return None
    pieces = [np.argwhere(mask & (which == n)) for n in kept]

    smooth = ndimage.gaussian_filter(hu, DENOISE_MM / spacing)
    surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
    supported = ndimage.maximum_filter(smooth, 2 * reach + 1)[surface] >= TISSUE_HU
    shell = _grown(mask, reach) & (near == 0)
    inside = hu[mask]
    return Bone(
        label=label,
        name=BY_LABEL[label].name,
        volume=float(inside.size * cm3),
        faces=faces,
        pieces=tuple(names.to_ras((piece + low)[:, ::-1]) for piece in pieces),
        crumbs=float(1 - sizes[kept[0]] / inside.size),
        length=_length(mask & (which == kept[0]), spacing) if label in RIBS else 0.0,
        median_hu=float(np.median(inside)),
        lung=float(np.mean(inside < LUNG_HU)),
        unsupported=float(1 - supported.mean()) if supported.size else 0.0,
        left_out=float(np.count_nonzero(smooth[shell] > DENSE_HU) / inside.size),
    )


def _grown(mask: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """A mask dilated by a box of so many voxels each way; as a maximum filter it is separable, hence quick."""
    return ndimage.maximum_filter(mask, 2 * voxels + 1)


def _length(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Longest shortest path (mm) inside a mask over its 26-neighbour graph; parts with a gap between them add up."""
    number = np.full(mask.shape, -1, dtype=np.int64)
    number[mask] = np.arange(np.count_nonzero(mask))
    ends, weights = [], []
    for shift in [(a, b, c) for a in (0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) > (0, 0, 0)]:
        here = number[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, mask.shape, strict=True))]
        there = number[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, mask.shape, strict=True))]
        both = (here >= 0) & (there >= 0)
        ends.append(np.stack([here[both], there[both]]))
        weights.append(np.full(ends[-1].shape[1], np.linalg.norm(np.multiply(shift, spacing))))
    size = int(number.max()) + 1
    start, stop = np.concatenate(ends, axis=1)
    graph = coo_matrix((np.concatenate(weights), (start, stop)), shape=(size, size)).tocsr()
    _, part = connected_components(graph, directed=False)
    total = 0.0
    for first in np.unique(part, return_index=True)[1]:  # two sweeps: from anywhere to one end, from there to the other
        away = dijkstra(graph, directed=False, indices=first)
        end = int(np.where(np.isfinite(away), away, -1.0).argmax())
        away = dijkstra(graph, directed=False, indices=end)
        total += float(away[np.isfinite(away)].max())
    return total

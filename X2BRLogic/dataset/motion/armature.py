"""The bones of a labelled scan as movable parts: where each is, where it hinges, and how far it is to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ... import anatomy
from ...errors import InputError
from ...volume import Volume

#: Grid of the distance maps, mm, and how far from its surface a bone is felt.
DISTANCE_STEP_MM = 4.0
REACH_MM = 60.0
#: Distances are stored in quarters of a millimetre, so that 255 still lies beyond the reach.
DISTANCE_UNIT_MM = 0.25
#: A smaller fragment is no bone that could hinge: a sliver of a humerus at the scan's edge.
_MIN_VOLUME_MM3 = 400.0
_POINTS = 600
#: Levels (`anatomy.Bone.level`) for which every spine has a place: C1 is -6, T1 is 1, L1 is 13, the sacrum 18.
LEVELS = np.arange(-6, 19)
#: From the rib's head, the tubercle that rests on the transverse process is so far along the neck, mm
#: (neck axis of Wilson et al., J. Appl. Physiol. 62, 1987, 1872-1877).
_NECK_MM = (10.0, 32.0)


@dataclass(frozen=True)
class Rib:
    """Landmarks of a rib, mm about the armature's centre.

    Attributes:
        head: costovertebral joint.
        axis: unit vector along the neck, from the head outwards: the rib turns about it.
        tip: the front end, as far as the scan shows it.
    """

    head: np.ndarray
    axis: np.ndarray
    tip: np.ndarray


@dataclass(frozen=True)
class Armature:
    """A scan's bones; all places in RAS mm about `centre`.

    Attributes:
        centre: RAS mm, the centre of the thoracic bones' bounding box.
        labels: ``(B,)`` label of each movable bone. Costal cartilage is none: it bends.
        centroids: ``(B, 3)``.
        points: for each bone up to 600 of its voxels, ``(n, 3)``.
        distances: for each bone the distance to it, uint8 in units of `DISTANCE_UNIT_MM`, ``[z, y, x]`` on a grid of
            `DISTANCE_STEP_MM` that reaches `REACH_MM` beyond the bone.
        origins: ``(B, 3)`` place of each grid's first node.
        ribs: landmarks by label.
        spine: ``(len(LEVELS), 3)`` centre of the vertebra of each level, extrapolated where the scan has none.
        present: ``(len(LEVELS),)`` bool, which of them the scan has.
    """

    centre: np.ndarray
    labels: np.ndarray
    centroids: np.ndarray
    points: tuple[np.ndarray, ...]
    distances: tuple[np.ndarray, ...]
    origins: np.ndarray
    ribs: dict[int, Rib]
    spine: np.ndarray
    present: np.ndarray

    def index(self, name: str) -> int | None:
        """Position of a bone in `labels`, ``None`` if the scan lacks it."""
        found = np.flatnonzero(self.labels == anatomy.BY_NAME[name].label)
        return int(found[0]) if found.size else None


def armature(labels: Volume) -> Armature:
    """The armature of a label map. Raises `InputError` if it holds no bone of the thorax."""
    boxes = ndimage.find_objects(labels.array)
    voxel = abs(float(np.linalg.det(labels.ijk_to_ras[:3, :3])))
    places = {}
    for label, box in enumerate(boxes, start=1):
        if box is None or label not in anatomy.BY_LABEL or label == anatomy.CARTILAGES:
            continue
        kji = np.argwhere(labels.array[box] == label) + [span.start for span in box]
        if len(kji) * voxel >= _MIN_VOLUME_MM3:
            places[label] = labels.to_ras(kji[:, ::-1])
    thorax = [points for label, points in places.items() if label in anatomy.THORAX]
    if not thorax:
        raise InputError("the labels hold no bone of the thorax; check their numbering")
    low, high = (f([f(p, axis=0) for p in thorax], axis=0) for f in (np.min, np.max))
    centre = (low + high) / 2
    places = {label: points - centre for label, points in places.items()}
    centroids = {label: points.mean(0) for label, points in places.items()}
    spine, present = _spine(centroids)
    maps = [_distance_map(points) for points in places.values()]
    return Armature(
        centre,
        np.array(list(places), dtype=np.uint8),
        np.array(list(centroids.values())),
        tuple(points[:: max(1, len(points) // _POINTS)][:_POINTS] for points in places.values()),
        tuple(m[0] for m in maps),
        np.array([m[1] for m in maps]),
        {label: _rib(places[label], spine, label) for label in anatomy.RIBS if label in places},
        spine,
        present,
    )


def _distance_map(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the cells that hold a voxel of the bone, and the place of the first cell's centre."""
    margin = int(np.ceil(REACH_MM / DISTANCE_STEP_MM)) + 1
    cells = np.round(points / DISTANCE_STEP_MM).astype(int)
    low = cells.min(0) - margin
    free = np.ones((cells.max(0) - low + margin + 1)[::-1], dtype=bool)
    free[tuple((cells - low).T[::-1])] = False
    distance = ndimage.distance_transform_edt(free, sampling=DISTANCE_STEP_MM)
    return np.minimum(distance / DISTANCE_UNIT_MM, 255).astype(np.uint8), low * DISTANCE_STEP_MM


def _spine(centroids: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Centres by level. A missing level lies on the line through its two neighbours."""
    known = {b.level: centroids[b.label] for b in anatomy.BONES if b.group == "vertebrae" and b.label in centroids}
    present = np.isin(LEVELS, list(known))
    if len(known) < 2:
        # Too little to bend: a straight column of ordinary pitch behind the centre.
        level, place = next(iter(known.items()), (7, np.array([0.0, -60.0, 0.0])))
        return place + np.outer(level - LEVELS, [0.0, 0.0, 24.0]), present
    levels = np.array(sorted(known))
    places = np.array([known[level] for level in levels])
    inner = np.stack([np.interp(LEVELS, levels, places[:, a]) for a in range(3)], axis=-1)
    for end, step in ((0, 1), (-1, -1)):
        # The mean pitch of the last few: a cut vertebra's own centroid is off.
        nearby = places[: min(4, len(places))] if end == 0 else places[-min(4, len(places)) :]
        spread = levels[: len(nearby)] if end == 0 else levels[-len(nearby) :]
        pitch = (nearby[-1] - nearby[0]) / (spread[-1] - spread[0])
        beyond = step * (levels[end] - LEVELS) > 0
        inner[beyond] = places[end] + np.outer(LEVELS[beyond] - levels[end], pitch)
    return inner, present


def _rib(points: np.ndarray, spine: np.ndarray, label: int) -> Rib:
    """Head, neck and front end of a rib, from its voxels."""
    vertebra = spine[LEVELS == anatomy.BY_LABEL[label].level][0]
    nearness = np.linalg.norm(points - vertebra, axis=1)
    head = points[nearness <= np.quantile(nearness, 0.02)].mean(0)
    along = np.linalg.norm(points - head, axis=1)
    neck = points[(along > _NECK_MM[0]) & (along < _NECK_MM[1])]
    axis = (neck if len(neck) else points).mean(0) - head
    # The front end is the last of the way: far from the head, and in front of what lies beside.
    reach = along + 0.5 * points[:, 1]
    tip = points[reach >= np.quantile(reach, 0.98)].mean(0)
    return Rib(head, axis / max(float(np.linalg.norm(axis)), 1e-6), tip)

"""Projections of labelled bones: where each appears on the detector, and how deep its front and back lie.

The rays are the image's own, so a bone's mask is the pixels its voxels darken. Depths are Euclidean distances along
the ray from the source; times `ray_cosines` they are depths along the central axis, as `XRayGeometry.back_project`
takes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import anatomy
from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from .label_rays import trace_labels
from .trace import element_strides, grid_rays

#: Why a bone has no projection.
NOT_LABELLED = "not in the labels"
OUTSIDE = "outside the detector"
BETWEEN_RAYS = "too small to meet a ray"

#: A point nearer to the source's plane than this part of the SID has no trustworthy place on the detector.
_NEAR_SOURCE = 1e-3


@dataclass(frozen=True)
class BoneProjection:
    """One bone on the detector, stored as the crop of its bounding box, ``(h, w)``.

    Attributes:
        label: its number in the label map.
        rows, columns: the box as whole pixels; ``image[bone.rows, bone.columns]`` is the crop.
        path_length: mm that each ray runs inside the bone, float32, 0 where it misses.
        front, back: mm from the source along the ray to the first entry into and the last exit out of the bone,
            float32, NaN where the ray misses. What lies between may be more than bone.
        visible_fraction: share of the bone's voxels whose centres project onto the detector, 0 to 1.
    """

    label: int
    rows: slice
    columns: slice
    path_length: np.ndarray
    front: np.ndarray
    back: np.ndarray
    visible_fraction: float

    @property
    def mask(self) -> np.ndarray:
        """Where the ray runs through the bone, bool ``(h, w)``; every edge of the crop is touched."""
        return self.path_length > 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge in pixels, whole numbers being pixel centres as in `XRayGeometry`.

        Formats that count from the corner of the first pixel (YOLO, COCO) have 0.5 more.
        """
        return self.columns.start - 0.5, self.rows.start - 0.5, self.columns.stop - 0.5, self.rows.stop - 0.5


@dataclass(frozen=True)
class LabelProjection:
    """All bones of a label map on one detector. The methods give whole images ``(rows, columns)``.

    They raise `KeyError` for a bone that is not in `bones`.

    Attributes:
        geometry: whose rays these are.
        bones: by label, those that at least one ray meets.
        missing: by label, why a bone that was asked for is not among them: `NOT_LABELLED`, `OUTSIDE`, `BETWEEN_RAYS`.
    """

    geometry: XRayGeometry
    bones: dict[int, BoneProjection]
    missing: dict[int, str]

    def mask(self, label: int) -> np.ndarray:
        """Where the ray runs through the bone, bool."""
        return self._whole(label, self.bones[label].mask, False)

    def path_length(self, label: int) -> np.ndarray:
        """Mm that each ray runs inside the bone, float32, 0 where it misses."""
        return self._whole(label, self.bones[label].path_length, 0.0)

    def front(self, label: int) -> np.ndarray:
        """Mm from the source along the ray to the first entry into the bone, float32, NaN where it misses."""
        return self._whole(label, self.bones[label].front, np.nan)

    def back(self, label: int) -> np.ndarray:
        """Mm from the source along the ray to the last exit out of the bone, float32, NaN where it misses."""
        return self._whole(label, self.bones[label].back, np.nan)

    def _whole(self, label: int, crop: np.ndarray, elsewhere: float) -> np.ndarray:
        bone = self.bones[label]
        image = np.full(self.geometry.shape, elsewhere, dtype=crop.dtype)
        image[bone.rows, bone.columns] = crop
        return image


def ray_cosines(geometry: XRayGeometry) -> np.ndarray:
    """Cosine of the angle between each pixel's ray and the central axis, float64 ``(rows, columns)``.

    A distance along the ray times this is the depth along the central axis.
    """
    column = (np.arange(geometry.shape[1]) - geometry.principal_point[0]) * geometry.spacing[1]
    row = (np.arange(geometry.shape[0]) - geometry.principal_point[1]) * geometry.spacing[0]
    return geometry.sid / np.sqrt(geometry.sid**2 + row[:, None] ** 2 + column**2)


def project_labels(labels: Volume, geometry: XRayGeometry, bones: Iterable[int] | None = None) -> LabelProjection:
    """Masks, boxes, path lengths, and front and back depths of bones, exact for the voxels and in one walk of the rays.

    Args:
        labels: whole numbers, 0 for background; any orientation, also oblique or flipped.
        geometry: rays end at the detector, as in the image.
        bones: labels to project, in the order wanted; by default all of `anatomy` that are in the map. One that is
            not there, or that no ray meets, is no error: it is in `LabelProjection.missing` with the reason.

    Raises:
        InputError: no label map, no valid label among `bones`, or none of them is in the map.
    """
    from scipy import ndimage  # slow to import, and a radiograph alone does without

    values = _as_labels(labels.array)
    wanted = list(anatomy.BY_LABEL) if bones is None else _checked(bones)
    found = ndimage.find_objects(values, max_label=max(wanted))
    places = {label: found[label - 1] for label in wanted if found[label - 1] is not None}
    if not places:
        raise InputError("none of the bones asked for is in the labels; check their numbering (see x2br drr --help)")
    crops = {label: _pixel_range(_outer_corners(labels, place), geometry) for label, place in places.items()}
    met = _trace(labels, values, geometry, places, {label: crop for label, crop in crops.items() if crop is not None})
    projected, missing = {}, {}
    for label in wanted:
        if label not in places:
            if bones is not None:
                missing[label] = NOT_LABELLED
            continue
        visible = _visible_fraction(labels, values, label, places[label], geometry)
        bone = _tight(label, crops[label], met[label], visible) if label in met else None
        if bone is not None:
            projected[label] = bone
        else:
            missing[label] = BETWEEN_RAYS if visible else OUTSIDE
    return LabelProjection(geometry, projected, missing)


def _as_labels(array: np.ndarray) -> np.ndarray:
    """Unsigned, contiguous: what the kernel indexes with."""
    if array.dtype.kind not in "iu":
        raise InputError("labels must be whole numbers; give the segmentation, not the CT")
    if array.dtype not in (np.uint8, np.uint16):
        if array.size and not 0 <= array.min() <= array.max() <= 65535:
            raise InputError("labels must lie between 0 and 65535; give the segmentation, not the CT")
        array = array.astype(np.uint16)
    return np.ascontiguousarray(array)


def _checked(bones: Iterable[int]) -> list[int]:
    """Without repetition. Raises `InputError` for an empty list and for what cannot be a label."""
    wanted = list(dict.fromkeys(bones))
    if not wanted:
        raise InputError("no bone to project: name at least one label")
    for label in wanted:
        if not isinstance(label, (int, np.integer)) or not 1 <= label <= 65535:
            raise InputError(f"{label!r} is no label of a bone; labels are whole numbers from 1 to 65535")
    return [int(label) for label in wanted]


def _outer_corners(labels: Volume, place: tuple[slice, slice, slice]) -> np.ndarray:
    """The eight corners, RAS mm, of the box around the voxels `place` (k, j, i)."""
    spans = [(s.start - 0.5, s.stop - 0.5) for s in reversed(place)]
    return labels.to_ras(np.array(np.meshgrid(*spans, indexing="ij")).reshape(3, -1).T)


def _pixel_range(corners: np.ndarray, geometry: XRayGeometry) -> np.ndarray | None:
    """First and one past the last row, first and one past the last column whose rays may meet the corners' hull.

    ``None`` where no ray does.
    """
    rows, columns = geometry.shape
    depth = geometry.depth(corners)
    if depth.max() <= 0:
        return None
    if depth.min() < _NEAR_SOURCE * geometry.sid:
        return np.array([0, rows, 0, columns])
    # Columns of `project` are (column, row). The little extra is for rounding.
    pixels = geometry.project(corners)[:, ::-1]
    first = np.clip(np.floor(pixels.min(0) - 1e-6), 0, geometry.shape).astype(np.int64)
    stop = np.clip(np.ceil(pixels.max(0) + 1e-6) + 1, 0, geometry.shape).astype(np.int64)
    return np.array([first[0], stop[0], first[1], stop[1]]) if (first < stop).all() else None


def _trace(
    labels: Volume,
    values: np.ndarray,
    geometry: XRayGeometry,
    places: dict[int, tuple[slice, slice, slice]],
    crops: dict[int, np.ndarray],
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Path length, front and back of each bone on its crop, by label."""
    if not crops:
        return {}
    ranges = np.array(list(crops.values()), dtype=np.int64)
    shapes = ranges[:, 1::2] - ranges[:, ::2]
    ends = np.cumsum(shapes.prod(1))
    path = np.zeros(ends[-1], dtype=np.float32)
    front = np.full_like(path, np.nan)
    back = np.full_like(path, np.nan)
    bone_of = np.full(np.iinfo(values.dtype).max + 1, -1, dtype=np.int64)
    bone_of[list(crops)] = np.arange(len(crops))
    bounds = np.array([[(s.start, s.stop) for s in reversed(places[label])] for label in crops], dtype=np.int64)
    order, size, *rays = grid_rays(labels, geometry)
    trace_labels(
        values.reshape(-1),
        size,
        element_strides(values, order),
        *rays,
        bounds[..., 0].min(0)[order],
        bounds[..., 1].max(0)[order],
        bone_of,
        np.array([ranges[:, 0].min(), ranges[:, 1].max(), ranges[:, 2].min(), ranges[:, 3].max()]),
        np.column_stack([ranges[:, 0], ranges[:, 2], shapes[:, 1], ends - shapes.prod(1)]),
        path,
        front,
        back,
    )
    return {
        label: tuple(image[end - h * w : end].reshape(h, w) for image in (path, front, back))
        for label, end, (h, w) in zip(crops, ends, shapes, strict=True)
    }


def _tight(
    label: int, crop: np.ndarray, images: tuple[np.ndarray, np.ndarray, np.ndarray], visible: float
) -> BoneProjection | None:
    """The crop cut down to the pixels met, copied so that the loose one can go. ``None`` where there are none."""
    mask = images[0] > 0
    row, column = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if row.size == 0:
        return None
    row, column = slice(row[0], row[-1] + 1), slice(column[0], column[-1] + 1)
    rows = slice(int(crop[0] + row.start), int(crop[0] + row.stop))
    columns = slice(int(crop[2] + column.start), int(crop[2] + column.stop))
    path, front, back = (image[row, column].copy() for image in images)
    return BoneProjection(label, rows, columns, path, front, back, visible)


def _visible_fraction(
    labels: Volume, values: np.ndarray, label: int, place: tuple[slice, slice, slice], geometry: XRayGeometry
) -> float:
    """Share of the bone's voxels whose centres lie between source and detector and project onto it."""
    # The part of space seen is convex: where all corners of a box are in it, the bone inside is.
    if _on_detector(_outer_corners(labels, place), geometry).all():
        return 1.0
    k, j, i = np.nonzero(values[place] == label)
    centres = labels.to_ras(np.stack([i, j, k], axis=1) + [s.start for s in reversed(place)])
    return float(_on_detector(centres, geometry).mean())


def _on_detector(points: np.ndarray, geometry: XRayGeometry) -> np.ndarray:
    """Whether the detector sees RAS points ``(N, 3)``, bool ``(N,)``; its outer pixels count to their edges."""
    depth = geometry.depth(points)
    pixels = geometry.project(points)
    inside = (pixels >= -0.5) & (pixels <= np.array(geometry.shape[::-1]) - 0.5)
    return inside.all(1) & (depth > 0) & (depth <= geometry.sid)

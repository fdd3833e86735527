"""What of a CT is in the picture: the patient without the couch, or the bones alone.

SciPy is imported where it is used: a plain DRR does without, and starts a quarter of a second sooner.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import anatomy
from ..errors import InputError
from ..volume import Volume

AIR_HU = -1000
#: Above this a voxel is tissue, or something solid.
SOLID_HU = -300
#: Couch tops, rails and wires are thinner than twice this; a body, an arm or a hand has solid parts that are thicker.
_HALF_THICKNESS_MM = 6.0
#: Grid on which shapes are looked at, mm; the couch is cut on the CT's own.
_COARSE_MM = 3.0
#: Skin within this of the shape's hull is kept: more than the coarse grid rounds off, less than a mattress is thick.
_MARGIN_MM = 4.0
#: Solid pieces smaller than this are not patient, mm^3.
_SPECK_MM3 = 5000.0


def remove_couch(ct: Volume) -> Volume:
    """The CT with couch, sheets and whatever else lies around the patient replaced by air.

    The patient is every solid thicker than 12 mm (a morphological opening; a couch top is a shell of a few mm around
    foam), so arms stay although they may not be connected to the trunk within the scan. Slice by slice all that lies
    in the convex hull of the patient is kept as it is, lungs and bowel gas too, but for thin solids that reach out of
    it, such as a curved couch beside the back. What touches the skin stays within 4 mm of it, and so does foam in the
    hull, which weighs next to nothing.

    Raises `InputError` when there is nothing solid.
    """
    from scipy import ndimage

    step = np.maximum(np.round(_COARSE_MM / ct.spacing[::-1]).astype(int), 1)
    coarse_spacing = ct.spacing[::-1] * step
    solid = ct.array > SOLID_HU
    # The corner of each block stands for the block: what is thicker than 12 mm shows all the same.
    seen = solid[:: step[0], :: step[1], :: step[2]]
    # Depth below the surface, which lies half a voxel before the next centre outside. What the scan cuts off counts as
    # going on: the transform knows no background beyond the array.
    depth = ndimage.distance_transform_edt(seen, sampling=coarse_spacing) - coarse_spacing.min() / 2
    core = _large(depth > _HALF_THICKNESS_MM, coarse_spacing)
    if not core.any():
        raise InputError("the CT shows no body: nothing in it is solid; check that its values are Hounsfield units")
    reach = ndimage.distance_transform_edt(~core, sampling=coarse_spacing)
    patient = seen & (reach <= _HALF_THICKNESS_MM + _COARSE_MM)
    hull = _hulls(patient, _axial(ct), coarse_spacing)
    keep = _enlarge(hull, step, solid.shape)

    # Thin solids within the hull are vessels or the couch; the couch goes on outside.
    near = _enlarge(reach <= _HALF_THICKNESS_MM + _MARGIN_MM, step, solid.shape)
    thin, _ = ndimage.label(solid & ~near)
    outside = np.unique(thin[~keep])
    keep &= ~np.isin(thin, outside[outside > 0])
    return Volume(np.where(keep, ct.array, ct.array.dtype.type(AIR_HU)), ct.ijk_to_ras)


def bones_only(ct: Volume, labels: Volume) -> Volume:
    """The CT with everything but the labelled bones replaced by air; costal cartilage is no bone.

    `labels` is on the CT's grid. Raises `InputError` when it holds no bone.
    """
    bones = [bone.label for bone in anatomy.BONES if bone.label != anatomy.CARTILAGES]
    mask = np.isin(labels.array, bones)
    if not mask.any():
        raise InputError("the labels hold no bone; check their numbering (see x2br drr --help)")
    return Volume(np.where(mask, ct.array, ct.array.dtype.type(AIR_HU)), ct.ijk_to_ras)


def _large(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The mask without pieces smaller than a speck."""
    from scipy import ndimage

    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel()) * np.prod(spacing)
    sizes[0] = 0
    return (sizes >= _SPECK_MM3)[pieces]


def _axial(ct: Volume) -> int:
    """The array axis nearest to the patient's long axis."""
    return 2 - int(np.argmax(np.abs(ct.ijk_to_ras[2, :3]) / ct.spacing))


def _hulls(mask: np.ndarray, axis: int, spacing: np.ndarray) -> np.ndarray:
    """The convex hull of each slice of the mask, a margin added."""
    hulls = np.zeros_like(mask)
    in_plane = np.delete(spacing, axis)
    for number, plane in enumerate(np.moveaxis(mask, axis, 0)):
        for row, first, last in _rows_of_hull(plane, in_plane):
            np.moveaxis(hulls, axis, 0)[number, row, first : last + 1] = True
    return hulls


def _rows_of_hull(plane: np.ndarray, spacing: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """The convex hull of a mask, a margin added, as (row, first column, last column)."""
    from scipy.spatial import ConvexHull, QhullError

    rows = np.flatnonzero(plane.any(axis=1))
    if rows.size < 2:
        return
    ends = np.stack([plane[rows].argmax(axis=1), plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)], axis=1)
    corners = np.concatenate([np.stack([rows, ends[:, side]], axis=1) for side in (0, 1)]) * spacing
    try:
        normals_and_offsets = ConvexHull(corners).equations
    except QhullError:  # all in one line
        return
    row, column = np.indices(plane.shape).reshape(2, -1) * spacing[:, None]
    distance = (normals_and_offsets[:, :2] @ np.stack([row, column]) + normals_and_offsets[:, 2:]).max(axis=0)
    inside = (distance <= _MARGIN_MM).reshape(plane.shape)
    for number in np.flatnonzero(inside.any(axis=1)):
        columns = np.flatnonzero(inside[number])
        yield number, columns[0], columns[-1]


def _enlarge(mask: np.ndarray, step: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A coarse mask on the fine grid."""
    for axis in range(3):
        mask = np.repeat(mask, step[axis], axis=axis)
    return mask[: shape[0], : shape[1], : shape[2]]

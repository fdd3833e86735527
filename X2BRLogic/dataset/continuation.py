"""A scan ends where its person does not: tissue to hide the cut, and which bones the scan cuts.

What is added is plausible, not true: the trunk goes on with the last slice, shoulders slope to a neck, lungs close to a
dome, the spine repeats its last vertebra, ribs run on and fade, a flank or an arm that the field of view cut off is
rounded. All of it is labelled `UNKNOWN` where a bone may be, so that no loss and no score counts it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..volume import Volume

#: Label of a voxel whose truth the scan does not tell.
UNKNOWN = 255
#: How far the body goes on above and below, and to the sides, mm.
EXTENT_MM = 90.0
SIDE_MM = 54.0

_BODY_HU = -300
_SOFT_HU = 45
_AIR_HU = -1000
#: Bones other than the spine run on so far beyond the cut while they fade, mm.
_FADE_MM = 35.0
#: The last slice loses its texture over this distance, or it would leave streaks on the film, mm.
_BLUR_MM = 15.0
_SMOOTH_MM = 5.0
#: A vertebra and its disc, mm.
_VERTEBRA_MM = 26.0
#: Scale across of the body at the top of the continuation: from the shoulders to the neck.
_NECK_SCALE = 0.45
#: A windpipe is not wider than this, mm^2, nor further from the spine's middle than that, mm.
_TRACHEA_MM2 = 700.0
_TRACHEA_MM = 30.0
#: In the field of view's sides, nothing is known within this of a bone of the thorax that it cuts, mm.
_CUT_REACH_MM = 40.0

_SPINE = np.array([b.label for b in anatomy.BONES if b.group == "vertebrae"])
_ARMS = np.array([anatomy.BY_NAME[f"humerus_{side}"].label for side in (anatomy.LEFT, anatomy.RIGHT)])


def cut_bones(labels: Volume) -> tuple[int, ...]:
    """Labels of the bones that reach a face of the volume, so that the scan cuts them, ascending."""
    faces = [np.take(labels.array, end, axis) for axis in range(3) for end in (0, -1)]
    touching = set().union(*(np.unique(face).tolist() for face in faces))
    return tuple(sorted(touching & set(anatomy.BY_LABEL) - {anatomy.CARTILAGES}))


def continued(ct: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """The scan with its person going on beyond it.

    Args:
        ct: HU, int16, axes along R, A, S with positive steps.
        labels: uint8 on the same grid.

    Returns:
        CT and labels on a grid `EXTENT_MM` longer above and below and, where the field of view cuts the body, `SIDE_MM`
        wider. Above and below the scan every label is `UNKNOWN`; beside it, those near a cut bone of the thorax.
    """
    spacing = ct.spacing
    values, names = ct.array, labels.array
    shift = np.zeros(3)
    widths = [round(SIDE_MM / spacing[0]) if _is_cut(values[:, :, edge], spacing) else 0 for edge in (0, -1)]
    sides = [_beside(values[:, :, edge], width, spacing) for edge, width in zip((0, -1), widths, strict=True)]
    marks = [_unknown_beside(names[:, :, edge], width, spacing) for edge, width in zip((0, -1), widths, strict=True)]
    values = np.concatenate([sides[0][..., ::-1], values, sides[1]], axis=2)
    wide = np.concatenate([marks[0], names, marks[1]], axis=2)
    shift[0] = -widths[0]
    count = round(EXTENT_MM / spacing[2])
    below = _beyond(values, wide, spacing, count, top=False)
    above = _beyond(values[::-1], wide[::-1], spacing, count, top=True)
    values = np.concatenate([below[::-1], values, above])
    names = np.pad(wide, [(count, count), (0, 0), (0, 0)], constant_values=UNKNOWN)
    shift[2] = -count
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] = ct.to_ras(shift[None])[0]
    return Volume(np.ascontiguousarray(values), matrix), Volume(np.ascontiguousarray(names), matrix)


def _is_cut(face: np.ndarray, spacing: np.ndarray) -> bool:
    """Whether a side face ``[k, j]`` goes through the body, and not only through a speck."""
    return np.count_nonzero(face > _BODY_HU) * spacing[1] * spacing[2] > 400.0


def _beside(face: np.ndarray, width: int, spacing: np.ndarray) -> np.ndarray:
    """``(K, J, width)``: what the face shows goes on sideways and tapers like an ellipse."""
    out = np.full((*face.shape, width), _AIR_HU, dtype=np.int16)
    body = face > _BODY_HU
    if not width:
        return out
    thickness = body.sum(1)
    rows = np.arange(face.shape[1])
    with np.errstate(invalid="ignore"):
        middle = (body * rows).sum(1) / thickness
    have = thickness > 0
    middle = np.interp(np.arange(len(face)), np.flatnonzero(have), middle[have])
    sigma = 10.0 / spacing[2]
    middle, thickness = (ndimage.gaussian_filter1d(a.astype(float), sigma) for a in (middle, thickness))
    reach = np.minimum(0.55 * thickness * spacing[1], width * spacing[0])
    level = np.repeat(np.arange(len(face))[:, None], face.shape[1], axis=1)
    for n in range(width):
        left = 1.0 - ((n + 1) * spacing[0] / np.maximum(reach, 1e-3)) ** 2
        shrink = np.sqrt(np.maximum(left, 1e-4))
        row = middle[:, None] + (rows - middle[:, None]) / shrink[:, None]
        sheet = ndimage.map_coordinates(face, [level, row], order=1, mode="constant", cval=_AIR_HU)
        out[left > 0, :, n] = sheet[left > 0]
    return out


def _unknown_beside(face: np.ndarray, width: int, spacing: np.ndarray) -> np.ndarray:
    """Labels ``(K, J, width)`` beside a face: `UNKNOWN` near a bone of the thorax that it cuts."""
    cut = np.isin(face, anatomy.THORAX)
    near = np.zeros(face.shape, dtype=bool)
    if cut.any():
        near = ndimage.distance_transform_edt(~cut, sampling=(spacing[2], spacing[1])) < _CUT_REACH_MM
    return np.repeat(np.where(near, UNKNOWN, 0).astype(np.uint8)[..., None], width, axis=2)


def _beyond(values: np.ndarray, names: np.ndarray, spacing: np.ndarray, count: int, *, top: bool) -> np.ndarray:
    """`count` slices beyond slice 0, nearest first."""
    first = values[0].astype(np.float32)
    body = ndimage.binary_fill_holes(ndimage.binary_closing(first > _BODY_HU, iterations=2))
    bone = (names[0] > 0) & (names[0] < UNKNOWN)
    spine = np.isin(names[0], _SPINE)
    trachea, lung = _airways(body & (first < _BODY_HU), spine if spine.any() else body, spacing)
    soft = np.where(bone | lung, np.float32(_SOFT_HU), first)
    soft[bone] = np.minimum(soft[bone], _SOFT_HU)
    smooth = ndimage.gaussian_filter(soft, _SMOOTH_MM / spacing[1::-1])
    smooth[trachea] = soft[trachea]
    depth_of_lung = ndimage.distance_transform_edt(lung, sampling=spacing[1::-1])
    drifts = _drifts(names, spacing)
    middle = np.array(ndimage.center_of_mass(body)) if body.any() else np.array(first.shape) / 2
    jj, ii = np.indices(first.shape, dtype=np.float32)
    out = np.empty((count, *first.shape), dtype=np.int16)
    for n in range(count):
        d = (n + 1) * spacing[2]
        blur = min(d / _BLUR_MM, 1.0)
        sheet = (1 - blur) * soft + blur * smooth
        sheet[depth_of_lung > 0.8 * d] = -800
        if top:
            ease = _smoothstep(d / EXTENT_MM)
            across, deep = 1 - (1 - _NECK_SCALE) * ease, 1 - 0.35 * ease
            where = [middle[0] + (jj - middle[0]) / deep, middle[1] + (ii - middle[1]) / across]
            sheet = ndimage.map_coordinates(sheet, where, order=1, mode="nearest")
        fade = 1.0 - _smoothstep(d / _FADE_MM)
        for label, mask, drift in drifts:
            part = 1.0 if label in _ARMS else fade
            if part > 0:
                _add(sheet, np.where(mask, first, _SOFT_HU), mask, drift * d, part)
        # The spine back and forth over its last level: vertebra, disc, vertebra.
        phase = (d / _VERTEBRA_MM) % 2.0
        source = min(round((phase if phase < 1 else 2 - phase) * _VERTEBRA_MM / spacing[2]), len(values) - 1)
        column = ndimage.binary_dilation(np.isin(names[source], _SPINE))
        sheet[column] = values[source][column]
        out[n] = np.clip(np.round(sheet), -1024, 3071)
    return out


def _smoothstep(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _airways(air: np.ndarray, spine: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The windpipe and the rest of the air inside the body, in one slice."""
    pieces, number = ndimage.label(air)
    trachea = np.zeros(air.shape, dtype=bool)
    column = np.argwhere(spine)[:, 1].mean() if spine.any() else air.shape[1] / 2
    for n in range(1, number + 1):
        piece = pieces == n
        area = np.count_nonzero(piece) * spacing[0] * spacing[1]
        if 40.0 < area < _TRACHEA_MM2 and abs(np.argwhere(piece)[:, 1].mean() - column) * spacing[0] < _TRACHEA_MM:
            trachea |= piece
    return trachea, air & ~trachea


def _drifts(names: np.ndarray, spacing: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Each piece of a cut bone but the spine: label, mask in slice 0, and how it moves, voxels (j, i) a mm outwards."""
    deeper = min(round(8.0 / spacing[2]), len(names) - 1)
    found = []
    for label in np.unique(names[0]):
        if label in (0, UNKNOWN, anatomy.CARTILAGES) or label in _SPINE:
            continue
        pieces, number = ndimage.label(names[0] == label)
        for n in range(1, number + 1):
            mask = pieces == n
            here = np.argwhere(mask).mean(0)
            before = np.argwhere(names[deeper] == label)
            drift = np.zeros(2)
            if len(before) and deeper:
                near = before[np.linalg.norm(before - here, axis=1) < 25.0 / spacing[0]]
                if len(near):
                    drift = np.clip((here - near.mean(0)) / (deeper * spacing[2]), -1.2, 1.2)
            found.append((int(label), mask, drift))
    return found


def _add(sheet: np.ndarray, values: np.ndarray, mask: np.ndarray, offset: np.ndarray, part: float) -> None:
    """Blend the masked bone, shifted, into the sheet."""
    moved = ndimage.shift(mask.astype(np.float32), offset, order=1)
    bone = ndimage.shift(values, offset, order=1, mode="nearest")
    weight = part * moved
    sheet += weight * (bone - sheet)

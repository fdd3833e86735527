"""Films moved in their own plane, and their truth with them: new courses of ribs from those that were drawn.

In the ray cube (`geometry`) a ray is a line along y, so what turns, shifts or stretches a film in its plane, and the
cube's x and z with it, leaves every ray on its pixel: what comes out is a film of somebody turned, placed or built a
little differently. A frontal film's mirror image is that of somebody whose left is another's right.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..dataset.continuation import UNKNOWN
from ..dataset.patient_file import Film

#: Largest turn, degrees; stretch along either edge and shear, parts; shift, edges of the cube: 16 mm.
_TURN, _STRETCH, _SHEAR, _SHIFT = 6.0, 0.08, 0.04, 0.04
_MIRRORED = 0.5


def moved(rng: np.random.Generator, film: Film, lateral: bool) -> Film:
    """The film moved at random, its points and labels with it; the film beside it (`second`) is left as it was.

    What comes from beyond the film's border is not exposed, and its truth unknown.

    Args:
        lateral: it is a lateral film, of which the mirror image would be of nobody.
    """
    mirrored = not lateral and rng.random() < _MIRRORED
    turn = np.radians(rng.uniform(-_TURN, _TURN))
    stretch = 1.0 + rng.uniform(-_STRETCH, _STRETCH, 2)
    # From places (z, x) in the new film to those in the old one.
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(stretch)
    matrix[0, 1] += rng.uniform(-_SHEAR, _SHEAR)
    if mirrored:
        matrix[:, 1] *= -1.0
    shift = rng.uniform(-_SHIFT, _SHIFT, 2)
    labels = _labels(film.labels, matrix, shift)
    points = film.points.copy()
    points[:, [2, 0]] = (points[:, [2, 0]] - shift) @ np.linalg.inv(matrix).T
    inside = (np.abs(points) <= 0.5).all(axis=1)
    return replace(
        film,
        image=_image(film.image, matrix, shift),
        points=points.clip(-0.5, 0.5),
        known=film.known & inside,
        labels=_OTHER_SIDE[labels] if mirrored else labels,
    )


def _image(image: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    size = np.array(image.shape)
    # Rows run against z and columns against x.
    offset = (size - 1) / 2 - matrix @ ((size - 1) / 2) - shift * size
    return ndimage.affine_transform(image, matrix, offset, order=1, mode="constant", cval=0.0)


def _labels(labels: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Labels ``(D, R, C)`` of the nearest ray."""
    size = np.array(labels.shape[1:])
    centre = (size - 1) / 2
    out = np.indices(size).reshape(2, -1) - centre[:, None]
    rows, columns = np.rint(matrix @ out + (centre - shift * size)[:, None]).astype(int)
    beyond = (rows < 0) | (rows >= size[0]) | (columns < 0) | (columns >= size[1])
    rays = np.where(beyond, 0, rows * size[1] + columns)
    found = labels.reshape(len(labels), -1)[:, rays]
    found[:, beyond] = UNKNOWN
    return found.reshape(labels.shape)


def _other_side() -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    for bone in anatomy.BONES:
        if bone.side:
            other = anatomy.LEFT if bone.side == anatomy.RIGHT else anatomy.RIGHT
            table[bone.label] = anatomy.BY_NAME[bone.name.replace(bone.side, other)].label
    return table


#: Of every label that of the same bone on the other side.
_OTHER_SIDE = _other_side()

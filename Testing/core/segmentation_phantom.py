"""A thorax made of tubes: a spine, twelve pairs of ribs, a sternum, all of known label."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from X2BRLogic import anatomy
from X2BRLogic.volume import Volume

SPACING = 1.5
SOFT, BONE, AIR = 40, 500, -1000
_SHAPE = (190, 130, 190)  # k, j, i
_ORIGIN = np.array([-142.5, -60.0, 0.0])
_TOP = 262.0  # height of the first rib's section, mm
_LEVEL = 21.0  # from one level to the next, mm
#: Half width, half depth, angle at the front end (degrees) and drop (mm) of ribs 1 to 12.
_RIBS = np.array(
    [
        (52, 44, 75, 18),
        (78, 60, 70, 34),
        (94, 70, 66, 46),
        (106, 76, 60, 56),
        (113, 80, 54, 64),
        (117, 82, 48, 72),
        (119, 82, 44, 78),
        (120, 80, 32, 76),
        (119, 77, 18, 66),
        (116, 74, 4, 54),
        (112, 72, -18, 36),
        (108, 70, -42, 18),
    ],
    dtype=np.float64,
)


def rib_line(number: int, sign: float) -> np.ndarray:
    """The middle of a rib from its head to its front end, RAS mm."""
    width, depth, end, drop = _RIBS[number - 1]
    angle = np.deg2rad(np.linspace(-76.0, end, 400))
    fraction = np.linspace(0.0, 1.0, 400)
    right = sign * width * np.cos(angle)
    front = depth - 16.0 + depth * np.sin(angle)
    return np.column_stack([right, front, _TOP - _LEVEL * (number - 1) - drop * fraction])


def labelled(missing: tuple[str, ...] = (), upto: float = np.inf) -> Volume:
    """Bone labels of the phantom, uint8."""
    labels = np.zeros(_SHAPE, dtype=np.uint8)
    k, j, i = np.ogrid[tuple(slice(0, n) for n in _SHAPE)]
    right, front, up = (_ORIGIN[a] + SPACING * grid for a, grid in ((0, i), (1, j), (2, k)))
    around = np.hypot(right, front)
    body = (right / 17) ** 2 + ((front - 24) / 14) ** 2 < 1
    for level in range(-1, 14):  # C7 is 0 in the table's count
        name = "C7" if level == 0 else f"T{level}" if 1 <= level <= 12 else f"L{level - 12}" if level > 12 else "C6"
        middle = _TOP - _LEVEL * (level - 1)
        ring = (around > 8) & (around < 13) & (np.abs(up - middle) < 7)
        block = body & (np.abs(up - middle) < 8)
        labels[ring | block] = anatomy.BY_NAME[f"vertebra_{name}"].label
    sternum = (np.abs(right) < 16) & (np.abs(front - 128) < 5) & (up > 95) & (up < 235)
    labels[np.broadcast_to(sternum, _SHAPE)] = anatomy.STERNUM
    for side, sign in ((anatomy.LEFT, -1.0), (anatomy.RIGHT, 1.0)):
        for number in range(1, 13):
            if (name := f"rib_{side}_{number}") not in missing:
                labels[(tube(rib_line(number, sign), 5.0)) & (labels == 0)] = anatomy.BY_NAME[name].label
    return Volume(labels, matrix())


def matrix() -> np.ndarray:
    to_ras = np.diag([SPACING, SPACING, SPACING, 1.0])
    to_ras[:3, 3] = _ORIGIN
    return to_ras


def tube(line: np.ndarray, radius: float) -> np.ndarray:
    """Voxels within `radius` mm of a line given as RAS mm."""
    away = np.ones(_SHAPE, dtype=bool)
    index = np.round((line - _ORIGIN) / SPACING).astype(int)[:, ::-1]
    index = index[((index >= 0) & (index < _SHAPE)).all(axis=1)]
    away[tuple(index.T)] = False
    low, high = index.min(axis=0) - 6, index.max(axis=0) + 7
    box = tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
    near = np.zeros(_SHAPE, dtype=bool)
    near[box] = ndimage.distance_transform_edt(away[box]) * SPACING <= radius
    return near


def scan(labels: Volume, *, seed: int = 0, contrast: tuple[np.ndarray, ...] = ()) -> Volume:
    """A CT of a labelled phantom in soft tissue, with noise and vessels full of contrast."""
    rng = np.random.default_rng(seed)
    hu = np.where(labels.array > 0, np.float32(BONE), np.float32(SOFT))
    for vessel in contrast:
        hu[vessel & (labels.array == 0)] = BONE + 100
    hu += rng.normal(0, 25, hu.shape).astype(np.float32)
    hu[:, :, :3] = hu[:, :, -3:] = hu[:, :3] = AIR
    return Volume(hu.astype(np.int16), labels.ijk_to_ras)

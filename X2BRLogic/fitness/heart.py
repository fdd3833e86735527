"""On which side the heart's shadow lies: what tells a mirrored film from one that is not.

Left and right half of the film are laid over each other along the spine, in a frame that vertebrae and ribs give, and
subtracted. What remains is compared with the mean over films of virtual patients, where heart, aortic arch and liver
lie as in nearly everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..detection import Box
from ..errors import InputError
from ..files import read_json
from ..models import resources
from ..radiograph import normalise

SCHEMA = "x2br-heart-side-1"
#: From midline to ribs, and from T2 to T12.
GRID = (14, 12)
#: Below, the film is told of as mirrored. Set on half of the patients, see Documentation/benchmarks/fitness.md.
MIRRORED = -0.1
_LEVELS = (2.0, 12.0)
_RIBS = range(4, 10)
_FEWEST_LEVELS, _FEWEST_RIBS = 5, 3


def heart_side(pixels: np.ndarray, boxes: Sequence[Box]) -> float | None:
    """Where the heart lies: 1 as in the mean of virtual patients, -1 its mirror image; ``None`` with too few bones.

    Args:
        pixels: of the film ``(rows, columns)``, bone bright.
        boxes: of its bones.

    Raises:
        InputError: the mean that ships is missing or damaged.
    """
    found = asymmetry(normalise(pixels), boxes)
    if found is None or not found.any():
        return None
    mean = _usual()
    return float((found * mean).sum() / (np.linalg.norm(found) * np.linalg.norm(mean)))


def asymmetry(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray | None:
    """By how much the patient's left is brighter than the right, `GRID`: from T2 down, from the midline out.

    ``None`` with too few bones for the frame.

    Args:
        image: of `radiograph.normalise`, ``(rows, columns)``.
        boxes: of the bones in it.
    """
    named = {box.name: box for box in boxes if box.name}
    spine = [(level, named[f"vertebra_T{level}"]) for level in range(1, 13) if f"vertebra_T{level}" in named]
    left = [named[name].x1 for n in _RIBS if (name := f"rib_{anatomy.LEFT}_{n}") in named]
    right = [named[name].x0 for n in _RIBS if (name := f"rib_{anatomy.RIGHT}_{n}") in named]
    if len(spine) < _FEWEST_LEVELS or min(len(left), len(right)) < _FEWEST_RIBS:
        return None
    column, row = np.array([box.edges.reshape(2, 2).mean(axis=0) for _, box in spine]).T
    outer = np.array([np.median(right), np.median(left)])
    half = float(outer[1] - outer[0]) / 2
    rows = np.polyval(np.polyfit([level for level, _ in spine], row, 1), np.linspace(*_LEVELS, GRID[0]))
    if half <= 0 or rows[-1] <= rows[0]:
        return None
    # The detector draws the spine a little to the side where its training films had it; the ribs do not follow.
    midline = (np.polyval(np.polyfit(row, column, 1), rows) + outer.mean()) / 2
    away = (np.arange(GRID[1]) + 0.5) / GRID[1] * half
    film = ndimage.gaussian_filter(image, half / GRID[1] / 2)

    def side(sign: int) -> np.ndarray:
        places = np.broadcast_arrays(rows[:, None], midline[:, None] + sign * away)
        return ndimage.map_coordinates(film, places, order=1, mode="nearest")

    return side(1) - side(-1)


@lru_cache(maxsize=1)
def _usual() -> np.ndarray:
    path = resources() / "Models" / "Fitness" / "heart_side.json"
    try:
        stored = read_json(path)
        mean = np.array(stored["asymmetry"], dtype=np.float64)
        if stored["schema"] != SCHEMA or mean.shape != GRID or not np.isfinite(mean).all():
            raise ValueError(f"not {SCHEMA}")
        return mean
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); install X2BR again") from None

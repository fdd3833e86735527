"""Films and boxes in the layout of YOLO, which many tools read.

::

    OUT/
      data.yaml                 names of the classes, and where the pictures are
      images/train, images/val  NAME.png, 8-bit grey, as detectors see films
      labels/train, labels/val  NAME.txt, a line a box: class, then middle and size as parts of the picture's
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import written_whole
from .boxes import Box
from .classes import CLASSES
from .films import BoxedFilm
from .image import equalised

DATA = "data.yaml"
TRAIN, VALIDATION = "train", "val"
_NUMBER = {name: n for n, name in enumerate(CLASSES)}


def make_folders(out: Path) -> None:
    """The folders and ``data.yaml``."""
    for split in (TRAIN, VALIDATION):
        picture_file(out, split, "").parent.mkdir(parents=True, exist_ok=True)
        label_file(out, split, "").parent.mkdir(parents=True, exist_ok=True)
    names = "".join(f"  {n}: {name}\n" for n, name in enumerate(CLASSES))
    with written_whole(out / DATA) as partial:
        partial.write_text(
            f"train: images/{TRAIN}\nval: images/{VALIDATION}\nchannels: 1\nnames:\n{names}", encoding="utf-8"
        )


def picture_file(out: Path, split: str, name: str) -> Path:
    """Where the film of a name is."""
    return out / "images" / split / f"{name}.png"


def label_file(out: Path, split: str, name: str) -> Path:
    """Where its boxes are."""
    return out / "labels" / split / f"{name}.txt"


def write_film(out: Path, split: str, name: str, film: BoxedFilm) -> None:
    """Write a film and, when that is done, its boxes; each whole or not at all."""
    with written_whole(picture_file(out, split, name)) as partial:
        Image.fromarray(equalised(film.image)).save(partial)
    with written_whole(label_file(out, split, name)) as partial:
        partial.write_text("".join(f"{line}\n" for line in map(_line(film.image.shape), film.boxes)), encoding="utf-8")


def _line(shape: tuple[int, ...]):
    size = np.array(shape[1::-1])

    def line(box: Box) -> str:
        low, high = (box.edges.reshape(2, 2) + 0.5) / size  # YOLO counts from the corner of the first pixel
        numbers = (*(low + high) / 2, *(high - low))
        return f"{_NUMBER[box.name]} " + " ".join(f"{value:.6f}" for value in numbers)

    return line


def read_labels(file: Path, shape: tuple[int, int]) -> list[Box]:
    """The boxes of a film of this shape. Raises `InputError` for a file that is none."""
    try:
        rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        values = np.array([[float(part) for part in row[1:5]] for row in rows]).reshape(-1, 4)
        middle, half = values[:, :2], values[:, 2:] / 2
        edges = np.hstack([middle - half, middle + half]) * np.tile(shape[::-1], 2) - 0.5
        return [Box.of(CLASSES[int(row[0])], edge) for row, edge in zip(rows, edges, strict=True)]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{file} is no list of YOLO boxes of these classes ({error}); make it anew") from None

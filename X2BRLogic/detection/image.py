"""A detector's input from a film, and its pixels back to the film's. Training and run time both come through here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..radiograph import normalise

#: Grey of the border that makes a film square, as ultralytics has it.
PADDING = 114


def equalised(pixels: np.ndarray) -> np.ndarray:
    """A film as detectors see it, uint8: percentiles, then CLAHE (`radiograph.normalise`), whatever its tone curve was.

    Raises `InputError` for a blank film.
    """
    return np.round(normalise(pixels) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Letterbox:
    """A film scaled to fit a square and put into its middle.

    Attributes:
        image: ``(size, size)`` uint8.
        scale: pixels of the square to one of the film, by column and row.
        offset: column and row of the square at which the film begins.
    """

    image: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray, size: int) -> Letterbox:
        """The film ``(rows, columns)``, bone bright, equalised at the square's resolution. Raises as `equalised`."""
        scaled = _scaled(Image.fromarray(np.asarray(pixels, dtype=np.float32)), size)
        return cls._placed(equalised(np.asarray(scaled)), pixels.shape, size)

    @classmethod
    def of_equalised(cls, picture: Image.Image, size: int) -> Letterbox:
        """A film that is equalised already, 8-bit grey."""
        return cls._placed(np.asarray(_scaled(picture, size)), picture.size[::-1], size)

    @classmethod
    def _placed(cls, scaled: np.ndarray, shape: tuple[int, ...], size: int) -> Letterbox:
        height, width = scaled.shape
        left, top = (size - width) // 2, (size - height) // 2
        image = np.full((size, size), PADDING, dtype=np.uint8)
        image[top : top + height, left : left + width] = scaled
        return cls(image, np.array([width / shape[1], height / shape[0]]), np.array([left, top], dtype=np.float64))

    def to_film(self, edges: np.ndarray) -> np.ndarray:
        """Boxes ``(N, 4)`` of the square, counted from its corner, as edges in the film's pixels (`Box`)."""
        corners = np.asarray(edges, dtype=np.float64).reshape(-1, 2, 2)
        return ((corners - self.offset) / self.scale - 0.5).reshape(-1, 4)

    def of_film(self, edges: np.ndarray) -> np.ndarray:
        """The inverse of `to_film`."""
        corners = np.asarray(edges, dtype=np.float64).reshape(-1, 2, 2)
        return ((corners + 0.5) * self.scale + self.offset).reshape(-1, 4)


def _scaled(picture: Image.Image, size: int) -> Image.Image:
    """The picture with `size` pixels along its longer edge; fewer than before are means over what they cover."""
    factor = size / max(picture.size)
    width, height = (max(round(n * factor), 1) for n in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR)

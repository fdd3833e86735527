"""A radiograph with boxes drawn on it, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .boxes import Box

#: Colours by group, of the hue that its bones have in 3D and as far apart as they can be on grey.
COLOURS: dict[str, tuple[int, int, int]] = {
    "ribs_left": (255, 165, 60),
    "ribs_right": (70, 200, 255),
    "vertebrae": (120, 230, 120),
    "sternum": (240, 220, 120),
    "cartilages": (160, 220, 200),
    "shoulder": (200, 160, 220),
}
#: Pixels along the longer edge of a picture on which all the writing can be read.
EDGE = 1000
_FONTS = {size: ImageFont.load_default(size) for size in (8, 13)}
#: Where a label stands in its box, as a part of its width, and Pillow's anchor.
_PLACES = {"ribs_right": (0.0, "lm"), "ribs_left": (1.0, "rm")}
_MIDDLE = (0.5, "mm")


def draw_boxes(pixels: np.ndarray, boxes: Iterable[Box], edge: int = EDGE) -> Image.Image:
    """The film in grey with each box in its group's colour, its level, and how sure it is.

    Args:
        pixels: ``(rows, columns)``, bone bright.
        edge: pixels along the longer edge of the picture; below `EDGE` levels are written alone, and small.
    """
    low, high = np.percentile(pixels, (0.5, 99.5))
    grey = np.clip((pixels - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    scale = edge / max(picture.size)
    picture = picture.resize([round(n * scale) for n in picture.size], Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture)
    whole = edge >= EDGE
    for box in boxes:
        x0, y0, x1, y1 = (box.edges + 0.5) * scale
        colour = COLOURS[box.group]
        draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour)
        part, anchor = _PLACES.get(box.group, _MIDDLE)
        place = x0 + 3 + part * max(x1 - x0 - 6, 0), (y0 + y1) / 2
        text = f"{_label(box)}  {box.confidence:.2f}" if whole else _label(box)
        draw.text(place, text, fill=colour, font=_FONTS[13 if whole else 8], anchor=anchor)
    return picture


def _label(box: Box) -> str:
    if box.name is None:
        return "?"
    return str(box.level) if box.group.startswith("ribs") else box.name.removeprefix("vertebra_")

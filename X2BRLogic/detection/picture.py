"""A radiograph with boxes drawn on it, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .boxes import Box

#: Colours by group, as far apart as they can be on grey.
COLOURS: dict[str, tuple[int, int, int]] = {
    "ribs_left": (70, 200, 255),
    "ribs_right": (255, 165, 60),
    "vertebrae": (120, 230, 120),
    "sternum": (240, 220, 120),
    "cartilages": (160, 220, 200),
    "shoulder": (200, 160, 220),
}
#: Pixels along the longer edge of the picture at least, so that the writing can be read.
_EDGE = 1000
_FONT = ImageFont.load_default(13)


def draw_boxes(pixels: np.ndarray, boxes: Iterable[Box]) -> Image.Image:
    """The film in grey with each box in its group's colour, its level and how sure it is.

    Args:
        pixels: ``(rows, columns)``, bone bright.
    """
    low, high = np.percentile(pixels, (0.5, 99.5))
    grey = np.clip((pixels - low) / max(float(high - low), 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    scale = max(_EDGE / max(picture.size), 1.0)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        x0, y0, x1, y1 = (box.edges + 0.5) * scale
        colour = COLOURS[box.group]
        draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour)
        text, anchor = _label(box)
        at = {"r": (x0 + 3, (y0 + y1) / 2), "l": (x1 - 3, (y0 + y1) / 2), "m": ((x0 + x1) / 2, (y0 + y1) / 2)}[anchor]
        draw.text(at, text, fill=colour, font=_FONT, anchor={"r": "lm", "l": "rm", "m": "mm"}[anchor])
    return picture


def _label(box: Box) -> tuple[str, str]:
    """What is written, and at which edge: on the flank for a rib, in the middle for others."""
    if box.name is None:
        return f"? {box.confidence:.2f}", "m"
    if box.group.startswith("ribs"):
        return f"{box.level}  {box.confidence:.2f}", box.group[5]
    return f"{box.name.removeprefix('vertebra_')}  {box.confidence:.2f}", "m"

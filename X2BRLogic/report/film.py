"""The radiograph as a picture of vectors: the film, boxes and the bones' outlines over it, in pixels of the film."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import trimesh
from PIL import Image

from ..detection import Box
from ..detection.picture import COLOURS
from ..outline import grey_picture, outline_segments
from ..radiograph import Radiograph

#: Pixels along the longer edge of the film in a page.
_EDGE = 1400
_QUALITY = 85


def film(radiograph: Radiograph, meshes: Mapping[str, trimesh.Trimesh], boxes: tuple[Box, ...]) -> dict:
    """``picture`` (JPEG in base64), ``rows``, ``columns``, ``paths`` by bone (SVG), and ``boxes``."""
    rows, columns = radiograph.geometry.shape
    digits = 0 if min(rows, columns) > _EDGE else 1
    return {
        "picture": _jpeg(radiograph.pixels),
        "rows": rows,
        "columns": columns,
        "paths": {name: _path(outline_segments(mesh, radiograph.geometry), digits) for name, mesh in meshes.items()},
        "boxes": [_box(box) for box in boxes],
    }


def _jpeg(pixels: np.ndarray) -> str:
    picture = grey_picture(pixels)
    picture.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _path(segments: np.ndarray, digits: int) -> str:
    """Segments as a path; of those that follow each other, the shared end is said once."""
    segments = np.round(segments[np.isfinite(segments).all(axis=(1, 2))], digits) + 0.0
    words, end = [], None
    for start, stop in segments.tolist():
        if start != end:
            words.append(f"M{start[0]:g} {start[1]:g}")
        words.append(f"L{stop[0]:g} {stop[1]:g}")
        end = stop
    return "".join(words)


def _box(box: Box) -> dict:
    red, green, blue = COLOURS[box.group]
    label = (box.name or "?").rpartition("_")[2]
    return {
        "name": box.name or "",
        "group": box.group,
        "x": round(box.x0, 1),
        "y": round(box.y0, 1),
        "width": round(box.x1 - box.x0, 1),
        "height": round(box.y1 - box.y0, 1),
        "colour": f"#{red:02x}{green:02x}{blue:02x}",
        "label": label,
        # a label stands at the outer edge of the box: the patient's left is on the right
        "label_x": round({"ribs_left": box.x1, "ribs_right": box.x0}.get(box.group, (box.x0 + box.x1) / 2), 1),
        "label_y": round((box.y0 + box.y1) / 2, 1),
        "anchor": {"ribs_left": "end", "ribs_right": "start"}.get(box.group, "middle"),
        "confidence": f"{box.confidence:.2f}",
    }

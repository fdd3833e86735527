"""A page of films with their boxes drawn, to be looked at before anything is trained on them."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import written_whole
from .picture import draw_boxes
from .yolo_layout import TRAIN, VALIDATION, label_file, picture_file, read_labels

PAGE = "review.html"
#: Films on it, evenly chosen, and the longer edge and JPEG quality of each.
_FILMS, _EDGE, _QUALITY = 48, 640, 75
_STYLE = """
:root { color-scheme: dark; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1rem; background: #111; color: #ddd; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: .7rem; }
figure { margin: 0; } img { width: 100%; }
"""


def write_review(out: Path) -> Path:
    """Write the page into a folder of films and return its path."""
    films = [
        (split, path.stem)
        for split in (TRAIN, VALIDATION)
        for path in sorted(label_file(out, split, "*").parent.glob("[!.]*.txt"))
    ]
    chosen = np.unique(np.linspace(0, len(films) - 1, min(len(films), _FILMS)).round().astype(int))
    figures = "\n".join(_figure(out, *films[n]) for n in chosen)
    page = out / PAGE
    with written_whole(page) as partial:
        partial.write_text(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Films with boxes</title><style>{_STYLE}</style>"
            f"<h1>{len(chosen)} of {len(films)} films</h1><main>{figures}</main></html>\n",
            encoding="utf-8",
        )
    return page


def _figure(out: Path, split: str, name: str) -> str:
    with Image.open(picture_file(out, split, name)) as stored:
        pixels = np.asarray(stored, dtype=np.float32)
    boxes = read_labels(label_file(out, split, name), pixels.shape)
    picture = draw_boxes(pixels, boxes, _EDGE)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    data = base64.b64encode(stream.getvalue()).decode()
    words = escape(f"{name}, {split}: {len(boxes)} boxes")
    image = f'<img loading=lazy alt="{words}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"

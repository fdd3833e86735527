"""A bone's box in a radiograph, and a list of them on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import anatomy
from ..errors import InputError
from ..files import read_json, reason, require_file, shown, stem, written_whole
from ..geometry import XRayGeometry

SCHEMA = "x2br-boxes-1"
_BY_LEVEL = {(bone.group, bone.level): bone for bone in anatomy.BONES if bone.level is not None}
#: Groups of one bone, which needs no level.
_SINGLE = {
    g: anatomy.BY_LABEL[anatomy.labels_of_group(g)[0]] for g in anatomy.GROUPS if len(anatomy.labels_of_group(g)) == 1
}


@dataclass(frozen=True)
class Box:
    """A box around one bone.

    Edges are in pixels, whole numbers being pixel centres as in `XRayGeometry`: a box around pixel (0, 0) alone runs
    from -0.5 to 0.5. Formats that count from the corner of the first pixel (YOLO, COCO) have 0.5 more.

    Attributes:
        group: a group of `anatomy.GROUPS`.
        level: ordinal of the bone in it (rib number; 1 for T1, 13 for L1); ``None`` where the group has no levels, or
            where the level is not known.
        x0, y0, x1, y1: left, top, right and bottom edge.
        confidence: 0 to 1.

    Raises:
        InputError: no such group or level, edges that are no numbers or enclose nothing, or a confidence out of range.
    """

    group: str
    level: int | None
    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float = 1.0

    def __post_init__(self):
        if self.group not in anatomy.GROUPS:
            raise InputError(f"a box names the group {shown(self.group)}; the groups are {', '.join(anatomy.GROUPS)}")
        if self.level is not None and (self.group, self.level) not in _BY_LEVEL:
            raise InputError(f"a box names level {shown(self.level)} of {self.group}, which does not exist")
        if not np.isfinite([self.x0, self.y0, self.x1, self.y1]).all() or self.x0 >= self.x1 or self.y0 >= self.y1:
            raise InputError("a box needs a left edge below its right and a top edge above its bottom, in pixels")
        if not 0.0 <= self.confidence <= 1.0:
            raise InputError(f"a box has the confidence {self.confidence}; it must lie between 0 and 1")

    @classmethod
    def of(cls, name: str, edges: Iterable[float], confidence: float = 1.0) -> Box:
        """The box ``(x0, y0, x1, y1)`` of a bone of `anatomy`. Raises `InputError` as the class, and for no bone."""
        if name not in anatomy.BY_NAME:
            raise InputError(f"a box names {shown(name)}, which is not a bone's name such as rib_left_4 or vertebra_T4")
        bone = anatomy.BY_NAME[name]
        return cls(bone.group, bone.level, *map(float, edges), float(confidence))

    @property
    def name(self) -> str | None:
        """The bone's name; ``None`` where its level is not known."""
        bone = _SINGLE.get(self.group) if self.level is None else _BY_LEVEL[self.group, self.level]
        return bone.name if bone else None

    @property
    def edges(self) -> np.ndarray:
        """``(x0, y0, x1, y1)``, shape (4,)."""
        return np.array([self.x0, self.y0, self.x1, self.y1])


def write_boxes(boxes: Iterable[Box], path: str | os.PathLike, geometry: XRayGeometry | None = None, **about) -> None:
    """Write boxes as JSON, whole or not at all. Raises `InputError` where that is not possible.

    Args:
        geometry: of the radiograph, for the edges in millimetres on its detector as well.
        about: what else the file tells, ready for JSON.
    """
    text: dict = {"schema": SCHEMA, **about, "pixels": "x0, y0, x1, y1; whole numbers are pixel centres"}
    if geometry:
        text["detector_mm"] = "the same on the detector, from the foot of the central ray, along columns and rows"
    text["boxes"] = [_row(box, geometry) for box in boxes]
    with written_whole(path) as partial:
        partial.write_text(json.dumps(text, indent=1) + "\n")


def _row(box: Box, geometry: XRayGeometry | None) -> dict:
    row = {
        "name": box.name,
        "group": box.group,
        "level": box.level,
        "box": [round(float(edge), 3) for edge in box.edges],
        "confidence": round(float(box.confidence), 4),
    }
    return row | ({"detector_mm": [round(float(edge), 3) for edge in on_detector(box, geometry)]} if geometry else {})


def on_detector(box: Box, geometry: XRayGeometry) -> np.ndarray:
    """Left, top, right and bottom edge ``(4,)`` in mm on the detector, from the foot of the central ray."""
    pitch = np.tile(geometry.spacing[::-1], 2)
    return (box.edges - np.tile(geometry.principal_point, 2)) * pitch


def boxes_beside(image: Path) -> Path | None:
    """The file of boxes beside an image, ``<stem>.boxes.json``; ``None`` where there is none."""
    path = image.with_name(f"{stem(image)}.boxes.json")
    return path if path.is_file() else None


def read_boxes(path: str | os.PathLike) -> list[Box]:
    """Read what `write_boxes` wrote. Raises `InputError` for any other file, or a box without sense."""
    path = require_file(path)
    try:
        stored = read_json(path)
        if stored["schema"] != SCHEMA:
            raise InputError(f"{path} has the schema {shown(stored['schema'])}, not {SCHEMA}; write it with X2BR")
        return [
            Box(row["group"], row["level"], *map(float, row["box"]), float(row["confidence"]))
            for row in stored["boxes"]
        ]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no list of boxes ({reason(error)}); write it with X2BR") from None

"""What is measured, in words: rows with a value, its standard deviation and what it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..confidence import ERROR
from ..reconstruction import Reconstruction
from ..template import bone_of
from .measures import KYPHOSIS, LEVELS, SIDES, SPACES, Ruler
from .uncertainty import displaced

GROUPS = {
    "ribs_left": "Left ribs",
    "ribs_right": "Right ribs",
    "sternum": "Sternum",
    "cartilages": "Costal cartilages",
    "vertebrae": "Vertebrae",
    "shoulder": "Shoulder girdle",
}


@dataclass(frozen=True)
class Figure:
    """A measure: its value, one standard deviation, and digits after the point."""

    value: float
    deviation: float | None
    unit: str
    digits: int = 0

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.{self.digits}f}"
        gap = "" if self.unit == "°" else " "
        # no minus before a zero
        return f"{round(self.value, self.digits) + 0.0:.{self.digits}f}{spread}{gap}{self.unit}"


@dataclass(frozen=True)
class Row:
    """A line of a table: what, how much, and how it is defined."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """The tables of a report.

    Attributes:
        rows: by heading.
        spaces: between neighbouring ribs: the space, and its width at the left and the right; ``None`` where unknown.
        volumes: of each bone.
    """

    rows: dict[str, list[Row]]
    spaces: list[tuple[str, Figure | None, Figure | None]]
    volumes: dict[str, Figure]


def measured(reconstruction: Reconstruction) -> Measured:
    """The tables of a reconstruction, with uncertainties where its vertices have an expected error."""
    bones = reconstruction.bones
    if not bones:
        mesh = reconstruction.mesh
        size = zip(("breadth", "depth", "height"), np.ptp(mesh.bounds, axis=0), strict=True)
        rows = [Row(f"Largest {name} of all bones", str(Figure(float(value), None, "mm"))) for name, value in size]
        volume = Row("Volume of all bones", str(Figure(float(mesh.volume) / 1000, None, "ml")), "ribs, sternum, T1–T12")
        return Measured({"Bones, as one shape": [*rows, volume]}, [], {})
    ruler = Ruler.of(bones)
    values = ruler.measure(ruler.rest)
    spread = _spread(ruler, {name: mesh.vertex_attributes.get(ERROR) for name, mesh in bones.items()})

    def figure(key: str, unit: str = "mm", digits: int = 0) -> Figure | None:
        return Figure(values[key], spread.get(key), unit, digits) if key in values else None

    seen = {box.name for box in reconstruction.boxes}
    tables = {
        "Bones": _counts(list(bones), seen),
        "Spine": _spine(figure, values),
        "Chest": _chest(figure),
        "Volumes": [
            Row(title, str(found), note) for key, title, note in _VOLUMES if (found := figure(f"volume {key}", "ml"))
        ],
    }
    spaces = [(f"{upper}–{lower}", *(figure(f"space {side} {upper}") for side in SIDES)) for upper, lower in SPACES]
    return Measured(
        {heading: rows for heading, rows in tables.items() if rows},
        [space for space in spaces if space[1] or space[2]],
        {name: figure(f"volume {name}", "ml", 1) for name in bones},
    )


_VOLUMES = (
    ("ribs_left", "Left ribs", "bone alone, without cartilages"),
    ("ribs_right", "Right ribs", "bone alone, without cartilages"),
    ("sternum", "Sternum", ""),
    ("thoracic vertebrae", "Thoracic vertebrae", "those of T1–T12 that are there"),
)


def _spread(ruler: Ruler, errors: Mapping[str, np.ndarray | None]) -> dict[str, float]:
    """Standard deviations of the measures; empty where vertices have no expected error."""
    if any(error is None for error in errors.values()):
        return {}
    drawn = defaultdict(list)
    for vertices in displaced(ruler.rest, errors):
        for key, value in ruler.measure(vertices).items():
            drawn[key].append(value)
    return {key: float(np.std(values, ddof=1)) for key, values in drawn.items() if len(values) > 1}


def _counts(names: list[str], seen: set[str | None]) -> list[Row]:
    rows = []
    for group in ("ribs_left", "ribs_right", "vertebrae"):
        found = [name for name in names if bone_of(name).group == group]
        if found:
            levels = [name.rpartition("_")[2] for name in found]
            boxed = sum(name in seen for name in found)
            note = f"{levels[0]} to {levels[-1]}" if len(levels) > 1 else levels[0]
            rows.append(Row(GROUPS[group], str(len(found)), f"{note}; {boxed} of them placed by a box in the film"))
    return rows


def _spine(figure, values: Mapping[str, float]) -> list[Row]:
    rows = []
    if cobb := figure("cobb", "°", 1):
        ends = f"T{values['upper']:.0f} and T{values['lower']:.0f}"
        rows.append(Row("Cobb angle, largest", str(cobb), f"coronal plane; end vertebrae {ends}"))
    if kyphosis := figure("kyphosis", "°", 1):
        note = "sagittal plane; depth is not seen in one view"
        rows.append(Row(f"Kyphosis {'–'.join(KYPHOSIS)}", str(kyphosis), note))
    if length := figure("length"):
        rows.append(Row("Length T1–T12", str(length), "along the curve"))
    return rows


def _chest(figure) -> list[Row]:
    rows = [Row("Largest width", str(width), "across the ribs")] if (width := figure("breadth")) else []
    for level in LEVELS:
        for key, title in (("breadth", "Width"), ("depth", "Depth")):
            if found := figure(f"{key} {level}"):
                rows.append(Row(f"{title} at {level}", str(found), "ribs and sternum, outer, 10 mm slab"))
    for side in SIDES:
        if space := figure(f"space {side}", digits=1):
            rows.append(Row(f"Rib spacing, {side}", str(space), "mean of the spaces below, between centre lines"))
    return rows

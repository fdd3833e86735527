"""Many virtual patients on one page, to be looked at: the radiograph, and the skeleton from front and side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image, ImageDraw, ImageFont

from .. import anatomy
from ..drr import Renderer
from ..geometry import CUBE_EDGE_MM
from ..preview import render
from ..surface import labels_to_mesh
from .motion import RANGES, ShapeModel
from .person import Person, VirtualPatient, draw_patient, prepare
from .subject import read_subject
from .virtual import film_of, warped

_COLUMNS = 3
_GAP = 6
_VIEWS = ("front", "left side")


def contact_sheet(folders: list[Path], count: int, seed: int, model: ShapeModel | None, size: int = 160) -> Image.Image:
    """The patients 0 to `count` - 1 of a population of this seed, `size` pixels a picture.

    Each skeleton is what the virtual scan covers: a bone that the scan cuts ends there.
    """
    people = _people(folders)
    meshes = [_skeleton(person) for person in people[:count]]
    cells = []
    for n in range(count):
        person, mesh = people[n % len(people)], meshes[n % len(people)]
        cells.append(_cell(draw_patient(person, rng := np.random.default_rng((seed, n)), model), mesh, rng, size))
    height, width = cells[0].shape[:2]
    rows = -(-count // _COLUMNS)
    page = np.full((rows * (height + _GAP) - _GAP, _COLUMNS * (width + _GAP) - _GAP, 3), 60, dtype=np.uint8)
    for n, cell in enumerate(cells):
        top, left = (n // _COLUMNS) * (height + _GAP), (n % _COLUMNS) * (width + _GAP)
        page[top : top + height, left : left + width] = cell
    return Image.fromarray(page)


def _people(folders: list[Path]) -> list[Person]:
    return [prepare(read_subject(folder)) for folder in folders]


def _skeleton(person: Person) -> trimesh.Trimesh:
    """The bones of the thorax as scanned, fine enough to be bent."""
    return labels_to_mesh(person.labels, anatomy.THORAX, smooth_mm=1.0, faces=150_000)


def _cell(patient: VirtualPatient, mesh: trimesh.Trimesh, rng: np.random.Generator, size: int) -> np.ndarray:
    film, _ = film_of(patient, Renderer(warped(patient)[0]), rng)
    grey = Image.fromarray(np.round(film * 255).astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)
    moved = trimesh.Trimesh(patient.deformation.to_patient(mesh.vertices), mesh.faces, process=False)
    tiles = [np.repeat(np.asarray(grey)[..., None], 3, axis=2)]
    tiles += [render(moved, side, size, CUBE_EDGE_MM) for side in _VIEWS]
    picture = Image.fromarray(np.concatenate(tiles, axis=1))
    facts = patient.measures
    words = [f"{facts[name]:.0f} {unit}" for name, unit in (("width", "mm"), ("kyphosis", "deg")) if name in facts]
    ImageDraw.Draw(picture).text((size + 4, 2), ", ".join(words), fill=(170, 170, 170), font=ImageFont.load_default(10))
    return np.asarray(picture)


def measures_of(folders: list[Path], count: int, seed: int, model: ShapeModel | None) -> Iterator[dict[str, float]]:
    """The measures (`motion.measure`) and the smallest determinant of the patients 0 to `count` - 1 of a population."""
    people = _people(folders)
    for n in range(count):
        patient = draw_patient(people[n % len(people)], np.random.default_rng((seed, n)), model)
        yield patient.measures | {"determinant": patient.deformation.determinant}


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Smallest, 5th, 50th and 95th percentile and largest of each measure, and the range that is accepted."""
    table = {}
    for name in (*RANGES, "determinant"):
        values = [row[name] for row in rows if name in row]
        if values:
            cuts = np.percentile(values, (0, 5, 50, 95, 100)).round(3).tolist()
            table[name] = dict(zip(("least", "p5", "median", "p95", "most"), cuts, strict=True))
            table[name] |= {"accepted": list(RANGES[name])} if name in RANGES else {}
    return table

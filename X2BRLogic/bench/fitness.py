"""``x2br bench fitness``: what tells chest films from all else, how they lie, and at what scale they are."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from ..batch import find_films
from ..dataset.subject import find_subjects, read_subject
from ..detection import detect
from ..detection.films import BoxedFilms
from ..detection.weights import default_weights
from ..fitness import bones_seen, heart_side, spacing_from_bones
from ..fitness.evidence import seen_by_handling
from ..radiograph import Handling, Radiograph, radiograph_from_array, read_radiograph
from . import machine
from .other_pictures import Picture, from_folder, from_packages, from_subjects, made_here, usable

Progress = Callable[[str], None]


def run(
    films: Path, subjects: Path | None, held_out: str, others: list[Path], virtual: int, seed: int, progress: Progress
) -> dict:
    """Measure everything; a JSON-ready dict.

    Args:
        films: folder of real frontal chest films; a table ``*.csv`` in it with the columns ``file``, ``patient_id``
            and ``view`` keeps patients apart and says how films were taken.
        subjects: folders with CT and bones, for slices, side views and films of known scale.
        held_out: subject of which the detector knows nothing.
        others: folders of pictures that are no chest films, named by what they are.
        virtual: virtual patients of each subject.
        seed: of these patients.

    Raises:
        InputError: there is no film.
    """
    about = patients(films)
    rows = []
    for name in find_films(films, films / "-"):
        known = about.get(name, {})
        radiograph = read_radiograph(films / name, view=known.get("view") or None)
        rows.append({"film": name, "patient": known.get("patient_id", name), **chest_film(radiograph)})
        progress(f"{name}: {rows[-1]['seen']['']:.1f} bones")
    pictures = chain(from_packages(), made_here(), from_subjects(subjects) if subjects else ())
    pictures = chain(pictures, *(from_folder(folder, folder.name) for folder in others))
    return {
        "schema": "x2br-bench-fitness-1",
        "machine": machine.describe(),
        "detector": default_weights().name,
        "held_out": held_out,
        "films": rows,
        "others": [row for row in (other_picture(picture, progress) for picture in pictures) if row],
        "scale": list(scales(subjects, virtual, seed, progress)) if subjects else [],
    }


def patients(films: Path) -> dict[str, dict]:
    """The rows of the tables in a folder of films, by film."""
    found = {}
    for table in sorted(films.glob("*.csv")):
        with open(table, newline="", encoding="utf-8") as stream:
            found |= {row["file"]: row for row in csv.DictReader(stream) if row.get("file")}
    return found


def chest_film(radiograph: Radiograph) -> dict:
    """Bones seen in each handling, named by its options; where the heart lies, as stored and mirrored; the spacing."""
    boxes, mirrored = detect(radiograph).boxes, Handling(mirror=True).of(radiograph)
    seen = seen_by_handling(radiograph, bones_seen(boxes))
    estimate = spacing_from_bones(boxes, radiograph.geometry)
    return {
        "view": radiograph.geometry.view,
        "seen": {handling.options: value for handling, value in seen.items()},
        "heart": heart_side(radiograph.pixels, boxes),
        "heart_mirrored": heart_side(mirrored.pixels, detect(mirrored).boxes),
        "spacing_of_cassette": estimate and estimate / radiograph.geometry.spacing[0],
    }


def other_picture(picture: Picture, progress: Progress) -> dict | None:
    """Bones seen in a picture as it is, and at most however it is turned; ``None`` for what no reader would pass."""
    kind, name, pixels = picture
    if not usable(pixels):
        return None
    seen = seen_by_handling(radiograph_from_array(np.asarray(pixels, dtype=np.float32), name))
    progress(f"{kind}, {name}: {seen[Handling()]:.1f} bones")
    return {"kind": kind, "name": name, "seen": seen[Handling()], "most": max(seen.values())}


def scales(folder: Path, virtual: int, seed: int, progress: Progress) -> Iterable[dict]:
    """Films of virtual patients, of which the spacing is known: the logarithm of the estimate over the truth."""
    for place in find_subjects(folder):
        subject = read_subject(place)
        source = BoxedFilms(subject)
        for n in range(virtual):
            rng = np.random.default_rng((seed, n, zlib.crc32(subject.name.encode())))
            (film,) = source.films(rng, 1)
            boxes = detect(radiograph_from_array(film.image, subject.name, geometry=film.geometry)).boxes
            true, edge = float(np.mean(film.geometry.spacing)), max(film.geometry.shape)
            estimate = spacing_from_bones(boxes, film.geometry)
            yield {
                "subject": subject.name,
                "bones": None if estimate is None else float(np.log(estimate / true)),
                "edge_mm": true * edge,
            }
            progress(f"scale, {subject.name} {n + 1}")

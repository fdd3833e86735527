"""``x2br bench detection``: boxes against projected labels, and against common sense where there is no truth."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..batch import find_films
from ..dataset.subject import Subject, find_subjects, read_subject
from ..detection import Box, detect
from ..detection.classes import CLASSES, RUNS
from ..detection.detector import loaded, propose
from ..detection.films import FILM_SIZE, BoxedFilms
from ..detection.ordering import MEETING
from ..detection.weights import default_weights
from ..drr import Renderer, as_radiograph, isocentre, project_boxes
from ..errors import InputError
from ..geometry import XRayGeometry
from ..radiograph import radiograph_from_array, read_radiograph
from . import machine
from .detection_schemes import SCHEMES
from .detection_scores import Scored, scores

Progress = Callable[[str], None]

#: Films of each virtual patient, and how the left-out person is turned, degrees (about the body's axis, tilt).
_VIEWS = 3
_TURNS = ((0, 0), (-8, 0), (-4, 0), (4, 0), (8, 0), (0, -5), (0, 5))
#: Bones that every frontal chest film shows.
_EXPECTED = 10
_REPEATS = 7


def run(
    subjects: Path, held_out: str, virtual: int, seed: int, runtime: str, weights: Path | None,
    radiographs: Path | None, progress: Progress,
) -> dict:  # fmt: skip
    """Measure everything; a JSON-ready dict.

    Args:
        subjects: folders with CT and bones.
        held_out: of which the weights know nothing.
        virtual: virtual patients of the others, and as many of the one held out.
        seed: of these patients; another one than the training films'.
        radiographs: folder of real films, of which there is no truth.

    Raises:
        InputError: no such subject, or no other one.
    """
    folders = {folder.name: folder for folder in find_subjects(subjects)}
    if held_out not in folders:
        raise InputError(f"no such subject in {subjects}: {held_out}")
    others = [folder for name, folder in folders.items() if name != held_out]
    if virtual and not others:
        raise InputError("the only subject is held out; virtual patients need another one, or give --virtual 0")
    path = weights or default_weights()
    network = loaded(runtime, path)
    person = read_subject(folders[held_out])
    sets = {
        "virtual patients": lambda: _virtual(others, virtual, seed),
        "the person left out": lambda: _turned(person),
        "virtual patients of the person left out": lambda: _virtual([folders[held_out]], virtual, seed),
    }
    results = {}
    for title, films in sets.items():
        found: dict[str, list[Scored]] = {scheme: [] for scheme in SCHEMES}
        for number, (pixels, truth) in enumerate(films()):
            proposals = propose(pixels, network)
            for scheme, boxes in SCHEMES.items():
                found[scheme].append(Scored(truth, boxes(proposals, pixels.shape)))
            progress(f"{title}, film {number + 1}")
        if found[next(iter(SCHEMES))]:
            results[title] = {scheme: scores(rows) for scheme, rows in found.items()}
    return {
        "schema": "x2br-bench-detection-1",
        "machine": machine.describe(),
        "load_after": machine.busy(),
        "held_out": held_out,
        "model": f"{path.name} ({runtime})",
        "sets": results,
        "seconds": _seconds(runtime, path, next(_turned(person))[0]),
        "radiographs": list(_real(radiographs, runtime, path, progress)) if radiographs else [],
    }


def _virtual(folders: list[Path], count: int, seed: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Films of virtual patients as in training (`detection.films`), and their boxes."""
    people = [read_subject(folder) for folder in folders[:count]]  # kept, for making one ready takes seconds
    for n in range(count):
        subject = people[n % len(people)]
        rng = np.random.default_rng((seed, n, zlib.crc32(subject.name.encode())))
        for film in BoxedFilms(subject).films(rng, _VIEWS):
            yield film.image, list(film.boxes)


def _turned(subject: Subject) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """AP and PA DRRs of a person as scanned, with CLAHE as in the paper and without, and the boxes of its labels."""
    renderer, centre = Renderer(subject.ct), isocentre(subject.ct, subject.labels)
    for view in ("AP", "PA"):
        for angle, tilt in _TURNS:
            geometry = XRayGeometry.from_view(view, angle=angle, tilt=tilt, isocentre=centre)
            geometry = geometry.resized((FILM_SIZE, FILM_SIZE))
            integrals = renderer.line_integrals(geometry)
            boxes = [box for box in project_boxes(subject.labels, geometry) if box.name in CLASSES]
            for clahe in (True, False):
                yield as_radiograph(integrals, clahe=clahe).astype(np.float32), boxes


def _seconds(runtime: str, weights: Path, pixels: np.ndarray) -> float:
    """Wall time of `detect` on a film, warm: the middle one of some."""
    film = radiograph_from_array(pixels, "DRR")
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        detect(film, runtime=runtime, weights=weights)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def _real(folder: Path, runtime: str, weights: Path, progress: Progress) -> Iterator[dict]:
    """What was found in each real film."""
    for film in find_films(folder, folder / "-"):
        radiograph = read_radiograph(folder / film)
        found = detect(radiograph, runtime=runtime, weights=weights)
        progress(f"{film}: {len(found.boxes)} boxes")
        yield {"film": str(film), "notes": list(found.notes)} | judged(found.boxes)


def judged(boxes: tuple[Box, ...]) -> dict:
    """Whether the boxes of a film make sense without a truth.

    ``complete``: ribs 1 to 10 on both sides and T1 to T10. ``consistent``: in each group no level is missing between
    others and each bone begins below the one before, and rib k begins within a level of where T(k) has it
    (`detection.ordering.MEETING`).
    """
    by_group = {group: {box.level: box for box in boxes if box.group == group} for group in RUNS}
    complete = all(set(range(1, _EXPECTED + 1)) <= set(found) for found in by_group.values())
    consistent = all(_in_sequence(found) for found in by_group.values()) and _ribs_meet(by_group)
    return {"complete": complete, "consistent": consistent} | {g: len(found) for g, found in by_group.items()}


def _in_sequence(found: dict[int, Box]) -> bool:
    levels = sorted(found)
    whole = bool(levels) and levels == list(range(levels[0], levels[-1] + 1))
    return whole and bool((np.diff([found[level].y0 for level in levels]) > 0).all())


def _ribs_meet(by_group: dict[str, dict[int, Box]]) -> bool:
    middle = {level: (box.y0 + box.y1) / 2 for level, box in by_group["vertebrae"].items()}
    if len(middle) < 2:
        return False
    height = (middle[max(middle)] - middle[min(middle)]) / (max(middle) - min(middle))
    off = [
        (box.y0 - middle[level]) / height - MEETING[level - 1]
        for group, found in by_group.items()
        if group != "vertebrae"
        for level, box in found.items()
        if level in middle
    ]
    return bool((np.abs(off) <= 1.0).all())

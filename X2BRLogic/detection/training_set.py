"""Films of virtual patients with boxes, as a folder in the layout of YOLO: no film is boxed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..dataset.population import Product, build_population
from ..dataset.subject import Subject
from .review import write_review
from .yolo_layout import TRAIN, VALIDATION, label_file, make_folders, write_film

if TYPE_CHECKING:
    from ..dataset.motion import ShapeModel

#: Every so many patients one is for validation; a number that leaves none of few subjects out.
_VALIDATION = 11


def build_films(subjects: Path, out: Path, *, count: int, **settings) -> Iterator[dict]:
    """Write the films of virtual patients 0 to `count` - 1 and yield what happens (`X2BRLogic.dataset.events`).

    `settings` and what is raised are those of `dataset.population.build_population`.
    """
    return build_population(
        subjects, out, count=count, product=Product("films.json", _last, _write, write_review), **settings
    )


def _split(number: int) -> str:
    return VALIDATION if number % _VALIDATION == _VALIDATION - 1 else TRAIN


def _name(number: int, view: int) -> str:
    return f"patient_{number:06d}_{view}"


def _last(out: Path, number: int, views: int) -> Path:
    return label_file(out, _split(number), _name(number, views - 1))


def _write(subject: Subject, model: ShapeModel | None, out: Path, seed: int, views: int, number: int) -> None:
    from .films import BoxedFilms

    make_folders(out)
    rng = np.random.default_rng((seed, number))
    for view, film in enumerate(BoxedFilms(subject).films(rng, views, model)):
        write_film(out, _split(number), _name(number, view), film)

"""A folder of virtual patients: drawn one by one on any number of workers, and on from where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..errors import InputError
from ..fan_out import fan_out
from ..files import only_writer, read_json, written_whole
from . import layout
from .events import Course
from .subject import Subject, find_subjects, read_subject

if TYPE_CHECKING:
    from .motion import ShapeModel

#: Seed and the like of the whole folder, so that nobody mixes two populations.
POPULATION = "population.json"


@dataclass(frozen=True)
class Product:
    """What is made of each virtual patient.

    Attributes:
        record: file name of the settings that hold for the whole folder.
        last: the file of a patient, given the folder, its number and the number of views, that is written last.
        write: makes a patient's files, given the subject, shape model, folder, seed, views and number; on a worker.
        finish: called with the folder when there are some.
    """

    record: str
    last: Callable[[Path, int, int], Path]
    write: Callable[[Subject, ShapeModel | None, Path, int, int, int], None]
    finish: Callable[[Path], object]


def build_population(
    subjects: Path,
    out: Path,
    *,
    count: int,
    product: Product | None = None,
    seed: int = 0,
    views: int = 4,
    exclude: tuple[str, ...] = (),
    learn: bool = True,
    workers: int = 1,
    scheduler: str | None = None,
    memory: str = "4 GiB",
) -> Iterator[dict]:
    """Write patients 0 to `count` - 1 and yield what happens (`X2BRLogic.dataset.events`).

    A patient depends on the subjects, the seed and its number alone. Those that are there are kept, so an interrupted
    call goes on where it stopped, and a larger `count` adds patients.

    Args:
        subjects: folder of labelled CTs (`find_subjects`).
        out: folder to write to, made if missing.
        product: what is made of each; by default a file of films and occupancy (`patient_file.make_patient`).
        exclude: names of subjects to leave out, so that they can be tested on.
        learn: also vary them as the subjects differ from each other. Without it a patient owes nothing to any subject
            but its own, so that whoever trains can leave out any of them.
        workers, scheduler, memory: see `fan_out`.

    Raises:
        InputError: no subject, an excluded one that does not exist, or patients of another population in `out`.
    """
    product = product or _occupancy()
    folders = find_subjects(subjects, exclude)
    settings = {"seed": seed, "views": views, "subjects": [folder.name for folder in folders]}
    _prepare(out / product.record, settings | ({} if learn else {"learn": False}))
    with only_writer(out):
        for leftover in out.glob(".*.npz"):  # of processes that were killed
            leftover.unlink()
        waiting = [n for n in range(count) if not product.last(out, n, views).exists()]
        function = partial(_write_patient, product.write, folders, out, seed, views)
        outcomes = fan_out(function, waiting, workers=workers, scheduler=scheduler, memory=memory)
        course = Course(count, len(waiting), None if scheduler else workers)
        yield course.start()
        if waiting and learn:
            from .person import SHAPE_MODEL, learn_from  # compiled kernels, which a finished population does without

            learn_from(folders, out / SHAPE_MODEL)
        failed = 0
        with closing(outcomes):
            for outcome in outcomes:
                failed += outcome.error is not None
                status, reasons = (layout.FAILED, [outcome.error]) if outcome.error else (layout.ACCEPTED, [])
                yield course.item(product.last(out, outcome.item, views).stem, status, reasons, outcome.seconds)
        if failed < count:
            product.finish(out)
    yield course.end({layout.ACCEPTED: count - failed, layout.REJECTED: 0, layout.FAILED: failed})


def _occupancy() -> Product:
    from .page import write_page  # which shows populations too

    return Product(POPULATION, _file, _write_occupancy, write_page)


def _file(out: Path, number: int, views: int) -> Path:
    return out / f"patient_{number:06d}.npz"


def _write_occupancy(subject: Subject, model: ShapeModel | None, out: Path, seed: int, views: int, number: int) -> None:
    from .patient_file import make_patient

    arrays = make_patient(_source(subject), np.random.default_rng((seed, number)), views, model)
    with written_whole(_file(out, number, views)) as partial_file, open(partial_file, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _write_patient(write: Callable, folders: list[Path], out: Path, seed: int, views: int, number: int) -> None:
    """On a worker, which alone needs the renderer."""
    from .person import SHAPE_MODEL

    write(_subject(folders[number % len(folders)]), _model(out / SHAPE_MODEL), out, seed, views, number)


@lru_cache(maxsize=8)
def _subject(folder: Path) -> Subject:
    """A worker makes patient after patient of few subjects."""
    return read_subject(folder)


@lru_cache(maxsize=8)
def _source(subject: Subject):
    """What patients are drawn from; subjects are those of `_subject`."""
    from .on_the_fly import Source

    return Source(subject)


@lru_cache(maxsize=1)
def _model(file: Path):
    """The shape model that `learn_from` left, if any: it leaves none where the subjects are too few."""
    from .motion import ShapeModel

    return ShapeModel.read(file) if file.exists() else None


def _prepare(file: Path, settings: dict) -> None:
    """Make the folder, or refuse another population's."""
    out = file.parent
    try:
        out.mkdir(parents=True, exist_ok=True)
        before = read_json(file)["settings"] if file.exists() else None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file} is damaged; remove it, or give another folder") from None
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; check the folder") from None
    if before is None:
        with written_whole(file) as partial_file:
            text = json.dumps({"x2br": __version__, "settings": settings}, indent=1) + "\n"
            partial_file.write_text(text, encoding="utf-8")
    elif before != settings:
        changed = ", ".join(k for k in settings if before.get(k) != settings[k])
        raise InputError(f"{out} holds patients made with another {changed}; give the same, or another folder")

"""Are virtual patients what their folder says they are?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..fan_out import fan_out
from ..files import parse_json, read_json, reason
from ..geometry import XRayGeometry
from . import layout
from .population import POPULATION
from .rays import LABEL_CELLS
from .training_film import IMAGE_SIZE

_AGAIN = "delete it and run x2br dataset virtual again"
#: Names of a patient's arrays, with what each item is and its shape behind the films; N points.
_ARRAYS = {
    "images": (np.uint8, (IMAGE_SIZE, IMAGE_SIZE)),
    "points": (np.uint16, ("N", 3)),
    "occupied": (np.uint8, ("N / 8",)),
    "known": (np.uint8, ("N / 8",)),
}


def is_population(folder: Path) -> bool:
    """Whether `x2br dataset virtual` wrote there."""
    return (folder / POPULATION).is_file()


def check_population(folder: Path, **where) -> Iterator[tuple[str, list[str]]]:
    """Yield each patient's name and what is broken in it; the name is empty for the folder as a whole.

    `where`: ``workers``, ``scheduler`` and ``memory`` of `fan_out`.

    Raises:
        InputError: no patient, or no account of them that can be read.
    """
    try:
        settings = read_json(folder / POPULATION)["settings"]
        films, subjects = 2 * int(settings["views"]), tuple(settings["subjects"])  # a lateral one beside each
    except (OSError, ValueError, KeyError, TypeError, OverflowError):  # the last of infinity
        raise InputError(f"{folder / POPULATION} is missing or damaged; build the patients again") from None
    files = sorted(folder.glob("patient_*.npz"))
    if not files:
        raise InputError(f"{folder} has no virtual patient; build them first")
    outcomes = fan_out(partial(check_patient, films, subjects), files, **where)
    yield "", _as_a_whole(folder, files)
    with closing(outcomes):
        for outcome in outcomes:
            error = outcome.error and [f"it cannot be checked: {outcome.error}"]
            yield outcome.item.stem, error or outcome.value


def _as_a_whole(folder: Path, files: list[Path]) -> list[str]:
    problems = [] if (folder / layout.PAGE).is_file() else [f"{layout.PAGE} is missing; run x2br dataset virtual again"]
    numbers = {file.stem.removeprefix("patient_") for file in files}
    if not all(number.isdecimal() for number in numbers):
        return [*problems, "a file is named like a patient but has no number; remove it"]
    missing = sorted(set(range(max(map(int, numbers)))) - set(map(int, numbers)))
    if missing:
        problems.append(
            f"{len(missing)} patients are missing, first number {missing[0]}; run x2br dataset virtual again"
        )
    return problems


def check_patient(films: int, subjects: tuple[str, ...], file: Path) -> list[str]:
    """What is broken in the file of one patient."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # the archive's ways to be damaged are many
        return [f"cannot be read ({type(error).__name__}: {reason(error)}); {_AGAIN}"]
    labels = [f"labels_{n}" for n in range(films)]
    missing = sorted({*_ARRAYS, *labels, "record", "cut"} - set(arrays))
    if missing:
        return [f"lacks {', '.join(missing)}; {_AGAIN}"]
    points = arrays["points"].shape[1] if arrays["points"].ndim == 3 else 0
    sizes = {"N": points, "N / 8": -(-points // 8)}
    problems = []
    expected = {name: (kind, (films, *(sizes.get(n, n) for n in shape))) for name, (kind, shape) in _ARRAYS.items()}
    expected |= dict.fromkeys(labels, (np.uint8, LABEL_CELLS))
    for name, (kind, wanted) in expected.items():
        if arrays[name].dtype != kind or arrays[name].shape != wanted:
            told = f"{arrays[name].shape} {arrays[name].dtype}"
            problems.append(f"{name} is {told} and should be {wanted} {np.dtype(kind)}; {_AGAIN}")
    return problems or _contents(arrays, films, subjects)


def _contents(arrays: dict[str, np.ndarray], films: int, subjects: tuple[str, ...]) -> list[str]:
    try:
        record = parse_json(str(arrays["record"]))
        geometries = [XRayGeometry.from_dict(geometry) for geometry in record["geometries"]]
        subject, determinant = record["subject"], float(record["determinant"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"its record is damaged ({type(error).__name__}: {reason(error)}); {_AGAIN}"]
    problems = []
    if len(geometries) != films:
        problems.append(f"it has {films} films and {len(geometries)} geometries; {_AGAIN}")
    if subject not in subjects:
        problems.append(f"it is made from {subject}, which the folder's settings do not name; {_AGAIN}")
    if not determinant > 0:
        problems.append(f"its deformation folds (determinant {determinant:.3g}); {_AGAIN}")
    if any(image.min() == image.max() for image in arrays["images"]):
        problems.append(f"a film shows nothing; {_AGAIN}")
    occupied, known = (np.unpackbits(arrays[name], axis=1) for name in ("occupied", "known"))
    if not occupied.any(axis=1).all():
        problems.append(f"a film has no point in a bone; {_AGAIN}")
    if (occupied > known).any():
        problems.append(f"points lie in a bone where nothing is known; {_AGAIN}")
    return problems

"""What there is to see of each subject of a data set: its name, verdict and picture, whoever made the data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import parse_json, read_json
from . import layout
from .population import POPULATION
from .records import read_record, subject_names

#: Edge of a virtual patient's tiles in pixels, and how many of its radiographs are shown.
_TILE, _VIEWS = 120, 3


@dataclass(frozen=True)
class Entry:
    """One subject.

    Attributes:
        name: of the subject.
        status: of `layout`: accepted, rejected or failed.
        reasons, remarks: sentences.
        gates: keys of the quality gates that reject it.
        origin: what it was made with or from, in words; may be empty.
        file: path below the data set's folder that tells more.
        picture: makes its picture; ``None`` where there is none that can be read.
    """

    name: str
    status: str
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    gates: tuple[str, ...]
    origin: str
    file: str
    picture: Callable[[], Image.Image | None]


def entries(dataset: Path) -> tuple[dict, list[Entry]]:
    """What a data set says of itself (settings, version; empty if nothing), and its subjects by name.

    Source: the records of `X2BRLogic.dataset.build`, or the patients of `X2BRLogic.dataset.population`.

    Raises:
        InputError: the folder holds neither.
    """
    found = [_of_record(dataset, name) for name in subject_names(dataset)]
    found += [_of_patient(path) for path in sorted(dataset.glob("patient_*.npz"))]
    if not found:
        raise InputError(f"{dataset} holds no subjects; make a data set with x2br dataset build or virtual first")
    for file in (layout.DATASET, POPULATION):
        try:
            about = read_json(dataset / file)
        except (OSError, ValueError):
            continue
        if isinstance(about, dict):
            return about, found
    return {}, found


def _of_record(dataset: Path, name: str) -> Entry:
    folder = layout.subject_folder(dataset, name)
    record = read_record(folder)
    if record is None:
        reasons = (f"its {layout.RECORD} cannot be read; run x2br dataset build again",)
        record = {"status": layout.FAILED, "reasons": reasons, "remarks": (), "gates": ()}
    method = record.get("labels", {}).get("method")
    return Entry(
        name,
        record["status"],
        tuple(record["reasons"]),
        tuple(record["remarks"]),
        tuple(record["gates"]),
        f"labels {method}" if method else "",
        f"{layout.SUBJECTS}/{name}/{layout.RECORD}",
        partial(_thumbnail, folder / layout.THUMBNAIL),
    )


def _of_patient(path: Path) -> Entry:
    try:
        with np.load(path) as arrays:
            origin = f"from {parse_json(str(arrays['record']))['subject']}"
        status, reasons = layout.ACCEPTED, ()
    except Exception:  # a damaged archive fails in many ways
        origin, status, reasons = "", layout.FAILED, ("its file cannot be read; remove it and run the command again",)
    return Entry(path.stem, status, reasons, (), (), origin, path.name, partial(_patient_picture, path))


def _thumbnail(path: Path) -> Image.Image | None:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception:  # a damaged picture fails anywhere in its decoder
        return None


def _patient_picture(path: Path) -> Image.Image | None:
    """Radiographs of a virtual patient, and its sample points inside bone from the front and from the side."""
    try:
        with np.load(path) as arrays:
            films = arrays["images"][:_VIEWS]
            points = arrays["points"][0] / np.float32(65535)
            inside = np.unpackbits(arrays["occupied"][0])[: len(points)].astype(bool)
        tiles = [Image.fromarray(film).resize((_TILE, _TILE), Image.Resampling.LANCZOS) for film in films]
        for across in (0, 1):  # the ray cube's x grows against the columns, z against the rows
            place = 1 - points[inside][:, (2, across)]
            count, _, _ = np.histogram2d(*place.T, bins=_TILE, range=((0, 1), (0, 1)))
            tiles.append(Image.fromarray((np.minimum(count, 3) * 85).astype(np.uint8)))
    except Exception:  # as above
        return None
    row = Image.new("RGB", (_TILE * len(tiles), _TILE))
    for n, tile in enumerate(tiles):
        row.paste(tile, (n * _TILE, 0))
    return row

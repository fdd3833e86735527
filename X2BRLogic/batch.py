"""Every radiograph in a folder: a table with a row for each, failures among them, and nothing done twice."""

from __future__ import annotations

import csv
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import psutil

from .detection import boxes_beside, read_boxes
from .errors import InputError
from .fan_out import Outcome, fan_out
from .files import DICOM, PICTURES, VOLUMES, is_dicom, read_json, suffix, written_whole
from .fitness import admit
from .models import X2BR
from .radiograph import geometry_beside, read_radiograph
from .reconstruction import RESOLUTION, Reconstructing, Reconstruction
from .worker import WorkerError, WorkerReconstructor

TABLE = "results.csv"
_SUMMARY = "summary.json"
_RESULTS = ("bones.ply", "preview.png", "radiograph.png", _SUMMARY)
#: The summary's key for what a film was asked for as: equal to what is asked for now, it is not done again.
_REQUEST = "request"


#: Starting one more process takes as long as it then saves on so many films.
_FILMS_A_PROCESS = 10
_PROCESS_BYTES = 2 << 30


@dataclass(frozen=True)
class Request:
    """What is wanted of each film; see `pipeline.Reconstructor` and `radiograph.read_radiograph`."""

    method: str
    weights: Path
    device: str = "auto"
    resolution: int = RESOLUTION
    view: str | None = None
    pixel_spacing: float | None = None
    sid: float | None = None
    sod: float | None = None


@dataclass(frozen=True)
class Row:
    """What became of one film.

    Attributes:
        film: its path in the folder.
        status: ``done``, ``kept`` (was done before, with the same film, model and settings) or ``failed``.
        seconds: what the reconstruction took.
        volume_ml: of all bones.
        faces: of the mesh.
        absolute_scale: whether lengths are the patient's.
        warnings: joined with semicolons.
        reason: of a failure.
        folder: where the results are.
    """

    film: str
    status: str
    seconds: float | None = None
    volume_ml: float | None = None
    faces: int | None = None
    absolute_scale: bool | None = None
    warnings: str = ""
    reason: str = ""
    folder: str = ""


def find_films(folder: Path, out: Path) -> list[str]:
    """The radiographs in a folder and below, sorted, as paths in it.

    Files go by their suffix, or by the mark of DICOM where that says nothing. Hidden files, `out`, and folders with
    the results of an earlier run are left out; links to folders are not followed.

    Raises:
        InputError: there is none.
    """
    films = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here.resolve() == out.resolve() or set(_RESULTS) <= set(files):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        films += [str((here / name).relative_to(folder)) for name in files if _is_film(here / name)]
    if not films:
        raise InputError(f"there is no radiograph in {folder}; give a folder of PNG, JPEG, TIFF, DICOM or NRRD files")
    return sorted(films)


def reconstruct_films(
    folder: Path, films: list[str], out: Path, request: Request, *, workers: int = 1, scheduler: str | None = None
) -> Iterator[Row]:
    """Reconstruct each film into ``out/<its path>``; rows as they come, in any order.

    A film that was finished before, from the same file and geometry with the same weights, version and settings, is
    kept. One that fails, whatever happens to the process, does not stop the rest; the next run tries it again.

    Args:
        folder, films: as from `find_films`.
        out: folder for the results, made if missing.
        workers: processes on this machine; each loads the model once.
        scheduler: address of a Dask scheduler, whose workers do it instead; see `fan_out`.

    Raises:
        InputError: the weights are missing, or the scheduler does not answer.
    """
    with open(request.weights, "rb") as stream:
        model = hashlib.file_digest(stream, "sha256").hexdigest()
    todo = []
    for film in films:
        summary = _finished(folder / film, out / film, request, model)
        if summary:
            yield _row(film, "kept", summary, out / film)
        else:
            todo.append(film)
    if not todo:
        return
    if scheduler or workers > 1:
        one = partial(_in_this_process, folder.resolve(), out.resolve(), request)
        outcomes = fan_out(one, todo, workers=min(workers, len(todo)), scheduler=scheduler)
    else:
        outcomes = _through_a_worker(folder, todo, out, request)
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.error:
                yield Row(outcome.item, "failed", reason=outcome.error)
            else:
                yield _row(outcome.item, "done", outcome.value, out / outcome.item)


def helpful_workers(films: int, device: str) -> int:
    """How many processes finish so many films soonest: one a core, where each has work to make up for its start.

    A graphics card is served by one process, and processes that do not fit into memory help nobody.
    """
    import torch

    from .networks.device import choose_device

    if choose_device(device).type != "cpu":
        return 1
    fit = psutil.virtual_memory().available // _PROCESS_BYTES
    return max(1, min(torch.get_num_threads(), films // _FILMS_A_PROCESS, fit))


def write_table(path: Path, rows: list[Row]) -> None:
    """The table as CSV, sorted by film. Raises `InputError` where it cannot be written."""
    with (
        written_whole(path) as partial_path,
        open(partial_path, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        table = csv.DictWriter(stream, list(Row.__dataclass_fields__))
        table.writeheader()
        table.writerows(asdict(row) for row in sorted(rows, key=lambda row: row.film))


def _is_film(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    if suffix(path) in (*PICTURES, *DICOM, *VOLUMES):
        return True
    try:
        return path.is_file() and is_dicom(path)
    except OSError:
        return False


def _through_a_worker(folder: Path, films: list[str], out: Path, request: Request) -> Iterator[Outcome]:
    """While a film is with the worker, the result of the one before is written: its picture takes as long again."""
    written: Future[Outcome] | None = None
    with (
        WorkerReconstructor(request.method, request.device, request.weights) as reconstructor,
        ThreadPoolExecutor(1) as writer,
    ):
        for film in films:
            made = _tried(film, partial(_reconstruct, reconstructor, folder / film, request))
            if written:
                yield written.result()
            if made.error:
                yield made
            written = None if made.error else writer.submit(_tried, film, partial(_save, made.value, out / film))
        if written:
            yield written.result()


def _tried(film: str, work: Callable[[], Any]) -> Outcome:
    start = time.perf_counter()
    value, error = None, None
    try:
        value = work()
    except (InputError, WorkerError) as problem:
        error = str(problem)
    except Exception as problem:  # a fault of ours costs this film, not the rest
        error = f"{type(problem).__name__}: {problem}"
    return Outcome(film, value, error, time.perf_counter() - start)


def _reconstruct(reconstructor: Reconstructing, film: Path, request: Request) -> Reconstruction:
    radiograph = read_radiograph(
        film, view=request.view, pixel_spacing=request.pixel_spacing, sid=request.sid, sod=request.sod
    )
    file = boxes_beside(film) if request.method == X2BR else None
    boxes = read_boxes(file) if file else None
    admitted = admit(radiograph, boxes, method=request.method)
    reconstruction = reconstructor.reconstruct(admitted.radiograph, resolution=request.resolution, boxes=admitted.boxes)
    reconstruction.summary["film"] = admitted.facts
    reconstruction.summary[_REQUEST] = _asked(film, request)
    return reconstruction


def _save(reconstruction: Reconstruction, out: Path) -> dict:
    reconstruction.save(out)
    return reconstruction.summary


def _in_this_process(folder: Path, out: Path, request: Request, film: str) -> dict:
    """For `fan_out`: each of its processes has the model warm."""
    reconstructor = _warm(request.method, request.device, request.weights)
    return _save(_reconstruct(reconstructor, folder / film, request), out / film)


@lru_cache(maxsize=1)
def _warm(method: str, device: str, weights: Path) -> Reconstructing:
    from .pipeline import Reconstructor

    return Reconstructor(method, device, weights)


def _asked(film: Path, request: Request) -> dict:
    """What decides the result, besides the program and the weights."""
    with open(film, "rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    geometry, _ = geometry_beside(film)
    boxes = boxes_beside(film) if request.method == X2BR else None
    options = {name: getattr(request, name) for name in ("resolution", "view", "pixel_spacing", "sid", "sod")}
    if boxes:
        options["boxes"] = boxes.read_text(encoding="utf-8")
    return {
        "method": request.method,
        "film_sha256": content,
        "geometry_file": geometry.to_dict() if geometry else None,
        **options,
    }


def _finished(film: Path, out: Path, request: Request, model: str) -> dict | None:
    """The summary of a result that is there and need not be made again."""
    from . import __version__

    try:
        if not all((out / name).is_file() for name in _RESULTS):
            return None
        summary = read_json(out / _SUMMARY)
        same = summary[_REQUEST] == _asked(film, request)
        return summary if same and (summary["model"]["sha256"], summary["x2br"]) == (model, __version__) else None
    except (OSError, ValueError, KeyError, TypeError):  # InputError, too: then the film is tried, and says why
        return None


def _row(film: str, status: str, summary: dict, out: Path) -> Row:
    return Row(
        film,
        status,
        seconds=summary["seconds"]["total"],
        volume_ml=summary["volume_ml"],
        faces=summary["faces"],
        absolute_scale=summary["absolute_scale"],
        warnings="; ".join(summary["warnings"]),
        folder=str(out),
    )

"""``x2br reconstruct``: a radiograph, or a folder of them, to the bones of the thorax."""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, add_geometry, count, make_folder, say

_EXAMPLES = """\
  x2br reconstruct Resources/SampleData/chest_ap.png --out result
  x2br reconstruct film.dcm --out result --json
  x2br reconstruct film.png --view PA --pixel-spacing 0.55 --sid 1800 --sod 1550 --out result
  x2br reconstruct film.png --method x2br --boxes film.boxes.json --out result   # named bones
  x2br reconstruct film.png --lateral side.png --out result                      # two views
  x2br reconstruct film.png --turn 180 --out result                              # stored upside down
  x2br reconstruct films --out results                  # a folder: results/results.csv, and a folder for each film
  x2br reconstruct films --out results --scheduler tcp://10.0.0.1:8786

Of a folder, films that fail are listed with their reason and skipped, and the same command goes on where it was
interrupted. Exit status 0 if any film was reconstructed (now or before), 2 if none was; --json counts the failed."""


_PACE = 11


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "reconstruct", run, tell, "Reconstruct the bones of the thorax from one radiograph.", _EXAMPLES
    )
    command.add_argument(
        "radiograph", type=Path, metavar="RADIOGRAPH", help="PNG, JPEG, TIFF, DICOM, NRRD, NIfTI, MHA; or a folder"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument(
        "--method", help="an installed model (x2br models), default x2b_aligned; or x2br: a whole skeleton"
    )
    command.add_argument(
        "--lateral",
        type=Path,
        metavar="FILM",
        help="a lateral film of the same patient: two views",
    )
    command.add_argument("--lateral-view", choices=("LAT", "RLAT"), help="default as its file says, or LAT")
    command.add_argument(
        "--boxes", type=Path, metavar="FILE", help="for x2br; default NAME.boxes.json beside the film, else detected"
    )
    command.add_argument("--weights", type=Path, help="a weights file, instead of an installed model")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    command.add_argument(
        "--resolution", type=count, metavar="N", help="cells along an edge, 32 times a power of two; default 128"
    )
    command.add_argument("--report", action="store_true", help="a page to hand over as well, report.html (x2br report)")
    add_geometry(command, spacing=None, sid=None, sod=None)
    stored = command.add_argument_group("a film that was stored the wrong way")
    stored.add_argument("--turn", type=int, choices=(90, 180, 270), default=0, help="turn it, degrees clockwise")
    stored.add_argument("--mirror", action="store_true", help="exchange left and right")
    stored.add_argument("--invert", action="store_true", help="it is a negative: bone is dark")
    folder = command.add_argument_group("a folder of radiographs")
    folder.add_argument("--workers", type=count, metavar="N", help="processes on this machine; default what pays")
    folder.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster instead, such as tcp://10.0.0.1:8786")


def run(options: argparse.Namespace) -> dict:
    """Read, reconstruct and write; the summary, or of a folder the table."""
    if options.boxes and (options.method != "x2br" or options.radiograph.is_dir()):
        raise InputError(
            "--boxes is for one film and --method x2br; of a folder, NAME.boxes.json beside each film is taken"
        )
    from ..radiograph import Handling, read_radiograph

    handling = Handling(options.turn, options.mirror, options.invert)
    if handling and options.boxes:
        raise InputError(f"--boxes are of the film as it is stored; leave them out with {handling.options}")
    if options.radiograph.is_dir():
        if options.report:
            raise InputError("--report is for one film; of a folder, make each report with x2br report")
        if options.lateral:
            raise InputError("--lateral is for one patient; of a folder, films are reconstructed one by one")
        if handling:
            raise InputError(f"{handling.options} is for one film; set the films of a folder right one by one")
        return _run_folder(options)
    if options.workers or options.scheduler:
        raise InputError("--workers and --scheduler are for a folder of radiographs; leave them out for one")
    from ..models import DEFAULT_METHOD, X2BR

    # The input is looked at before the network is loaded: a wrong file is told at once.
    radiograph = read_radiograph(
        options.radiograph, view=options.view, pixel_spacing=options.pixel_spacing, sid=options.sid, sod=options.sod
    )
    for warning in radiograph.warnings:
        say(f"x2br: warning: {warning}")
    second = _lateral(options) if options.lateral else None
    boxes = _boxes(options) if options.method == X2BR and not handling else None
    from ..fitness import admit

    # Two films keep one assumed scale: that of the lateral one is not told by these bones.
    film = admit(handling.of(radiograph), boxes, method=options.method or DEFAULT_METHOD, rescale=second is None)
    told = len(radiograph.warnings)
    for warning in film.radiograph.warnings[told:]:
        say(f"x2br: warning: {warning}")
    from ..pipeline import Reconstructor
    from ..reconstruction import REPORT, RESOLUTION

    start = time.perf_counter()
    reconstructor = Reconstructor(options.method or DEFAULT_METHOD, options.device, options.weights)
    loading = time.perf_counter() - start
    reconstruction = reconstructor.reconstruct(
        film.radiograph,
        progress=lambda fraction, stage: say(f"{fraction:4.0%} {stage}"),
        resolution=options.resolution or RESOLUTION,
        boxes=film.boxes,
        second=second,
    )
    reconstruction.summary["film"] = film.facts | {"handled": handling.options}
    for warning in reconstruction.summary["warnings"][len(film.radiograph.warnings) :]:
        say(f"x2br: warning: {warning}")
    reconstruction.summary["seconds"]["load model"] = round(loading, 4)
    written = reconstruction.save(options.out)
    if options.report:
        from ..report import write_report

        written[REPORT] = write_report(reconstruction, options.out / REPORT)
    return reconstruction.summary | {"out": {name: str(path) for name, path in written.items()}}


def _lateral(options: argparse.Namespace):
    """The second film: taken at the same distances, unless its own file says otherwise."""
    from ..radiograph import read_radiograph

    given = {"pixel_spacing": options.pixel_spacing, "sid": options.sid, "sod": options.sod}
    film = read_radiograph(options.lateral, view=options.lateral_view, **given)
    if not film.known["view"]:  # nothing says which
        film = read_radiograph(options.lateral, view="LAT", **given)
    for warning in film.warnings:
        say(f"x2br: warning: {options.lateral.name}: {warning}")
    return film


def _boxes(options: argparse.Namespace) -> list | None:
    """Those of a file; ``None`` where there is none, and they are to be detected."""
    from ..detection import boxes_beside, read_boxes

    file = options.boxes or boxes_beside(options.radiograph)
    if file is None:
        return None
    boxes = read_boxes(file)
    say(f"x2br: {len(boxes)} boxes from {file}")
    return boxes


def _run_folder(options: argparse.Namespace) -> dict:
    from ..batch import TABLE, find_films, helpful_workers, reconstruct_films, write_table
    from ..reconstruction import NOTICE

    start = time.perf_counter()
    if options.scheduler and options.workers:
        raise InputError("--workers and --scheduler exclude each other: a cluster has its own; give one of them")
    if options.out.resolve() == options.radiograph.resolve():
        raise InputError(f"{options.out} is the folder of the radiographs; give another one for the results")
    films = find_films(options.radiograph, options.out)
    request = _request(options)
    make_folder(options.out)
    workers = options.workers or helpful_workers(len(films), request.device)
    rows, clock = [], _Clock(len(films), workers)
    try:
        for row in reconstruct_films(
            options.radiograph, films, options.out, request, workers=workers, scheduler=options.scheduler
        ):
            rows.append(row)
            how = f"{row.seconds:.1f} s" if row.status == "done" else row.reason or row.status
            say(f"[{len(rows)}/{len(films)}] {row.film}: {how}{clock.left(len(rows), row.status)}")
    finally:  # interrupted, the table says how far it came
        write_table(options.out / TABLE, rows)
    counts = {status: sum(row.status == status for row in rows) for status in ("done", "kept", "failed")}
    if counts["failed"] == len(rows):
        raise InputError(f"none of {len(rows)} radiograph(s) could be reconstructed; {options.out / TABLE} says why")
    return {
        "notice": NOTICE,
        "table": str(options.out / TABLE),
        **counts,
        "workers": None if options.scheduler else workers,
        "seconds": round(time.perf_counter() - start, 2),
        "films": [vars(row) for row in sorted(rows, key=lambda row: row.film)],
    }


def _request(options: argparse.Namespace):
    from ..batch import Request
    from ..models import DEFAULT_METHOD, weights_of
    from ..networks import read_header
    from ..reconstruction import RESOLUTION

    method = options.method or DEFAULT_METHOD
    weights = options.weights or weights_of(method)
    read_header(weights)  # wrong weights are told at once, and not once for each film
    return Request(
        method,
        weights.resolve(),
        options.device,
        options.resolution or RESOLUTION,
        options.view,
        options.pixel_spacing,
        options.sid,
        options.sod,
    )


class _Clock:
    """How long the rest takes, at the pace of the last films: those that took work, for keeping one takes none."""

    def __init__(self, films: int, workers: int):
        self._films, self._workers = films, workers
        self._finished = deque([time.monotonic()], maxlen=_PACE * workers)

    def left(self, rows: int, status: str) -> str:
        if status == "kept":  # these come first
            self._finished[-1] = time.monotonic()
            return ""
        self._finished.append(time.monotonic())
        if rows == self._films:
            return ""
        # The first film of each process waits for its model; they are left out as soon as there are others to go by.
        times = list(self._finished)
        if len(times) > 2 * self._workers:
            times = times[self._workers :]
        pace = (times[-1] - times[0]) / (len(times) - 1)
        return f", about {_duration(pace * (self._films - rows))} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def tell(result: dict) -> str:
    """The result in words."""
    return _tell_folder(result) if "table" in result else _tell_one(result)


def _tell_folder(result: dict) -> str:
    words = [f"{result['done']} reconstructed"]
    words += [f"{result['kept']} done before and kept"] * bool(result["kept"])
    words += [f"{result['failed']} failed"] * bool(result["failed"])
    lines = [f"{', '.join(words)}, in {_duration(result['seconds'])}"]
    lines += [f"  failed: {row['film']}: {row['reason']}" for row in result["films"] if row["status"] == "failed"]
    return "\n".join([*lines, f"  {result['table']}", result["notice"]])


def _tell_one(result: dict) -> str:
    low, high = result["bounds_mm"]
    extent = " x ".join(f"{b - a:.0f}" for a, b in zip(low, high, strict=True))
    named = f"{len(result['bones'])} named " if "bones" in result else ""
    scale = "" if result["absolute_scale"] else " (scale assumed, see the warnings)"
    return (
        f"{named}bones of {extent} mm{scale}, {result['faces']} faces, in {result['seconds']['total']:.1f} s\n"
        + "\n".join(f"  {path}" for path in result["out"].values())
        + f"\n{result['notice']}"
    )

"""The kinds of jobs ``report`` and ``export``: a reconstruction into files for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection import Box

if TYPE_CHECKING:
    from ..reconstruction import Reconstruction
    from .server import JobContext


class _Written:
    """A task with a reconstruction; its value is a path."""

    kind = ""

    def __init__(self, reconstruction: Reconstruction, out: Path, **settings):
        self._reconstruction = reconstruction
        boxes = [asdict(box) for box in reconstruction.boxes]
        self.settings = settings | {"out": str(out.absolute()), "boxes": boxes}

    def write(self, folder: Path) -> None:
        """Bones, film and summary into the job's folder."""
        from .exchange import pack, pack_radiograph

        parts = {name: getattr(self._reconstruction, name) for name in ("mesh", "bones", "summary")}
        pack(folder, "reconstruction", parts)
        pack_radiograph(folder, self._reconstruction.radiograph)

    def read(self, folder: Path, facts: dict) -> Path:
        """Where it was written."""
        return Path(facts["out"])


class WriteReport(_Written):
    """The task of writing the report (`report.write_report`) to a file."""

    kind = "report"


class Export(_Written):
    """The task of writing the bones into a folder in formats of `export.FORMATS`."""

    kind = "export"

    def __init__(self, reconstruction: Reconstruction, out: Path, formats: Sequence[str]):
        super().__init__(reconstruction, out, formats=list(formats))


def report(job: JobContext) -> dict:
    """Handler: ``reconstruction`` and ``radiograph`` to the page."""
    from ..report import write_report

    job.progress(0.0, "report")
    path = write_report(_reconstruction(job), job.settings["out"])
    job.progress(1.0, "done")
    return {"out": str(path)}


def export(job: JobContext) -> dict:
    """Handler: ``reconstruction`` to files."""
    from ..export import export as write

    job.progress(0.0, "export")
    write(_reconstruction(job), job.settings["out"], job.settings["formats"])
    job.progress(1.0, "done")
    return {"out": job.settings["out"]}


def _reconstruction(job: JobContext) -> Reconstruction:
    from ..reconstruction import Reconstruction
    from .exchange import unpack, unpack_radiograph

    boxes = tuple(Box(**box) for box in job.settings["boxes"])
    parts = unpack(job.folder, "reconstruction")
    return Reconstruction(unpack_radiograph(job.folder), boxes=boxes, **parts)

"""The kind of job ``detect``: the bones in a film as boxes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection import Box

if TYPE_CHECKING:
    from ..radiograph import Radiograph
    from .server import JobContext


class Detect:
    """The task of finding the bones in a radiograph; its value is ``(boxes, notes)``."""

    kind = "detect"

    def __init__(self, radiograph: Radiograph):
        self._radiograph = radiograph
        self.settings: dict = {}

    def write(self, folder: Path) -> None:
        """The radiograph into the job's folder."""
        from .exchange import pack_radiograph

        pack_radiograph(folder, self._radiograph)

    def read(self, folder: Path, facts: dict) -> tuple[tuple[Box, ...], tuple[str, ...]]:
        """Boxes in pixels of the radiograph, and sentences on what is missing, doubled or interpolated."""
        return tuple(Box(**box) for box in facts["boxes"]), tuple(facts["notes"])


def detect(job: JobContext) -> dict:
    """Handler: ``radiograph`` to boxes and notes."""
    from ..detection import detect as find
    from .exchange import unpack_radiograph

    job.progress(0.0, "detect")
    found = find(unpack_radiograph(job.folder))
    job.progress(1.0, "done")
    return {"boxes": [asdict(box) for box in found.boxes], "notes": list(found.notes)}

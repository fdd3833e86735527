"""The kind of job ``dataset``: a folder of CTs becomes a data set."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .server import JobContext


class BuildDataset:
    """The task of building a data set, or of going on with it; its value are the facts of its end.

    Args:
        cts: folder of CTs (`dataset.sources.find_sources`).
        out: folder to write to.
        settings: what it is made with, named as in `dataset.settings.Settings`; the others have their defaults.
        labels: folder of labels, named as the CTs.
        workers: processes; by default as many as this machine bears.
    """

    kind = "dataset"

    def __init__(self, cts: Path, out: Path, settings: dict, *, labels: Path | None = None, workers: int | None = None):
        self.settings = {
            "cts": str(cts),
            "out": str(out),
            "labels": labels and str(labels),
            "workers": workers,
            "settings": dict(settings),
        }

    def write(self, folder: Path) -> None:
        """Nothing to write: the CTs are where they are."""

    def read(self, folder: Path, facts: dict) -> dict:
        """``out``, ``page``, ``total``, and how many are ``accepted``, ``rejected``, ``failed``."""
        return facts


def build_dataset(job: JobContext) -> dict:
    """Handler: build what is missing; every subject that is not accepted is a warning."""
    from ..dataset import layout
    from ..dataset.build import build
    from ..dataset.events import in_words
    from ..dataset.settings import Settings
    from ..fan_out import default_workers

    asked = job.settings
    job.progress(0.0, "look for CTs")
    out = Path(asked["out"])
    try:
        settings = Settings(**{key: tuple(v) if isinstance(v, list) else v for key, v in asked["settings"].items()})
    except TypeError as error:
        raise InputError(f"unknown setting of a data set ({error})") from None
    events = build(
        Path(asked["cts"]),
        out,
        settings,
        labels=asked["labels"] and Path(asked["labels"]),
        workers=asked["workers"] or default_workers(),
    )
    last: dict = {}
    with closing(events):
        for last in events:
            if last["event"] == "item" and last["reasons"]:
                job.warn(in_words(last))
            if last["event"] != "end":
                job.progress(last["finished"] / last["total"], f"subject {last['finished']} of {last['total']}")
    counts = {key: last[key] for key in ("total", layout.ACCEPTED, layout.REJECTED, layout.FAILED)}
    job.progress(1.0, "done")
    return {"out": str(out), "page": str(out / layout.PAGE)} | counts

"""A folder of CTs becomes a data set: subject by subject, on any number of workers, and on from where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..fan_out import fan_out
from ..files import only_writer
from . import layout
from .entry import is_done, write_entry
from .events import STATUSES, Course
from .page import write_page
from .records import read_record, remove_leftovers, write_failure, write_manifest
from .settings import Settings, read_settings, write_settings
from .sources import Source, find_sources


def build(
    cts: Path,
    out: Path,
    settings: Settings,
    *,
    labels: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    memory: str = "4 GiB",
    rebuild: bool = False,
) -> Iterator[dict]:
    """Work on every CT that is not done yet, and yield what happens (`X2BRLogic.dataset.events`).

    A subject is done when its folder is there, made with these settings from files that have not changed. Failed ones
    are tried again. Killed or interrupted at any moment, the same call goes on where it stopped. At the end, also when
    it is interrupted, the manifest and the page are written from the subjects' records.

    Args:
        cts: folder of CTs, see `find_sources`.
        out: the data set's folder, made if missing; may hold subjects from other folders.
        labels: folder of labels, before those beside the CTs.
        workers, scheduler, memory: see `fan_out`.
        rebuild: work again on all that was made with other settings; without it that is refused.

    Raises:
        InputError: no CT, other settings, or another build that writes to `out` now.
    """
    sources = find_sources(cts, labels)
    _prepare(out, settings, rebuild)
    with only_writer(out):
        remove_leftovers(out)
        waiting = [source for source in sources if not _done(source, settings, out)]
        function = partial(_entry, settings, out)
        outcomes = fan_out(function, waiting, workers=workers, scheduler=scheduler, memory=memory)
        course = Course(len(sources), len(waiting), None if scheduler else workers)
        yield course.start()
        try:
            with closing(outcomes):
                for outcome in outcomes:
                    source, told = outcome.item, outcome.value
                    if told is None:
                        record = write_failure(out, source.name, source.person, outcome.error, settings.sha256)
                        told = record["status"], record["reasons"]
                    yield course.item(source.name, *told, outcome.seconds)
        finally:
            rows = write_manifest(out)
            if rows:
                write_page(out)
        names = {source.name for source in sources}
        yield course.end(
            {status: sum(r["status"] == status for r in rows if r["name"] in names) for status in STATUSES}
        )


def _entry(settings: Settings, out: Path, source: Source) -> tuple[str, list[str]]:
    """On a worker. The record stays on disk: what comes back is small."""
    record = write_entry(source, settings, out)
    return record["status"], record["reasons"]


def _done(source: Source, settings: Settings, out: Path) -> bool:
    record = read_record(layout.subject_folder(out, source.name))
    try:
        return (
            record is not None and is_done(record, settings) and record.get("source", {}).get("stamp") == source.stamp()
        )
    except OSError:  # it will be told when it is worked on
        return False


def _ours(path: Path) -> bool:
    """What a build leaves that is killed before it has written its settings; and what systems hide in folders."""
    return path.name == layout.SUBJECTS or path.name.startswith(".")


def _prepare(out: Path, settings: Settings, rebuild: bool) -> None:
    """Make the folder and its settings file, or refuse."""
    file = out / layout.DATASET
    if file.exists() and not rebuild:
        before = read_settings(out)
        changed = [k for k, v in settings.to_dict().items() if before.to_dict()[k] != v]
        if changed:
            told = ", ".join(f"{k} {getattr(before, k)!r}, now {getattr(settings, k)!r}" for k in changed)
            raise InputError(
                f"{out} was made with other settings ({told}); give the same, another folder, or --rebuild to work "
                "on every subject again"
            )
        return
    if out.exists() and not file.exists() and not (out.is_dir() and all(_ours(path) for path in out.iterdir())):
        raise InputError(f"{out} is there and is no data set; give a new or an empty folder")
    try:
        (out / layout.SUBJECTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; check the folder") from None
    write_settings(out, settings)

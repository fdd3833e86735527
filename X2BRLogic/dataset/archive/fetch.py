"""CT collections from the Imaging Data Commons: what is asked for, what came, and nothing twice."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from ...errors import InputError
from ...files import read_json, written_whole
from .check import damage, unsuitable
from .index import Collection, Series
from .store import Remote

MANIFEST = "fetch.json"
LICENCES = "LICENCES.txt"
WHOLE, UNSUITABLE, INCOMPLETE = "whole", "unsuitable", "incomplete"
_SCHEMA = 1
#: The records are written again when so many more series have come: a killed run forgets nothing but checks that many.
_EVERY = 20


class Store(Protocol):
    """Where the files come from; `Bucket` is the real one."""

    def list(self, url: str) -> list[Remote]:
        """The files of a folder."""

    def copy(self, url: str, folder: Path) -> None:
        """Copy them."""


@dataclass(frozen=True)
class Plan:
    """What is to be fetched.

    Attributes:
        collection: where from.
        candidates: by subject, best first; the first `per_subject` that prove suitable are kept.
        per_subject: series a subject.
        max_thickness: of the slices in mm.
    """

    collection: Collection
    candidates: dict[str, list[Series]]
    per_subject: int
    max_thickness: float

    @property
    def first(self) -> list[Series]:
        """The series that come if all of them prove suitable."""
        return [series for each in self.candidates.values() for series in each[: self.per_subject]]

    @property
    def megabytes(self) -> float:
        """Their size, 10^6 bytes."""
        return sum(series.megabytes for series in self.first)

    @property
    def licences(self) -> dict[str, int]:
        """Series by licence, those of second choice too."""
        names = [series.licence for each in self.candidates.values() for series in each]
        return {name: names.count(name) for name in sorted(set(names))}


def plan(
    collection: Collection, series: list[Series], *, subjects: int | None, per_subject: int, max_thickness: float
) -> Plan:
    """The first `subjects` (all if ``None``) of `Index.series`. Raises `InputError` when there is none."""
    if not series:
        raise InputError(
            f"{collection.name} has no axial CT series of the thorax with slices of at most {max_thickness:g} mm; "
            "try a larger --slice-thickness or another collection"
        )
    by_subject = {name: list(each) for name, each in groupby(series, key=lambda s: s.subject)}
    chosen = dict(list(by_subject.items())[:subjects])
    return Plan(collection, chosen, per_subject, max_thickness)


def fetch(wanted: Plan, out: Path, store: Store, index: str, progress: Callable[[str], None] = lambda _: None) -> dict:
    """Fetch into ``OUT/SUBJECT/SERIES/*.dcm`` what is not there yet; a folder has that name only when it is whole.

    Each file is compared with the bucket's list (bytes, and MD5 where the bucket tells it), then each series with what
    the plan asks (`unsuitable`); one that is not suitable is removed, remembered, and replaced by the subject's next.

    Args:
        index: version of the index, for the record.
        progress: called with a sentence for every series.

    Returns:
        Counts, as in the file ``fetch.json``, which also lists every series with its state, files, bytes and source.

    Raises:
        NoConnectionError: the archive cannot be reached; what came before is whole and recorded.
        InputError: the folder cannot be written to, or has too little room.
    """
    record = _Record(wanted, out, index)
    todo = [s for s in wanted.first if record.state(s) not in (WHOLE, UNSUITABLE)]
    if todo:
        store.list(todo[0].url)  # no connection shows before anything is written
    _require_room(out, sum(series.megabytes for series in todo))
    record.begin()
    done = 0
    try:
        for subject, candidates in wanted.candidates.items():
            kept = 0
            for series in candidates:
                if kept == wanted.per_subject:
                    break
                state = record.state(series)
                if state not in (WHOLE, UNSUITABLE):
                    state = _fetch_one(series, out, store, record, wanted.max_thickness)
                    done += 1
                    progress(f"{done} of {len(todo)}: {subject}, {series.slices} slices: {record.told(series)}")
                kept += state != UNSUITABLE
    finally:
        record.write()
    return record.counts()


def series_folder(out: Path, series: Series) -> Path:
    """Where a series lies; names are the archive's, which may hold anything."""
    return out / _safe(series.subject) / _safe(series.uid)


def _fetch_one(series: Series, out: Path, store: Store, record: _Record, max_thickness: float) -> str:
    folder = series_folder(out, series)
    partial = folder.with_name(f".{folder.name}")
    files = store.list(series.url)
    if not files or any(_safe(file.name) != file.name for file in files):
        return record.set(series, INCOMPLETE, "the archive does not hold it as the index says; update idc-index-data")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        if damage(partial, files):
            store.copy(series.url, partial)
        why = damage(partial, files)
        if why:
            return record.set(series, INCOMPLETE, why)
        why = unsuitable(partial, max_thickness)
        if why:
            shutil.rmtree(partial)
            return record.set(series, UNSUITABLE, why)
        for left in {path.name for path in partial.iterdir()} - {file.name for file in files}:
            (partial / left).unlink()  # what a killed download left
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; check the folder and the free space") from None
    return record.set(series, WHOLE, None, files=len(files), bytes=sum(file.size for file in files))


class _Record:
    """The state of every series asked for, kept in ``fetch.json``."""

    def __init__(self, wanted: Plan, out: Path, index: str):
        self._out, self._plan, self._new = out, wanted, 0
        self._head = {
            "schema": _SCHEMA,
            "collection": wanted.collection.name,
            "index": f"idc-index-data {index}",
            "asked": {
                "subjects": len(wanted.candidates),
                "series_per_subject": wanted.per_subject,
                "slice_thickness_mm": wanted.max_thickness,
            },
            "licences": wanted.licences,
            "citations": list(wanted.collection.citations),
        }
        self._series = self._read()

    def _read(self) -> dict[str, dict]:
        path = self._out / MANIFEST
        try:
            before = read_json(path)
            known = {each["uid"]: each for each in before["series"]}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged; move it away, and what came will be checked again") from None
        if before.get("collection") != self._plan.collection.name:
            raise InputError(f"{self._out} holds {before.get('collection')}; give each collection a folder of its own")
        if before["asked"]["slice_thickness_mm"] < self._plan.max_thickness:  # what was too thick then may do now
            known = {uid: each for uid, each in known.items() if each["state"] != UNSUITABLE}
        return known

    def state(self, series: Series) -> str | None:
        """What is known of a series; one recorded as whole must still be there with all its files."""
        known = self._series.get(series.uid)
        if known and known["state"] == WHOLE:
            files = list(series_folder(self._out, series).glob("*"))
            if len(files) != known["files"] or sum(file.stat().st_size for file in files) != known["bytes"]:
                return None
        return known["state"] if known else None

    def set(self, series: Series, state: str, why: str | None, **rest) -> str:
        """Remember it."""
        folder = series_folder(self._out, series).relative_to(self._out).as_posix()
        self._series[series.uid] = asdict(series) | {"folder": folder, "state": state, "why": why} | rest
        self._new += 1
        if self._new % _EVERY == 0:
            self.write()
        return state

    def told(self, series: Series) -> str:
        """Its state in words."""
        known = self._series[series.uid]
        return known["why"] or known["state"]

    def begin(self) -> None:
        """The folder, its licences beside the data, and what is asked for."""
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self._out}: {error.strerror}; give another folder") from None
        with written_whole(self._out / LICENCES) as partial:
            partial.write_text(licence_text(self._plan), encoding="utf-8")
        self.write()

    def write(self) -> None:
        """Whole or not at all."""
        with written_whole(self._out / MANIFEST) as partial:
            record = self._head | {"came": self.counts(), "series": list(self._series.values())}
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def counts(self) -> dict:
        """Series by state, subjects with at least one whole, and bytes."""
        states = [each["state"] for each in self._series.values()]
        whole = [each for each in self._series.values() if each["state"] == WHOLE]
        return {state: states.count(state) for state in (WHOLE, UNSUITABLE, INCOMPLETE)} | {
            "subjects": len({each["subject"] for each in whole}),
            "bytes": sum(each["bytes"] for each in whole),
        }


def licence_text(wanted: Plan) -> str:
    """What the data's licences are, and how the collection asks to be cited."""
    lines = [f"{wanted.collection.title} ({wanted.collection.name}), from the NCI Imaging Data Commons", ""]
    lines += [f"{name}: {count} series" for name, count in wanted.licences.items()]
    dois = sorted({series.doi for each in wanted.candidates.values() for series in each if series.doi})
    lines += ["", *(f"https://doi.org/{doi}" for doi in dois), "", *wanted.collection.citations]
    return "\n".join(lines) + "\n"


def _require_room(out: Path, megabytes: float) -> None:
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e6
    if megabytes > free:
        raise InputError(
            f"{out} has {free / 1000:.1f} GB free, and {megabytes / 1000:.1f} GB are to come; choose fewer --subjects"
        )


def _safe(name: str) -> str:
    """A name that is one folder's or file's."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"

"""Subjects' records, and the manifest table that is made of them."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import uuid
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..files import folder_written_whole, read_json, written_whole
from . import layout

#: What a record's keys hold, where they are there.
_KINDS = {
    **dict.fromkeys(("name", "person", "status", "settings_sha256", "x2br"), str),
    **dict.fromkeys(("reasons", "remarks", "gates", "views"), list),
    **dict.fromkeys(("measures", "labels", "source", "scan", "grid", "bones", "files", "seconds"), dict),
}

#: And those that every record has.
_ALWAYS = ("name", "person", "status", "reasons", "remarks", "gates", "measures", "files", "settings_sha256", "x2br")


def sha256(file: Path) -> str:
    """Of a file's contents."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def inventory(folder: Path) -> dict[str, dict]:
    """The record's ``files``: SHA-256 and size of every file but the record, by its path below the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / layout.RECORD)
    return {p.relative_to(folder).as_posix(): {"sha256": sha256(p), "bytes": p.stat().st_size} for p in files}


def read_record(folder: Path) -> dict | None:
    """A subject's record; ``None`` where there is none that can be read: the subject is then made again."""
    try:
        record = read_json(folder / layout.RECORD)
        return record if record["schema"] == layout.SCHEMA and _is_sound(record) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_sound(record: dict) -> bool:
    """Whether every key that is there holds what it should; raises for many of those that do not."""
    there = [key for key in _KINDS if key in record or key in _ALWAYS]
    kinds = all(isinstance(record[key], _KINDS[key]) for key in there)
    sizes = [file["bytes"] for file in record.get("files", {}).values()]
    cuts = [bone["cut"] for bone in record.get("bones", {}).values()]
    return (
        kinds
        and record["status"] in (layout.ACCEPTED, layout.REJECTED, layout.FAILED)
        and all(isinstance(size, int) and 0 <= size < 1 << 62 for size in sizes)
        and all(isinstance(cut, bool) for cut in cuts)
        and math.isfinite(sum(record.get("seconds", {}).values()))
        and isinstance(record.get("labels", {}).get("method"), str | None)
        and all(isinstance(record.get("source", {}).get(key), str | None) for key in ("ct", "sha256"))
        and all(isinstance(text, str) for key in ("reasons", "remarks", "gates") for text in record[key])
    )


def write_record(folder: Path, record: dict) -> None:
    """Whole or not at all; `folder` exists."""
    with written_whole(folder / layout.RECORD) as partial:
        partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def new_record(name: str, person: str, status: str, settings_sha256: str, **rest) -> dict:
    """What every record has, and `rest`."""
    empty = {"reasons": [], "remarks": [], "gates": [], "measures": {}, "files": {}}
    head = {"schema": layout.SCHEMA, "name": name, "person": person, "status": status}
    return head | empty | {"settings_sha256": settings_sha256, "x2br": __version__} | rest


def write_failure(dataset: Path, name: str, person: str, reason: str, settings_sha256: str) -> dict:
    """A failed subject's folder with its record alone, in place of what was there; returns the record."""
    record = new_record(name, person, layout.FAILED, settings_sha256, reasons=[reason])
    folder = layout.subject_folder(dataset, name)
    with folder_written_whole(folder) as partial:
        write_record(partial, record)
        remove(folder)
    return record


def remove(folder: Path) -> None:
    """Remove a subject's folder, if there is one, so that at no moment a part of it is there under its name."""
    if folder.exists():
        aside = folder.with_name(f".{uuid.uuid4().hex[:8]}.{folder.name}")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(dataset: Path) -> None:
    """Remove what killed processes left half written: subjects, and files beside what they were to become."""
    for folder in (dataset / layout.SUBJECTS).glob(".*"):
        shutil.rmtree(folder, ignore_errors=True)
    for pattern in (
        f"{layout.SUBJECTS}/*/.*",
        *(f".*.{name}" for name in (layout.DATASET, layout.MANIFEST, layout.PAGE)),
    ):
        for file in dataset.glob(pattern):
            file.unlink(missing_ok=True)


def subject_names(dataset: Path) -> list[str]:
    """Names of all subjects' folders, sorted."""
    folder = dataset / layout.SUBJECTS
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def row_of(record: dict) -> dict:
    """A record as a row of the manifest."""
    source, bones = record.get("source", {}), record.get("bones", {})
    return {
        "name": record["name"],
        "person": record["person"],
        "status": record["status"],
        "reasons": "; ".join(record["reasons"]),
        "remarks": "; ".join(record["remarks"]),
        "folder": f"{layout.SUBJECTS}/{record['name']}",
        "labels": record.get("labels", {}).get("method"),
        "bones": len(bones),
        "cut_bones": [name for name, bone in bones.items() if bone["cut"]],
        "views": len(record.get("views", [])),
        "files": len(record["files"]),
        "bytes": sum(file["bytes"] for file in record["files"].values()),
        "seconds": float(sum(record.get("seconds", {}).values())),
        "measures": json.dumps(record["measures"]),
        "source": source.get("ct"),
        "source_sha256": source.get("sha256"),
        "settings_sha256": record["settings_sha256"],
        "x2br": record["x2br"],
    }


def write_manifest(dataset: Path) -> list[dict]:
    """Write the table of all subjects that have a record; returns its rows."""
    import pyarrow
    from pyarrow import parquet

    records = [read_record(layout.subject_folder(dataset, name)) for name in subject_names(dataset)]
    rows = [row_of(record) for record in records if record]
    text, number = pyarrow.string(), pyarrow.int64()
    kinds = {"cut_bones": pyarrow.list_(text), "seconds": pyarrow.float64()}
    kinds |= dict.fromkeys(("bones", "views", "files", "bytes"), number)
    columns = row_of(new_record("", "", layout.FAILED, ""))
    schema = pyarrow.schema(
        [(name, kinds.get(name, text)) for name in columns], metadata={"x2br.schema": str(layout.SCHEMA)}
    )
    with written_whole(dataset / layout.MANIFEST) as partial:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), partial)
    return rows


def read_manifest(dataset: Path) -> list[dict]:
    """The table's rows. Raises `InputError` for a table that is missing, damaged or of another schema."""
    import pyarrow
    from pyarrow import parquet

    path = dataset / layout.MANIFEST
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}); run x2br dataset build again") from None
    schema = (table.schema.metadata or {}).get(b"x2br.schema", b"?").decode(errors="replace")
    if schema != str(layout.SCHEMA):
        raise InputError(f"{path} has schema {schema}, this program reads {layout.SCHEMA}; build the data set again")
    try:
        return table.to_pylist()
    except ValueError as error:  # damaged text
        raise InputError(f"{path} is damaged ({type(error).__name__}); run x2br dataset build again") from None

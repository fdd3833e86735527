"""One CT becomes one subject of the data set: its folder, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..errors import InputError
from ..files import folder_written_whole
from ..ply import RAS, ply
from ..segmentation import label_bones, read_bone_labels
from ..surface import labels_to_mesh
from ..volume import Volume
from ..volume_io import read_ct, write_volume
from . import layout, occupancy
from .films import write_films
from .quality import assess, picture
from .records import inventory, new_record, read_record, remove, write_record
from .resample import resample
from .settings import Settings
from .sources import Source


def write_entry(source: Source, settings: Settings, dataset: Path) -> dict:
    """Make a subject's folder, in place of what was there, and return its record.

    Where the same contents have been worked on with the same settings only the record's stamp is renewed.

    Raises:
        InputError: the CT or its labels cannot be used, see the message.
    """
    folder = layout.subject_folder(dataset, source.name)
    contents = source.sha256()
    before = read_record(folder)
    if before and is_done(before, settings) and before.get("source", {}).get("sha256") == contents:
        record = before | {"source": before["source"] | {"stamp": source.stamp()}}
        write_record(folder, record)
        return record

    seconds: dict[str, float] = {}
    with folder_written_whole(folder) as partial:
        with _timed(seconds, "read"):
            ct = _whole_units(read_ct(source.ct))
        with _timed(seconds, "label"):
            labels, provenance = _labelled(source, ct, settings)
        with _timed(seconds, "resample"):
            grid_ct, grid_labels = resample(ct, labels, settings.spacing, settings.edge)
        with _timed(seconds, "judge"):
            verdict = assess(grid_ct, grid_labels)
            picture(grid_ct, grid_labels, verdict).save(partial / layout.THUMBNAIL)
        record = new_record(
            source.name,
            source.person,
            layout.ACCEPTED if verdict.accepted else layout.REJECTED,
            settings.sha256,
            **verdict.to_dict(),
            labels=provenance,
            source={
                "ct": source.place,
                "labels": source.labels.name if source.labels else None,
                "sha256": contents,
                "stamp": source.stamp(),
                "bytes": source.bytes(),
            },
            scan={"shape": list(ct.array.shape), "spacing": ct.spacing.round(6).tolist()},
            grid={"shape": list(grid_ct.array.shape), "ijk_to_ras": grid_ct.ijk_to_ras.tolist()},
            bones=_bones(labels),
        )
        del record["accepted"]
        if verdict.accepted:
            _write_truth(partial, record, seconds, ct, grid_ct, grid_labels, settings)
        record |= {"files": inventory(partial), "seconds": {k: round(v, 3) for k, v in seconds.items()}}
        write_record(partial, record)
        remove(folder)
    return record


def is_done(record: dict, settings: Settings) -> bool:
    """Whether nothing is left to do for a subject, if its files have not changed."""
    return record["status"] != layout.FAILED and record["settings_sha256"] == settings.sha256


def _write_truth(folder, record: dict, seconds: dict, ct: Volume, grid_ct: Volume, labels: Volume, settings: Settings):
    """All that an accepted subject has beside its record and thumbnail."""
    with _timed(seconds, "mesh"):
        thorax = labels_to_mesh(labels, anatomy.THORAX)
        (folder / layout.THORAX).write_bytes(ply(thorax, RAS))
        (folder / layout.MESHES).mkdir()
        for name, bone in record["bones"].items():
            bone["mesh"] = _write_mesh(folder, labels, name)
    with _timed(seconds, "occupancy"):
        arrays = occupancy.sample(
            thorax,
            labels,
            points=settings.points,
            near_points=settings.near_points,
            near_mm=settings.near_mm,
            seed=(settings.seed << 32) + crc32(record["name"].encode()),
        )
        occupancy.write(folder / layout.OCCUPANCY, arrays)
    with _timed(seconds, "radiographs"):
        record["views"] = write_films(folder, ct, labels, settings)
    with _timed(seconds, "volumes"):
        write_volume(folder / layout.CT, grid_ct)
        write_volume(folder / layout.LABELS, labels)


def _write_mesh(folder: Path, labels: Volume, name: str) -> str | None:
    bone = anatomy.BY_NAME[name]
    if bone.group == "shoulder":
        return None
    try:
        mesh = labels_to_mesh(labels, bone.label)
    except InputError:  # too few voxels are left of it on this grid
        return None
    path = f"{layout.MESHES}/{name}.ply"
    (folder / path).write_bytes(ply(mesh, RAS, f"bone {name}"))
    return path


def _whole_units(ct: Volume) -> Volume:
    """HU as int16."""
    if ct.array.dtype == np.int16:
        return ct
    return Volume(np.rint(ct.array).astype(np.int16), ct.ijk_to_ras)


def _labelled(source: Source, ct: Volume, settings: Settings) -> tuple[Volume, dict]:
    """The bones' labels on the CT's grid, and where they come from."""
    if source.labels is not None:
        return read_bone_labels(source.labels, ct, settings.scheme), {"method": "given", "notes": []}
    made = label_bones(ct, settings.method)
    return made.labels, {"method": made.method, "notes": list(made.notes)}


def _bones(labels: Volume) -> dict[str, dict]:
    """The record's ``bones``, measured on the scan's own grid."""
    voxel = float(np.abs(np.linalg.det(labels.ijk_to_ras[:3, :3])))
    counts = np.bincount(labels.array.ravel(), minlength=max(anatomy.BY_LABEL) + 1)
    bones = {}
    for label, place in enumerate(ndimage.find_objects(labels.array), start=1):
        if place is not None:
            cut = any(s.start == 0 or s.stop == n for s, n in zip(place, labels.array.shape, strict=True))
            volume = round(int(counts[label]) * voxel, 1)
            bones[anatomy.BY_LABEL[label].name] = {"label": label, "volume_mm3": volume, "cut": cut, "mesh": None}
    return bones


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start

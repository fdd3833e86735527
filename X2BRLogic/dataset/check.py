"""Is a data set what its records say it is? Every file is looked at; what is broken is told, a sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from .. import anatomy
from ..errors import InputError
from ..fan_out import fan_out
from ..files import read_json, reason
from ..geometry import XRayGeometry
from ..surface import contains, is_manifold
from ..volume import Volume
from ..volume_io import read_volume
from . import layout, occupancy
from .films import boxes_of, depths_of
from .records import read_manifest, read_record, row_of, sha256, subject_names
from .settings import Settings, read_settings
from .truth import into_box, unit_box, voxelise

#: So many of the occupancy points are compared with the mesh.
_SAMPLE = 2000
_TOLERANCE = 1e-4
_AGAIN = "run x2br dataset build again"
_KEYS = {
    layout.FAILED: ("name", "person", "reasons", "settings_sha256"),
    layout.REJECTED: ("name", "person", "reasons", "settings_sha256", "source", "scan", "grid", "bones", "files"),
}
_KEYS[layout.ACCEPTED] = (*_KEYS[layout.REJECTED], "views")


def check(dataset: Path, **where) -> Iterator[tuple[str, list[str]]]:
    """Yield each subject's name and what is broken in it; the name is empty for the data set as a whole.

    `where`: ``workers``, ``scheduler`` and ``memory`` of `fan_out`.

    Raises:
        InputError: it is no data set at all.
    """
    settings = read_settings(dataset)
    names = subject_names(dataset)
    if not names:
        raise InputError(f"{dataset} has no subject; build it first")
    outcomes = fan_out(partial(check_subject, dataset, settings), names, **where)
    yield "", check_tables(dataset)
    with closing(outcomes):
        for outcome in outcomes:
            yield outcome.item, [f"it cannot be checked: {outcome.error}"] if outcome.error else outcome.value


def check_tables(dataset: Path) -> list[str]:
    """What is broken in the files of the whole: manifest and page."""
    problems = [] if (dataset / layout.PAGE).is_file() else [f"{layout.PAGE} is missing; {_AGAIN}"]
    try:
        rows = {row["name"]: row for row in read_manifest(dataset)}
    except InputError as error:
        return [*problems, str(error)]
    names = subject_names(dataset)
    for name in sorted(set(names) ^ set(rows)):
        where = "the manifest but has no folder" if name in rows else "a folder but is not in the manifest"
        problems.append(f"{name} is in {where}; {_AGAIN}")
    for name in sorted(set(names) & set(rows)):
        record = read_record(layout.subject_folder(dataset, name))
        if record and row_of(record) != rows[name]:
            problems.append(f"the manifest tells something else of {name} than its record; {_AGAIN}")
    return problems


def check_subject(dataset: Path, settings: Settings, name: str) -> list[str]:
    """What is broken in one subject."""
    folder = layout.subject_folder(dataset, name)
    record = read_record(folder)
    if record is None:
        return [f"{layout.RECORD} is missing, damaged or of another schema than {layout.SCHEMA}"]
    missing = [key for key in _KEYS.get(record.get("status"), ("status",)) if key not in record]
    if missing:
        return [f"{layout.RECORD} lacks {', '.join(missing)}"]
    problems = []
    if record["name"] != name:
        problems.append(f"{layout.RECORD} is of another subject, {record['name']}")
    if record["settings_sha256"] != settings.sha256:
        problems.append(f"it was made with other settings than those in {layout.DATASET}; run the build with --rebuild")
    if record["status"] != layout.ACCEPTED and not record["reasons"]:
        problems.append(f"it is {record['status']} without a reason")
    broken = _file_problems(folder, record)
    problems += broken
    if record["status"] == layout.ACCEPTED and not broken:  # a file that has changed is told once, not twice
        for part in (_volumes, _occupancy, _meshes, _films):
            problems += _problems(part, folder, record, settings)
    return problems


def _problems(part: Callable, folder: Path, record: dict, settings: Settings) -> list[str]:
    """What a part finds; a file that cannot be made sense of is a finding too."""
    try:
        return list(part(folder, record, settings))
    except InputError as error:
        return [str(error)]
    except Exception as error:  # each library has its own ways to fail on a damaged file
        return [f"{part.__name__.strip('_')}: cannot be read: {type(error).__name__}, {reason(error)}"]


def _file_problems(folder: Path, record: dict) -> list[str]:
    problems = []
    for path, told in record["files"].items():
        file = folder / path
        if not file.is_file():
            problems.append(f"{path} is missing")
        elif file.stat().st_size != told["bytes"]:
            problems.append(f"{path} has {file.stat().st_size} bytes, not {told['bytes']}")
        elif sha256(file) != told["sha256"]:
            problems.append(f"{path} has changed: its SHA-256 is not the record's")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {layout.RECORD}
    problems += [f"{path} is not in the record" for path in sorted(there - set(record["files"]))]
    needed = [layout.THUMBNAIL] if record["status"] != layout.FAILED else []
    if record["status"] == layout.ACCEPTED:
        needed += [layout.CT, layout.LABELS, layout.THORAX, layout.OCCUPANCY, f"{layout.DRR}/geometry.json"]
        needed += [bone["mesh"] for bone in record["bones"].values() if bone["mesh"]]
        needed += [view[key] for view in record["views"] for key in ("image", "boxes", "depth")]
    return problems + [f"the record has no {path}" for path in needed if path not in record["files"]]


def _volumes(folder: Path, record: dict, settings: Settings) -> Iterator[str]:
    grid = record["grid"]
    for name, kind in ((layout.CT, np.int16), (layout.LABELS, np.uint8)):
        volume = read_volume(folder / name)
        if volume.array.dtype != kind or list(volume.array.shape) != grid["shape"]:
            yield f"{name} is {volume.array.dtype} {volume.array.shape}, not {np.dtype(kind)} {grid['shape']}"
        if not np.allclose(volume.ijk_to_ras, grid["ijk_to_ras"], atol=_TOLERANCE):
            yield f"{name} lies elsewhere than the record says"
        if not np.allclose(volume.spacing, settings.spacing, atol=_TOLERANCE):
            yield f"{name} has voxels of {volume.spacing.round(3).tolist()} mm, the settings say {settings.spacing:g}"
    unknown = sorted(set(np.unique(volume.array).tolist()) - {0} - set(anatomy.BY_LABEL))
    if unknown:
        yield f"{layout.LABELS} has labels that are no bones: {', '.join(map(str, unknown[:8]))}"


def _meshes(folder: Path, record: dict, settings: Settings) -> Iterator[str]:
    paths = {bone["mesh"]: bone["label"] for bone in record["bones"].values() if bone["mesh"]}
    low, high = _grid(folder, record).corners.min(0), _grid(folder, record).corners.max(0)
    for path in (layout.THORAX, *paths):
        mesh = trimesh.load_mesh(folder / path, process=False)
        if not is_manifold(mesh) or mesh.volume <= 0:
            yield f"{path} is no closed surface with its faces outward"
        elif (mesh.bounds[0] < low - 5).any() or (mesh.bounds[1] > high + 5).any():
            yield f"{path} reaches out of the scan"


def _occupancy(folder: Path, record: dict, settings: Settings) -> Iterator[str]:
    arrays = occupancy.read(folder / layout.OCCUPANCY)
    counts = {"points": settings.points, "near_points": settings.near_points}
    for name, count in counts.items():
        if len(arrays[name]) != count:
            yield f"{layout.OCCUPANCY}: {len(arrays[name])} {name}, the settings say {count}"
        if not np.isfinite(arrays[name]).all():
            yield f"{layout.OCCUPANCY}: {name} that are not numbers"
    if np.abs(arrays["points"]).max() > 0.5:
        yield f"{layout.OCCUPANCY}: points outside of the unit box"
    mesh = trimesh.load_mesh(folder / layout.THORAX, process=False)
    scale, centre = unit_box(mesh)
    if abs(scale / arrays["scale"] - 1) > _TOLERANCE or np.abs(centre - arrays["centre"]).max() > 1e-2:
        yield f"{layout.OCCUPANCY}: its box is not that of {layout.THORAX}"
        return
    boxed = into_box(mesh, float(arrays["scale"]), arrays["centre"])
    rng = np.random.default_rng(0)
    for name in counts:
        some = rng.choice(len(arrays[name]), min(_SAMPLE, len(arrays[name])), replace=False)
        truth = arrays[name.replace("points", "inside")][some]
        # The mesh is stored in float32: points within rounding of its surface may fall on the other side.
        wrong = int((contains(boxed, arrays[name][some]) != truth).sum())
        if wrong > max(2, len(some) // 1000):
            yield f"{layout.OCCUPANCY}: {wrong} of {len(some)} {name} are not where {layout.THORAX} says"
    if (voxelise(boxed) != arrays["grid"]).sum() > max(2, arrays["grid"].size // 1000):
        yield f"{layout.OCCUPANCY}: its grid is not that of {layout.THORAX}"


def _films(folder: Path, record: dict, settings: Settings) -> Iterator[str]:
    from ..drr import project_labels

    names = [pose.name for pose in settings.poses()]
    if [view["name"] for view in record["views"]] != names:
        yield f"its views are not those of the settings, {', '.join(names)}"
        return
    placed = read_json(folder / layout.DRR / "geometry.json")["images"]
    labels = _grid(folder, record)
    for view in record["views"]:
        with Image.open(folder / view["image"]) as picture:
            picture.load()
            if picture.mode != "I;16" or picture.size != (settings.size, settings.size):
                yield f"{view['image']} is {picture.mode} {picture.size}, not 16-bit grey of {settings.size} pixels"
        geometry = XRayGeometry.from_dict(placed[Path(view["image"]).name])
        projection = project_labels(labels, geometry)
        stored = read_json(folder / view["boxes"])
        if not _same_boxes(stored["boxes"], boxes_of(projection)["boxes"]):
            yield f"{view['boxes']}: its boxes are not where the labels and the geometry say"
        with np.load(folder / view["depth"], allow_pickle=False) as file:
            depths = depths_of(projection)
            if absent := sorted(set(depths) - set(file.files)):
                yield f"{view['depth']} lacks {absent[0]}"
            elif not all(_same_depths(file[name], depths[name]) for name in ("front", "back")):
                yield f"{view['depth']}: its depths are not what the labels and the geometry say"


def _same_boxes(stored: dict, truth: dict) -> bool:
    """To a pixel: another processor may round a ray to the other side of an edge."""
    return stored.keys() == truth.keys() and all(
        stored[name]["label"] == bone["label"] and np.abs(np.subtract(stored[name]["box"], bone["box"])).max() <= 1
        for name, bone in truth.items()
    )


def _same_depths(stored: np.ndarray, truth: np.ndarray) -> bool:
    if stored.shape != truth.shape or stored.dtype != truth.dtype:
        return False
    return np.isclose(stored, truth, atol=0.1, equal_nan=True).mean() > 0.999


def _grid(folder: Path, record: dict) -> Volume:
    return read_volume(folder / layout.LABELS)

"""The CTs to be worked on: what lies in a folder, whose labels are whose, and whether either has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..dicom_series import MIN_SLICES, read_header
from ..errors import InputError
from ..files import VOLUMES, is_dicom, stem, suffix

if TYPE_CHECKING:
    from pydicom import Dataset

#: Of a DICOM folder so many slices are looked at; only where they are of several series, all.
_LOOKED_AT = 8
#: Beside ``NAME.nii.gz`` its labels are ``NAME_bones.nii.gz``; in a subject's folder ``bones.nii.gz``.
_LABELS = "bones"
#: Or the masks that TotalSegmentator writes, in a folder of this name.
_MASKS = "segmentations"
_TAGS = ["SeriesInstanceUID", "SeriesNumber", "Modality"]
_CHUNK = 2**20


@dataclass(frozen=True)
class Source:
    """A CT, and its labels where there are any.

    Attributes:
        name: unique in the data set; also a folder's name.
        person: the folder directly below the input folder that holds the scan, else the name.
        place: where the CT is below the input folder.
        ct: a volume file, a folder with one DICOM series, or a slice of the series meant where there are several.
        labels: a file, or a folder with a mask a structure.
    """

    name: str
    person: str
    place: str
    ct: Path
    labels: Path | None

    def files(self) -> list[Path]:
        """All files that CT and labels are read from, in order."""
        ct = self.ct.parent if self.ct.is_file() and suffix(self.ct) not in VOLUMES else self.ct
        return [file for path in (ct, self.labels) if path is not None for file in _files(path)]

    def stamp(self) -> str:
        """Changes when a file's name, size or time does: quick to tell that nothing is new."""
        told = [(file.name, status.st_size, status.st_mtime_ns) for file in self.files() for status in [file.stat()]]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def sha256(self) -> str:
        """Of the contents, whatever they are called and whenever they were written.

        Raises `InputError` for a file that cannot be read.
        """
        digest = hashlib.sha256()
        try:
            for file in self.files():
                digest.update(file.stat().st_size.to_bytes(8, "little"))
                with file.open("rb") as stream:
                    while chunk := stream.read(_CHUNK):
                        digest.update(chunk)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}; check your permissions") from None
        return digest.hexdigest()

    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files())


def find_sources(folder: Path, labels: Path | None = None) -> list[Source]:
    """The CTs in a folder and all folders below it, by name.

    A CT is a folder with a ``ct.*`` volume, any other volume file, or a folder of DICOM slices with a CT series of at
    least 16; a folder with several such series holds as many CTs. Its name is its path below `folder`. Its labels are
    ``bones.*`` or the folder ``segmentations`` beside ``ct.*``, ``NAME_bones.*`` beside ``NAME.*``, ``bones.*`` beside
    slices, or, before those, ``NAME.*`` or the folder ``NAME`` in `labels`.

    Raises:
        InputError: no such folder, nothing in it, two CTs of one name, or labels that belong to none of them.
    """
    for path in filter(None, (folder, labels)):
        if not path.is_dir():
            raise InputError(
                f"{path} is no folder; give the folder that holds the {'CTs' if path == folder else 'labels'}"
            )
    found: dict[str, Source] = {}
    for name, ct, beside in _cts(folder):
        if name in found:
            raise InputError(f"two CTs would have the name {name}: {found[name].ct} and {ct}; rename one of them")
        place = ct.relative_to(folder)
        person = place.parts[0] if len(place.parts) > 1 else name
        given = _one_named(labels, name) if labels else None
        found[name] = Source(name, person, place.as_posix(), ct, given or beside)
    if not found:
        raise InputError(f"{folder} holds no CT: no volume file ({', '.join(VOLUMES)}) and no DICOM series of one")
    if labels and not any(source.labels and labels in source.labels.parents for source in found.values()):
        first = next(iter(found))
        raise InputError(f"no file in {labels} belongs to a CT; name the labels as the CTs, such as {first}.nii.gz")
    return [found[name] for name in sorted(found)]


def _cts(top: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, CT and the labels beside it. What cannot be read is taken for a CT, so that its failure is told."""
    unreadable: list[Path] = []
    seen: set[str] = set()
    for here, folders, names in os.walk(top, followlinks=True, onerror=lambda e: unreadable.append(Path(e.filename))):
        if (real := os.path.realpath(here)) in seen:  # a link to a folder above would lead round and round
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(here)
        files = [folder / name for name in sorted(names) if not name.startswith(".")]
        volumes = {stem(file): file for file in files if suffix(file) in VOLUMES}
        prefix = "_".join(folder.relative_to(top).parts)
        if "ct" in volumes:
            folders.clear()
            masks = folder / _MASKS
            labels = volumes.get(_LABELS) or (masks if masks.is_dir() else None)
            yield prefix or folder.resolve().name, volumes["ct"], labels
            continue
        for name, file in volumes.items():
            if not name.endswith(f"_{_LABELS}") and name != _LABELS:
                yield "_".join(filter(None, (prefix, name))), file, volumes.get(f"{name}_{_LABELS}")
        others = [file for file in files if suffix(file) not in VOLUMES]
        if len(list(islice(filter(_is_dicom, others), MIN_SLICES))) == MIN_SLICES:
            for name, path in _series(folder, others):
                yield "_".join(filter(None, (prefix or folder.resolve().name, name))), path, volumes.get(_LABELS)
    for folder in unreadable:
        yield "_".join(folder.relative_to(top).parts) or top.resolve().name, folder, None


def _series(folder: Path, slices: list[Path]) -> Iterator[tuple[str, Path]]:
    """What tells a CT series of a folder from the others there, and its path; nothing to tell where there is one."""
    some = _by_series(slices[:: max(len(slices) // _LOOKED_AT, 1)])
    if len(some) <= 1:
        if all(header.get("Modality") == "CT" for _, header in some.values()):
            yield "", folder
        return
    scans = [(files, header) for files, header in _by_series(slices).values() if len(files) >= MIN_SLICES]
    scans = [(files, header) for files, header in scans if header.get("Modality") == "CT"]
    numbers = [header.get("SeriesNumber") for _, header in scans]
    for (files, header), number in zip(scans, numbers, strict=True):
        name = f"series{number}" if numbers.count(number) == 1 else header.SeriesInstanceUID.rpartition(".")[2]
        yield name if len(scans) > 1 else "", files[0]


def _by_series(slices: list[Path]) -> dict[str, tuple[list[Path], Dataset]]:
    """The slices of each series, and one header. What is no slice is passed over; a damaged one is told when its series
    is read."""
    series = {}
    for file in slices:
        try:
            header = read_header(file, _TAGS)
        except InputError:
            continue
        series.setdefault(header.get("SeriesInstanceUID"), ([], header))[0].append(file)
    return series


def _is_dicom(file: Path) -> bool:
    try:
        return is_dicom(file)
    except OSError:
        return True


def _one_named(folder: Path, name: str) -> Path | None:
    """``NAME.*`` or the folder ``NAME``."""
    candidates = [p for p in sorted(folder.iterdir()) if name in (p.name, stem(p), stem(p).removesuffix(".seg"))]
    if len(candidates) > 1:
        raise InputError(f"{folder} has several labels for {name}: {', '.join(p.name for p in candidates)}; keep one")
    if not candidates:
        return None
    inside = sorted(candidates[0].glob(f"{_LABELS}.*"))
    return inside[0] if inside else candidates[0]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    voxels = [path.with_suffix(end) for end in (".raw", ".zraw")] if suffix(path) == ".mhd" else []
    return [file for file in (path, *voxels) if file.is_file()]

"""A DICOM series as a volume: which slices belong together, where they are, and whether any is missing."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from .errors import InputError
from .files import cut, is_dicom, reason, shown
from .intact import require_inflatable

#: A series with fewer slices is a scout or a report, no scan.
MIN_SLICES = 16
#: Slices may be this much (as a fraction of the usual distance) off their even places; scanners round positions.
SPACING_TOLERANCE = 0.05
#: Gantries tilt by up to 30 degrees; more is no tilt.
MAX_TILT_DEGREES = 45.0

_TAGS = [
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelRepresentation",
    "PixelData",
]
#: Bytes of a value that is not read before it is looked at, as that of the pixels.
_DEFERRED = 4096


class Series(NamedTuple):
    """A stack of slices.

    Attributes:
        files: in the order of k.
        to_lps: 4x4 matrix from ``(i, j, k)`` to **LPS** mm, from Image Position and Image Orientation (Patient), DICOM
            PS3.3 C.7.6.2.1.1; sheared where the gantry was tilted.
        size: ``(I, J, K)``.
        one_scale: whether all slices store their values alike: with the same sign, slope and intercept.
    """

    files: list[Path]
    to_lps: np.ndarray
    size: tuple[int, int, int]
    one_scale: bool


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """pydicom warns of every oddity in a header, also when a value is first looked at; nobody can act on that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path, tags: list[str] | None = None) -> pydicom.Dataset:
    """A DICOM file without its pixels. Raises `InputError` when it is broken or not DICOM."""
    require_inflatable(path)
    try:
        with quiet_pydicom():
            return pydicom.dcmread(
                path, stop_before_pixels="PixelData" not in (tags or ()), specific_tags=tags, defer_size=_DEFERRED
            )
    except InvalidDicomError:
        raise InputError(f"{path} is not a DICOM file; give a DICOM export of the scan") from None
    except Exception as error:  # a damaged header can fail anywhere in the parser
        raise InputError(f"{path} is a damaged DICOM file ({reason(error)}); export it again") from None


def find_series(path: Path, modality: str | None = None) -> Series:
    """The slices of one series, in order, and where they are.

    Args:
        path: a folder of slices, or one slice file: then its series, from the same folder.
        modality: what the series must be (``CT``), DICOM PS3.3 C.7.3.1.1.1.

    Raises `InputError` when there is no series, more than one, or the slices do not make an even stack.
    """
    with quiet_pydicom():
        try:
            return _stack(path, _slices_of(path, modality))
        except InputError:
            raise
        except Exception as error:  # values are parsed when they are looked at, and a damaged one can fail anyhow
            raise InputError(f"{path} has a damaged DICOM slice ({reason(error)}); export the series again") from None


def _slices_of(path: Path, modality: str | None) -> list[tuple[Path, pydicom.Dataset]]:
    if path.is_dir():
        slices = _choose(path, _group(path), modality)
    else:
        header = read_header(path, _TAGS)
        _require_modality(path, header, modality)
        slices = _group(path.parent)[header.get("SeriesInstanceUID")]
    slices = [s for s in slices if "LOCALIZER" not in (s[1].get("ImageType") or [])]
    if len(slices) < MIN_SLICES:
        raise InputError(
            f"{path}: the DICOM series has {len(slices)} slice(s), a scan has at least {MIN_SLICES}; "
            "put all slices of the series in one folder"
        )
    return slices


def _group(folder: Path) -> dict[str, list[tuple[Path, pydicom.Dataset]]]:
    series = defaultdict(list)
    try:
        entries = sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_file())
        for file in entries:
            if is_dicom(file):
                header = read_header(file, _TAGS)
                series[header.get("SeriesInstanceUID")].append((file, header))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}; check your permissions") from None
    if not series:
        raise InputError(f"{folder} holds no DICOM file; give the folder in which the slices are, not one above it")
    return dict(series)


def _choose(folder: Path, series: dict, modality: str | None) -> list[tuple[Path, pydicom.Dataset]]:
    """The only series that can be a scan; scouts, reports and other modalities do not count."""
    fitting = {u: s for u, s in series.items() if modality in (None, s[0][1].get("Modality"))}
    if not fitting:
        found = cut(", ".join(sorted({str(s[0][1].get("Modality", "unknown")) for s in series.values()})))
        raise InputError(f"{folder} holds no {modality} series (modality there: {found}); give a {modality} scan")
    scans = [s for s in fitting.values() if len(s) >= MIN_SLICES]
    if len(scans) > 1:
        listed = "; ".join(
            f"{shown(s[0][1].get('SeriesDescription', '?'))}, {len(s)} slices: {s[0][0].name}" for s in scans
        )
        raise InputError(
            f"{folder} holds {len(scans)} series ({listed}); give one slice file of the series you want, or keep each "
            "series in a folder of its own"
        )
    return scans[0] if scans else max(fitting.values(), key=len)


def _require_modality(path: Path, header: pydicom.Dataset, modality: str | None) -> None:
    found = header.get("Modality")
    if modality is not None and found != modality:
        raise InputError(
            f"{path} is no {modality}: its DICOM modality is {cut(str(found or 'not given'))}; give a {modality} scan"
        )


def _stack(path: Path, slices: list) -> Series:
    """Sort by position along the slice normal, and refuse what is not an even stack of like slices."""
    headers = [header for _, header in slices]
    if any(int(h.get("NumberOfFrames") or 1) > 1 for h in headers):
        raise InputError(f"{path} is a multi-frame DICOM; export it as single slices, or convert it to NIfTI")
    try:
        positions = np.array([h.ImagePositionPatient for h in headers], dtype=np.float64).reshape(-1, 3)
        orientations = np.array([h.ImageOrientationPatient for h in headers], dtype=np.float64).reshape(-1, 6)
        spacings = np.array([h.PixelSpacing for h in headers], dtype=np.float64).reshape(-1, 2)
        sizes = {(int(h.Columns), int(h.Rows)) for h in headers}
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path}: a slice lacks its position, orientation or pixel spacing; export it again") from None
    if not all(np.isfinite(values).all() for values in (positions, orientations, spacings)) or spacings.min() <= 0:
        raise InputError(f"{path}: a slice's position, orientation or pixel spacing makes no sense; export it again")
    if len(sizes) > 1 or np.ptp(orientations, axis=0).max() > 1e-3 or np.ptp(spacings, axis=0).max() > 1e-3:
        raise InputError(f"{path}: the slices differ in size, orientation or spacing; export one reconstruction alone")
    for file, header in slices:
        _require_pixels(file, header)
    in_plane = orientations[0].reshape(2, 3)
    if not np.allclose(in_plane @ in_plane.T, np.eye(2), atol=1e-3):
        raise InputError(f"{path}: the slices' rows and columns are not perpendicular; export the series again")

    row, column = in_plane
    order = np.argsort(positions @ np.cross(row, column), kind="stable")
    files = [slices[i][0] for i in order]
    to_lps = np.eye(4)
    to_lps[:3, 0] = row * spacings[0, 1]
    to_lps[:3, 1] = column * spacings[0, 0]
    to_lps[:3, 2] = _step(path, files, positions[order], np.cross(row, column), pixel=spacings[0].mean())
    to_lps[:3, 3] = positions[order[0]]
    columns, rows = sizes.pop()
    scales = {(h.get("RescaleSlope"), h.get("RescaleIntercept"), h.get("PixelRepresentation")) for h in headers}
    return Series(files, to_lps, (columns, rows, len(slices)), one_scale=len(scales) == 1)


def _require_pixels(file: Path, header: pydicom.Dataset) -> None:
    """Refuse a slice whose file is too short for its pixels: GDCM would fill in zeros. Packed ones GDCM checks.

    So is one whose elements lead beyond the file's end: pydicom stops there, GDCM makes room for all they claim.
    """
    if "PixelData" not in header:
        raise InputError(f"{file} has no pixels, or is damaged before them; export the series again")
    syntax = header.file_meta.TransferSyntaxUID
    pixels = int(header.Rows) * int(header.Columns) * int(header.get("BitsAllocated") or 16) // 8
    if not (syntax.is_compressed or syntax.is_deflated) and file.stat().st_size < pixels:
        raise InputError(f"{file} is truncated: it has fewer pixels than it says; export the series again")


def _step(path: Path, files: list[Path], positions: np.ndarray, normal: np.ndarray, pixel: float) -> np.ndarray:
    """The step from each slice to the next, mm. Raises `InputError` unless all are the same.

    With a tilted gantry it leaves the slices' normal: the table moved along the patient, the slices lie aslant.
    """
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise InputError(
            f"{path}: two slices lie at the same place (several phases or copies?); export one phase alone"
        )
    uneven = np.flatnonzero(np.abs(gaps - usual) > SPACING_TOLERANCE * usual)
    if uneven.size:
        worst = uneven[np.argmax(np.abs(gaps[uneven] - usual))]
        raise InputError(
            f"{path}: slices are missing or uneven: {gaps[worst]:.2f} mm between {files[worst].name} and "
            f"{files[worst + 1].name}, elsewhere {usual:.2f} mm; export the whole series again"
        )
    step = (positions[-1] - positions[0]) / (len(files) - 1)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(files))[:, None] * step, axis=1)
    if off.max() > SPACING_TOLERANCE * usual + 0.5 * pixel:
        raise InputError(
            f"{path}: {files[off.argmax()].name} lies {off.max():.1f} mm beside its place among the other slices; "
            "export one reconstruction alone"
        )
    tilt = np.rad2deg(np.arccos(min(np.dot(step, normal) / np.linalg.norm(step), 1.0)))
    if tilt > MAX_TILT_DEGREES:
        raise InputError(
            f"{path}: the slices lie {tilt:.0f} degrees aslant, no gantry tilts so far; export the series again"
        )
    return step

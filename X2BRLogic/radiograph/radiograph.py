"""The radiograph, from a file of any kind or from an array."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import DICOM, PICTURES, VOLUMES, is_dicom, require_file, suffix
from ..geometry import XRayGeometry
from .dicom import read_dicom
from .film import Film, require_content, require_size
from .pictures import read_picture
from .placement import adjust, choose_view, geometry_beside, place, upright
from .slices import read_slice

#: A film turned further than this from AP or PA is another view; training turned patients by 5 degrees, rarely 15.
_FRONTAL_DEGREES = 25.0


@dataclass(frozen=True)
class Radiograph:
    """A radiograph and where it is.

    Attributes:
        pixels: float32, shape ``(rows, columns)``, finite, bone bright; patient's right on the image's left and
            superior on top unless the geometry says otherwise.
        geometry: its shape equals ``pixels.shape``.
        known: for each of ``sid``, ``sod``, ``spacing``, ``view``: true where the file or the user said so, false
            where it is assumed.
        source: file or node name, for the summary.
        warnings: sentences that the user should see.
    """

    pixels: np.ndarray
    geometry: XRayGeometry
    known: dict[str, bool]
    source: str
    warnings: tuple[str, ...] = ()

    @property
    def scale_known(self) -> bool:
        """Whether lengths measured in the result are the patient's, not those of an assumed cassette and distance."""
        return self.known["sid"] and self.known["sod"] and self.known["spacing"]

    def require_frontal(self, who: str) -> None:
        """Raise `InputError` for a film that is neither AP nor PA. `who`: that takes no other, for the sentence."""
        if abs(float(self.geometry.to_source[1])) < np.cos(np.deg2rad(_FRONTAL_DEGREES)):
            raise InputError(
                f"{self.source} is no frontal film (view {self.geometry.view}); {who} takes AP and PA chest films"
            )

    def require_lateral(self) -> None:
        """Raise `InputError` for a film that is no lateral one."""
        if abs(float(self.geometry.to_source[0])) < np.cos(np.deg2rad(_FRONTAL_DEGREES)):
            raise InputError(
                f"{self.source} is no lateral film (view {self.geometry.view}); the second film is LAT or RLAT"
            )


def read_radiograph(
    path: str | os.PathLike,
    *,
    view: str | None = None,
    pixel_spacing: float | tuple[float, float] | None = None,
    sid: float | None = None,
    sod: float | None = None,
) -> Radiograph:
    """Read a radiograph.

    Args:
        path: PNG, JPEG or TIFF; a DICOM CR, DX, RF, XA or secondary capture; NRRD, NIfTI or MetaImage of one slice.
        view: ``AP``, ``PA``, ``LAT`` or ``RLAT``.
        pixel_spacing: pitch at the detector in mm, one number or ``(between rows, between columns)``.
        sid, sod: source-to-image and source-to-object distance in mm.

    What is given here wins over a ``<stem>.geometry.json`` or ``geometry.json`` beside the file, that over DICOM tags,
    and those over the defaults: AP, SID 1800, SOD 1500 mm, the longer edge 430 mm, isocentre at the RAS origin.

    Raises `InputError` when there is no usable radiograph in the file, or a number makes no sense.
    """
    path = require_file(path)
    film = _reader(path)(path)
    geometry, notes = geometry_beside(path)
    return _assemble(film, path.name, view, pixel_spacing, sid, sod, geometry, notes)


def radiograph_from_array(
    pixels: np.ndarray,
    source: str,
    *,
    view: str | None = None,
    pixel_spacing: float | tuple[float, float] | None = None,
    sid: float | None = None,
    sod: float | None = None,
    geometry: XRayGeometry | None = None,
) -> Radiograph:
    """A radiograph from pixels ``(rows, columns)`` in memory, bone bright and upright, with the checks of a file's.

    `geometry`, where the host knows it, stands for the geometry file; the other arguments are as in `read_radiograph`.
    Raises `InputError` likewise.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 2:
        listed = " x ".join(map(str, pixels.shape))
        raise InputError(f"{source} has the shape {listed}, a radiograph has rows and columns; give one slice")
    require_size(source, *pixels.shape)
    return _assemble(Film(pixels), source, view, pixel_spacing, sid, sod, geometry)


def _reader(path: Path) -> Callable[[Path], Film]:
    """By content for DICOM, whose files often have no suffix, else by suffix."""
    if suffix(path) in DICOM or is_dicom(path):
        return read_dicom
    if suffix(path) in PICTURES:
        return read_picture
    if suffix(path) in VOLUMES:
        return read_slice
    raise InputError(
        f"{path} is no radiograph that can be read; give PNG, JPEG, TIFF, DICOM, NRRD, NIfTI or MetaImage (.mha)"
    )


def _assemble(film: Film, source: str, view, pixel_spacing, sid, sod, geometry=None, notes=()) -> Radiograph:
    spacing = None if pixel_spacing is None else tuple(np.broadcast_to(np.asarray(pixel_spacing, float), 2).tolist())
    pixels = require_content(source, film.pixels)
    if geometry is None:
        chosen = choose_view(film, view)
        film = upright(film, chosen)
        pixels = require_content(source, film.pixels)
        geometry, known, found = place(film, view, spacing, sid, sod)
    else:
        # a geometry file describes the pixels as they are stored
        geometry, found = adjust(geometry, pixels.shape, view, spacing, sid, sod)
        known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
    return Radiograph(pixels, geometry, known, source, (*film.warnings, *notes, *found))

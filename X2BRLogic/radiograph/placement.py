"""Where a radiograph is: from the user, else from a geometry file beside it, else from its own tags, else assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import read_json, stem
from ..geometry import DEFAULT_SID, DEFAULT_SOD, VIEWS, XRayGeometry
from .film import Film

#: The longer edge of the usual chest cassette (35 x 43 cm), mm.
CASSETTE_MM = 430.0
#: From the isocentre to the detector where only one of SID and SOD is known, mm.
OBJECT_TO_DETECTOR = DEFAULT_SID - DEFAULT_SOD
_LIMITS = {"sid": (500.0, 5000.0), "sod": (300.0, 5000.0), "spacing": (0.01, 10.0)}
_OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))


def geometry_beside(path: Path) -> tuple[XRayGeometry | None, tuple[str, ...]]:
    """The geometry in ``<stem>.geometry.json`` or ``geometry.json`` in the image's folder, and warnings.

    ``geometry.json`` is one geometry (`XRayGeometry.to_dict`), or ``{"images": {"<file name>": geometry, ...}}``.
    Raises `InputError` when the file is there and cannot be used.
    """
    for file in (path.with_name(f"{stem(path)}.geometry.json"), path.with_name("geometry.json")):
        if not file.is_file():
            continue
        try:
            data = read_json(file)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is no valid JSON ({error}); repair or remove it") from None
        images = data.get("images") if isinstance(data, dict) else None
        if isinstance(images, dict):
            if path.name not in images:
                return None, (f"{file.name} does not list {path.name}",)
            data = images[path.name]
        if not isinstance(data, dict):
            raise InputError(f"{file} holds no geometry for {path.name}; write it anew with x2br drr, or remove it")
        try:
            return XRayGeometry.from_dict(data), ()
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    return None, ()


def upright(film: Film, view: str) -> Film:
    """The film turned to the view's convention, where its directions say how it lies.

    AP and PA: columns run from the patient's right to the left; lateral views: see `geometry.VIEWS`; rows run from
    superior to inferior. Directions that do not fit the view (a volume header's defaults) are ignored.
    """
    if film.directions is None:
        return film
    wanted = {"AP": "L", "PA": "L", "LAT": "A", "RLAT": "P"}[view]
    sideways = {wanted, _OPPOSITE[wanted]}
    pixels, spacing, (across, down) = film.pixels, film.spacing, film.directions
    if across in "HF" and down in sideways:
        pixels, across, down = pixels.T, down, across
        spacing = spacing[::-1] if spacing else None
    if across not in sideways or down not in "HF":
        return film
    if across != wanted:
        pixels = pixels[:, ::-1]
    if down != "F":
        pixels = pixels[::-1]
    return replace(film, pixels=np.ascontiguousarray(pixels), spacing=spacing, directions=(wanted, "F"))


def choose_view(film: Film, view: str | None) -> str:
    """The user's view, else the file's, else lateral where the file's directions say so, else AP."""
    if view is not None:
        if view not in VIEWS:
            raise InputError(f"unknown view {view!r}; use one of {', '.join(VIEWS)}")
        return view
    if film.view is not None:
        return film.view
    directions = set(film.directions or ())
    return "LAT" if directions & set("AP") and directions & set("HF") else "AP"


def place(
    film: Film,
    view: str | None = None,
    spacing: tuple[float, float] | None = None,
    sid: float | None = None,
    sod: float | None = None,
) -> tuple[XRayGeometry, dict[str, bool], tuple[str, ...]]:
    """The geometry of an upright film from what the user gave, then the film's own tags, then the defaults.

    Returns the geometry, which of ``sid``, ``sod``, ``spacing`` and ``view`` are known, and warnings.
    Raises `InputError` when what the user gave makes no sense; tags that make none are left out with a warning.
    """
    _require_sensible(sid, sod, spacing)
    notes = []
    tags = {"sid": film.sid, "sod": film.sod, "spacing": film.spacing}
    try:
        _require_sensible(**tags)
    except InputError as error:
        notes.append(f"the file's own geometry is left out: {error}")
        tags = dict.fromkeys(tags)
    # a pair of distances belongs together: the user's SID makes a tag's SOD meaningless where it would lie behind
    tag_sod = tags["sod"] if sid is None or (tags["sod"] or 0) <= sid else None
    tag_sid = tags["sid"] if sod is None or (tags["sid"] or np.inf) >= sod else None
    known = {
        "sid": sid is not None or tag_sid is not None,
        "sod": sod is not None or tag_sod is not None,
        "spacing": spacing is not None or tags["spacing"] is not None,
        "view": view is not None or film.view is not None,
    }
    sid, sod, spacing = sid or tag_sid, sod or tag_sod, spacing or tags["spacing"]
    if sid is None:
        sid = DEFAULT_SID if sod is None else sod + OBJECT_TO_DETECTOR
    if sod is None:
        sod = sid - OBJECT_TO_DETECTOR
    _require_sensible(sid, sod, spacing)
    if spacing is None:
        spacing = (CASSETTE_MM / max(film.pixels.shape),) * 2
    geometry = XRayGeometry.from_view(
        choose_view(film, view), sid=sid, sod=sod, shape=film.pixels.shape, spacing=spacing
    )
    return geometry, known, (*notes, *_assumptions(geometry, known))


def adjust(
    geometry: XRayGeometry,
    shape: tuple[int, int],
    view: str | None = None,
    spacing: tuple[float, float] | None = None,
    sid: float | None = None,
    sod: float | None = None,
) -> tuple[XRayGeometry, tuple[str, ...]]:
    """A given geometry with the user's own numbers in place of its, for pixels of `shape`; and warnings.

    Raises `InputError` when the numbers make no sense or the image has another shape than the detector.
    """
    _require_sensible(sid, sod, spacing)
    notes = ()
    if geometry.shape != shape:
        factors = shape[0] / geometry.shape[0], shape[1] / geometry.shape[1]
        if abs(factors[0] / factors[1] - 1) > 0.01:
            raise InputError(
                f"the image has {shape[1]} x {shape[0]} pixels, its geometry file says "
                f"{geometry.shape[1]} x {geometry.shape[0]}; give the file that belongs to this image"
            )
        notes = ("the image was scaled since its geometry was written; the detector's size is kept",)
        geometry = geometry.resized(shape)
    changes = {"sid": sid, "sod": sod, "spacing": spacing}
    if view is not None and view != geometry.view:
        named = XRayGeometry.from_view(choose_view(Film(np.empty((0, 0))), view))
        changes |= {"view": view, "to_source": named.to_source, "columns": named.columns, "rows": named.rows}
    return replace(geometry, **{k: v for k, v in changes.items() if v is not None}), notes


def _require_sensible(sid: float | None, sod: float | None, spacing: tuple[float, float] | None) -> None:
    for name, value in (("sid", sid), ("sod", sod), *(("spacing", s) for s in spacing or ())):
        low, high = _LIMITS[name]
        if value is not None and not low <= value <= high:
            words = {"sid": "SID", "sod": "SOD", "spacing": "pixel spacing"}[name]
            raise InputError(f"{words} {value:g} mm makes no sense; give millimetres, between {low:g} and {high:g}")
    if sid is not None and sod is not None and sod > sid:
        raise InputError(f"SOD ({sod:g} mm) cannot exceed SID ({sid:g} mm); give both distances from the source")


def _assumptions(geometry: XRayGeometry, known: dict[str, bool]) -> tuple[str, ...]:
    notes = []
    if not known["view"]:
        notes.append(f"the view is assumed to be {geometry.view}; give it if it is another")
    values = {
        "sid": f"SID {geometry.sid:g} mm",
        "sod": f"SOD {geometry.sod:g} mm",
        "spacing": f"pixel spacing {geometry.spacing[0]:.3f} mm",
    }
    assumed = [text for key, text in values.items() if not known[key]]
    if assumed:
        notes.append(f"absolute scale is assumed, not measured: {', '.join(assumed)}")
    return tuple(notes)

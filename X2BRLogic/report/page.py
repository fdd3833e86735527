"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np

from .. import __version__
from ..confidence import CONFIDENCE, ERROR
from ..error_scale import ERROR_COLOURS, HIGHEST_ERROR_MM
from ..errors import InputError
from ..export.surfaces import WHOLE, colour_of
from ..export.terminology import title
from ..files import written_whole
from ..preview import preview
from ..reconstruction import NOTICE, Reconstruction
from ..template import bone_of
from .card import card_of, detector_card
from .film import film
from .scene import scene
from .tables import GROUPS, Measured, measured
from .uncertainty import CORRELATION_MM, DRAWS

_ASSETS = Path(__file__).parent / "assets"
_PREVIEW = 360


def write_report(reconstruction: Reconstruction, path: str | os.PathLike) -> Path:
    """Write the report on a reconstruction, whole or not at all; returns its path.

    One HTML file that a browser opens from the file system: it fetches nothing, which its Content-Security-Policy
    forbids, and it names no patient: the radiograph's file name is all it says of where it comes from.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"cannot write a report as {path.name}; end the name in .html")
    with written_whole(path) as partial:
        partial.write_text(page(reconstruction), encoding="utf-8", newline="\n")
    return path


def page(reconstruction: Reconstruction) -> str:
    """The report's HTML."""
    meshes = dict(reconstruction.bones) or {WHOLE: reconstruction.mesh}
    errors = {name: mesh.vertex_attributes.get(ERROR) for name, mesh in meshes.items()}
    tables = measured(reconstruction)
    bones = _bones(reconstruction, meshes, tables)
    numbers = scene(meshes, errors) | {
        "bones": bones,
        "error_colours": ERROR_COLOURS,
        "highest_error": HIGHEST_ERROR_MM,
    }
    style = _asset("report.css")
    scripts = [_asset("three.min.js"), _asset("viewer.js"), _asset("page.js")]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        policy=_policy(style, scripts),
        style=style,
        scripts=scripts,
        notice=NOTICE,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        made_by=_made_by(reconstruction.summary),
        warnings=list(map(str, reconstruction.summary.get("warnings", reconstruction.radiograph.warnings))),
        radiograph=reconstruction.radiograph,
        geometry=_geometry(reconstruction),
        film=film(reconstruction.radiograph, meshes, reconstruction.boxes),
        groups={group: GROUPS[group] for group in GROUPS if any(bone["group"] == group for bone in bones)},
        bones=bones,
        named=bool(reconstruction.bones),
        has_errors="errors" in numbers,
        tables=tables,
        numbers=numbers,
        card=card_of(reconstruction.summary.get("model", {})),
        detector=detector_card() if reconstruction.boxes else None,
        agreement=_agreement(reconstruction.summary),
        still=_still(reconstruction),
        error_colours=ERROR_COLOURS,
        highest_error=HIGHEST_ERROR_MM,
        draws=DRAWS,
        correlation=CORRELATION_MM,
    )


def _bones(reconstruction: Reconstruction, meshes: dict, tables: Measured) -> list[dict]:
    boxes = {box.name: box for box in reconstruction.boxes}
    bones = []
    for name, mesh in meshes.items():
        error, confidence = (mesh.vertex_attributes.get(key) for key in (ERROR, CONFIDENCE))
        bones.append(
            {
                "name": name,
                "title": _title(name),
                "group": bone_of(name).group if name != WHOLE else "",
                "colour": "#{:02x}{:02x}{:02x}".format(*colour_of(name)),
                "volume": str(tables.volumes.get(name, f"{mesh.volume / 1000:.1f} ml")),
                "error": None if error is None else round(float(np.mean(error)), 1),
                "confidence": None if confidence is None else round(float(np.mean(confidence)), 2),
                "box": f"{boxes[name].confidence:.2f}" if name in boxes else None,
            }
        )
    return bones


def _title(name: str) -> str:
    """A bone in words; the cartilages, which share one entry in the table of bones, with their numbers."""
    if name == WHOLE:
        return "All bones"
    part = re.fullmatch(r"costal_cartilage_(\w+)_(\d+)", name)
    return f"{part[1].capitalize()} costal cartilage {part[2]}" if part else title(bone_of(name))


def _geometry(reconstruction: Reconstruction) -> list[tuple[str, str, bool | None]]:
    """What is known of how the film was taken: name, value, and whether it is known or assumed."""
    radiograph = reconstruction.radiograph
    geometry, known = radiograph.geometry, radiograph.known
    spacing = " × ".join(f"{pitch:.3g}" for pitch in geometry.spacing)
    return [
        ("View", geometry.view, known["view"]),
        ("Source to image (SID)", f"{geometry.sid:.0f} mm", known["sid"]),
        ("Source to isocentre (SOD)", f"{geometry.sod:.0f} mm", known["sod"]),
        ("Pixel spacing at the detector", f"{spacing} mm", known["spacing"]),
        ("Film", " × ".join(map(str, geometry.shape[::-1])) + " pixels", None),
    ]


def _made_by(summary: dict) -> dict[str, str]:
    """What a summary says of method, version and weights; a dash where it is silent."""
    model = summary.get("model", {})
    found = {"method": summary.get("method"), "x2br": summary.get("x2br")}
    found |= {key: model.get(key) for key in ("file", "sha256")}
    return {key: "–" if value is None else str(value) for key, value in found.items()}


_AGREEMENT = {
    "box_iou": ("Overlap of boxes and reprojected bones (IoU)", "{:.2f}"),
    "box_edge_mm": ("Edges of boxes from those of the bones, mean", "{:.1f} mm on the detector"),
    "outline_mm": ("Outlines from edges in the film, mean", "{:.1f} mm on the detector"),
    "outline_by_chance_mm": ("The same by chance", "{:.1f} mm on the detector"),
}


def _agreement(summary: dict) -> list[tuple[str, str]]:
    found = summary.get("reprojection")
    found = found if isinstance(found, dict) else {}
    return [
        (words, form.format(found[key]))
        for key, (words, form) in _AGREEMENT.items()
        if isinstance(found.get(key), (int, float))
    ]


def _still(reconstruction: Reconstruction) -> str:
    """The bones from three sides, for browsers without WebGL: JPEG in base64."""
    picture = preview(reconstruction.radiograph.pixels, reconstruction.mesh, _PREVIEW, reconstruction.bones)
    stream = io.BytesIO()
    picture.crop((_PREVIEW, 0, picture.width, picture.height)).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _policy(style: str, scripts: list[str]) -> str:
    """Nothing is fetched, and nothing runs but our own scripts, known by their hashes."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8").replace("\r\n", "\n")

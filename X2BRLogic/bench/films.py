"""``x2br bench films``: reconstruction from real films, of which no truth is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..batch import find_films
from ..errors import InputError
from ..evaluation.real_films import edge_strength, stability, symmetry
from ..files import read_json, written_whole
from ..fitness import admit
from ..models import X2BR, weights_of
from ..pipeline import Reconstructor
from ..radiograph import read_radiograph
from . import machine
from .fitness import patients

Progress = Callable[[str], None]

#: What has been measured so far, in the folder of the results.
KEPT = "films.json"


def run(folder: Path, films: int | None, disturbed: int, weights: Path | None, out: Path, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict.

    Args:
        folder: of frontal chest films, with a table of their views if there is one (`fitness.patients`).
        films: how many of them, evenly chosen; ``None`` for all.
        disturbed: how many of these are changed a little, for the stability of the coarse mesh.
        weights: of the model that makes the coarse mesh.
        out: where rows are kept as they come: those of the same weights are not measured again.

    Raises:
        InputError: there is no film, or no model.
    """
    names, about = find_films(folder, out), patients(folder)
    chosen = _evenly(names, films or len(names))
    shaken = set(_evenly(chosen, disturbed))
    weights = weights or weights_of(X2BR)
    named, coarse = Reconstructor(X2BR, weights=weights), Reconstructor(weights=weights)
    with open(weights, "rb") as stream:
        model = hashlib.file_digest(stream, "sha256").hexdigest()
    rows = _kept(out / KEPT, model)
    for name in chosen:
        row = rows.get(name, {})
        view = about.get(name, {}).get("view") or None
        if "status" not in row:
            row = {"film": name, "model": model} | _reconstructed(named, folder / name, view)
        if name in shaken and row["status"] == "done" and "stability" not in row:
            film = admit(read_radiograph(folder / name, view=view), method=coarse.method).radiograph
            row = row | {"stability": stability(film, lambda changed: coarse.reconstruct(changed).mesh)}
        if row != rows.get(name):
            rows[name] = row
            _keep(out / KEPT, list(rows.values()))
            progress(f"{name}: {row['status']}")
    return {
        "schema": "x2br-bench-films-1",
        "machine": machine.describe(),
        "load_after": machine.busy(),
        "model": model,
        "films": [rows[name] for name in chosen],
    }


def _evenly(names: list[str], count: int) -> list[str]:
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[place] for place in places]


def _reconstructed(reconstructor: Reconstructor, path: Path, view: str | None) -> dict:
    try:
        film = admit(read_radiograph(path, view=view), method=X2BR)
        done = reconstructor.reconstruct(film.radiograph, boxes=film.boxes)
    except InputError as error:
        return {"status": "failed", "reason": str(error)}
    return {
        "status": "done",
        "view": film.radiograph.geometry.view,
        "bones": len(done.bones),
        **film.facts,
        **done.summary["reprojection"],
        "edge_strength": edge_strength(done.bones, film.radiograph),
        **symmetry(done.bones),
        "warnings": len(done.summary["warnings"]),
        "seconds": done.summary["seconds"]["total"],
    }


def _kept(path: Path, model: str) -> dict[str, dict]:
    try:
        return {row["film"]: row for row in read_json(path) if row["model"] == model}
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours
        return {}


def _keep(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

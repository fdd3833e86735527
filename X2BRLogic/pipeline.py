"""Reconstructor: a radiograph in, a Reconstruction out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import trimesh

from . import __version__
from .errors import InputError
from .files import folder_written_whole
from .models import DEFAULT_METHOD, weights_of
from .networks import TAU, LoadedModel, load_model
from .networks.device import choose_device
from .preview import preview
from .radiograph import Radiograph, network_image
from .surface import drop_specks, extract, make_watertight, mise, simplify

Progress = Callable[[float, str], None]

NOTICE = "For research use only. Not a medical device."
RESOLUTION = 128
FACES = 60_000
#: A piece smaller than this is noise of the field, not bone: about a tenth of the smallest twelfth rib.
_SPECK_MM3 = 300.0
#: A film turned further than this from AP or PA is another view; training turned patients by 5 degrees, rarely 15.
_FRONTAL_DEGREES = 25.0
_POINTS_A_BATCH = 65536


@dataclass(frozen=True)
class Reconstruction:
    """Everything a host shows.

    Attributes:
        radiograph: what it was made from.
        mesh: the surface of all bones, closed, RAS mm.
        bones: named bones, for methods that name them; empty for these two.
        summary: JSON-ready provenance: input, geometry, model, seconds, counts, warnings.
    """

    radiograph: Radiograph
    mesh: trimesh.Trimesh
    bones: dict[str, trimesh.Trimesh] = field(default_factory=dict)
    summary: dict = field(default_factory=dict)

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``bones.ply`` (mm, RAS), ``summary.json`` and ``preview.png``, all or none; the paths by name.

        Raises `InputError` when the folder cannot be written to.
        """
        with folder_written_whole(folder) as partial:
            self.mesh.export(partial / "bones.ply")
            preview(self.radiograph.pixels, self.mesh).save(partial / "preview.png")
            (partial / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n", encoding="utf-8")
        return {name: Path(folder) / name for name in ("bones.ply", "summary.json", "preview.png")}


class _Stages:
    """Seconds of each stage, and progress told to a listener."""

    def __init__(self, progress: Progress | None):
        self.seconds: dict[str, float] = {}
        self._progress = progress or (lambda fraction, stage: None)

    @contextmanager
    def stage(self, name: str, begins_at: float):
        self._progress(begins_at, name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 4)


class Reconstructor:
    """Holds a loaded model and reconstructs as many radiographs as it is given.

    Args:
        method: name of an installed model, ``x2b`` or ``x2b_aligned``.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: a weights file instead of the installed one; it says which method it is for.

    Raises:
        InputError: the model is not installed, or its file is damaged or not ours.
    """

    def __init__(self, method: str = DEFAULT_METHOD, device: str = "auto", weights: str | Path | None = None):
        self.device = choose_device(device)
        self._weights = Path(weights) if weights else weights_of(method)
        self._model: LoadedModel = load_model(self._weights, self.device)
        self.method: str = self._model.metadata["system"]

    def reconstruct(
        self, radiograph: Radiograph, progress: Progress | None = None, *, resolution: int = RESOLUTION
    ) -> Reconstruction:
        """Reconstruct the bones of the thorax.

        Args:
            radiograph: a frontal chest film, AP or PA.
            progress: called with a fraction 0-1 and the name of the stage that begins.
            resolution: cells along an edge of the canonical cube, 64 times a power of two.

        Raises:
            InputError: not a frontal view, or a film in which the network sees no bone.
        """
        _require_frontal(radiograph, self.method)
        geometry = radiograph.geometry
        stages = _Stages(progress)
        with stages.stage("encode", 0.0):
            image = network_image(radiograph, self._model.network.config.image_size)
            code = self._encode(image)
        with stages.stage("surface", 0.1):
            start = self._model.network.coarse_cells
            sampled = mise(self._field(code), resolution, start, TAU, _POINTS_A_BATCH)
            mesh = extract(sampled.grid, TAU, geometry.ray_cube_to_ras)
        with stages.stage("clean", 0.8):
            mesh = make_watertight(simplify(drop_specks(mesh, _SPECK_MM3), FACES))
        stages.seconds["total"] = round(sum(stages.seconds.values()), 4)
        summary = self._summary(radiograph, mesh, stages.seconds)
        summary["field"] = {"resolution": resolution, "evaluations": sampled.evaluations, "dense": sampled.dense}
        if progress:
            progress(1.0, "done")
        return Reconstruction(radiograph, mesh, summary=summary)

    @torch.inference_mode()
    def _encode(self, image: np.ndarray) -> torch.Tensor:
        return self._model.network.encode(torch.from_numpy(image)[None, None].to(self.device))

    def _field(self, code: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
        @torch.inference_mode()
        def field(points: np.ndarray) -> np.ndarray:
            logits = self._model.network.decode(code, torch.from_numpy(points)[None].to(self.device))
            return logits[0].float().cpu().numpy()

        return field

    def _summary(self, radiograph: Radiograph, mesh: trimesh.Trimesh, seconds: dict) -> dict:
        return {
            "schema": "x2br-summary-1",
            "x2br": __version__,
            "notice": NOTICE,
            "input": radiograph.source,
            "method": self.method,
            "model": {"file": self._weights.name, "sha256": self._model.sha256},
            "device": str(self.device),
            "geometry": radiograph.geometry.to_dict(),
            "known": dict(radiograph.known),
            "absolute_scale": radiograph.scale_known,
            "threshold": TAU,
            "seconds": seconds,
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
            "watertight": bool(mesh.is_watertight),
            "bounds_mm": np.round(mesh.bounds, 2).tolist(),
            "volume_ml": round(float(mesh.volume) / 1000.0, 1),
            "warnings": list(radiograph.warnings),
        }


def _require_frontal(radiograph: Radiograph, method: str) -> None:
    cosine = abs(float(radiograph.geometry.to_source[1]))
    if cosine < np.cos(np.deg2rad(_FRONTAL_DEGREES)):
        raise InputError(
            f"{radiograph.source} is no frontal film (view {radiograph.geometry.view}); "
            f"{method} reconstructs AP and PA chest films"
        )

"""Reconstructor: a radiograph in, or two of one patient, a Reconstruction out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh
from torch import nn

from . import __version__, anatomy
from .confidence import Calibration, with_confidence
from .errors import InputError
from .geometry import CUBE_EDGE_MM, XRayGeometry
from .models import DEFAULT_METHOD, DUAL_FACES, X2BR, weights_of
from .named_bones import bone_facts, named_bones, signs_of
from .networks import TAU, LoadedModel, OccupancyField, TwoViews, load_model
from .networks.device import choose_device
from .radiograph import Radiograph, network_image
from .reconstruction import NOTICE, RESOLUTION, Progress, Reconstruction
from .surface import (
    drop_specks,
    extract,
    logit,
    make_watertight,
    mise,
    refine,
    self_intersections,
    simplify,
    untangle,
)

if TYPE_CHECKING:
    from .detection import Box
    from .x2br import Completed

#: The mesh has about so many at most: finer than the network's samples, small enough to turn on any screen.
FACES = 40_000
#: A piece smaller than this is noise of the field, not bone: about a tenth of the smallest twelfth rib.
SPECK_MM3 = 300.0
#: A thorax is laid onto no fewer bones.
_FEWEST_BONES = 4
#: What part of the time each stage takes until a first job has shown it.
_STAGES = {"encode": 0.15, "surface": 0.4, "clean": 0.25, "refine": 0.2}
#: The boxes and bones of `X2BR` beside those.
_BONES = {"boxes": 0.2, "bones": 2.5}


class _Stages:
    """Seconds of each stage, and progress told to a listener in parts of the time that all are expected to take."""

    def __init__(self, progress: Progress | None, expected: dict[str, float]):
        self.seconds: dict[str, float] = {}
        self._progress = progress or (lambda fraction, stage: None)
        self._expected = expected
        self._told = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """The body of a stage; it is given a function to call with the part of the stage that is done."""
        before = sum(self._expected[stage] for stage in self.seconds)
        total = sum(self._expected.values())

        def tell(part: float) -> None:
            self._told = max(self._told, (before + part * self._expected[name]) / total)
            self._progress(self._told, name)

        tell(0.0)
        start = time.perf_counter()
        yield tell
        self.seconds[name] = round(time.perf_counter() - start, 4)

    def finish(self) -> None:
        """Everything is done."""
        self._progress(1.0, "done")


class Reconstructor:
    """Holds a loaded model and reconstructs as many radiographs as it is given.

    Args:
        method: name of an installed model, ``x2b``, ``x2b_aligned`` or ``3ddx``; or ``x2br``: named bones, the skeleton
            template laid onto the mesh of a model.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: a weights file instead of the installed one; it says which method it is for.
            For ``x2br`` the weights of the model that makes the mesh.

    Raises:
        InputError: the model is not installed, or its file is damaged or not ours.
    """

    def __init__(self, method: str = DEFAULT_METHOD, device: str = "auto", weights: str | Path | None = None):
        self.device = choose_device(device)
        self._weights = Path(weights) if weights else weights_of(method)
        self._model: LoadedModel = load_model(self._weights, self.device)
        self._expected: dict[int, dict[str, float]] = {}
        self.method: str = X2BR if method == X2BR else self._model.metadata["system"]

    @property
    def network(self) -> nn.Module:
        """The model's network, in evaluation mode."""
        return self._model.network

    @property
    def metadata(self) -> dict:
        """What the weights' header says."""
        return self._model.metadata

    def reconstruct(
        self,
        radiograph: Radiograph,
        progress: Progress | None = None,
        *,
        resolution: int = RESOLUTION,
        boxes: Sequence[Box] | None = None,
        second: Radiograph | None = None,
    ) -> Reconstruction:
        """Reconstruct the bones of the thorax.

        Args:
            radiograph: a frontal chest film, AP or PA.
            progress: called with a fraction 0-1, which never falls, and the name of the stage; what it raises ends
                the reconstruction and passes through.
            resolution: cells along an edge of the canonical cube, 32 times a power of two.
            boxes: of bones in the radiograph, for ``x2br``; others do not look at them. By default those that
                `detection.detect` finds; an empty list stands for none.
            second: a lateral film of the same patient in the same place, for the methods that take two.

        Raises:
            InputError: not a frontal view, a second film too many or too few, a film in which the network sees no bone,
                or not enough memory.
        """
        radiograph.require_frontal(self.method)
        self._require_views(second)
        if self.method == DUAL_FACES:
            return self._from_faces(radiograph, progress)
        to_ras = radiograph.geometry.ray_cube_to_ras
        stages = _Stages(progress, self._expected.get(resolution, self._stages))
        with stages.stage("encode"):
            network = self._model.network
            field = self._field(radiograph, second)
        with stages.stage("surface") as tell:
            seeds = field.surface_points(logit(TAU))
            sampled = mise(field, resolution, network.coarse_cells, TAU, field.batch, seeds, tell)
            mesh = extract(sampled.grid, TAU, to_ras)
        with stages.stage("clean"):
            mesh = drop_specks(simplify(drop_specks(mesh, SPECK_MM3), FACES), SPECK_MM3)
        with stages.stage("refine") as tell:
            mesh, crossings = _refined(mesh, field, radiograph.geometry, resolution, tell)
        completed, about, bones = None, {}, {}
        if self.method == X2BR:
            with stages.stage("boxes"):
                boxes, said = (boxes, []) if boxes is not None else _detected(radiograph)
            with stages.stage("bones") as tell:
                completed = _completed(radiograph, mesh, boxes, tell)
                about = completed.summary(radiograph) | {"coarse_volume_ml": round(float(mesh.volume) / 1000.0, 1)}
        elif hasattr(network, "named"):
            with stages.stage("bones"):
                bones = self._with_confidence(named_bones(field, sampled.grid, radiograph.geometry), field, radiograph)
                about = {"bones": bone_facts(bones)}
        self._expected[resolution] = dict(stages.seconds)
        stages.seconds["total"] = round(sum(stages.seconds.values()), 4)
        surface = completed.surface if completed else mesh
        summary = self._summary(radiograph, surface, stages.seconds) | about
        summary["device"] = str(field.device)
        summary["field"] = {"resolution": resolution, "evaluations": sampled.evaluations, "dense": sampled.dense}
        summary["self_intersections"] = crossings
        summary["warnings"] += field.warnings
        used = ()
        if completed:
            bones, used = completed.skeleton.bones, tuple(completed.boxes.values())
            summary["warnings"] += [*said, *completed.warnings]
        stages.finish()
        return Reconstruction(radiograph, surface, bones, used, summary)

    def _from_faces(self, radiograph: Radiograph, progress: Progress | None) -> Reconstruction:
        """3DDX: the faces of the bones along the rays, completed by the shape model."""
        from .dual_faces import bone_maps, completed  # as X2BR, not needed by the others

        stages = _Stages(progress, self._expected.get(0, {"encode": 0.2, "faces": 0.2, "bones": 1.0}))
        with stages.stage("encode"):
            field = self._field(radiograph, None)
        with stages.stage("faces"):
            maps = bone_maps(field.code, logit(TAU))
            if len(maps) < _FEWEST_BONES:
                raise InputError(f"the film shows {len(maps)} bones to {self.method}; check the image and its view")
        with stages.stage("bones"):
            bones = completed(maps, radiograph.geometry, both=self.network.config.faces == 2)
        self._expected[0] = dict(stages.seconds)
        stages.seconds["total"] = round(sum(stages.seconds.values()), 4)
        surface = trimesh.util.concatenate(list(bones.values()))
        summary = self._summary(radiograph, surface, stages.seconds)
        summary["bones"] = bone_facts(bones)
        for label in maps:
            summary["bones"][anatomy.BY_LABEL[label].name]["rays"] = int(maps[label].seen.sum())
        summary["device"] = str(field.device)
        summary["self_intersections"] = sum(len(self_intersections(mesh)) for mesh in bones.values())
        summary["warnings"] += field.warnings
        if not radiograph.known["sid"]:
            summary["warnings"].append("the source-to-image distance is not known: the scale of the bones is assumed")
        unseen = [name for name, facts in summary["bones"].items() if "rays" not in facts]
        if unseen:
            summary["warnings"].append(f"not seen, and placed by the shape model alone: {', '.join(unseen)}")
        stages.finish()
        return Reconstruction(radiograph, surface, bones, summary=summary)

    @property
    def _stages(self) -> dict[str, float]:
        if self.method == X2BR:
            return _STAGES | _BONES
        return _STAGES | ({"bones": 0.5} if hasattr(self._model.network, "named") else {})

    def bones_and_signs(
        self, radiograph: Radiograph, second: Radiograph | None = None
    ) -> tuple[dict[str, trimesh.Trimesh], dict[str, np.ndarray]]:
        """The named bones, and the signs of error at their vertices: what expected errors are learned from."""
        field = self._field(radiograph, second)
        seeds = field.surface_points(logit(TAU))
        sampled = mise(field, RESOLUTION, self.network.coarse_cells, TAU, field.batch, seeds)
        bones = named_bones(field, sampled.grid, radiograph.geometry)
        return bones, signs_of(bones, field, radiograph.geometry)

    def _with_confidence(
        self, bones: dict[str, trimesh.Trimesh], field: OccupancyField | TwoViews, radiograph: Radiograph
    ) -> dict[str, trimesh.Trimesh]:
        """The bones with what the model knows of its errors; a model that was not calibrated knows nothing."""
        calibration = Calibration.of_model(self.metadata, 2 if isinstance(field, TwoViews) else 1)
        if calibration is None:
            return bones
        seen = signs_of(bones, field, radiograph.geometry)
        errors = {name: calibration.expected_error_mm(name, seen[name]) for name in bones}
        return {name: with_confidence(mesh, errors[name]) for name, mesh in bones.items()}

    def _require_views(self, second: Radiograph | None) -> None:
        network = self._model.network
        if second is None and network.views == 2:
            raise InputError(f"{self.method} needs a lateral film of the patient beside the frontal one; give both")
        if second is not None:
            if network.views == 1 and not hasattr(network, "fusion"):
                raise InputError(f"{self.method} takes one film; leave the second out, or use x2b_aligned")
            second.require_lateral()

    def _field(self, radiograph: Radiograph, second: Radiograph | None) -> OccupancyField | TwoViews:
        network = self._model.network
        size = network.config.image_size
        films = [network_image(film, size) for film in (radiograph, second) if film is not None]
        if len(films) == network.views:
            return OccupancyField(network, films, self.device)
        one, other = radiograph.geometry, second.geometry
        return TwoViews(
            *(OccupancyField(network, [film], self.device) for film in films),
            lambda points: other.ras_to_ray_cube(one.ray_cube_to_ras(points)).astype(np.float32),
            lambda points: one.ras_to_ray_cube(other.ray_cube_to_ras(points)),
            tuple(network.fusion.tolist()),
        )

    def _summary(self, radiograph: Radiograph, mesh: trimesh.Trimesh, seconds: dict) -> dict:
        pieces = mesh.body_count
        return {
            "schema": "x2br-summary-1",
            "x2br": __version__,
            "notice": NOTICE,
            "input": radiograph.source,
            "method": self.method,
            "model": {"file": self._weights.name, "sha256": self._model.sha256},
            "geometry": radiograph.geometry.to_dict(),
            "known": dict(radiograph.known),
            "absolute_scale": radiograph.scale_known,
            "threshold": TAU,
            "seconds": seconds,
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
            "pieces": pieces,
            "genus": pieces - mesh.euler_number // 2,
            "watertight": bool(mesh.is_watertight),
            "bounds_mm": np.round(mesh.bounds, 2).tolist(),
            "volume_ml": round(float(mesh.volume) / 1000.0, 1),
            "warnings": list(radiograph.warnings),
        }


def _refined(
    mesh: trimesh.Trimesh,
    field: OccupancyField | TwoViews,
    geometry: XRayGeometry,
    resolution: int,
    tell: Callable[[float], None],
) -> tuple[trimesh.Trimesh, int]:
    """The mesh along the field's surface, its faces apart from each other, closed; and how many pairs still cross."""
    half_a_cell = 0.5 * CUBE_EDGE_MM / resolution
    moved = refine(mesh, lambda points: field(geometry.ras_to_ray_cube(points)), logit(TAU), half_a_cell)
    tell(0.4)
    apart, crossings = untangle(moved, before=mesh.vertices)
    tell(0.9)
    return make_watertight(apart), crossings


def _detected(radiograph: Radiograph) -> tuple[Sequence[Box], list[str]]:
    """The boxes that the installed detector finds, and what there is to say of them."""
    from .detection import detect

    try:
        found = detect(radiograph)
    except InputError as error:  # without onnxruntime or weights, bones are named all the same
        return (), [f"no boxes were detected: {error}"]
    return found.boxes, [f"detection: {note}" for note in found.notes]


def _completed(
    radiograph: Radiograph, coarse: trimesh.Trimesh, boxes: Sequence[Box], tell: Callable[[float], None]
) -> Completed:
    from .x2br import complete  # a second of imports that the other methods can do without

    return complete(radiograph, coarse, boxes, progress=lambda part, stage: tell(part))

"""X2BR: radiograph, coarse mesh and boxes to named bones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import trimesh

from ..confidence import with_confidence
from ..detection import Box
from ..errors import InputError
from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..named_bones import bone_facts
from ..radiograph import Radiograph
from ..registration import NDPSettings, Settings
from ..template import FittedTemplate, Skeleton, bone_of, fit_template, load_template
from ..template.parts import SPINE
from .fit import Laid, lay_on
from .settling import THORAX, settled
from .volumes import human_volumes

Progress = Callable[[float, str], None]

#: Diagonals of the box around what can be the bones of a thorax, in part or with all that the field lets through, mm.
_DIAGONALS_MM = (200.0, CUBE_EDGE_MM * 3**0.5 * 1.05)
#: A bone is in view when so much of it is in the picture.
_IN_VIEW = 0.1


@dataclass(frozen=True)
class Completed:
    """Named bones of one person.

    Attributes:
        skeleton: the bones, closed, RAS mm; each vertex has ``expected_error_mm`` and ``confidence``, the probability
            that it is no more than 5 mm off, where errors are normally distributed.
        boxes: that the bones were fitted to, by name.
        warnings: sentences that the user should see.
        facts: of the registration and of each bone, ready for JSON.
        seconds: wall time by stage.
    """

    skeleton: Skeleton
    boxes: dict[str, Box]
    warnings: tuple[str, ...]
    facts: dict
    seconds: dict[str, float]

    @property
    def surface(self) -> trimesh.Trimesh:
        """The bones of the thorax as one closed mesh, without cartilages and the vertebrae of neck and loin."""
        return self.skeleton.as_mesh(THORAX)

    def summary(self, radiograph: Radiograph) -> dict:
        """What a summary says of the bones, and of how they agree with the film; ready for JSON."""
        from ..evaluation.reprojection import reprojection

        agreement = reprojection(self.skeleton.bones, radiograph, self.boxes.values())
        return {
            "bones": bone_facts(self.skeleton.bones),
            "reprojection": {k: round(v, 3) if isinstance(v, float) else v for k, v in agreement.items()},
            "x2br_facts": self.facts | {"seconds": self.seconds},
        }


def complete(
    radiograph: Radiograph,
    coarse: trimesh.Trimesh,
    boxes: Sequence[Box] = (),
    *,
    skeleton: Skeleton | None = None,
    method: str = "gbcpd++",
    settings: Settings | NDPSettings | None = None,
    progress: Progress | None = None,
) -> Completed:
    """The bones of the thorax, each whole and named, from a template laid onto a coarse mesh.

    Args:
        radiograph: what the mesh was made from.
        coarse: the bones of the thorax as one body or as many, RAS mm.
        boxes: of bones in the radiograph, with or without levels. Without any, the coarse mesh alone says where the
            template goes, and levels may be off by one.
        skeleton: the template; by default the one that ships.
        method, settings: of `registration.register`.
        progress: called with a fraction 0-1 and a stage; what it raises ends the work and passes through.

    Raises:
        InputError: the coarse mesh is no thorax, and there are no boxes to go by either; or no bone is in view.
    """
    tell = progress or (lambda fraction, stage: None)
    start = time.perf_counter()
    template, geometry = skeleton or load_template(), radiograph.geometry
    groups = {bone_of(name).group for name in template.bones}
    boxes = [box for box in boxes if box.group in groups]
    problem = _problem(coarse, geometry)
    if problem and not boxes:
        raise InputError(f"{problem}, and there are no boxes to place bones by; check the radiograph, or give boxes")
    tell(0.0, "template")
    fit = fit_template(template, boxes, geometry)
    if not _in_order(fit.skeleton):
        fit = fit_template(template, [], geometry)
        fit = replace(fit, notes=("the boxes contradict each other, and none of them is used", *fit.notes))
    if problem and not fit.boxes:
        raise InputError(f"{problem}, and none of the boxes is of a bone of the template; check the boxes")
    seconds = {"template": time.perf_counter() - start}
    tell(0.1, "settling")
    start = time.perf_counter()
    posed = fit.skeleton if problem else settled(fit.skeleton, coarse, geometry, fit.boxes)
    posed, left_out = _in_view(posed, geometry)
    seconds["settling"] = time.perf_counter() - start
    laid = lay_on(
        posed,
        None if problem else coarse,
        boxes=fit.boxes,
        geometry=geometry,
        volumes=human_volumes(template),
        method=method,
        settings=settings,
        progress=lambda part, stage: tell(0.25 + 0.75 * part, stage),
    )
    seconds |= laid.seconds
    tell(1.0, "done")
    bones = {name: with_confidence(mesh, laid.error_mm[name]) for name, mesh in laid.skeleton.bones.items()}
    return Completed(
        skeleton=replace(laid.skeleton, bones=bones),
        boxes=fit.boxes,
        warnings=tuple(_warnings(fit, laid, problem, left_out)),
        facts=_facts(fit, laid, left_out),
        seconds={stage: round(value, 4) for stage, value in seconds.items()},
    )


def _problem(coarse: trimesh.Trimesh, geometry: XRayGeometry) -> str | None:
    """Why a mesh cannot be the bones of the thorax in this radiograph."""
    if not len(coarse.faces) or not np.isfinite(coarse.vertices).all() or not coarse.area > 0:
        return "the coarse mesh has no surface, or places that are no numbers"
    low, high = coarse.bounds
    diagonal = float(np.linalg.norm(high - low))
    if not _DIAGONALS_MM[0] <= diagonal <= _DIAGONALS_MM[1]:
        return f"the coarse mesh measures {diagonal:.0f} mm across, which no thorax in this radiograph does"
    if np.abs(geometry.ras_to_cube(coarse.bounds.mean(axis=0)[None])).max() > 0.5:
        return "the coarse mesh lies outside what the radiograph shows"
    return None


def _in_order(skeleton: Skeleton) -> bool:
    """Whether each vertebra lies below the one before; it does in every posture that a film is taken in."""
    heights = [skeleton.bones[name].center_mass[2] for name in SPINE if name in skeleton.bones]
    return bool((np.diff(heights) < 0).all())


def _in_view(skeleton: Skeleton, geometry: XRayGeometry) -> tuple[Skeleton, list[str]]:
    """The bones of which enough is in the picture and in the cube that is reconstructed, and the names of the rest."""
    inside = []
    for name, mesh in skeleton.bones.items():
        pixels = geometry.project(mesh.vertices)
        shown = ((pixels > -0.5) & (pixels < np.array(geometry.shape[::-1]) - 0.5)).all(axis=1)
        shown &= (np.abs(geometry.ras_to_ray_cube(mesh.vertices)) <= 0.5).all(axis=1)
        if shown.mean() >= _IN_VIEW:
            inside.append(name)
    left_out = [name for name in skeleton.bones if name not in inside]
    return skeleton.subset(inside), left_out


def _warnings(fit: FittedTemplate, laid: Laid, problem: str | None, left_out: list[str]) -> list[str]:
    notes = list(fit.notes)
    if problem:
        notes.append(f"{problem}: the bones are placed by the boxes alone, and depth is a guess")
    elif not fit.boxes:
        notes.append("no boxes: the coarse mesh alone placed the template, and levels may be off by one")
    if left_out:
        notes.append(f"out of view and left out: {', '.join(left_out)}")
    if laid.resized:
        notes.append(f"brought to the size that people's bones have: {', '.join(laid.resized)}")
    return notes


def _facts(fit: FittedTemplate, laid: Laid, left_out: list[str]) -> dict:
    found = laid.registration
    return {
        "boxes": len(fit.boxes),
        "box_residual_px": round(fit.residual_px, 3) if fit.boxes else None,
        "pose": {name: round(value, 4) for name, value in fit.parameters.items()},
        "registration": found and {k: v for k, v in found.summary().items() if k != "history_mm"},
        "out_of_view": left_out,
        "resized": list(laid.resized),
    }

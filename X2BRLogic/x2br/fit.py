"""From a posed template and a coarse mesh to named bones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from ..detection import Box
from ..evaluation.nearest import Nearest
from ..geometry import XRayGeometry
from ..registration import NDPSettings, Registration, Settings, register
from ..registration.result import Stages
from ..template import Skeleton, bone_of
from ..template.contact import separated
from .following import followed
from .joints import rejoined
from .pinning import pinned
from .poses import laid, limits_of
from .settling import THORAX
from .volumes import held

Progress = Callable[[float, str], None]

#: The template is posed already, so its alignment is kept (gamma, normalise) and it bends little, over long distances
#: (lambda, beta): on virtual patients less stiffness (100) follows the coarse mesh's errors, 5.6 mm from the true bones
#: instead of 4.1. A coarse mesh has pieces that are no bone (omega), and lies centimetres off in places: with the
#: program's radius of search the residual collapses on the nearest parts, and the result hangs on which points are
#: drawn (local_radius).
SETTINGS = Settings(
    omega=0.1,
    beta=1.2,
    lambda_=1e4,
    gamma=0.1,
    normalise="x",
    nystrom_g=200,
    local_radius=0.5,
    downsample="B,2000,0.02",
)
_LEAST_SPREAD_MM = 1.0
#: Expected error: what is left where mesh and template agree, mm, and the part of the distance to the mesh, up to a
#: most, that comes on top. The mean is that found on a virtual patient (3.8 mm). The distance says little there: a
#: bone that the mesh lacks is placed nearly as well by its box and its neighbours.
_BASE_MM, _SHARE, _FARTHEST_MM = 2.75, 0.25, 15.0
#: What is expected of a bone that was moved by its neighbours or the boxes alone, mm.
UNSEEN_MM = 10.0
#: These fit virtual patients of the people that the models were made from. Of the one person whom no model knows, with
#: boxes detected in the film, the bones were two and a half times as far off, and so it is told
#: (Documentation/benchmarks/confidence.md).
_A_NEW_PERSON = 2.5


@dataclass(frozen=True)
class Laid:
    """Named bones on a coarse mesh.

    Attributes:
        skeleton: the bones, closed, RAS mm.
        error_mm: by bone, ``(N,)`` how far each vertex may be off: more, the less certain the registration and the
            farther the coarse mesh.
        registration: of all bones that the mesh shows, before they were made whole; ``None`` without a mesh.
        resized: names of the bones that were brought into the range of human volumes.
        seconds: by stage.
    """

    skeleton: Skeleton
    error_mm: dict[str, np.ndarray]
    registration: Registration | None
    resized: tuple[str, ...]
    seconds: dict[str, float]


def lay_on(
    skeleton: Skeleton,
    coarse: trimesh.Trimesh | None,
    *,
    boxes: Mapping[str, Box] | None = None,
    geometry: XRayGeometry | None = None,
    volumes: Mapping[str, tuple[float, float]] | None = None,
    method: str = "gbcpd++",
    settings: Settings | NDPSettings | None = None,
    progress: Progress | None = None,
) -> Laid:
    """Lay the bones of a posed template onto a coarse mesh.

    The skeleton is registered as one shape, which tells where each vertex should go; every bone then follows as a
    whole and by a smooth bend, neighbours are brought together again, and none is left inside another.
    Source: Guven et al., X2BR, arXiv:2504.08675, 2025, section 3.3 (GBCPD++ of the template); the rest is ours.

    Args:
        skeleton: bent and placed already.
        coarse: the bones of the thorax; ``None`` leaves them where the skeleton has them.
        boxes, geometry: what the film shows and where; bones are moved in the picture to fill their boxes.
        volumes: least and greatest of each bone, mm^3.
        method, settings: of `register`; by default those that suit GBCPD++ here.

    Raises:
        InputError: one of the two has no surface, or they are out of each other's reach.
    """
    tell, stages = progress or (lambda fraction, stage: None), Stages()
    if settings is None and method == "gbcpd++":
        settings = SETTINGS
    found, spreads = None, {}
    vertices = {name: np.asarray(mesh.vertices) for name, mesh in skeleton.bones.items() if name in THORAX}
    with stages("registration"):
        if coarse is not None:
            found, vertices, spreads = _registered(skeleton.subset(vertices), coarse, method, settings, tell)
    tell(0.6, "bones")
    with stages("bones"):
        if boxes:
            vertices = pinned(vertices, boxes, geometry)
        vertices, resized = held(skeleton, vertices, volumes or {})
        placed = skeleton.with_vertices(rejoined(skeleton, followed(skeleton, vertices)))
    tell(0.65, "contact")
    with stages("contact"):
        result = replace(placed, bones=separated(placed.bones))
    tell(0.9, "confidence")
    with stages("confidence"):
        error = _expected_error(placed, result, coarse, spreads)
    return Laid(result, error, found, tuple(resized), dict(stages))


def _registered(
    skeleton: Skeleton, coarse: trimesh.Trimesh, method: str, settings, tell: Progress
) -> tuple[Registration, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The registration, and by bone where that takes its vertices as a whole bone, and their spread in mm."""
    united = skeleton.as_mesh()
    found = register(united, coarse, method, settings, lambda part, stage: tell(0.6 * part, "registration"))
    size = float(np.cbrt(abs(np.linalg.det(found.similarity[:3, :3]))))
    known = found.sigma if np.isfinite(found.sigma) else UNSEEN_MM
    spread = np.nan_to_num(found.uncertainty, nan=known) + _LEAST_SPREAD_MM
    ends = np.cumsum([len(mesh.vertices) for mesh in skeleton.bones.values()])[:-1]
    wanted = dict(zip(skeleton.bones, np.split(found.vertices, ends), strict=True))
    spreads = dict(zip(skeleton.bones, np.split(spread, ends), strict=True))
    vertices = {
        name: laid(mesh.vertices, wanted[name], spreads[name], limits_of(bone_of(name).group), size)
        for name, mesh in skeleton.bones.items()
    }
    return found, vertices, spreads


def _expected_error(
    placed: Skeleton, result: Skeleton, coarse: trimesh.Trimesh | None, spreads: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    nearest = None if coarse is None else Nearest.on_surface(coarse)
    error = {}
    for name, mesh in result.bones.items():
        error[name] = np.full(len(mesh.vertices), UNSEEN_MM)
        if name in spreads:
            off = np.linalg.norm(nearest(mesh.vertices).points - mesh.vertices, axis=1)
            # A bone that was cut off its neighbour has new vertices.
            origin = cKDTree(placed.bones[name].vertices).query(mesh.vertices)[1]
            away = _SHARE * np.minimum(off, _FARTHEST_MM)
            error[name] = _A_NEW_PERSON * np.sqrt(_BASE_MM**2 + away**2 + spreads[name][origin] ** 2)
    return error

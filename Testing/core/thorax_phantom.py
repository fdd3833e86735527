"""A person whose every bone is known: the template bent, and a coarse mesh and boxes such as a film would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.detection import Box
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.radiograph import Radiograph
from X2BRLogic.template import Skeleton, load_template
from X2BRLogic.template.articulated import NAMES, ArticulatedSkeleton

THORAX = frozenset(anatomy.BY_LABEL[label].name for label in anatomy.THORAX)
_FORM = {
    "size": -0.06,
    "kyphosis": 6.0,
    "slope_left": 5.0,
    "slope_right": 4.0,
    "front": 8.0,
    "right": -6.0,
    "turn": 2.0,
}


@dataclass(frozen=True)
class Phantom:
    radiograph: Radiograph
    truth: Skeleton
    coarse: trimesh.Trimesh
    boxes: list[Box]


def phantom(noise_mm: float = 1.5) -> Phantom:
    """The same person each time; `noise_mm` is that of the coarse mesh, which has lost its joints and two ribs."""
    geometry = XRayGeometry.from_view("AP")
    template = load_template()
    place = np.eye(4)
    place[:3, 3] = -template.as_mesh(THORAX).bounds.mean(axis=0)
    values = np.zeros(len(NAMES))
    for name, value in _FORM.items():
        values[NAMES.index(name)] = value
    truth = ArticulatedSkeleton(template.transformed(place)).posed(values)
    coarse = truth.as_mesh(THORAX - {"rib_left_9", "rib_right_4"})
    random = np.random.default_rng(0)
    coarse.vertices = coarse.vertices + random.normal(0, noise_mm, coarse.vertices.shape)
    film = trimesh.Trimesh(truth.as_mesh(THORAX).vertices)
    pixels = np.zeros(geometry.shape, dtype=np.float32)
    column, row = np.round(geometry.project(film.vertices)).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < pixels.shape[1]) & (row < pixels.shape[0])
    pixels[row[inside], column[inside]] = 1.0
    known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
    boxes = [box_of(name, truth.bones[name], geometry) for name in truth.bones if name in THORAX]
    return Phantom(Radiograph(pixels, geometry, known, "phantom"), truth, coarse, boxes)


def box_of(name: str, mesh: trimesh.Trimesh, geometry: XRayGeometry) -> Box:
    """The box around a projected bone."""
    pixels = geometry.project(mesh.vertices)
    return Box.of(name, [*pixels.min(axis=0), *pixels.max(axis=0)], 0.9)

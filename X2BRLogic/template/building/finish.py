"""What makes a mean of vertices a bone: smooth, closed, of the right volume and number of faces."""

from __future__ import annotations

import numpy as np
import trimesh

from ...surface import is_manifold, make_watertight, simplify
from .person import Person, largest_piece

#: Faces of a bone of the template.
FACES = {"rib": 2000, "vertebra": 3000, "sternum": 3000}


def cleaned(vertices: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """A mean bone as a smooth closed mesh: Taubin's filter takes what averaging leaves of the labels' steps.

    Source: Taubin, Curve and surface smoothing without shrinkage, ICCV 1995.
    """
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    trimesh.smoothing.filter_taubin(mesh, lamb=0.5, nu=0.52, iterations=8)
    return mesh if is_manifold(mesh) else make_watertight(mesh)


def mean_volume(name: str, samples: list[Person]) -> float:
    """The mean volume of a bone over those who show it whole, mm^3."""
    return float(np.mean([sample.bones[name].volume for sample in samples if name in sample.whole]))


def with_volume(mesh: trimesh.Trimesh, volume: float) -> trimesh.Trimesh:
    """The mesh grown along its normals to a volume in mm^3: flat triangles with corners on a round bone lose some."""
    grown = mesh.copy()
    for _ in range(3):
        grown.vertices = grown.vertices + grown.vertex_normals * (volume - grown.volume) / grown.area
    return grown


def refined(name: str, vertices: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """A coarse mean bone with the template's number of faces.

    Source of the subdivision: Loop, Smooth subdivision surfaces based on triangles, 1987.
    """
    coarse = cleaned(vertices, faces)
    return largest_piece(simplify(coarse.subdivide_loop(2), FACES[name.split("_")[0]]))

"""Measures of a thorax on its named bones, as functions of where the bones' vertices are.

Of volumes the change with the vertices is taken to first order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from ..evaluation.centre_line import centre_line
from ..template import bone_of

#: Vertebrae at whose heights breadth and depth are taken, and half the thickness of the slab, mm.
LEVELS = ("T4", "T6", "T8", "T10")
_SLAB_MM = 5.0
#: The ends of the thoracic kyphosis.
KYPHOSIS = ("T4", "T12")
_THORACIC = tuple(f"vertebra_T{n}" for n in range(1, 13))
_FEWEST_VERTEBRAE = 8
#: Ribs 1 to 10 reach round the chest; the spaces between them are measured.
SPACES = tuple((n, n + 1) for n in range(1, 10))
SIDES = ("left", "right")
_AROUND = 12  # vertices that a point of a centre line follows
_MIDDLE = slice(8, 24)  # of a centre line's 32 points: the side of the chest, where spaces do not narrow


@dataclass(frozen=True)
class Ruler:
    """What stays as it is while bones are displaced.

    Attributes:
        rest: vertices by bone as they were reconstructed ``(N, 3)``.
        volumes: by bone, ml, and how they change with each vertex, ml / mm ``(N, 3)``.
        lines: by rib, points of its centre line ``(32, 3)`` and the vertices ``(32, 12)`` that each follows.
    """

    rest: Mapping[str, np.ndarray]
    volumes: Mapping[str, tuple[float, np.ndarray]]
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, bones: Mapping[str, trimesh.Trimesh]) -> Ruler:
        """The ruler of named bones, RAS mm."""
        lines = {}
        for name, mesh in bones.items():
            if name.startswith("rib_"):
                line = centre_line(mesh)
                lines[name] = line, cKDTree(mesh.vertices).query(line, k=min(_AROUND, len(mesh.vertices)))[1]
        rest = {name: np.asarray(mesh.vertices, dtype=np.float32) for name, mesh in bones.items()}
        volumes = {name: (float(mesh.volume) / 1000.0, _volume_gradient(mesh)) for name, mesh in bones.items()}
        return cls(rest, volumes, lines)

    def measure(self, vertices: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The measures that the bones allow; mm, degrees, ml.

        ``volume NAME`` of each bone and ``volume GROUP`` of each group; ``space SIDE N`` between the ribs N and N + 1
        and ``space SIDE``, their mean; ``breadth``, ``breadth LEVEL`` and ``depth LEVEL``; of the spine ``cobb``,
        ``upper`` and ``lower`` (numbers of the thoracic vertebrae at its ends), ``kyphosis`` and ``length``.
        """
        volumes = self._volumes(vertices)
        return volumes | self._spaces(vertices) | _cage(vertices) | _spine(vertices)

    def _volumes(self, vertices: Mapping[str, np.ndarray]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, (at_rest, gradient) in self.volumes.items():
            volume = at_rest + float(np.einsum("ij,ij->", gradient, vertices[name] - self.rest[name]))
            group = "thoracic vertebrae" if name in _THORACIC else bone_of(name).group
            found[f"volume {name}"] = volume
            if group != name:
                found[f"volume {group}"] = found.get(f"volume {group}", 0.0) + volume
        return found

    def _spaces(self, vertices: Mapping[str, np.ndarray]) -> dict[str, float]:
        def line_of(name: str) -> np.ndarray:
            line, followed = self.lines[name]
            return line + (vertices[name] - self.rest[name])[followed].mean(axis=1)

        found = {}
        for side in SIDES:
            pairs = [(n, f"rib_{side}_{n}", f"rib_{side}_{m}") for n, m in SPACES]
            spaces = {
                n: float(np.median(cKDTree(line_of(lower)).query(line_of(upper)[_MIDDLE])[0]))
                for n, upper, lower in pairs
                if upper in self.lines and lower in self.lines
            }
            found |= {f"space {side} {n}": value for n, value in spaces.items()}
            if spaces:
                found[f"space {side}"] = float(np.mean(list(spaces.values())))
        return found


def _volume_gradient(mesh: trimesh.Trimesh) -> np.ndarray:
    """How the enclosed volume changes with each vertex: a third of the area around it, outwards, in ml / mm."""
    outwards = mesh.face_normals * mesh.area_faces[:, None] / 3000.0
    gradient = np.zeros((len(mesh.vertices), 3))
    for corner in range(3):
        np.add.at(gradient, mesh.faces[:, corner], outwards)
    return gradient


def _cage(vertices: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Outer breadth and depth of ribs and sternum, in all and in slabs at the heights of vertebrae."""
    ribs = [points for name, points in vertices.items() if name.startswith("rib_")]
    if len(ribs) < 2:
        return {}
    ribs = np.concatenate(ribs)
    shell = np.concatenate([ribs, vertices["sternum"]]) if "sternum" in vertices else ribs
    found = {"breadth": float(np.ptp(ribs[:, 0]))}
    for level in LEVELS:
        if f"vertebra_{level}" in vertices:
            height = vertices[f"vertebra_{level}"][:, 2].mean()
            slab = shell[np.abs(shell[:, 2] - height) < _SLAB_MM]
            if len(slab):
                found[f"breadth {level}"] = float(np.ptp(slab[:, 0]))
                found[f"depth {level}"] = float(np.ptp(slab[:, 1]))
    return found


def _spine(vertices: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Angles and length of a quartic through the centroids of T1 to T12.

    Its tangents stand for end plates; angles come out a few degrees below Cobb's (Vrtovec, Pernus and Likar, Eur. Spine
    J. 18, 2009, 593-607).
    """
    levels = [n for n, name in enumerate(_THORACIC, start=1) if name in vertices]
    if len(levels) < _FEWEST_VERTEBRAE:
        return {}
    centres = np.array([vertices[_THORACIC[n - 1]].mean(axis=0) for n in levels], dtype=np.float64)
    curve = [np.polynomial.Polynomial.fit(levels, centres[:, axis], 4) for axis in range(3)]
    right, front, up = (part.deriv()(np.array(levels, dtype=float)) for part in curve)
    coronal, sagittal = np.degrees(np.arctan2(-right, -up)), np.degrees(np.arctan2(-front, -up))
    ends = sorted((int(coronal.argmin()), int(coronal.argmax())))
    found = {"cobb": float(np.ptp(coronal)), "upper": float(levels[ends[0]]), "lower": float(levels[ends[1]])}
    first, last = (int(level[1:]) for level in KYPHOSIS)
    if {first, last} <= set(levels):
        found["kyphosis"] = float(sagittal[levels.index(first)] - sagittal[levels.index(last)])
    if {1, 12} <= set(levels):
        fine = np.stack([part(np.linspace(1, 12, 111)) for part in curve], axis=1)
        found["length"] = float(np.linalg.norm(np.diff(fine, axis=0), axis=1).sum())
    return found

"""Boxes that a skeleton's bones would have in a radiograph, and how far they are from detected ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import least_squares

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from .articulated import SPREAD, ArticulatedSkeleton

#: How far the edge of a box lies from where it belongs, mm at the isocentre: half by detection, half by form.
EDGE_MM = 4.0
#: How far along the beam the middle of the thorax lies from the isocentre, mm.
DEPTH_MM = 10.0
#: An edge so near to the border of the picture, in pixels, is the picture's and not the bone's.
_BORDER = 2.0
_DIRECTIONS = 150


class ProjectedSkeleton:
    """An articulated skeleton seen by an X-ray geometry.

    Attributes:
        names: of the bones that can be detected, the rows of all that follows.
        mm: of a pixel, at the isocentre.
    """

    def __init__(self, body: ArticulatedSkeleton, geometry: XRayGeometry):
        self.geometry = geometry
        self.body = body
        clouds = {n: _outermost(body.skeleton.bones[n].vertices) for n in body.names if n in anatomy.BY_NAME}
        self.names = tuple(clouds)
        self.mm = float(np.mean(geometry.spacing)) * geometry.sod / geometry.sid
        self._carried = body.carried(clouds)
        self._starts = np.concatenate([[0], np.cumsum([len(cloud) for cloud in clouds.values()])[:-1]])
        thorax = {anatomy.BY_LABEL[label].name for label in anatomy.THORAX}
        self._thoracic = np.concatenate([np.full(len(cloud), name in thorax) for name, cloud in clouds.items()])

    def edges(self, values: np.ndarray) -> np.ndarray:
        """Left, top, right and bottom of each bone for parameters, pixels, ``(bones, 4)``; not cut at the border."""
        return self._edges(self.body.move(values, self._carried))

    def _edges(self, points: np.ndarray) -> np.ndarray:
        pixels = self.geometry.project(points)
        low, high = (extreme.reduceat(pixels, self._starts) for extreme in (np.minimum, np.maximum))
        return np.concatenate([low, high], axis=1)

    def _off_centre(self, points: np.ndarray) -> float:
        """How far the middle of the thorax lies from the isocentre along the beam, mm."""
        depth = (points[self._thoracic] - self.geometry.isocentre) @ self.geometry.to_source
        return float(depth.min() + depth.max()) / 2

    def visible(self, values: np.ndarray) -> dict[str, float]:
        """The part of each bone's box that lies in the picture, 0 to 1, by name."""
        edges = self.edges(values)
        height, width = self.geometry.shape
        shown = np.clip(edges, -0.5, np.array([width, height, width, height]) - 0.5)
        size, whole = ((e[:, 2:] - e[:, :2]).prod(axis=1) for e in (shown, edges))
        return dict(zip(self.names, size / whole, strict=True))

    def misfit(self, values: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
        """How far predicted edges lie from those of detected boxes, mm at the isocentre, ``(boxes, 4)``.

        Where a box ends with the picture, the bone may go on.
        """
        return self._misfit(self.edges(values), boxes)

    def _misfit(self, edges: np.ndarray, boxes: Mapping[str, Box]) -> np.ndarray:
        if not boxes:
            return np.empty((0, 4))
        height, width = self.geometry.shape
        wanted = np.array([box.edges for box in boxes.values()])
        off = (edges[[self.names.index(name) for name in boxes]] - wanted) * self.mm
        at_border = np.abs(wanted - np.array([-0.5, -0.5, width - 0.5, height - 0.5])) < _BORDER
        return np.where(at_border & (off * np.array([-1, -1, 1, 1]) > 0), 0.0, off)

    def solved(self, values: np.ndarray, free: list[int], boxes: Mapping[str, Box], weights: np.ndarray) -> np.ndarray:
        """Parameters of least squares over misfits in units of `EDGE_MM`, the depth of the thorax, and the prior."""
        root = np.sqrt(weights)[:, None] / EDGE_MM

        def residuals(part: np.ndarray) -> np.ndarray:
            trial = values.copy()
            trial[free] = part * SPREAD[free]
            points = self.body.move(trial, self._carried)
            misfit = self._misfit(self._edges(points), boxes) * root
            return np.concatenate([misfit.ravel(), [self._off_centre(points) / DEPTH_MM], part])

        found = least_squares(residuals, values[free] / SPREAD[free], method="lm", xtol=1e-4, ftol=1e-4, max_nfev=400)
        better = values.copy()
        better[free] = found.x * SPREAD[free]
        return better


def _outermost(vertices: np.ndarray) -> np.ndarray:
    """The vertices that reach farthest in any of many directions: all that a box around the bone can depend on.

    The directions are a Fibonacci lattice on the sphere.
    """
    n = np.arange(_DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * n / _DIRECTIONS), np.pi * (1 + 5**0.5) * n
    directions = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)])
    return vertices[np.unique((vertices @ directions).argmax(axis=0))]

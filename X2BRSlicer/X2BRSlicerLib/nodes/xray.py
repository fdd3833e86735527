"""The X-ray arrangement in 3D: source, detector and the rays between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from . import folders
from .meshes import modelFromLines

if TYPE_CHECKING:
    from X2BRLogic.geometry import XRayGeometry

ARRANGEMENT = "x-ray"
_COLOUR = (1.0, 0.85, 0.3)
_SOURCE_MM = 20.0


def showArrangement(originNode: slicer.vtkMRMLNode, geometry: XRayGeometry) -> slicer.vtkMRMLModelNode:
    """Draw where source and detector are for `originNode`; what was drawn before is redrawn."""
    segments = _segments(geometry)
    existing = folders.ofRun(originNode, ARRANGEMENT)
    node = modelFromLines(segments, f"{originNode.GetName()} source and detector", _COLOUR, 2.0)
    if existing:
        existing[0].SetAndObservePolyData(node.GetPolyData())
        slicer.mrmlScene.RemoveNode(node)
        return existing[0]
    folders.claim(node, originNode, ARRANGEMENT)
    return node


def hideArrangement(originNode: slicer.vtkMRMLNode) -> None:
    """Take the drawing away."""
    folders.removeRun(originNode, ARRANGEMENT)


def _segments(geometry: XRayGeometry) -> np.ndarray:
    """The detector's frame, rays to its corners and its middle, and a star for the focal spot: ``(N, 2, 3)`` RAS mm."""
    rows, columns = geometry.shape
    edges = np.array([(-0.5, -0.5), (columns - 0.5, -0.5), (columns - 0.5, rows - 0.5), (-0.5, rows - 0.5)])
    corners = geometry.pixel_positions(edges)
    frame = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    foot = geometry.pixel_positions(np.array([geometry.principal_point]))
    rays = np.array([(geometry.source, end) for end in (*corners, *foot)])
    arms = _SOURCE_MM * np.concatenate([geometry.columns, geometry.rows, geometry.to_source]).reshape(3, 3)
    star = np.array([(geometry.source - arm, geometry.source + arm) for arm in arms])
    return np.concatenate([frame, rays, star])

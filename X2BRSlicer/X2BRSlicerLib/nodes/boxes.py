"""Boxes of detected bones on the detector plane, with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from . import display, folders, radiographs
from .meshes import colourLines, modelFromLines

if TYPE_CHECKING:
    from X2BRLogic.detection import Box
    from X2BRLogic.geometry import XRayGeometry

BOX, LABELS = "box", "box labels"
_COLOUR = (1.0, 0.78, 0.2)
_WIDTH = 1.5


def showBoxes(volumeNode: slicer.vtkMRMLScalarVolumeNode, geometry: XRayGeometry, folder: int = 0) -> list:
    """Draw the boxes that a radiograph carries, in the place of those drawn before.

    They are one model of lines, in the colours of their bones, and one list of points, at the boxes' upper left
    corners, that carry the labels; both go into `folder`, by default that of the radiograph's run or a new one.
    Returns the two nodes; none without boxes.
    """
    found = radiographs.boxesOf(volumeNode)
    folder = folder or folders.folderOfRun(volumeNode)
    folders.remove(folders.ofRun(volumeNode, BOX, LABELS), keep=folder if found else 0)
    if not found:
        return []
    drawn = _draw(volumeNode, geometry, found)
    folders.putUnder(drawn, folder or folders.newFolder(f"X2BR {volumeNode.GetName()}"))
    return drawn


def title(box: Box) -> str:
    """A box's label, short, since forty stand on one film: ``3L`` is the third left rib, ``L3`` a lumbar vertebra."""
    if box.group == "vertebrae":
        return box.name.removeprefix("vertebra_") if box.name else "V"
    short = {"ribs_left": "L", "ribs_right": "R", "sternum": "St", "cartilages": "C", "shoulder": "Sh"}[box.group]
    return f"{box.level or ''}{short}"


def _draw(volumeNode, geometry: XRayGeometry, found: list[Box]) -> list:
    corners = np.array([_corners(box) for box in found])
    places = geometry.pixel_positions(corners.reshape(-1, 2)).reshape(-1, 4, 3)
    segments = np.stack([places, np.roll(places, -1, axis=1)], axis=2).reshape(-1, 2, 3)
    lines = modelFromLines(segments, f"{volumeNode.GetName()} boxes", _COLOUR, _WIDTH)
    colourLines(lines, np.repeat([_colour(box) for box in found], 4, axis=0))
    display.showOnSlices(lines)
    labels = _labels(volumeNode, [title(box) for box in found], places[:, 0])
    folders.claim(lines, volumeNode, BOX)
    folders.claim(labels, volumeNode, LABELS)
    return [lines, labels]


def _colour(box: Box) -> tuple[float, float, float]:
    """That of its bone; without a level that of a bone of its group."""
    from X2BRLogic import anatomy

    bones = [bone for bone in anatomy.BONES if bone.group == box.group]
    return next((bone.colour for bone in bones if bone.name == box.name), bones[0].colour)


def _corners(box: Box) -> list[tuple[float, float]]:
    return [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]


def _labels(volumeNode, titles: list[str], places: np.ndarray) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{volumeNode.GetName()} box labels")
    node.CreateDefaultDisplayNodes()
    for text, place in zip(titles, places, strict=True):
        node.AddControlPoint([float(value) for value in place], text)
    node.SetLocked(True)
    look = node.GetDisplayNode()
    look.SetSelectedColor(*_COLOUR)
    look.SetColor(*_COLOUR)
    look.SetTextScale(2.5)
    look.SetGlyphScale(0.6)
    look.SetPropertiesLabelVisibility(False)
    look.SetPointLabelsVisibility(True)
    look.SetVisibility3D(False)
    return node

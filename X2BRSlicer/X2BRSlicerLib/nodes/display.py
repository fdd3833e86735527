"""How the result looks: opacity, groups, colours, and where the views look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from X2BRLogic.error_scale import ERROR_COLOURS, HIGHEST_ERROR_MM

from . import radiographs

if TYPE_CHECKING:
    from X2BRLogic.geometry import XRayGeometry

#: The slice view for the film. Green is the coronal one, in which a frontal film lies.
FILM_VIEW = "Green"
#: Values that vertices carry, and the range of their colours.
ERROR, DISTANCE = "expected_error_mm", "distance_mm"
_RANGES = {ERROR: (0.0, HIGHEST_ERROR_MM), DISTANCE: (0.0, 20.0)}
_TITLES = {ERROR: lambda: _("Expected error, mm"), DISTANCE: lambda: _("Distance, mm")}
_DISTANCE_COLOURS, _FALLBACK_COLOURS = "vtkMRMLColorTableNodeFilePlasma.txt", "vtkMRMLColorTableNodeIron"
_ERROR_TABLE, _STEPS = "X2BRExpectedError", 256
_LEGEND_POINTS = 12
#: Part of the view's width and height.
_LEGEND_SIZE = (0.1, 0.4)
#: Of the camera's distance beyond what just shows the bones whole.
_MARGIN, _MARGIN_ASIDE = 1.1, 1.9


def showOnSlices(modelNode: slicer.vtkMRMLModelNode) -> None:
    """Draw a model that lies in a slice's plane on it; Slicer's intersection with the slice shows no such model."""
    look = modelNode.GetDisplayNode()
    look.SetVisibility2D(True)
    look.SetVisibility3D(False)
    look.SetSliceDisplayModeToProjection()


def showFilm(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a radiograph in the slice view for films, and its plane in 3D. Without views, as in a script, nothing."""
    scene = slicer.mrmlScene
    sliceNode = scene.GetSingletonNode(FILM_VIEW, "vtkMRMLSliceNode")
    composite = scene.GetSingletonNode(FILM_VIEW, "vtkMRMLSliceCompositeNode")
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(FILM_VIEW)
    if not (sliceNode and composite and logic):
        return
    composite.SetBackgroundVolumeID(volumeNode.GetID())
    _hang(sliceNode, volumeNode)
    logic.FitSliceToBackground()
    logic.SnapSliceOffsetToIJK()
    sliceNode.SetSliceVisible(True)


def _hang(sliceNode: slicer.vtkMRMLSliceNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Turn a slice to a film, first row on top and first column on the left, wherever the film is in space."""
    matrix = radiographs.pixelToWorld(volumeNode)
    columns, rows = (matrix[:3, axis] / np.linalg.norm(matrix[:3, axis]) for axis in (0, 1))
    sliceToRas = np.eye(4)
    sliceToRas[:3, :3] = np.stack([columns, -rows, np.cross(columns, -rows)], axis=1)
    sliceToRas[:3, 3] = matrix[:3, 3]
    slicer.util.updateVTKMatrixFromArray(sliceNode.GetSliceToRAS(), sliceToRas)
    sliceNode.UpdateMatrices()


def lookAt(modelNodes: Iterable[slicer.vtkMRMLModelNode], geometry: XRayGeometry, turn: float = 0.0) -> None:
    """Turn the 3D view to models as the source sees them: before the film, upright as it is.

    `turn`: degrees about the film's upright axis that the viewer stands aside; from there things are wide and low, and
    a view may be narrow, so the viewer stands further off.
    """
    bounds = _boundsOf(modelNodes)
    viewNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLViewNode")
    if bounds is None or viewNode is None:
        return
    camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(viewNode)
    if camera is None:
        return
    centre = bounds.mean(axis=0)
    radius = 0.5 * float(np.linalg.norm(bounds[1] - bounds[0]))
    margin = _MARGIN_ASIDE if turn else _MARGIN
    distance = margin * radius / np.sin(np.deg2rad(0.5 * camera.GetViewAngle()))
    aside = np.deg2rad(turn)
    towardsViewer = np.cos(aside) * geometry.to_source + np.sin(aside) * geometry.columns
    camera.SetFocalPoint(*centre)
    camera.SetPosition(*(centre + distance * towardsViewer))
    camera.SetViewUp(*(-geometry.rows))
    camera.ResetClippingRange()


def setOpacity(modelNodes: Iterable[slicer.vtkMRMLModelNode], opacity: float) -> None:
    """From 0, invisible, to 1."""
    for node in modelNodes:
        node.GetDisplayNode().SetOpacity(opacity)


def setVisible(nodes: Iterable[slicer.vtkMRMLDisplayableNode], visible: bool) -> None:
    """Show or hide nodes."""
    for node in nodes:
        node.GetDisplayNode().SetVisibility(visible)


def colourBy(modelNodes: Iterable[slicer.vtkMRMLModelNode], values: str = "") -> None:
    """Colour models by a value of their vertices, `ERROR` or `DISTANCE`, with a scalar bar; else as bones."""
    legendShown = False
    for node in modelNodes:
        look = node.GetDisplayNode()
        has = bool(values) and node.GetPolyData().GetPointData().HasArray(values)
        if has:
            look.SetActiveScalarName(values)
            look.SetAndObserveColorNodeID(_colours(values))
            look.SetScalarRangeFlag(look.UseManualScalarRange)
            look.SetScalarRange(*_RANGES[values])
        look.SetScalarVisibility(has)
        _setLegend(node, values if has and not legendShown else "")
        legendShown = legendShown or bool(has)


def colouredBy(modelNodes: Iterable[slicer.vtkMRMLModelNode]) -> str:
    """By which value models are coloured; empty where by none."""
    for node in modelNodes:
        if node.GetDisplayNode().GetScalarVisibility():
            return node.GetDisplayNode().GetActiveScalarName() or ""
    return ""


def _setLegend(modelNode, values: str) -> None:
    """The scalar bar hangs on one of the bones and goes with it."""
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(modelNode)
    if not values:
        if legend:
            slicer.mrmlScene.RemoveNode(legend)
        return
    legend = legend or logic.AddDefaultColorLegendDisplayNode(modelNode)
    legend.SetTitleText(_TITLES[values]())
    legend.SetLabelFormat("%.0f")
    legend.SetSize(*_LEGEND_SIZE)
    legend.SetNumberOfLabels(6 if values == ERROR else 5)
    legend.GetTitleTextProperty().SetFontSize(_LEGEND_POINTS)
    legend.GetLabelTextProperty().SetFontSize(_LEGEND_POINTS)
    legend.SetVisibility(True)


def _colours(values: str) -> str:
    """The node of the colours, by ID."""
    if values == ERROR:
        return _errorColours().GetID()
    return _DISTANCE_COLOURS if slicer.mrmlScene.GetNodeByID(_DISTANCE_COLOURS) else _FALLBACK_COLOURS


def _errorColours() -> slicer.vtkMRMLColorTableNode:
    """The scale of the report as a table of colours, which the scene has once and keeps when it is saved."""
    known = slicer.mrmlScene.GetSingletonNode(_ERROR_TABLE, "vtkMRMLColorTableNode")
    if known:
        return known
    table = slicer.vtkMRMLColorTableNode()
    table.SetName("X2BR expected error")
    table.SetSingletonTag(_ERROR_TABLE)
    table.SetTypeToUser()
    table.SetHideFromEditors(True)
    table.SetNumberOfColors(_STEPS)
    stops = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in ERROR_COLOURS])
    for step, place in enumerate(np.linspace(0.0, len(stops) - 1.0, _STEPS)):
        shade = [float(np.interp(place, np.arange(len(stops)), stops[:, channel])) for channel in range(3)]
        table.SetColor(step, f"{step}", *shade, 1.0)
    return slicer.mrmlScene.AddNode(table)


def _boundsOf(modelNodes) -> np.ndarray | None:
    """The box around models, ``[[min], [max]]`` in RAS mm."""
    every = []
    for node in modelNodes:
        bounds = np.zeros(6)
        node.GetRASBounds(bounds)
        every.append(bounds.reshape(3, 2).T)
    return np.stack([np.min(every, axis=0)[0], np.max(every, axis=0)[1]]) if every else None

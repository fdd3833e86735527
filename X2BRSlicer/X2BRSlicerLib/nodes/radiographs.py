"""Radiographs in the scene.

A radiograph lives in the scene as a one-slice volume on its detector plane. The plane says where the image is, but
neither how far the source is nor on which side; SID, SOD and view travel with the node in its attributes, and so do
the boxes of the bones in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry

from .names import uniqueName

if TYPE_CHECKING:
    from X2BRLogic.detection import Box
    from X2BRLogic.radiograph import Radiograph

GEOMETRY_ATTRIBUTE = "X2BR.Geometry"
KNOWN_ATTRIBUTE = "X2BR.Known"
WARNINGS_ATTRIBUTE = "X2BR.Warnings"
BOXES_ATTRIBUTE = "X2BR.Boxes"

#: Cosine of the largest angle between a volume's axes and those of the view for which its plane is the detector's.
#: Within it lie tilted and rolled detectors; outside lie pictures without orientation, which Slicer puts axially.
_PLANE_TOLERANCE = 0.5


def radiographFromVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, view: str | None = None) -> Radiograph:
    """A one-slice volume node as a radiograph.

    SID, SOD, view and principal point come from the node's attribute ``X2BR.Geometry`` (JSON as in geometry.json)
    where there is one, else they are the defaults for `view`, which is AP when nothing says. The detector plane is the
    node's, parent transforms included, if there is such an attribute or if the node lies as the view would have it;
    else it is in the default place, with the node's spacing as pixel spacing unless that is 1.0, which is what Slicer
    gives a picture without one. An image shown inverted is inverted, so that bone is as bright as the user sees it.

    Raises `InputError` for a node without a usable image, with more than one slice, or with damaged attributes.
    """
    from X2BRLogic.radiograph import radiograph_from_array

    name = volumeNode.GetName()
    if volumeNode.GetImageData() is None:
        raise InputError(f"{name} holds no image; load a radiograph")
    slices = slicer.util.arrayFromVolume(volumeNode)
    if len(slices) != 1:
        raise InputError(f"{name} is a volume of {len(slices)} slices; choose a radiograph, which has one")
    pixels = _boneBright(volumeNode, slices[0])
    matrix = pixelToWorld(volumeNode)

    stored, known = None, {}
    if volumeNode.GetAttribute(GEOMETRY_ATTRIBUTE):
        stored, known = _storedGeometry(volumeNode, pixels.shape)
    onPlane = stored or _liesAs(XRayGeometry.from_view(view or "AP"), matrix)
    spacing = tuple(np.linalg.norm(matrix[:3, [1, 0]], axis=0))
    spacingGiven = onPlane or not np.allclose(spacing, 1.0)
    radiograph = radiograph_from_array(
        pixels, _sourceOf(volumeNode), view=view, pixel_spacing=spacing if spacingGiven else None, geometry=stored
    )
    geometry = _onPlane(radiograph.geometry, matrix) if onPlane else radiograph.geometry
    warnings = dict.fromkeys((*_storedWarnings(volumeNode), *radiograph.warnings))
    return replace(radiograph, geometry=geometry, known={**radiograph.known, **known}, warnings=tuple(warnings))


def volumeFromRadiograph(radiograph: Radiograph, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a radiograph to the scene, on its detector plane and with its geometry."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", uniqueName(name))
    slicer.util.updateVolumeFromArray(node, radiograph.pixels[np.newaxis])
    placeVolume(node, radiograph)
    node.CreateDefaultDisplayNodes()
    return node


def first() -> slicer.vtkMRMLScalarVolumeNode | None:
    """The scene's first volume that can be a radiograph: of one slice, not a label map."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        image = node.GetImageData()
        if image and image.GetDimensions()[2] == 1 and not node.IsA("vtkMRMLLabelMapVolumeNode"):
            return node
    return None


def placeVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, radiograph: Radiograph) -> None:
    """Put a volume node onto the radiograph's detector plane, and keep its geometry with it."""
    geometry = radiograph.geometry
    local = np.linalg.inv(_parentToWorld(volumeNode)) @ geometry.pixel_to_ras
    wasModified = volumeNode.StartModify()
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(local))
    volumeNode.SetAttribute(GEOMETRY_ATTRIBUTE, json.dumps(geometry.to_dict()))
    volumeNode.SetAttribute(KNOWN_ATTRIBUTE, json.dumps(radiograph.known))
    volumeNode.SetAttribute(WARNINGS_ATTRIBUTE, json.dumps(radiograph.warnings))
    volumeNode.EndModify(wasModified)


def changeGeometry(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    *,
    view: str | None = None,
    sid: float | None = None,
    sod: float | None = None,
    spacing: tuple[float, float] | None = None,
) -> None:
    """Say what a radiograph's file did not, or said wrongly; the node moves to where its detector is then.

    The isocentre stays. `view` is a name of `geometry.VIEWS`, lengths are mm, `spacing` is (between rows, between
    columns). Raises `InputError` where the numbers make no sense, and then changes nothing.
    """
    radiograph = radiographFromVolume(volumeNode)
    geometry = radiograph.geometry
    if view is not None and view != geometry.view:
        fresh = XRayGeometry.from_view(view)
        geometry = replace(geometry, view=view, to_source=fresh.to_source, columns=fresh.columns, rows=fresh.rows)
    if spacing is not None:
        # the beam meets the detector where it did, in mm from the image's centre
        centre = (np.array(geometry.shape[::-1]) - 1) / 2
        offset = (np.array(geometry.principal_point) - centre) * geometry.spacing[::-1]
        principal = tuple(centre + offset / spacing[::-1])
        geometry = replace(geometry, spacing=tuple(spacing), principal_point=principal)
    geometry = replace(geometry, sid=geometry.sid if sid is None else sid, sod=geometry.sod if sod is None else sod)
    said = {"view": view, "sid": sid, "sod": sod, "spacing": spacing}
    known = radiograph.known | {name: True for name, value in said.items() if value is not None}
    placeVolume(volumeNode, replace(radiograph, geometry=geometry, known=known))


def boxesOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> list[Box]:
    """The boxes of bones that a radiograph node carries. Raises `InputError` where they are damaged."""
    from X2BRLogic.detection import Box

    try:
        return [Box(**box) for box in json.loads(volumeNode.GetAttribute(BOXES_ATTRIBUTE) or "[]")]
    except (ValueError, TypeError) as error:
        raise InputError(f"{volumeNode.GetName()}: its boxes are damaged ({error}); detect them anew") from None


def setBoxes(volumeNode: slicer.vtkMRMLScalarVolumeNode, boxes: Iterable[Box]) -> None:
    """Keep the boxes of bones with their radiograph."""
    numbers = [{key: _plain(value) for key, value in asdict(box).items()} for box in boxes]
    volumeNode.SetAttribute(BOXES_ATTRIBUTE, json.dumps(numbers))


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _boneBright(volumeNode, image: np.ndarray) -> np.ndarray:
    """The image as ``(rows, columns)``, inverted if it is shown inverted."""
    from X2BRLogic.radiograph import to_grey

    if image.ndim == 3:
        # a picture of one or two channels has no colour; a fourth channel is opacity
        image = to_grey(volumeNode.GetName(), image[..., :3]) if image.shape[-1] >= 3 else image[..., 0]
    display = volumeNode.GetDisplayNode()
    if display and display.IsA("vtkMRMLScalarVolumeDisplayNode") and display.GetInvertDisplayScalarRange():
        image = image.max() - image.astype(np.float32) + image.min()
    return image


def _sourceOf(volumeNode) -> str:
    """Where the image came from: its file, or its name for one made in the scene."""
    storage = volumeNode.GetStorageNode()
    return (storage and storage.GetFileName()) or volumeNode.GetName()


def pixelToWorld(volumeNode) -> np.ndarray:
    """4x4 matrix from ``(column, row, 0)`` to world RAS, linear parent transforms included."""
    local = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(local)
    return _parentToWorld(volumeNode) @ slicer.util.arrayFromVTKMatrix(local)


def _parentToWorld(volumeNode) -> np.ndarray:
    parent = vtk.vtkMatrix4x4()
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode and not transformNode.GetMatrixTransformToWorld(parent):
        raise InputError(f"{volumeNode.GetName()} is under a transform that bends it; put it under a rigid one or none")
    return slicer.util.arrayFromVTKMatrix(parent)


def _storedGeometry(volumeNode, shape: tuple[int, int]) -> tuple[XRayGeometry, dict[str, bool]]:
    """The geometry in the node's attributes, and which of its parts were known rather than assumed."""

    name = volumeNode.GetName()
    try:
        geometry = XRayGeometry.from_dict(json.loads(volumeNode.GetAttribute(GEOMETRY_ATTRIBUTE)))
        known = dict(json.loads(volumeNode.GetAttribute(KNOWN_ATTRIBUTE) or "{}"))
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: its X2BR attributes are damaged ({error}); load the radiograph anew") from None
    if geometry.shape != shape:
        raise InputError(
            f"{name} has {shape[1]} x {shape[0]} pixels, but its geometry is that of {geometry.shape[1]} x "
            f"{geometry.shape[0]}; load the radiograph anew, or remove its attribute {GEOMETRY_ATTRIBUTE}"
        )
    return geometry, known


def _storedWarnings(volumeNode) -> list[str]:
    """What the reader of the file had to say."""
    try:
        return [str(warning) for warning in json.loads(volumeNode.GetAttribute(WARNINGS_ATTRIBUTE) or "[]")]
    except (ValueError, TypeError):
        return []


def _liesAs(geometry: XRayGeometry, matrix: np.ndarray) -> bool:
    columns, rows = (matrix[:3, axis] / np.linalg.norm(matrix[:3, axis]) for axis in (0, 1))
    return min(columns @ geometry.columns, rows @ geometry.rows) > _PLANE_TOLERANCE


def _onPlane(geometry: XRayGeometry, matrix: np.ndarray) -> XRayGeometry:
    """The same source and principal point relative to the detector, the detector being where `matrix` puts it."""

    spacing = np.linalg.norm(matrix[:3, :2], axis=0)
    columns, rows = (matrix[:3, :2] / spacing).T
    if abs(columns @ rows) > 1e-4:
        raise InputError("the radiograph's rows and columns are not perpendicular; remove the shearing transform")
    # Volumes read from files are orthogonal to single precision only.
    rows = rows - (rows @ columns) * columns
    rows /= np.linalg.norm(rows)
    # The plane has two sides; the side of the source is the view's to say.
    side = np.sign(np.cross(geometry.columns, geometry.rows) @ geometry.to_source)
    toSource = side * np.cross(columns, rows)
    column, row = geometry.principal_point
    foot = matrix[:3, :2] @ (column, row) + matrix[:3, 3]
    return replace(
        geometry,
        spacing=(spacing[1], spacing[0]),
        columns=columns,
        rows=rows,
        to_source=toSource,
        isocentre=foot + (geometry.sid - geometry.sod) * toSource,
    )

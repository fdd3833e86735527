"""The scene adapter: volume nodes to radiographs, meshes to model nodes.

A radiograph lives in the scene as a one-slice volume on its detector plane. The plane says where the image is, but
neither how far the source is nor on which side; SID, SOD and view travel with the node in its attributes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

if TYPE_CHECKING:
    import trimesh

    from X2BRLogic.geometry import XRayGeometry
    from X2BRLogic.radiograph import Radiograph

GEOMETRY_ATTRIBUTE = "X2BR.Geometry"
KNOWN_ATTRIBUTE = "X2BR.Known"
SUMMARY_ATTRIBUTE = "X2BR.Summary"
RADIOGRAPH_REFERENCE = "X2BR.Radiograph"

BONE_COLOUR = (0.95, 0.87, 0.73)

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
    from X2BRLogic.errors import InputError
    from X2BRLogic.geometry import XRayGeometry
    from X2BRLogic.radiograph import radiograph_from_array

    name = volumeNode.GetName()
    if volumeNode.GetImageData() is None:
        raise InputError(f"{name} holds no image; load a radiograph")
    slices = slicer.util.arrayFromVolume(volumeNode)
    if len(slices) != 1:
        raise InputError(f"{name} is a volume of {len(slices)} slices; choose a radiograph, which has one")
    pixels = _boneBright(volumeNode, slices[0])
    matrix = _pixelToWorld(volumeNode)

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
    return replace(radiograph, geometry=geometry, known={**radiograph.known, **known})


def volumeFromRadiograph(radiograph: Radiograph, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a radiograph to the scene, on its detector plane and with its geometry."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(radiograph.geometry.pixel_to_ras))
    slicer.util.updateVolumeFromArray(node, radiograph.pixels[np.newaxis])
    node.SetAttribute(GEOMETRY_ATTRIBUTE, json.dumps(radiograph.geometry.to_dict()))
    node.SetAttribute(KNOWN_ATTRIBUTE, json.dumps(radiograph.known))
    node.CreateDefaultDisplayNodes()
    return node


def showReconstruction(reconstruction, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLModelNode]:
    """Add a reconstruction's meshes to the scene as models in a subject-hierarchy folder of their own.

    The named bones where there are any, else the one mesh of all. Each model keeps the summary as JSON in its attribute
    ``X2BR.Summary`` and a node reference to the radiograph.
    """
    from X2BRLogic.anatomy import BY_NAME

    radiographName = volumeNode.GetName()
    if reconstruction.bones:
        models = [modelFromMesh(mesh, name, BY_NAME[name].colour) for name, mesh in reconstruction.bones.items()]
    else:
        models = [modelFromMesh(reconstruction.mesh, f"{radiographName} bones", BONE_COLOUR)]
    summary = json.dumps(reconstruction.summary)
    for model in models:
        model.SetAttribute(SUMMARY_ATTRIBUTE, summary)
        model.SetNodeReferenceID(RADIOGRAPH_REFERENCE, volumeNode.GetID())
    _putIntoFolder(models, f"X2BR {radiographName}")
    return models


def modelFromMesh(mesh: trimesh.Trimesh, name: str, colour: tuple[float, float, float]) -> slicer.vtkMRMLModelNode:
    """Add a triangle mesh (vertices in RAS mm) to the scene as a model with normals for smooth shading."""
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices, dtype=np.float32), deep=True))
    faces = np.asarray(mesh.faces, dtype=np.int64)
    triangles = vtk.vtkCellArray()
    triangles.SetData(3, numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces).ravel(), deep=True))
    normals = numpy_to_vtk(np.ascontiguousarray(mesh.vertex_normals, dtype=np.float32), deep=True)
    normals.SetName("Normals")
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(points)
    polyData.SetPolys(triangles)
    polyData.GetPointData().SetNormals(normals)

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetAndObservePolyData(polyData)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(*colour)
    return node


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


def _pixelToWorld(volumeNode) -> np.ndarray:
    """4x4 matrix from ``(column, row, 0)`` to world RAS, linear parent transforms included."""
    from X2BRLogic.errors import InputError

    local, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(local)
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode and not transformNode.GetMatrixTransformToWorld(parent):
        raise InputError(f"{volumeNode.GetName()} is under a transform that bends it; put it under a rigid one or none")
    return slicer.util.arrayFromVTKMatrix(parent) @ slicer.util.arrayFromVTKMatrix(local)


def _storedGeometry(volumeNode, shape: tuple[int, int]) -> tuple[XRayGeometry, dict[str, bool]]:
    """The geometry in the node's attributes, and which of its parts were known rather than assumed."""
    from X2BRLogic.errors import InputError
    from X2BRLogic.geometry import XRayGeometry

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


def _liesAs(geometry: XRayGeometry, matrix: np.ndarray) -> bool:
    columns, rows = (matrix[:3, axis] / np.linalg.norm(matrix[:3, axis]) for axis in (0, 1))
    return min(columns @ geometry.columns, rows @ geometry.rows) > _PLANE_TOLERANCE


def _onPlane(geometry: XRayGeometry, matrix: np.ndarray) -> XRayGeometry:
    """The same source and principal point relative to the detector, the detector being where `matrix` puts it."""
    from X2BRLogic.errors import InputError

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


def _putIntoFolder(nodes, name: str) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.SetItemParent(item, folder)
        else:
            # Slicer's plugins make an item for every new node; without the application there are none.
            hierarchy.CreateItem(folder, node)

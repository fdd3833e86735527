"""Meshes and line drawings as model nodes, and model nodes as meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from X2BRLogic.errors import InputError

from .names import uniqueName

if TYPE_CHECKING:
    import trimesh

    Colour = tuple[float, float, float]


def modelFromMesh(mesh: trimesh.Trimesh, name: str, colour: Colour) -> slicer.vtkMRMLModelNode:
    """Add a triangle mesh (RAS mm) to the scene as a model, with normals and with what each vertex carries."""
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(_points(mesh.vertices))
    polyData.SetPolys(_cells(np.asarray(mesh.faces)))
    normals = _array(mesh.vertex_normals, "Normals")
    polyData.GetPointData().SetNormals(normals)
    for key, values in mesh.vertex_attributes.items():
        if np.ndim(values) == 1:
            polyData.GetPointData().AddArray(_array(values, key))
    return _modelFromPolyData(polyData, name, colour)


def modelFromLines(segments: np.ndarray, name: str, colour: Colour, width: float) -> slicer.vtkMRMLModelNode:
    """Add straight lines to the scene as a model: ``(N, 2, 3)`` RAS mm, `width` in pixels of the screen."""
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(_points(np.reshape(segments, (-1, 3))))
    polyData.SetLines(_cells(np.arange(2 * len(segments)).reshape(-1, 2)))
    node = _modelFromPolyData(polyData, name, colour)
    node.GetDisplayNode().SetLineWidth(width)
    node.GetDisplayNode().SetLighting(False)
    return node


def colourLines(modelNode: slicer.vtkMRMLModelNode, colours: np.ndarray) -> None:
    """Give each straight line of a model its own colour, ``(N, 3)`` RGB 0-1."""
    bytes_ = np.repeat(np.round(255 * np.asarray(colours)).astype(np.uint8), 2, axis=0)
    array = numpy_to_vtk(bytes_, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    array.SetName("Colour")
    modelNode.GetPolyData().GetPointData().SetScalars(array)
    look = modelNode.GetDisplayNode()
    look.SetActiveScalar("Colour", vtk.vtkAssignAttribute.POINT_DATA)
    look.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseDirectMapping)
    look.SetScalarVisibility(True)


def meshFromModel(modelNode: slicer.vtkMRMLModelNode) -> trimesh.Trimesh:
    """A model of triangles as a mesh in world RAS mm, with the numbers of its vertices.

    Raises `InputError` for a model of anything else.
    """
    import trimesh

    polyData = modelNode.GetPolyData()
    polygons = polyData and polyData.GetPolys()
    if not polygons or polygons.GetNumberOfCells() == 0 or polygons.GetMaxCellSize() != 3:
        raise InputError(f"{modelNode.GetName()} is no surface of triangles; choose a model that X2BR has made")
    points = vtk_to_numpy(polyData.GetPoints().GetData()).astype(np.float64)
    parent = modelNode.GetParentTransformNode()
    if parent:
        matrix = vtk.vtkMatrix4x4()
        if not parent.GetMatrixTransformToWorld(matrix):
            raise InputError(f"{modelNode.GetName()} is under a transform that bends it; harden the transform first")
        matrix = slicer.util.arrayFromVTKMatrix(matrix)
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    faces = vtk_to_numpy(polygons.GetConnectivityArray()).reshape(-1, 3)
    return trimesh.Trimesh(points, faces, vertex_attributes=_carried(polyData), process=False)


def _carried(polyData: vtk.vtkPolyData) -> dict[str, np.ndarray]:
    """The numbers of each vertex, by name."""
    arrays = (polyData.GetPointData().GetArray(number) for number in range(polyData.GetPointData().GetNumberOfArrays()))
    return {
        array.GetName(): vtk_to_numpy(array)
        for array in arrays
        if array.GetNumberOfComponents() == 1 and array.GetName()
    }


def setPointValues(modelNode: slicer.vtkMRMLModelNode, name: str, values: np.ndarray) -> None:
    """Give every vertex of a model a number, in the place of an earlier array of that name."""
    modelNode.GetPolyData().GetPointData().AddArray(_array(values, name))
    modelNode.Modified()


def _modelFromPolyData(polyData: vtk.vtkPolyData, name: str, colour: Colour) -> slicer.vtkMRMLModelNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", uniqueName(name))
    node.SetAndObservePolyData(polyData)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(*colour)
    return node


def _points(positions: np.ndarray) -> vtk.vtkPoints:
    points = vtk.vtkPoints()
    points.SetData(_array(positions))
    return points


def _cells(corners: np.ndarray) -> vtk.vtkCellArray:
    cells = vtk.vtkCellArray()
    flat = np.ascontiguousarray(corners, dtype=np.int64).ravel()
    cells.SetData(corners.shape[1], numpy_to_vtkIdTypeArray(flat, deep=True))
    return cells


def _array(values: np.ndarray, name: str = "") -> vtk.vtkDataArray:
    array = numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float32), deep=True)
    array.SetName(name)
    return array

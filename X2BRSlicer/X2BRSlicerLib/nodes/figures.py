"""Figures as table nodes."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
import vtk

from . import folders

TABLE = "figures"


def showFigures(originNode: slicer.vtkMRMLNode, columns: Mapping[str, Mapping[str, object]]) -> slicer.vtkMRMLTableNode:
    """A table node with one row a figure and one column a protocol, in the run's folder and in an earlier one's place.

    What is no number is left out.
    """
    folder = folders.folderOfRun(originNode)
    folders.remove(folders.ofRun(originNode, TABLE), keep=folder)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{originNode.GetName()} figures")
    names = list(dict.fromkeys(name for figures in columns.values() for name, value in figures.items() if _is(value)))
    table = vtk.vtkTable()
    table.AddColumn(_strings("figure", names))
    for title, figures in columns.items():
        table.AddColumn(_numbers(title, [figures.get(name) for name in names]))
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)
    folders.claim(node, originNode, TABLE)
    if folder:
        folders.putUnder([node], folder)
    return node


def _is(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _strings(name: str, values: list[str]) -> vtk.vtkStringArray:
    array = vtk.vtkStringArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array


def _numbers(name: str, values: list) -> vtk.vtkDoubleArray:
    array = vtk.vtkDoubleArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(float(value) if _is(value) else float("nan"))
    return array

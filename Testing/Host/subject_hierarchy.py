"""The subject hierarchy follows the scene (Slicer: qSlicerSubjectHierarchyPluginLogic)."""

from __future__ import annotations

import slicer
import vtk

#: Kinds of nodes that Slicer's plugins put into the hierarchy.
_SHOWN = ("vtkMRMLDisplayableNode", "vtkMRMLTableNode", "vtkMRMLTextNode")


def follow(scene: slicer.vtkMRMLScene) -> None:
    """Every node that the user sees gets an item, and takes it along when it goes."""
    scene.AddObserver(scene.NodeAddedEvent, _added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, _removed)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _added(scene, event, node):
    if scene.IsImporting() or node.GetHideFromEditors() or not any(node.IsA(kind) for kind in _SHOWN):
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if not hierarchy.GetItemByDataNode(node):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _removed(scene, event, node):
    if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)

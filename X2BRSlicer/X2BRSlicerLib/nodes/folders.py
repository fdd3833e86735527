"""Folders of the subject hierarchy, each with what one run has made; deleting the folder undoes the run."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

#: On every node that a run has made: what it is, such as ``bone`` or ``outline``.
ROLE_ATTRIBUTE = "X2BR.Role"
#: From every node that a run has made to what it was made from.
ORIGIN_REFERENCE = "X2BR.Origin"


def claim(node: slicer.vtkMRMLNode, originNode: slicer.vtkMRMLNode, role: str) -> None:
    """Mark a node as made by a run on `originNode`."""
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.SetNodeReferenceID(ORIGIN_REFERENCE, originNode.GetID())


def ofRun(originNode: slicer.vtkMRMLNode, *roles: str) -> list[slicer.vtkMRMLNode]:
    """The nodes that runs on `originNode` have made, in the scene's order; only those of the given roles, if any."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return [
        node
        for node in nodes
        if node.GetNodeReferenceID(ORIGIN_REFERENCE) == originNode.GetID()
        and (not roles or node.GetAttribute(ROLE_ATTRIBUTE) in roles)
    ]


def removeRun(originNode: slicer.vtkMRMLNode, *roles: str) -> None:
    """Remove what runs on `originNode` have made, of the given roles or all, and the folders that are empty then."""
    remove(ofRun(originNode, *roles))


def remove(nodes: Iterable[slicer.vtkMRMLNode], keep: int = 0) -> None:
    """Remove nodes with their display and storage nodes, and the folders that are empty then, but for `keep`."""
    hierarchy = _hierarchy()
    folders = set()
    for node in nodes:
        folders.add(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)))
        for own in _belongings(node):
            slicer.mrmlScene.RemoveNode(own)
        slicer.mrmlScene.RemoveNode(node)
    for folder in folders:
        while folder != keep and _isEmptyFolder(folder):
            folder, empty = hierarchy.GetItemParent(folder), folder
            hierarchy.RemoveItem(empty)


def newFolder(name: str, parent: int = 0) -> int:
    """Make a folder, within another or at the top; its item's number."""
    hierarchy = _hierarchy()
    return hierarchy.CreateFolderItem(parent or hierarchy.GetSceneItemID(), name)


def folderOfRun(originNode: slicer.vtkMRMLNode) -> int:
    """The top folder of what a run on `originNode` has made; 0 where there is none."""
    hierarchy = _hierarchy()
    top = hierarchy.GetSceneItemID()
    for node in ofRun(originNode):
        item = hierarchy.GetItemByDataNode(node)
        while item and hierarchy.GetItemParent(item) not in (0, top):
            item = hierarchy.GetItemParent(item)
        if item and hierarchy.GetItemDataNode(item) is None:
            return item
    return 0


def putUnder(nodes: Iterable[slicer.vtkMRMLNode], folder: int) -> None:
    """Put nodes into a folder."""
    hierarchy = _hierarchy()
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.SetItemParent(item, folder)
        else:
            # Slicer's plugins make an item for every new node; without the application there are none.
            hierarchy.CreateItem(folder, node)


def _hierarchy() -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _belongings(node) -> list:
    """The nodes that Slicer leaves behind when a node is removed."""
    own = []
    if node.IsA("vtkMRMLDisplayableNode"):
        own += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        own += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    return [part for part in own if part]


def _isEmptyFolder(item: int) -> bool:
    hierarchy = _hierarchy()
    return (
        item not in (0, hierarchy.GetSceneItemID())
        and hierarchy.GetItemDataNode(item) is None
        and not slicer.util.getSubjectHierarchyItemChildren(item)
    )

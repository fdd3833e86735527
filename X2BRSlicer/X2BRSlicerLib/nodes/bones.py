"""A reconstruction in the scene: one model a bone, their outlines over the film, and how they are coloured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError

from . import boxes, display, folders, radiographs
from .meshes import meshFromModel, modelFromLines, modelFromMesh
from .names import groupTitle

if TYPE_CHECKING:
    import trimesh

    from X2BRLogic.geometry import XRayGeometry
    from X2BRLogic.reconstruction import Reconstruction

BONE, OUTLINE = "bone", "outline"
BONE_ATTRIBUTE, GROUP_ATTRIBUTE = "X2BR.Bone", "X2BR.Group"
SUMMARY_ATTRIBUTE = "X2BR.Summary"
BONE_COLOUR = (0.95, 0.87, 0.73)
_OUTLINE_WIDTH = 2.0


def showReconstruction(
    reconstruction: Reconstruction, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> list[slicer.vtkMRMLModelNode]:
    """Show a reconstruction in the place of an earlier one from the same radiograph; returns the bones' models.

    The named bones where there are any, else the one mesh of all. Beside them: their outlines as the source sees them,
    and the boxes that were used, both on the detector plane, onto which the radiograph itself is put. Everything lies
    in one folder. Each model keeps the summary as JSON in its attribute ``X2BR.Summary``.
    """
    with slicer.util.RenderBlocker():
        return _show(reconstruction, volumeNode)


def _show(reconstruction, volumeNode) -> list[slicer.vtkMRMLModelNode]:
    geometry = reconstruction.radiograph.geometry
    folders.removeRun(volumeNode)
    radiographs.placeVolume(volumeNode, reconstruction.radiograph)
    folder = folders.newFolder(f"X2BR {volumeNode.GetName()}")
    named = reconstruction.bones or {f"{volumeNode.GetName()} bones": reconstruction.mesh}
    summary = json.dumps(reconstruction.summary)
    groups: dict[str, dict] = {}
    for name, mesh in named.items():
        groups.setdefault(boneOf(name).group if reconstruction.bones else "", {})[name] = mesh
    models, outlines = [], []
    for group, meshes in groups.items():
        made = [_bone(name, mesh, group, summary, volumeNode) for name, mesh in meshes.items()]
        folders.putUnder(made, folders.newFolder(groupTitle(group), folder) if group else folder)
        models += made
        title = groupTitle(group) if group else made[0].GetName()
        outlines.append(_outline(meshes, geometry, f"{title} outline", group, volumeNode))
    if reconstruction.boxes and not radiographs.boxesOf(volumeNode):
        radiographs.setBoxes(volumeNode, reconstruction.boxes)
    boxes.showBoxes(volumeNode, geometry, folder)
    folders.putUnder(outlines, folders.newFolder(_("Outlines on the film"), folder))
    display.showFilm(volumeNode)
    display.lookAt(models, geometry)
    return models


def bonesOf(volumeNode: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLModelNode]:
    """The bones reconstructed from a radiograph."""
    return folders.ofRun(volumeNode, BONE)


def meshesOf(volumeNode: slicer.vtkMRMLNode) -> dict[str, trimesh.Trimesh]:
    """The same as meshes in world RAS mm, by name of the bone."""
    return {model.GetAttribute(BONE_ATTRIBUTE): meshFromModel(model) for model in bonesOf(volumeNode)}


def requiredMeshes(volumeNode: slicer.vtkMRMLNode) -> dict[str, trimesh.Trimesh]:
    """`meshesOf`, of which there must be some. Raises `InputError`."""
    found = meshesOf(volumeNode)
    if not found:
        raise InputError(f"there is no result from {volumeNode.GetName()}; reconstruct first")
    return found


def reconstructionFrom(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Reconstruction:
    """The result from a radiograph, as the core has it. Raises `InputError` where there is none."""
    import trimesh

    from X2BRLogic.reconstruction import Reconstruction

    found = requiredMeshes(volumeNode)
    named = found if groupsOf(volumeNode) else {}
    whole = trimesh.util.concatenate(list(found.values()))
    film, boxed = radiographs.radiographFromVolume(volumeNode), tuple(radiographs.boxesOf(volumeNode))
    return Reconstruction(film, whole, named, boxed, summaryOf(volumeNode))


def groupsOf(volumeNode: slicer.vtkMRMLNode) -> set[str]:
    """The groups of `anatomy` that the result shows; none for the one mesh of all."""
    return {model.GetAttribute(GROUP_ATTRIBUTE) for model in bonesOf(volumeNode)} - {"", None}


def summaryOf(volumeNode: slicer.vtkMRMLNode) -> dict:
    """How the result was made; empty where there is none."""
    models = bonesOf(volumeNode)
    return json.loads(models[0].GetAttribute(SUMMARY_ATTRIBUTE) or "{}") if models else {}


def showSegmentation(volumeNode: slicer.vtkMRMLNode) -> slicer.vtkMRMLSegmentationNode:
    """The bones once more as one segmentation with terminology, in the run's folder."""
    folders.removeRun(volumeNode, "segmentation")
    folder = folders.folderOfRun(volumeNode)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volumeNode.GetName()} segmentation")
    node.CreateDefaultDisplayNodes()
    # else every surface would be turned into voxels as it is added
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    node.GetSegmentation().SetSourceRepresentationName(surface)
    for model in bonesOf(volumeNode):
        name = model.GetAttribute(BONE_ATTRIBUTE)
        colour = model.GetDisplayNode().GetColor()
        segmentId = node.AddSegmentFromClosedSurfaceRepresentation(model.GetPolyData(), name, colour, name)
        segment = node.GetSegmentation().GetSegment(segmentId)
        if model.GetAttribute(GROUP_ATTRIBUTE):
            segment.SetTag(segment.GetTerminologyEntryTagName(), terminology(boneOf(name)))
    folders.claim(node, volumeNode, "segmentation")
    folders.putUnder([node], folder)
    return node


def terminology(bone: anatomy.Bone) -> str:
    """A bone's entry as Slicer's segments keep it: SNOMED CT, as in DICOM PS3.16."""
    from X2BRLogic.export import terminology_entry

    return terminology_entry(bone)


def boneOf(name: str) -> anatomy.Bone:
    """The entry in the table of bones; a costal cartilage is a part of one."""
    from X2BRLogic.template import bone_of

    return bone_of(name)


def _bone(name: str, mesh: trimesh.Trimesh, group: str, summary: str, volumeNode) -> slicer.vtkMRMLModelNode:
    model = modelFromMesh(mesh, name, boneOf(name).colour if group else BONE_COLOUR)
    model.SetAttribute(BONE_ATTRIBUTE, name)
    model.SetAttribute(GROUP_ATTRIBUTE, group)
    model.SetAttribute(SUMMARY_ATTRIBUTE, summary)
    folders.claim(model, volumeNode, BONE)
    return model


def _outline(meshes: dict, geometry: XRayGeometry, name: str, group: str, volumeNode) -> slicer.vtkMRMLModelNode:
    """The outlines of a group's bones, as one model in the colour of its first."""
    from X2BRLogic.outline import outline_segments

    pixels = np.concatenate([outline_segments(mesh, geometry) for mesh in meshes.values()])
    segments = geometry.pixel_positions(pixels.reshape(-1, 2)).reshape(-1, 2, 3)
    colour = boneOf(next(iter(meshes))).colour if group else BONE_COLOUR
    node = modelFromLines(segments, name, colour, _OUTLINE_WIDTH)
    node.SetAttribute(GROUP_ATTRIBUTE, group)
    folders.claim(node, volumeNode, OUTLINE)
    display.showOnSlices(node)
    return node

"""A reconstruction in the scene: one model a bone, their outlines over the film, and how they are coloured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import slicer

from X2BRLogic import anatomy

from . import boxes, display, folders, radiographs
from .meshes import meshFromModel, modelFromLines, modelFromMesh
from .names import groupTitle

if TYPE_CHECKING:
    import numpy as np
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
    geometry = reconstruction.radiograph.geometry
    folders.removeRun(volumeNode)
    radiographs.placeVolume(volumeNode, reconstruction.radiograph)
    folder = folders.newFolder(f"X2BR {volumeNode.GetName()}")
    named = reconstruction.bones or {f"{volumeNode.GetName()} bones": reconstruction.mesh}
    summary = json.dumps(reconstruction.summary)
    models: dict[str, list] = {}
    outlines: dict[str, list] = {}
    for name, mesh in named.items():
        bone = boneOf(name) if reconstruction.bones else None
        group, colour = (bone.group, bone.colour) if bone else ("", BONE_COLOUR)
        model = modelFromMesh(mesh, name, colour)
        model.SetAttribute(BONE_ATTRIBUTE, name)
        model.SetAttribute(GROUP_ATTRIBUTE, group)
        model.SetAttribute(SUMMARY_ATTRIBUTE, summary)
        folders.claim(model, volumeNode, BONE)
        models.setdefault(group, []).append(model)
        outlines.setdefault(group, []).append(_outline(mesh, geometry, name, colour, group, volumeNode))
    for group, inGroup in models.items():
        folders.putUnder(inGroup, folders.newFolder(groupTitle(group), folder) if group else folder)
    if reconstruction.boxes and not radiographs.boxesOf(volumeNode):
        radiographs.setBoxes(volumeNode, reconstruction.boxes)
    boxes.showBoxes(volumeNode, geometry, folder)
    flat = [outline for inGroup in outlines.values() for outline in inGroup]
    folders.putUnder(flat, folders.newFolder("Outlines on the film", folder))
    bones = [model for inGroup in models.values() for model in inGroup]
    display.showFilm(volumeNode)
    display.lookAt(bones, geometry)
    return bones


def bonesOf(volumeNode: slicer.vtkMRMLNode) -> list[slicer.vtkMRMLModelNode]:
    """The bones reconstructed from a radiograph."""
    return folders.ofRun(volumeNode, BONE)


def meshesOf(volumeNode: slicer.vtkMRMLNode) -> dict[str, trimesh.Trimesh]:
    """The same as meshes in world RAS mm, by name of the bone."""
    return {model.GetAttribute(BONE_ATTRIBUTE): meshFromModel(model) for model in bonesOf(volumeNode)}


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
    side = {anatomy.LEFT: "Left", anatomy.RIGHT: "Right"}.get(bone.side)
    modifier = f"SCT^{bone.side_code}^{side}" if side else "^^"
    return (
        "Segmentation category and type - 3D Slicer General Anatomy list"
        f"~SCT^123037004^Anatomical Structure~SCT^{bone.code}^{bone.meaning}~{modifier}"
        "~Anatomic codes - DICOM master list~^^~^^"
    )


def boneOf(name: str) -> anatomy.Bone:
    """The entry in the table of bones; a costal cartilage is a part of one."""
    from X2BRLogic.template import bone_of

    return bone_of(name)


def _outline(mesh, geometry: XRayGeometry, name, colour, group, volumeNode) -> slicer.vtkMRMLModelNode:
    from X2BRLogic.outline import outline_segments

    segments: np.ndarray = geometry.pixel_positions(outline_segments(mesh, geometry).reshape(-1, 2)).reshape(-1, 2, 3)
    node = modelFromLines(segments, f"{name} outline", colour, _OUTLINE_WIDTH)
    node.SetAttribute(GROUP_ATTRIBUTE, group)
    folders.claim(node, volumeNode, OUTLINE)
    display.showOnSlices(node)
    return node

"""CTs, and segmentations or label maps of their bones, from the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError

if TYPE_CHECKING:
    from X2BRLogic.volume import Volume

#: A preview's CT has no more voxels along an edge.
_PREVIEW_EDGE = 160


def ctFromVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """A volume node of Hounsfield units. Raises `InputError` for one that cannot be a CT."""
    from X2BRLogic.volume import Volume

    name = volumeNode.GetName()
    if volumeNode.GetImageData() is None:
        raise InputError(f"{name} holds no image; load a CT")
    array = slicer.util.arrayFromVolume(volumeNode)
    if array.ndim != 3 or min(array.shape) < 2:
        raise InputError(f"{name} is no volume of several slices; choose a CT")
    if array.min() > -200:
        raise InputError(f"{name} has no air in it: its values are no Hounsfield units; choose a CT")
    return Volume(array, _ijkToWorld(volumeNode))


def labelsFromNode(node: slicer.vtkMRMLNode, ctNode: slicer.vtkMRMLScalarVolumeNode | None = None) -> Volume:
    """The bones' labels, numbered as in `anatomy`, from a label map or a segmentation.

    A label map is taken as it is numbered. The segments of a segmentation are known by their terminology or else by
    their names (``rib_left_1``, ``vertebra_T4``, ``sternum``); they are sampled on the grid of `ctNode` if it is given.

    Raises `InputError` where there is no bone in it.
    """
    from X2BRLogic.volume import Volume

    if node.IsA("vtkMRMLSegmentationNode"):
        return _labelsFromSegmentation(node, ctNode)
    if node.GetImageData() is None:
        raise InputError(f"{node.GetName()} holds no labels; choose a segmentation of the bones")
    array = slicer.util.arrayFromVolume(node)
    if array.dtype.kind not in "iu" or not np.isin(array, list(anatomy.BY_LABEL)).any():
        raise InputError(f"{node.GetName()} has no labels of bones; number them as in X2BRLogic/anatomy.py")
    return Volume(array, _ijkToWorld(node))


def coarse(volume: Volume) -> Volume:
    """Every n-th voxel of a volume: enough for a preview, and small."""
    from X2BRLogic.volume import Volume

    steps = [max(1, -(-length // _PREVIEW_EDGE)) for length in volume.array.shape]
    array = np.ascontiguousarray(volume.array[tuple(slice(None, None, step) for step in steps)])
    return Volume(array, volume.ijk_to_ras @ np.diag([*steps[::-1], 1.0]))


def _ijkToWorld(node) -> np.ndarray:
    local, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(local)
    transform = node.GetParentTransformNode()
    if transform and not transform.GetMatrixTransformToWorld(parent):
        raise InputError(f"{node.GetName()} is under a transform that bends it; harden the transform first")
    return slicer.util.arrayFromVTKMatrix(parent) @ slicer.util.arrayFromVTKMatrix(local)


def _labelsFromSegmentation(node, ctNode) -> Volume:
    from X2BRLogic.volume import Volume

    segmentation = node.GetSegmentation()
    wanted = {}
    for segmentId in segmentation.GetSegmentIDs():
        bone = _boneOf(segmentation.GetSegment(segmentId))
        if bone:
            wanted[segmentId] = bone
    if not wanted:
        raise InputError(
            f"no segment of {node.GetName()} is named as a bone; give the segments terminology, or names such as "
            "rib_left_1, vertebra_T4, sternum"
        )
    if not node.CreateBinaryLabelmapRepresentation():
        raise InputError(f"{node.GetName()} cannot be turned into voxels; repair the segmentation")
    if ctNode is None:
        return _merged(node, wanted)
    array = np.zeros(slicer.util.arrayFromVolume(ctNode).shape, dtype=np.uint8)
    for segmentId, bone in wanted.items():
        array[slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, ctNode) > 0] = bone.label
    return Volume(array, _ijkToWorld(ctNode))


def _merged(node, wanted: dict) -> Volume:
    """All segments on the grid that the segmentation has for itself."""
    from X2BRLogic.volume import Volume

    image = slicer.vtkOrientedImageData()
    ids = vtk.vtkStringArray()
    for segmentId in wanted:
        ids.InsertNextValue(segmentId)
    if not node.GenerateMergedLabelmapForAllSegments(image, 0, None, ids):
        raise InputError(f"{node.GetName()} cannot be turned into voxels; repair the segmentation")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    extent = image.GetExtent()
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    merged = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    # the merged values count the segments from 1, in the order asked for
    table = np.array([0, *(bone.label for bone in wanted.values())], dtype=np.uint8)
    corner = np.eye(4)
    corner[:3, 3] = extent[::2]
    return Volume(table[merged], slicer.util.arrayFromVTKMatrix(matrix) @ corner)


def _boneOf(segment) -> anatomy.Bone | None:
    """By its terminology, which knows all levels and sides, else by its name."""
    entry = vtk.reference("")
    if segment.GetTag(segment.GetTerminologyEntryTagName(), entry):
        parts = str(entry).split("~")
        if len(parts) > 3:
            code, side = parts[2].split("^")[1:2], parts[3].split("^")[1:2]
            for bone in anatomy.BONES:
                if [bone.code] == code and (bone.side_code is None or [bone.side_code] == side):
                    return bone
    return anatomy.BY_NAME.get(segment.GetName().strip().replace(" ", "_"))

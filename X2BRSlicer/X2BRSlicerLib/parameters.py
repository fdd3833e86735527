"""The module's choices, kept in the scene and saved with it."""

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class X2BRSlicerParameterNode:
    """radiograph: the volume to reconstruct from."""

    radiograph: vtkMRMLScalarVolumeNode

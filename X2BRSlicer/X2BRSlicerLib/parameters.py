"""The module's choices, kept in the scene and saved with it."""

from typing import Annotated

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, Decimals, WithinRange, parameterNodeWrapper

VIEWS = ["AP", "PA", "LAT", "RLAT"]
DEVICES = ["auto", "cpu", "cuda"]
DETAILS = [64, 128, 256]


@parameterNodeWrapper
class X2BRSlicerParameterNode:
    """What the user has chosen.

    radiograph: the film to reconstruct from.
    lateral: a second film of the same person, to check the result by.
    method: how to reconstruct; empty for the default.
    detail: cells along the edge of the canonical cube.
    device: where the network runs.
    ct: to make radiographs from.
    ctLabels: the bones of the CT.
    drrView, drrAngle, drrTilt: where from; degrees.
    drrSid, drrSod: source to image and to isocentre, mm.
    drrSize, drrSpacing: pixels along the edge, and mm between them.
    drrClahe: equalise the local contrast.
    drrBonesOnly: the labelled bones alone.
    drrArrangement: show source, detector and rays in 3D.
    """

    radiograph: vtkMRMLScalarVolumeNode
    lateral: vtkMRMLScalarVolumeNode
    method: str = ""
    detail: Annotated[int, Choice(DETAILS)] = 128
    device: Annotated[str, Choice(DEVICES)] = "auto"
    ct: vtkMRMLScalarVolumeNode
    ctLabels: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    drrView: Annotated[str, Choice(VIEWS)] = "AP"
    drrAngle: Annotated[float, WithinRange(-180.0, 180.0)] = 0.0
    drrTilt: Annotated[float, WithinRange(-45.0, 45.0)] = 0.0
    drrSid: Annotated[float, WithinRange(300.0, 5000.0)] = 1800.0
    drrSod: Annotated[float, WithinRange(200.0, 5000.0)] = 1500.0
    drrSize: Annotated[int, WithinRange(64, 4096)] = 512
    drrSpacing: Annotated[float, WithinRange(0.05, 10.0), Decimals(3)] = 0.9
    drrClahe: bool = False
    drrBonesOnly: bool = False
    drrArrangement: bool = False


#: Slicer 5.10 leaves the observers of its wrappers on the node. Python's object of the node is kept as well, else it
#: and they would be collected as garbage together, and the node's next change would call what is no longer there.
_nodes: set = set()


def wrapped(node) -> X2BRSlicerParameterNode:
    """The choices that a parameter node of the scene holds."""
    _nodes.add(node)
    return X2BRSlicerParameterNode(node)

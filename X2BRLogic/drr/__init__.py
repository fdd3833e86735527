"""Digitally reconstructed radiographs: a CT, an X-ray geometry and exact ray tracing."""

from .body import bones_only, remove_couch
from .boxes import project_boxes
from .chain import Exposure, ImagingChain
from .poses import Detector, Pose, PoseRange, random_poses, series
from .presentation import as_radiograph
from .project import BoneProjection, LabelProjection, project_labels, ray_cosines
from .render import Renderer, isocentre
from .trace import RayTracer
from .writing import DrrWriter

__all__ = [
    "BoneProjection",
    "Detector",
    "DrrWriter",
    "Exposure",
    "ImagingChain",
    "LabelProjection",
    "Pose",
    "PoseRange",
    "RayTracer",
    "Renderer",
    "as_radiograph",
    "bones_only",
    "isocentre",
    "project_boxes",
    "project_labels",
    "random_poses",
    "ray_cosines",
    "remove_couch",
    "series",
]

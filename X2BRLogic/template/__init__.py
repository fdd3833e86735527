"""The skeleton template: named bones of the thorax, how neighbours meet, and its fit to detected boxes."""

from .fit import FittedTemplate, fit_template
from .parts import articulations, bone_of
from .reading import read_skeleton
from .skeleton import Joint, Skeleton
from .storage import load_template, save_skeleton
from .voxels import voxelise

__all__ = [
    "FittedTemplate",
    "Joint",
    "Skeleton",
    "articulations",
    "bone_of",
    "fit_template",
    "load_template",
    "read_skeleton",
    "save_skeleton",
    "voxelise",
]

"""How the bones of a scanned person move to become another person's."""

from .anthropometry import RANGES, acceptable, measure
from .armature import Armature, armature
from .local import draw_local
from .polyaffine import flow_back, trunk_motion
from .posture import Posture, draw_posture, pose
from .shape_model import ShapeModel, learn
from .transforms import apply

__all__ = [
    "RANGES",
    "Armature",
    "Posture",
    "ShapeModel",
    "acceptable",
    "apply",
    "armature",
    "draw_local",
    "draw_posture",
    "flow_back",
    "learn",
    "measure",
    "pose",
    "trunk_motion",
]

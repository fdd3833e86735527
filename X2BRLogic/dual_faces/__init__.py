"""From the faces of bones along rays (3DDX) to places and normals, to closed meshes, and to whole bones."""

from .complete import completed
from .maps import BoneMaps, bone_maps, points_of
from .solid import solid

__all__ = ["BoneMaps", "bone_maps", "completed", "points_of", "solid"]

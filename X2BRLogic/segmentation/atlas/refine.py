"""The last millimetres: the bent atlas drawn onto the subject's own bone by an image registration."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .grid import SPACING_MM

#: Bone farther than this from the bent atlas is none of its own (vessels with contrast, couch, shoulder), mm.
_NEAR_MM = 12.0
#: Distances to the bone's surface are compared up to this, mm, every second voxel.
_CLIP_MM = 6.0
_STRIDE = 2
_ITERATIONS = 40
#: Smoothness of the displacement, voxels of the registration's grid.
_SMOOTH_VOXELS = 2.0


def draw_onto(bone: np.ndarray, atlas_index: np.ndarray) -> np.ndarray:
    """How far each voxel is from its place in the atlas.

    Symmetric-forces demons (Vercauteren et al., Diffeomorphic demons, NeuroImage 2009) between signed distances to the
    surface of the subject's bone and of the atlas's, within reach of the atlas.

    Args:
        bone: the subject's bone ``[k, j, i]``.
        atlas_index: voxel indices ``(N, 3)`` as k, j, i of the bent atlas's points, which may lie outside.

    Returns:
        Displacement in mm ``[k, j, i, 3]`` as right, front, up, on every second voxel: what is at a voxel in the
        subject is at the voxel's place plus this in the bent atlas.
    """
    atlas = np.zeros(bone.shape, dtype=bool)
    inside = ((atlas_index >= 0) & (atlas_index < bone.shape)).all(axis=1)
    atlas[tuple(atlas_index[inside].T)] = True
    atlas = ndimage.binary_closing(atlas, iterations=2)
    near = ndimage.distance_transform_edt(~atlas) * SPACING_MM < _NEAR_MM
    own = ndimage.binary_closing(bone & near, iterations=2)
    fixed, moving = (_image(_depth(mask)) for mask in (own, atlas))
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(_ITERATIONS)
    demons.SetSmoothDisplacementField(True)
    demons.SetStandardDeviations(_SMOOTH_VOXELS)
    return sitk.GetArrayFromImage(demons.Execute(fixed, moving))


def _depth(mask: np.ndarray) -> np.ndarray:
    """Signed distance to the mask's surface, positive inside, clipped, mm."""
    outside, inside = (ndimage.distance_transform_edt(m) for m in (~mask, mask))
    depth = np.clip(SPACING_MM * (inside - outside), -_CLIP_MM, _CLIP_MM)
    return depth[::_STRIDE, ::_STRIDE, ::_STRIDE].astype(np.float32)


def _image(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([SPACING_MM * _STRIDE] * 3)
    return image


def displaced(displacement: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The displacement at voxels ``(N, 3)`` given as k, j, i, mm ``(N, 3)``."""
    at = (index / _STRIDE).T
    return np.column_stack(
        [ndimage.map_coordinates(displacement[..., a], at, order=1, mode="nearest") for a in range(3)]
    )

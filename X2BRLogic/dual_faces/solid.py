"""What lies between two faces, as a closed mesh.

Poisson reconstruction would estimate from points and normals what is known here: on every ray, what is inside. So the
solid is that of the function min(distance to the mask's border, depth behind the front, depth before the back), which
marching cubes (`X2BRLogic.surface`) closes at the rim and meets each face exactly where it is. Of the packages for
Poisson reconstruction with wheels for all systems, pymeshlab is GPL and Open3D takes hundreds of megabytes.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy import ndimage

from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..surface import isosurface, make_watertight, simplify
from .maps import BoneMaps

#: Rays of the solid to one of the maps, along each edge; its samples along a ray, mm.
_FINER, _STEP_MM = 2, 2.0
_FACES = 2000
_SMOOTHINGS = 6


def solid(bone: BoneMaps, geometry: XRayGeometry) -> trimesh.Trimesh:
    """The closed mesh, RAS mm, of a bone that is seen by a ray at least."""
    box = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in ndimage.find_objects(bone.seen.astype(int))[0])
    margin, front, back = (_finer(part[box].astype(np.float32)) for part in (bone.margin, bone.front, bone.back))
    inside = margin >= 0
    if not inside.any():  # so thin that nothing is left between its rays and those beside it
        inside = _finer(bone.seen[box].astype(np.float32)) > 0.5
    border = _signed_distance(inside) * (CUBE_EDGE_MM / (_FINER * len(bone.margin)))
    low, high = back.min() * CUBE_EDGE_MM - 2 * _STEP_MM, front.max() * CUBE_EDGE_MM + 2 * _STEP_MM
    y = np.arange(low, high, _STEP_MM, dtype=np.float32)[:, None]
    between = np.minimum(front[:, None] * CUBE_EDGE_MM - y, y - back[:, None] * CUBE_EDGE_MM)
    values = np.minimum(between, border[:, None])  # (rows, depths, columns)
    vertices, faces = isosurface(values.transpose(2, 1, 0)[::-1, :, ::-1].copy(), 0.0)
    rows, columns = (_FINER * n for n in bone.margin.shape)
    x = 0.5 - (_FINER * box[1].start + len(values[0, 0]) - 1 - vertices[:, 0] + 0.5) / columns
    z = 0.5 - (_FINER * box[0].start + len(values) - 1 - vertices[:, 2] + 0.5) / rows
    depth = (low + _STEP_MM * vertices[:, 1]) / CUBE_EDGE_MM
    mesh = trimesh.Trimesh(geometry.ray_cube_to_ras(np.stack([x, depth, z], axis=1)), faces, process=False)
    trimesh.smoothing.filter_taubin(mesh, lamb=0.5, nu=0.52, iterations=_SMOOTHINGS)
    return simplify(make_watertight(mesh), _FACES)


def _finer(values: np.ndarray) -> np.ndarray:
    return ndimage.zoom(values, _FINER, order=1, mode="nearest", grid_mode=True)


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Cells to the border, positive inside; smoothed, so that it shows no steps, as far as nothing thin is lost."""
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    smooth = ndimage.gaussian_filter(distance - np.sign(distance) * 0.5, 0.7)
    return np.where(mask, np.maximum(smooth, 0.1), smooth).astype(np.float32)

"""The faces of a bone on the rays of a film, and where they are in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..networks.dual_depth import BONES, Faces

#: A bone is seen by so many rays at least, and a piece of it by this part of the largest piece's.
_FEWEST_RAYS, _PIECE = 8, 0.1
#: No bone is thinner along a ray, edges of the cube: 2.5 mm.
_THINNEST = 2.5 / CUBE_EDGE_MM


@dataclass(frozen=True)
class BoneMaps:
    """One bone on a grid of rays, rows against z and columns against x of the ray cube.

    Attributes:
        margin: ``(R, C)`` float32, the mask's logit above its level: 0 and more where the ray meets the bone.
        front, back: ``(R, C)`` float32, y in the ray cube, edges; beyond the bone they go on as at its border.
    """

    margin: np.ndarray
    front: np.ndarray
    back: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """``(R, C)`` bool: the ray meets the bone."""
        return self.margin >= 0


def bone_maps(faces: Faces, level: float) -> dict[int, BoneMaps]:
    """The bones that a network saw in one film, by label.

    Args:
        faces: of one film.
        level: logit of the mask from which a ray counts as meeting the bone.
    """
    found = {}
    for label, mask, front, back in zip(BONES, *(face[0].float().cpu().numpy() for face in faces), strict=True):
        margin = mask - np.float32(level)
        seen = _pieces(margin >= 0)
        if seen.sum() < _FEWEST_RAYS:
            continue
        front, back = (_continued(np.clip(depth, -0.5, 0.5), seen) for depth in (front, back))
        middle, half = (front + back) / 2, np.maximum(front - back, _THINNEST) / 2
        found[label] = BoneMaps(np.where(seen, margin, -np.abs(margin) - 1e-3), middle + half, middle - half)
    return found


def points_of(bone: BoneMaps, geometry: XRayGeometry, both: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Where the rays through the centres of the pixels enter and leave a bone, and the surface's normals there.

    Args:
        both: faces; or the front alone.

    Returns:
        ``(P, 3)`` RAS mm and ``(P, 3)`` unit vectors outward, from the slopes of the depth maps.
    """
    rows, columns = bone.seen.shape
    z, x = np.meshgrid(0.5 - (np.arange(rows) + 0.5) / rows, 0.5 - (np.arange(columns) + 0.5) / columns, indexing="ij")
    places, normals = [], []
    for depth, outward in ((bone.front, 1.0), (bone.back, -1.0))[: 1 + both]:
        ras = geometry.ray_cube_to_ras(np.stack([x, depth, z], axis=-1).reshape(-1, 3)).reshape(rows, columns, 3)
        # Rows run against z and columns against x, and z x x = y: towards the front.
        normal = outward * np.cross(np.gradient(ras, axis=0), np.gradient(ras, axis=1))
        places.append(ras[bone.seen])
        normals.append(normal[bone.seen])
    normals = np.concatenate(normals)
    return np.concatenate(places), normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _pieces(mask: np.ndarray) -> np.ndarray:
    """The mask without pieces much smaller than its largest."""
    labelled, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return (sizes >= _PIECE * sizes.max())[labelled] & mask


def _continued(depth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A depth map with single errors removed by a median over 3 x 3 rays, and beyond the bone as at its border."""
    row, column = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    smooth = ndimage.median_filter(depth[row, column], 3)
    return smooth[row, column]

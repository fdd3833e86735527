"""Occupancy truth: which points are bone, in the paper's unit box and in the ray cube with absolute scale."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import trimesh

from .. import anatomy
from ..errors import InputError
from ..geometry import XRayGeometry
from ..surface import contains
from ..volume import Volume

POINTS = 100_000
POINTS_PER_STEP = 2048
ATTEMPTS = 50  # rounds of drawing before the cube is taken to hold no bone

# --- the paper's protocol: a mesh in its unit box -----------------------------------------------------------------


def unit_box(mesh: trimesh.Trimesh) -> tuple[float, np.ndarray]:
    """Scale and centre that take a mesh into its unit box: ``(points - centre) * scale`` lies in [-0.5, 0.5]^3.

    The bounding box is centred on the origin and its longest edge becomes 1.
    Source: Mescheder et al., Occupancy Networks, CVPR 2019, supplementary (data preprocessing).

    Raises:
        InputError: the mesh is empty or a single point.
    """
    if not len(mesh.faces) or not mesh.extents.max() > 0:
        raise InputError("the mesh is empty and has no bounding box; check the file")
    return float(1 / mesh.extents.max()), mesh.bounds.mean(axis=0)


def into_box(mesh: trimesh.Trimesh, scale: float, centre: np.ndarray) -> trimesh.Trimesh:
    """A copy of the mesh in the box given by `unit_box`, of this mesh or of another it is to be compared with."""
    return trimesh.Trimesh((mesh.vertices - centre) * scale, mesh.faces, process=False)


def voxelise(mesh: trimesh.Trimesh, resolution: int = 32) -> np.ndarray:
    """Occupancy at the centres of the unit cube's cells.

    Args:
        mesh: closed, in the frame of the unit cube (see `into_box`).
        resolution: cells along an edge.

    Returns:
        bool, shape ``(resolution,) * 3``, indexed [x, y, z]; cell (a, b, c) has its centre at
        ``((a, b, c) + 0.5) / resolution - 0.5``.
    """
    ticks = (np.arange(resolution) + 0.5) / resolution - 0.5
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    return contains(mesh, points).reshape((resolution,) * 3)


def uniform_samples(
    shape: trimesh.Trimesh | Callable[[np.ndarray], np.ndarray], count: int = POINTS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn uniformly from [-0.5, 0.5]^3, and whether each is inside.

    Args:
        shape: a closed mesh in the frame of the cube, or any test of points ``(N, 3)`` for being inside.
        count: how many.
        seed: the same seed gives the same points.

    Returns:
        Points ``(count, 3)`` float32 and inside ``(count,)`` bool.
    """
    points = np.random.default_rng(seed).random((count, 3), dtype=np.float32) - np.float32(0.5)
    inside = contains(shape, points) if isinstance(shape, trimesh.Trimesh) else np.asarray(shape(points), dtype=bool)
    return points, inside


def near_surface_samples(
    mesh: trimesh.Trimesh, count: int, spread: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points about the surface of a closed mesh, evenly by area, and whether each is inside.

    Args:
        spread: standard deviation from the surface along each axis, in the mesh's unit.
        seed: the same seed gives the same points.

    Returns:
        Points ``(count, 3)`` float32, in the mesh's frame, and inside ``(count,)`` bool.
    """
    rng = np.random.default_rng(seed)
    surface, _ = trimesh.sample.sample_surface(mesh, count, seed=rng)
    points = (surface + rng.normal(0, spread, (count, 3))).astype(np.float32)
    return points, contains(mesh, points)


def step_indices(total: int, step: int, *, size: int = POINTS_PER_STEP, seed: int = 0) -> np.ndarray:
    """Which of `total` samples a training step uses: `size` different indices, the same for the same seed and step.

    Raises:
        InputError: fewer samples than a step uses.
    """
    if size > total:
        raise InputError(f"a training step draws {size} points but the subject has {total}; sample more points")
    return np.random.default_rng((seed, step)).choice(total, size, replace=False, shuffle=False)


# --- the ray cube, absolute scale ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class OccupancySamples:
    """Occupancy at points of the ray cube.

    Attributes:
        points: shape ``(N, 3)`` float32, in [-0.5, 0.5]^3 (see `XRayGeometry.ray_cube_to_ras`).
        occupied: shape ``(N,)`` bool.
        known: shape ``(N,)`` bool. False where the scan does not tell: no loss and no score may count such a point.
            `occupied` is False there.
    """

    points: np.ndarray
    occupied: np.ndarray
    known: np.ndarray


def labels_at(volume: Volume, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label of the nearest voxel at RAS points ``(N, 3)``, and whether the point is in the volume at all.

    The volume reaches to the outer faces of its voxels. Outside of it the label is 0.
    """
    index = np.floor(volume.to_ijk(points) + 0.5)
    size = np.array(volume.array.shape[::-1])
    in_view = ((index >= 0) & (index < size)).all(axis=1)
    i, j, k = np.where(in_view[:, None], index, 0).astype(np.int64).T
    return np.where(in_view, volume.array[k, j, i], 0), in_view


def occupancy_samples(
    labels: Volume,
    bones: Iterable[int] = anatomy.THORAX,
    geometry: XRayGeometry | None = None,
    count: int = POINTS,
    near_surface_fraction: float = 0.5,
    seed: int = 0,
    *,
    ignored: Iterable[int] = (anatomy.CARTILAGES,),
    spread_mm: float = 4.0,
) -> OccupancySamples:
    """Points of the ray cube, part of them uniform and part of them near the bones' surface, with their truth.

    The points near the surface are voxels at the border of the bones, chosen at random, moved by a Gaussian; so the
    whole is no uniform sample, and a volume must not be estimated from it unless `near_surface_fraction` is 0.
    Samples come in random order.

    Args:
        labels: label map.
        bones: labels that count as occupied.
        geometry: where the ray cube is; the default geometry if none.
        count: how many points.
        near_surface_fraction: part of them near the surface, 0 to 1.
        seed: the same seed gives the same samples.
        ignored: labels where nothing is known, unless they are among `bones`.
        spread_mm: standard deviation, along each axis, of the points about the surface.

    Raises:
        InputError: the fraction is outside 0 to 1, or none of the bones is in the map and in the cube though points
            near their surface are asked for.
    """
    if not 0 <= near_surface_fraction <= 1:
        raise InputError(f"the fraction of points near the surface must be 0 to 1, not {near_surface_fraction}")
    geometry = geometry or XRayGeometry()
    bones = np.unique(np.fromiter(bones, dtype=np.int64))
    unclear = np.setdiff1d(np.fromiter(ignored, dtype=np.int64), bones)
    rng = np.random.default_rng(seed)

    near = round(count * near_surface_fraction)
    points = rng.random((count, 3)) - 0.5
    if near:
        points[:near] = _near_surface(labels, bones, geometry, near, spread_mm, rng)
    points = rng.permutation(points).astype(np.float32)

    label, in_view = labels_at(labels, geometry.ray_cube_to_ras(points))
    known = in_view & ~np.isin(label, unclear)
    return OccupancySamples(points, known & np.isin(label, bones), known)


def _near_surface(
    volume: Volume, bones: np.ndarray, geometry: XRayGeometry, count: int, spread_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """`count` points of the ray cube scattered about the surface of the bones."""
    voxels = np.flatnonzero(np.isin(volume.array, bones))
    kept, missing = [], count
    for _ in range(ATTEMPTS if voxels.size else 0):
        kji = np.stack(np.unravel_index(rng.choice(voxels, 2 * count), volume.array.shape), axis=-1)
        border = kji[_at_border(volume.array, bones, kji)]
        ras = volume.to_ras(border[:, ::-1])
        cube = geometry.ras_to_ray_cube(ras + rng.normal(0, spread_mm, ras.shape))
        kept.append(cube[(np.abs(cube) <= 0.5).all(axis=1)][:missing])
        missing -= len(kept[-1])
        if not missing:
            return np.concatenate(kept)
    raise InputError("no bone of the label map lies in the cube of the geometry; check its isocentre and the labels")


def _at_border(array: np.ndarray, bones: np.ndarray, kji: np.ndarray) -> np.ndarray:
    """Which of the voxels ``(N, 3)`` have a face neighbour that is no bone. The volume's own border is no surface."""
    border = np.zeros(len(kji), dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            neighbour = kji.copy()
            neighbour[:, axis] = np.clip(kji[:, axis] + step, 0, array.shape[axis] - 1)
            border |= ~np.isin(array[tuple(neighbour.T)], bones)
    return border

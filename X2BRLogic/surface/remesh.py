"""The last resort for a broken mesh: forget its triangles' connections, keep where they are and how they face."""

from __future__ import annotations

import numpy as np
import scipy.fft
import trimesh
from scipy import ndimage

from ..errors import InputError
from .extract import enclosed_volume, isosurface, outward

MARGIN = 0.15  # empty space on each side of the mesh, as a part of the grid: keeps the periodic solution's copies apart
SAMPLES_PER_CELL = 8


def remesh(mesh: trimesh.Trimesh, resolution: int = 160) -> trimesh.Trimesh:
    """A closed manifold mesh through the faces of any mesh: holes are bridged, what overlaps becomes one.

    The indicator function whose gradient best fits the faces' normals, from a Poisson equation on a periodic grid
    solved by FFT, and its isosurface at the mean value on the faces. Details under two cells (the longest edge of the
    bounding box divided by about 0.35 `resolution`) are lost.

    Source: Kazhdan, Reconstruction of Solid Models from Oriented Point Sets, SGP 2005.

    Args:
        mesh: any triangles, most of them facing outward.
        resolution: grid points along an edge of the cube around the mesh.

    Raises:
        InputError: the faces enclose nothing.
    """
    low, high = mesh.bounds
    cell = float((high - low).max()) / (resolution * (1 - 2 * MARGIN))
    if not cell > 0:
        raise InputError("the mesh is a single point; there is nothing to close")
    origin = (low + high) / 2 - 0.5 * (resolution - 1) * cell
    count = int(SAMPLES_PER_CELL * mesh.area / cell**2) + 1000
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=0)
    where = (points - origin) / cell

    field = _indicator(where, mesh.face_normals[faces], resolution)
    level = float(ndimage.map_coordinates(field, where.T, order=1).mean())
    if field[0].mean() > level:  # most faces look inward
        field, level = -field, -level
    vertices, faces = isosurface(field, level)
    result = trimesh.Trimesh(vertices * cell + origin, faces, process=False)
    if not len(faces) or not enclosed_volume(vertices, faces):
        raise InputError("the mesh encloses no volume; check its faces")
    return outward(result)


def _indicator(where: np.ndarray, normals: np.ndarray, resolution: int) -> np.ndarray:
    """The smoothed indicator, larger inside, of a surface with outward `normals` at grid positions `where`."""
    frequency = scipy.fft.fftfreq(resolution), scipy.fft.fftfreq(resolution), scipy.fft.rfftfreq(resolution)
    omega = [2 * np.pi * f for f in np.meshgrid(*frequency, indexing="ij", sparse=True)]
    squared = sum(w**2 for w in omega)
    squared[0, 0, 0] = 1.0  # the mean of the indicator is free
    spectrum = sum(
        1j * omega[axis] * scipy.fft.rfftn(_splat(where, -normals[:, axis], resolution)) for axis in range(3)
    )
    smoothing = np.exp(-0.5 * squared)  # a Gaussian of one cell, against the noise of the samples
    return scipy.fft.irfftn(-spectrum * smoothing / squared, s=(resolution,) * 3).astype(np.float32)


def _splat(where: np.ndarray, weights: np.ndarray, resolution: int) -> np.ndarray:
    """`weights` spread over the eight grid points around each position, shape ``(resolution,) * 3`` float32."""
    base = np.floor(where).astype(np.int64)
    fraction = where - base
    grid = np.zeros(resolution**3)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, fraction, 1 - fraction), axis=1)
        index = np.ravel_multi_index(tuple((base + corner).T), (resolution,) * 3)
        grid += np.bincount(index, weights * share, resolution**3)
    return grid.reshape((resolution,) * 3).astype(np.float32)

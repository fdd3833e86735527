"""What can be measured of bones from a real film, of which no truth is known: sense, symmetry and stability."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import trimesh
from scipy import ndimage
from scipy.spatial import cKDTree

from .. import anatomy
from ..geometry import XRayGeometry
from ..radiograph import Radiograph
from .centre_line import centre_line
from .metrics import average_surface_distance
from .nearest import Nearest
from .reprojection import outline

#: Outlines moved so far along columns and rows, mm on the detector, tell what gradient chance gives.
_SHIFTS_MM = ((15, 0), (-15, 0), (0, 8), (0, -8), (15, 8), (-15, -8))
#: Films are looked at with about so many pixels along the longer edge, smoothed by so many.
_EDGE_PIXELS, _SMOOTHING = 512, 1.5
_SAMPLES = 4000
_CROP, _SHIFT_MM, _GAMMA, _NOISE = 0.04, 10.0, 1.25, 0.02


def symmetry(bones: Mapping[str, trimesh.Trimesh]) -> dict[str, float | None]:
    """How far left and right ribs of a number differ, as a share of their mean: medians over the pairs that are there.

    ``rib_volume``, and ``rib_length`` of the centre lines; None without a pair.
    """
    volumes, lengths = [], []
    for level in range(1, 13):
        pair = [bones.get(f"rib_{side}_{level}") for side in (anatomy.LEFT, anatomy.RIGHT)]
        if None in pair:
            continue
        volumes.append(_apart(*(float(rib.volume) for rib in pair)))
        lengths.append(_apart(*(_length(rib) for rib in pair)))
    return {
        "rib_volume": float(np.median(volumes)) if volumes else None,
        "rib_length": float(np.median(lengths)) if lengths else None,
    }


def edge_strength(bones: Mapping[str, trimesh.Trimesh], radiograph: Radiograph) -> float | None:
    """The film's gradient across the projected outlines of the ribs, in times that across the outlines moved away.

    Above 1, the outlines lie on edges of the film that run their way. The gradient is of the film with even contrast,
    and only its part along the outlines' normals counts. None where there is no rib, or no outline in the film.
    """
    ribs = [mesh for name, mesh in bones.items() if name.startswith("rib_")]
    if not ribs:
        return None
    factor = min(1.0, _EDGE_PIXELS / max(radiograph.pixels.shape))
    film = ndimage.zoom(radiograph.pixels, factor, order=1) if factor < 1 else radiograph.pixels
    geometry = radiograph.geometry.resized(film.shape)
    detail = film - ndimage.gaussian_filter(film, 8 * _SMOOTHING)
    detail = detail / (np.sqrt(ndimage.gaussian_filter(detail**2, 8 * _SMOOTHING)) + 1e-3 * float(film.std()) + 1e-12)
    slopes = [ndimage.gaussian_filter(detail, _SMOOTHING, order=order) for order in ((0, 1), (1, 0))]
    places, normals = (np.concatenate(parts) for parts in zip(*(_normals(rib, geometry) for rib in ribs), strict=True))
    here = _across(slopes, places, normals)
    pitch = np.array(geometry.spacing[::-1])
    moved = [_across(slopes, places + np.array(shift) / pitch, normals) for shift in _SHIFTS_MM]
    moved = [value for value in moved if value is not None]
    return here / float(np.mean(moved)) if here is not None and moved and np.mean(moved) > 0 else None


def disturbed(radiograph: Radiograph, seed: int = 0) -> Iterator[tuple[str, Radiograph, np.ndarray]]:
    """The film changed a little: what was done, the film, and by how much its bones move, RAS mm ``(3,)``.

    Cropped by 4 % on each edge, and moved by 10 mm on the detector, with the geometry that the change leaves; gamma
    1.25 and 1/1.25; and noise of 2 % of the film's range.
    """
    pixels, geometry = radiograph.pixels, radiograph.geometry
    low, high = float(pixels.min()), float(pixels.max())
    unit = (pixels - low) / (high - low)
    column, row = geometry.principal_point
    down, across = (round(_CROP * n) for n in pixels.shape)
    inner = np.ascontiguousarray(pixels[down : len(pixels) - down, across : pixels.shape[1] - across])
    cut = replace(geometry, shape=inner.shape, principal_point=(column - across, row - down))
    yield "crop", replace(radiograph, pixels=inner, geometry=cut), np.zeros(3)
    moved = replace(geometry, principal_point=(column - _SHIFT_MM / geometry.spacing[1], row))
    yield "shift", replace(radiograph, geometry=moved), geometry.columns * _SHIFT_MM * geometry.sod / geometry.sid
    for name, gamma in (("darker", _GAMMA), ("brighter", 1 / _GAMMA)):
        yield name, replace(radiograph, pixels=(unit**gamma).astype(np.float32)), np.zeros(3)
    noise = np.random.default_rng(seed).normal(0, _NOISE, pixels.shape)
    yield "noise", replace(radiograph, pixels=(unit + noise).astype(np.float32)), np.zeros(3)


def stability(radiograph: Radiograph, surface: Callable[[Radiograph], trimesh.Trimesh]) -> dict[str, float]:
    """The mean distance (mm, symmetric) between the surface from a film and from it `disturbed`, by what was done.

    Where a bone is moved it is moved back: by its shift in the plane of the isocentre, so that a millimetre remains
    for bones that lie nearer to the source or further off.
    """
    before = surface(radiograph)
    found = {}
    for name, film, offset in disturbed(radiograph):
        after = surface(film)
        after = trimesh.Trimesh(after.vertices - offset, after.faces, process=False)
        found[name] = surface_distance(before, after)
    return found


def surface_distance(one: trimesh.Trimesh, other: trimesh.Trimesh) -> float:
    """Average symmetric distance of two surfaces, mm, from samples of both."""
    points = [np.asarray(trimesh.sample.sample_surface(mesh, _SAMPLES, seed=0)[0]) for mesh in (one, other)]
    distances = [
        np.linalg.norm(Nearest.on_surface(mesh)(samples).points - samples, axis=1)
        for mesh, samples in zip((other, one), points, strict=True)
    ]
    return float(average_surface_distance(*distances, one.area, other.area))


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max((one + other) / 2, 1e-9)


def _length(rib: trimesh.Trimesh) -> float:
    return float(np.linalg.norm(np.diff(centre_line(rib), axis=0), axis=1).sum())


def _normals(mesh: trimesh.Trimesh, geometry: XRayGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Places of an outline in pixels ``(N, 2)``, and the outline's normals there, from neighbours in the picture."""
    places = outline(mesh, geometry)
    places = places[np.isfinite(places).all(axis=1)]
    if len(places) < 4:
        return np.empty((0, 2)), np.empty((0, 2))
    neighbours = cKDTree(places).query(places, k=4)[1]
    around = places[neighbours] - places[neighbours].mean(axis=1, keepdims=True)
    # The direction in which the neighbours spread least.
    return places, np.linalg.svd(around, full_matrices=False)[2][:, 1]


def _across(slopes: list[np.ndarray], places: np.ndarray, normals: np.ndarray) -> float | None:
    """Mean absolute slope along normals, at places ``(N, 2)`` (column, row) inside the film."""
    columns, rows = np.round(places).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < slopes[0].shape[1]) & (rows < slopes[0].shape[0])
    if not inside.any():
        return None
    found = [slope[rows[inside], columns[inside]] for slope in slopes]
    return float(np.abs((np.stack(found, axis=1) * normals[inside]).sum(axis=1)).mean())

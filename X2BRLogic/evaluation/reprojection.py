"""Do bones in space agree with the film: their projections against detected boxes, and against the film's edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import SimpleITK as sitk
import trimesh
from scipy import ndimage

from ..detection import Box
from ..geometry import XRayGeometry
from ..radiograph import Radiograph

#: An edge of a box so near to the border of the picture, in pixels, is the picture's and not the bone's.
_BORDER = 2.0
#: Films are looked at with about so many pixels along the longer edge.
_EDGE_PIXELS = 512
#: Canny's thresholds, as quantiles of the gradient; width of the smoothing in pixels.
_QUANTILES = (0.70, 0.85)
_SMOOTHING = 1.5
#: Contrast is made even over so many pixels.
_EVEN = 12.0
#: Outlines moved so far along columns and rows, mm on the detector, tell what agreement chance gives.
_SHIFTS_MM = ((25, 0), (-25, 0), (0, 25), (0, -25), (18, 18), (-18, 18), (18, -18), (-18, -18))


def reprojection(
    bones: Mapping[str, trimesh.Trimesh], radiograph: Radiograph, boxes: Iterable[Box] = ()
) -> dict[str, float | int | None]:
    """How far the projections of named bones lie from what the film shows.

    Returns:
        Ready for JSON, figures that cannot be had are None:
        ``boxes`` how many boxes name a bone that is there;
        ``box_edge_px``, ``box_edge_mm`` mean distance of the projected bones' edges from their boxes', in pixels and mm
        on the detector (an edge at the border of the picture is left out);
        ``box_iou`` mean IoU of the boxes;
        ``outline_mm`` median distance on the detector from the bones' projected outlines to the film's nearest edge
        (Canny, IEEE TPAMI 8(6), 1986);
        ``outline_by_chance_mm`` the same for the outlines moved by 25 mm in eight directions, their mean: a film full
        of edges has one near everywhere.
    """
    geometry = radiograph.geometry
    return _against_boxes(bones, geometry, boxes) | _against_edges(bones, radiograph)


def _against_boxes(bones: Mapping[str, trimesh.Trimesh], geometry: XRayGeometry, boxes: Iterable[Box]) -> dict:
    size = np.array(geometry.shape[::-1])
    off, ious = [], []
    for box in boxes:
        if box.name not in bones:
            continue
        pixels = geometry.project(bones[box.name].vertices)
        ours = np.clip([pixels.min(axis=0), pixels.max(axis=0)], -0.5, size - 0.5)
        theirs = box.edges.reshape(2, 2)
        inner = (theirs > _BORDER) & (theirs < size - 1 - _BORDER)
        off += list(np.abs(ours - theirs)[inner])
        shared = np.prod(np.clip(np.minimum(ours[1], theirs[1]) - np.maximum(ours[0], theirs[0]), 0, None))
        ious.append(shared / (np.prod(ours[1] - ours[0]) + np.prod(theirs[1] - theirs[0]) - shared))
    edge = float(np.mean(off)) if off else None
    return {
        "boxes": len(ious),
        "box_edge_px": edge,
        "box_edge_mm": None if edge is None else edge * float(np.mean(geometry.spacing)),
        "box_iou": float(np.mean(ious)) if ious else None,
    }


def _against_edges(bones: Mapping[str, trimesh.Trimesh], radiograph: Radiograph) -> dict[str, float | None]:
    nothing = {"outline_mm": None, "outline_by_chance_mm": None}
    factor = min(1.0, _EDGE_PIXELS / max(radiograph.pixels.shape))
    film = ndimage.zoom(radiograph.pixels, factor, order=1) if factor < 1 else radiograph.pixels
    geometry = radiograph.geometry.resized(film.shape)
    edges = film_edges(film)
    if not edges.any() or not bones:
        return nothing
    distance = ndimage.distance_transform_edt(~edges, sampling=geometry.spacing)
    points = np.concatenate([outline(mesh, geometry) for mesh in bones.values()])
    spacing = np.array(geometry.spacing[::-1])
    found = _median_at(distance, points)
    chance = [_median_at(distance, points + np.array(shift) / spacing) for shift in _SHIFTS_MM]
    chance = [value for value in chance if value is not None]
    if found is None or not chance:
        return nothing
    return {"outline_mm": found, "outline_by_chance_mm": float(np.mean(chance))}


def film_edges(film: np.ndarray) -> np.ndarray:
    """Canny's edges of a film after its contrast was made even, bool: else those of the body would be all."""
    image = film.astype(np.float32)
    detail = image - ndimage.gaussian_filter(image, _EVEN)
    even = detail / (np.sqrt(ndimage.gaussian_filter(detail**2, _EVEN)) + 1e-3 * float(np.std(image)) + 1e-12)
    gradient = ndimage.gaussian_gradient_magnitude(even, _SMOOTHING)
    low, high = (float(np.quantile(gradient, q)) for q in _QUANTILES)
    found = sitk.CannyEdgeDetection(
        sitk.GetImageFromArray(even),
        lowerThreshold=low,
        upperThreshold=max(high, low + 1e-6),
        variance=[_SMOOTHING**2] * 2,
        maximumError=[0.02] * 2,
    )
    return sitk.GetArrayFromImage(found) > 0


def outline(mesh: trimesh.Trimesh, geometry: XRayGeometry) -> np.ndarray:
    """The outline of a bone in the picture, and its inner contours: pixels ``(N, 2)`` as (column, row).

    The middles of the edges at which the surface turns from the source.
    """
    facing = np.einsum("ij,ij->i", mesh.face_normals, geometry.source - mesh.triangles_center) > 0
    turning = facing[mesh.face_adjacency].sum(axis=1) == 1
    return geometry.project(mesh.vertices[mesh.face_adjacency_edges[turning]].mean(axis=1))


def _median_at(distance: np.ndarray, points: np.ndarray) -> float | None:
    """The median of an image's values at pixels ``(N, 2)``; ``None`` where none is in the image."""
    column, row = np.round(points[np.isfinite(points).all(axis=1)]).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < distance.shape[1]) & (row < distance.shape[0])
    return float(np.median(distance[row[inside], column[inside]])) if inside.any() else None

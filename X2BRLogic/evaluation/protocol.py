"""The two protocols: where shapes are put, how finely they are compared, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from ..errors import InputError
from . import metrics
from .alignment import rigid_icp
from .nearest import Nearest
from .occupancy import is_closed, occupancy

PROTOCOLS = ("strict", "paper")
STRICT_VOXEL_MM = 1.5
PAPER_VOXELS = 32
SAMPLES = 100_000
_ICP_SAMPLES = 3_000
_MAX_VOXELS = 400_000_000


def evaluate(
    prediction: trimesh.Trimesh,
    reference: trimesh.Trimesh,
    protocol: str = "strict",
    *,
    region: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, object]:
    """Compare a reconstruction with the truth.

    ``strict``
        The two shapes where they are. Occupancy on a fixed lattice of 1.5 mm voxels (centres at 1.5 (n + 1/2) mm RAS)
        over both; distances from 100,000 samples of each shape to the exact surface of the other.
    ``paper``
        As in X2BR (arXiv:2504.08675) and Occupancy Networks (CVPR 2019): each shape is centred and scaled, equally
        along its axes, so that its bounding box fits the unit cube; occupancy at the centres of 32^3 voxels of that
        cube; distances between 100,000 samples of each shape, from sample to nearest sample. Millimetres are those
        of the reference: the unit cube has the reference's longest edge. Position and size of the prediction do not
        matter, and even two samplings of one surface are some 0.5 sqrt(area / 100,000) apart.

    Args:
        prediction: mesh, vertices in RAS mm.
        reference: mesh, vertices in RAS mm.
        protocol: ``strict`` or ``paper``.
        region: box ``[[min], [max]]`` in RAS mm, shape (2, 3), infinite where it does not matter. Surface and voxels
            outside it are left out on both sides: a scan ends where a person does not, and a model that completes
            the bones it cuts must not be punished. Choose it a voxel or two inside the scan, so that the lids where
            the scan cuts the bones are outside. In ``paper`` the bounding boxes are those of what is left.
        seed: of the surface samples; the same seed gives the same figures.

    Returns:
        Ready for JSON: ``protocol``; ``iou``, ``dice``, ``chamfer_l1_mm``, ``chamfer_l1_unit`` (per longest edge of the
        reference's bounding box), ``f_score`` (at 0.02 of that edge), ``normal_consistency``, ``maxe_mm``, ``maye_mm``,
        ``maze_mm``, ``hd95_mm``, ``asd_mm`` (defined in `metrics`); ``edge_mm``, ``samples``, ``voxel_mm``, ``voxels``
        (numbers along R, A, S) and ``warnings``. ``iou`` and ``dice`` are None, with a warning, where a mesh is not
        closed and so has no inside; the distances do not need one.

    Raises:
        InputError: unknown protocol, a mesh without surface, nothing left in the region, shapes too large for the
            lattice.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"there is no protocol '{protocol}'; choose one of {', '.join(PROTOCOLS)}")
    box = _checked_region(region)
    moving, fixed = _Shape.of(prediction, box, "prediction"), _Shape.of(reference, box, "reference")
    if protocol == "paper":
        moving = moving.fitted_to(fixed)

    warnings = [
        f"the {name} is not a closed surface, so IoU and Dice are not defined; repair it for them"
        for name, shape in (("prediction", moving), ("reference", fixed))
        if not is_closed(shape.solid)
    ]
    origin, spacing, voxels = _lattice(moving, fixed, protocol)
    overlap = {"iou": None, "dice": None}
    if not warnings:
        inside = [occupancy(shape.solid, origin, spacing, voxels) for shape in (moving, fixed)]
        if any(mask.any() for mask in inside):
            overlap = {"iou": float(metrics.iou(*inside)), "dice": float(metrics.dice(*inside))}
        else:
            warnings.append("no voxel centre lies inside either shape, so IoU and Dice are not defined")

    return {
        "protocol": protocol,
        **overlap,
        **{name: float(value) for name, value in _surface_metrics(moving, fixed, protocol, seed).items()},
        "edge_mm": fixed.edge,
        "samples": SAMPLES,
        "voxel_mm": spacing,
        "voxels": list(voxels),
        "warnings": warnings,
    }


@dataclass(frozen=True)
class _Shape:
    """A shape under test: the whole mesh for its inside, the part within the region for its surface."""

    solid: trimesh.Trimesh
    surface: trimesh.Trimesh
    region: np.ndarray

    @classmethod
    def of(cls, mesh: trimesh.Trimesh, region: np.ndarray, name: str) -> _Shape:
        if not np.isfinite(mesh.vertices).all():
            raise InputError(f"the {name} has vertices that are not finite numbers; export it anew")
        if len(mesh.faces) == 0 or not mesh.area > 0:
            raise InputError(
                f"the {name} has no surface (no triangles, or all without area); give a mesh with triangles"
            )
        surface = _clipped(mesh, region)
        if len(surface.faces) == 0 or not surface.area > 0:
            raise InputError(f"nothing of the {name} lies within the region; check that both are in RAS millimetres")
        return cls(mesh, surface, region)

    @property
    def edge(self) -> float:
        return float(self.surface.extents.max())

    def fitted_to(self, other: _Shape) -> _Shape:
        """Moved and scaled so that centre and longest edge of the bounding boxes agree: both in one unit cube."""
        scale = other.edge / self.edge
        shift = other.surface.bounds.mean(axis=0) - scale * self.surface.bounds.mean(axis=0)
        matrix = np.diag([scale, scale, scale, 1.0])
        matrix[:3, 3] = shift
        return _Shape(
            self.solid.copy().apply_transform(matrix),
            self.surface.copy().apply_transform(matrix),
            scale * self.region + shift,
        )


def _checked_region(region) -> np.ndarray:
    if region is None:
        return np.array([[-np.inf] * 3, [np.inf] * 3])
    box = np.asarray(region, dtype=np.float64)
    if box.shape != (2, 3) or not (box[0] < box[1]).all():
        raise InputError("a region is a box [[min], [max]] of shape (2, 3) in RAS mm with min below max on every axis")
    return box


def _clipped(mesh: trimesh.Trimesh, region: np.ndarray) -> trimesh.Trimesh:
    """The part of a surface within a box, open where it is cut."""
    vertices, faces = mesh.vertices, mesh.faces
    cut = False
    for side, inwards in enumerate((1.0, -1.0)):
        for axis in range(3):
            if inwards * (mesh.bounds[side, axis] - region[side, axis]) < 0:
                plane = np.eye(3)[axis]
                vertices, faces, _ = trimesh.intersections.slice_faces_plane(
                    vertices, faces, inwards * plane, plane * region[side, axis]
                )
                cut = True
    return trimesh.Trimesh(vertices, faces) if cut else mesh


def _lattice(moving: _Shape, fixed: _Shape, protocol: str) -> tuple[np.ndarray, float, tuple[int, int, int]]:
    """First voxel centre, voxel edge in mm and number of voxels; every voxel centre lies in both regions."""
    if protocol == "strict":
        spacing, anchor = STRICT_VOXEL_MM, np.full(3, 0.5 * STRICT_VOXEL_MM)
        bounds = np.stack([moving.solid.bounds, fixed.solid.bounds])
        low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    else:
        spacing = fixed.edge / PAPER_VOXELS
        low = fixed.surface.bounds.mean(axis=0) - 0.5 * fixed.edge
        high, anchor = low + fixed.edge, low + 0.5 * spacing
    low = np.maximum.reduce([low, moving.region[0], fixed.region[0]])
    high = np.minimum.reduce([high, moving.region[1], fixed.region[1]])
    first = np.ceil((low - anchor) / spacing)
    count = np.maximum(np.floor((high - anchor) / spacing) - first + 1, 0)
    if count.prod() > _MAX_VOXELS:
        size = " x ".join(f"{length:.0f}" for length in high - low)
        raise InputError(f"the two shapes together span {size} mm; check that both are in RAS millimetres")
    return anchor + first * spacing, spacing, tuple(int(n) for n in count)


def _surface_metrics(moving: _Shape, fixed: _Shape, protocol: str, seed: int) -> dict[str, float]:
    # Two seeds: with one, samples of two nearly equal meshes would fall on each other and hide the sampling floor.
    p, p_normals = _sampled(moving.surface, 2 * seed)
    r, r_normals = _sampled(fixed.surface, 2 * seed + 1)
    if protocol == "strict":
        on_prediction, on_reference = Nearest.on_surface(moving.surface), Nearest.on_surface(fixed.surface)
    else:
        on_prediction, on_reference = Nearest.among(p, p_normals), Nearest.among(r, r_normals)

    p_match, r_match = on_reference(p), on_prediction(r)
    to_reference = np.linalg.norm(p - p_match.points, axis=1)
    to_prediction = np.linalg.norm(r - r_match.points, axis=1)
    chamfer = metrics.chamfer_l1(to_reference, to_prediction)

    motion = rigid_icp(p[:_ICP_SAMPLES], on_reference)
    aligned = trimesh.transform_points(p, motion)
    back = trimesh.transform_points(r, np.linalg.inv(motion))
    p_residuals = aligned - on_reference(aligned).points
    # Found in the prediction's frame, measured in the reference's.
    r_residuals = (back - on_prediction(back).points) @ motion[:3, :3].T
    maxe, maye, maze = metrics.axis_errors(p_residuals, r_residuals)

    return {
        "chamfer_l1_mm": chamfer,
        "chamfer_l1_unit": chamfer / fixed.edge,
        "f_score": metrics.f_score(to_reference, to_prediction, metrics.F_SCORE_THRESHOLD * fixed.edge),
        "normal_consistency": metrics.normal_consistency(p_normals, p_match.normals, r_normals, r_match.normals),
        "maxe_mm": maxe,
        "maye_mm": maye,
        "maze_mm": maze,
        "hd95_mm": metrics.hd95(to_reference, to_prediction),
        "asd_mm": metrics.average_surface_distance(
            to_reference, to_prediction, moving.surface.area, fixed.surface.area
        ),
    }


def _sampled(mesh: trimesh.Trimesh, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points uniform by area, and the normals of their triangles."""
    points, faces = trimesh.sample.sample_surface(mesh, SAMPLES, seed=seed)
    return np.asarray(points), mesh.face_normals[faces]

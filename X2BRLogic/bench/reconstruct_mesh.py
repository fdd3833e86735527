"""How good a mesh is, step by step from marching cubes to what is handed out."""

from __future__ import annotations

import time

import numpy as np
import trimesh

from ..geometry import CUBE_EDGE_MM
from ..networks import TAU, OccupancyField
from ..pipeline import FACES, SPECK_MM3
from ..radiograph import Radiograph
from ..surface import (
    drop_specks,
    extract,
    is_manifold,
    logit,
    make_watertight,
    mise,
    refine,
    self_intersections,
    simplify,
    untangle,
    value_and_gradient,
)

#: Points on the faces at which distance and direction are looked at.
_SAMPLES = 20_000


def steps(field: OccupancyField, radiograph: Radiograph, resolution: int, start: int) -> list[dict]:
    """The mesh after each step of the pipeline: what it is like, and the seconds that the step took."""
    geometry, level = radiograph.geometry, logit(TAU)

    def in_ras(points: np.ndarray) -> np.ndarray:
        return field(geometry.ras_to_ray_cube(points))

    half_a_cell = 0.5 * CUBE_EDGE_MM / resolution
    grid = mise(field, resolution, start, TAU, field.batch, field.surface_points(level)).grid
    made = [("marching cubes", lambda _: extract(grid, TAU, geometry.ray_cube_to_ras))]
    made += [
        ("specks removed", lambda mesh: drop_specks(mesh, SPECK_MM3)),
        (f"simplified to {FACES:,} at most", lambda mesh: drop_specks(simplify(mesh, FACES), SPECK_MM3)),
        ("refined", lambda mesh: refine(mesh, in_ras, level, half_a_cell)),
    ]
    rows, mesh = [], None
    for name, step in made:
        before = mesh
        begin = time.perf_counter()
        mesh = step(mesh)
        rows.append({"step": name, "seconds": time.perf_counter() - begin} | qualities(mesh, in_ras, level))
    begin = time.perf_counter()
    mesh = make_watertight(untangle(mesh, before=before.vertices)[0])
    rows.append({"step": "untangled, closed", "seconds": time.perf_counter() - begin} | qualities(mesh, in_ras, level))
    return rows


def qualities(mesh: trimesh.Trimesh, field, level: float) -> dict:
    """Faces, distance from the isosurface and angle to its normal, shape of triangles, crossings, pieces and genus.

    A triangle's shape is 4 sqrt(3) times its area over the sum of its squared edges: 1 if equilateral, 0 if a needle
    (Bhatia and Lawrence 1990). Distances are to first order: the field's difference over its slope.
    """
    points, faces = trimesh.sample.sample_surface(mesh, _SAMPLES, seed=0)
    value, gradient = value_and_gradient(field, np.asarray(points), 0.2)
    slope = np.maximum(np.linalg.norm(gradient, axis=1), 1e-12)
    distance = np.abs(value - level) / slope
    cosine = -np.einsum("ij,ij->i", gradient / slope[:, None], mesh.face_normals[faces])
    edges = np.diff(mesh.triangles[:, [0, 1, 2, 0]], axis=1)
    shape = 4 * np.sqrt(3) * mesh.area_faces / np.maximum((edges**2).sum(axis=(1, 2)), 1e-30)
    pieces = mesh.body_count
    return {
        "faces": len(mesh.faces),
        "distance_mm": float(distance.mean()),
        "distance_95_mm": float(np.quantile(distance, 0.95)),
        "angle_deg": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()),
        "shape": float(shape.mean()),
        "shape_1_percent": float(np.quantile(shape, 0.01)),
        "self_intersections": len(self_intersections(mesh)),
        "pieces": pieces,
        "genus": pieces - mesh.euler_number // 2,
        "manifold": is_manifold(mesh),
    }

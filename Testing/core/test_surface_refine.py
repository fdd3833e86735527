"""Meshes moved onto the isosurface, and faces that pass through each other."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from analytic_fields import LEVEL, SHARPNESS, ball, thin_shell, torus

from X2BRLogic.geometry import CUBE_EDGE_MM, XRayGeometry
from X2BRLogic.surface import (
    extract,
    is_manifold,
    mise,
    refine,
    self_intersections,
    simplify,
    untangle,
    value_and_gradient,
)

HALF_A_CELL = 0.5 / 64


def coarse(field, resolution=64):
    return extract(mise(field, resolution).grid)


def off_surface(mesh, field):
    """Distances of points on the faces from the isosurface, in the cube's unit; the fields here have a known slope."""
    points, _ = trimesh.sample.sample_surface(mesh, 5000, seed=0)
    return np.abs(field(points) - LEVEL) / SHARPNESS


def evenness(mesh):
    """4 sqrt(3) area / sum of squared edges: 1 for an equilateral triangle, 0 for a needle."""
    sides = np.diff(mesh.triangles[:, [0, 1, 2, 0]], axis=1)
    return 4 * np.sqrt(3) * mesh.area_faces / (sides**2).sum(axis=(1, 2))


# --- refinement -----------------------------------------------------------------------------------------------------


def test_values_and_gradients_of_a_linear_field_are_exact():
    rng = np.random.default_rng(0)
    slope, points = rng.normal(size=3), rng.normal(size=(50, 3))
    value, gradient = value_and_gradient(lambda p: p @ slope + 2, points, 0.3)
    np.testing.assert_allclose(value, points @ slope + 2)
    np.testing.assert_allclose(gradient, np.tile(slope, (50, 1)))


@pytest.mark.parametrize("field", [ball, torus])
@pytest.mark.parametrize("faces", [None, 4000])
def test_refined_faces_lie_on_the_isosurface_and_along_it(field, faces):
    mesh = coarse(field) if faces is None else simplify(coarse(field), faces)
    refined = refine(mesh, field, LEVEL, HALF_A_CELL)
    np.testing.assert_array_equal(refined.faces, mesh.faces)
    assert is_manifold(refined) and not len(self_intersections(refined))
    assert off_surface(refined, field).mean() < 0.8 * off_surface(mesh, field).mean()
    assert np.quantile(evenness(refined), 0.01) > 1.5 * np.quantile(evenness(mesh), 0.01)

    def turned(mesh):
        _, gradient = value_and_gradient(field, mesh.triangles_center, 1e-4)
        along = -np.einsum("ij,ij->i", gradient, mesh.face_normals) / np.linalg.norm(gradient, axis=1)
        return np.degrees(np.arccos(np.clip(along, -1, 1)))

    assert turned(refined).mean() < turned(mesh).mean()
    assert np.quantile(turned(refined), 0.99) < np.quantile(turned(mesh), 0.99)


def test_noise_is_taken_out():
    mesh = coarse(ball)
    mesh.vertices += np.random.default_rng(0).normal(0, 0.1 / 64, mesh.vertices.shape)
    refined = refine(mesh, ball, LEVEL, HALF_A_CELL, steps=3)
    assert off_surface(refined, ball).mean() < 0.5 * off_surface(mesh, ball).mean()


@pytest.mark.parametrize("view", ["AP", "PA", "LAT"])
def test_it_works_in_patient_space(view):
    """A ball in millimetres, seen by a network in the sheared ray cube."""
    geometry = XRayGeometry.from_view(view, isocentre=np.array([10.0, -20.0, 30.0]))
    centre = geometry.isocentre + np.array([15, -10, 5])

    def in_ras(points):
        return LEVEL + 0.15 * (90.0 - np.linalg.norm(points - centre, axis=1))

    grid = mise(lambda cube: in_ras(geometry.ray_cube_to_ras(cube)), 64).grid
    mesh = simplify(extract(grid, to_space=geometry.ray_cube_to_ras), 3000)

    def network(cube):
        return in_ras(geometry.ray_cube_to_ras(cube))

    refined = refine(mesh, lambda ras: network(geometry.ras_to_ray_cube(ras)), LEVEL, CUBE_EDGE_MM * HALF_A_CELL)
    assert is_manifold(refined) and refined.volume > 0

    def off(mesh):
        return np.abs(np.linalg.norm(mesh.triangles_center - centre, axis=1) - 90).mean()

    assert off(refined) < 0.8 * off(mesh)


def test_a_field_that_knows_nothing_leaves_the_mesh_where_it_is():
    mesh = simplify(coarse(ball), 3000)
    refined = refine(mesh, lambda points: np.full(len(points), LEVEL + 9), LEVEL, HALF_A_CELL)
    assert np.abs(off_surface(refined, ball)).max() < 2 * np.abs(off_surface(mesh, ball)).max()
    assert is_manifold(refined) and not len(self_intersections(refined))


# --- faces through each other -----------------------------------------------------------------------------------------


def joined(*meshes):
    return trimesh.util.concatenate(meshes)


def box(at=(0, 0, 0), edge=10.0):
    return trimesh.creation.box((edge,) * 3).apply_translation(at)


def every_pair(mesh):
    """Faces of which a sample of one lies on either side of the other, by segments against triangles, one by one."""
    found = set()
    for i, one in enumerate(mesh.faces):
        for j, other in enumerate(mesh.faces):
            for p, q in zip(one, np.roll(one, -1), strict=True):
                if i == j or {p, q} & set(other):
                    continue
                a, b, c = mesh.vertices[other]
                start, way = mesh.vertices[p], mesh.vertices[q] - mesh.vertices[p]
                matrix = np.stack([b - a, c - a, -way], axis=1)
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                u, v, t = np.linalg.solve(matrix, start - a)
                if u > 0 and v > 0 and u + v < 1 and 0 < t < 1:
                    found.add((min(i, j), max(i, j)))
    return sorted(found)


def test_sound_meshes_have_none():
    for mesh in (box(), trimesh.creation.icosphere(3), joined(box(), box((20, 0, 0))), coarse(thin_shell, 32)):
        assert self_intersections(mesh).shape == (0, 2)
    assert self_intersections(trimesh.Trimesh()).shape == (0, 2)


def test_a_box_through_another_is_counted_face_by_face():
    mesh = joined(box(), box((4.0, 3.1, 2.3), 7.0))
    pairs = self_intersections(mesh)
    assert len(pairs) > 4 and sorted(map(tuple, pairs.tolist())) == every_pair(mesh)


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_trying_every_pair(seed):
    """Triangles at random, in part with common vertices; of very different sizes; far from the origin."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(40, 3)) * rng.uniform(0.3, 3, (40, 1)) + 1000
    faces = np.array([rng.choice(40, 3, replace=False) for _ in range(60)])
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    expected = every_pair(mesh)
    assert len(expected) > 20 and sorted(map(tuple, self_intersections(mesh).tolist())) == expected
    among = rng.random(60) < 0.2
    some = [pair for pair in expected if among[list(pair)].any()]
    assert sorted(map(tuple, self_intersections(mesh, among).tolist())) == some


def test_a_moved_vertex_goes_back_where_it_came_from():
    mesh = trimesh.creation.icosphere(3)
    moved = mesh.copy()
    moved.vertices[100] *= -1.2  # through the other side
    moved.vertices[200] *= 1.01
    assert len(self_intersections(moved))
    apart, left = untangle(moved, before=mesh.vertices)
    assert left == 0 and not len(self_intersections(apart))
    np.testing.assert_array_equal(apart.vertices[100], mesh.vertices[100])
    np.testing.assert_array_equal(apart.vertices[200], moved.vertices[200], err_msg="it crosses nothing")


def test_without_a_place_to_go_back_to_it_is_smoothed():
    mesh = trimesh.creation.icosphere(3)
    mesh.vertices[100] *= -1.2
    assert len(self_intersections(mesh))
    apart, left = untangle(mesh)
    assert left == 0 and is_manifold(apart)
    np.testing.assert_array_equal(apart.faces, mesh.faces)
    assert (np.linalg.norm(apart.vertices, axis=1) < 1.01).all()


def test_what_cannot_be_taken_apart_is_told():
    mesh = joined(box(), box((4.0, 3.1, 2.3), 7.0))
    apart, left = untangle(mesh, rounds=0)
    assert left == len(self_intersections(mesh)) == len(self_intersections(apart)) > 0

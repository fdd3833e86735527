"""Occupancy truth on shapes whose answer is known, and on a real subject."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.dataset.truth import (
    into_box,
    labels_at,
    occupancy_samples,
    step_indices,
    uniform_samples,
    unit_box,
    voxelise,
)
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import CUBE_EDGE_MM, XRayGeometry
from X2BRLogic.surface import contains, labels_to_mesh
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_labels


@pytest.fixture(scope="module")
def labels(shared_data) -> Volume:
    return read_labels(shared_data / "ct" / "lidc_0001" / "bones.nii.gz")


@pytest.fixture(scope="module")
def geometry(labels) -> XRayGeometry:
    return XRayGeometry(isocentre=labels.mask_bounds(np.isin(labels.array, anatomy.THORAX)).mean(axis=0))


def test_the_unit_box_of_a_box():
    mesh = trimesh.creation.box((20, 40, 10)).apply_translation((100, -50, 7))
    scale, centre = unit_box(mesh)
    assert scale == pytest.approx(1 / 40)
    np.testing.assert_allclose(centre, (100, -50, 7))
    np.testing.assert_allclose(into_box(mesh, scale, centre).bounds, [[-0.25, -0.5, -0.125], [0.25, 0.5, 0.125]])
    with pytest.raises(InputError):
        unit_box(trimesh.Trimesh())


def test_voxels_of_a_box_are_counted_by_hand_and_indexed_xyz():
    mesh = trimesh.creation.box((1.0, 0.5, 0.25)).apply_translation((0, 0.25, -0.125))
    grid = voxelise(mesh, 32)
    expected = np.zeros((32, 32, 32), dtype=bool)
    expected[:, 16:, 8:16] = True  # y from 0 to 0.5, z from -0.25 to 0
    np.testing.assert_array_equal(grid, expected)


def test_voxels_of_a_ball():
    grid = voxelise(trimesh.creation.icosphere(5, radius=0.4), 64)
    assert grid.mean() == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.01)


def test_uniform_samples_of_a_ball():
    sphere = trimesh.creation.icosphere(5, radius=0.4)
    points, inside = uniform_samples(sphere, seed=3)
    assert points.shape == (100_000, 3) and points.dtype == np.float32 and inside.dtype == bool
    assert np.abs(points).max() <= 0.5
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.005)
    np.testing.assert_allclose(points.std(axis=0), 12**-0.5, atol=0.003)
    distance = np.linalg.norm(points, axis=1)
    clear = np.abs(distance - 0.4) > 1e-3
    np.testing.assert_array_equal(inside[clear], distance[clear] < 0.4)
    same = uniform_samples(lambda p: np.linalg.norm(p, axis=1) < 0.4, seed=3)
    np.testing.assert_array_equal(same[0], points)
    assert (same[1] != inside).mean() < 1e-3
    assert not np.array_equal(uniform_samples(sphere, 100, seed=4)[0], points[:100])


def test_a_training_step_draws_its_own_points_again_and_again():
    first, again, second = step_indices(100_000, 0), step_indices(100_000, 0), step_indices(100_000, 1)
    assert first.shape == (2048,) and len(np.unique(first)) == 2048 and first.max() < 100_000
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, second)) < 200
    assert len(np.intersect1d(first, step_indices(100_000, 0, seed=1))) < 200
    seen = np.concatenate([step_indices(10_000, step) for step in range(200)])
    counts = np.bincount(seen, minlength=10_000)
    assert counts.mean() == pytest.approx(40.96) and counts.std() < 7.5  # binomial: 5.7
    with pytest.raises(InputError):
        step_indices(100, 0)


# --- the ray cube ---------------------------------------------------------------------------------------------------


def test_nearest_label_by_hand():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    volume = Volume(array, np.array([[0, -2.0, 0, 5], [3.0, 0, 0, 1], [0, 0, 4.0, -2], [0, 0, 0, 1]]))
    ijk = np.array([[0, 0, 0], [3, 2, 1], [1.4, 0.6, 0.4], [-0.49, 0, 0], [-0.51, 0, 0], [3.51, 0, 0], [0, 0, 1.6]])
    values, in_view = labels_at(volume, volume.to_ras(ijk))
    np.testing.assert_array_equal(in_view, [1, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(values, [0, 23, 5, 0, 0, 0, 0])


def ball_in_a_box(radius=60.0, half=80.0, spacing=2.0):
    """A labelled ball about the origin with a shell of cartilage, in a scan smaller than the cube."""
    ticks = np.arange(-half, half + 1, spacing)
    k, j, i = np.meshgrid(ticks, ticks, ticks, indexing="ij")
    distance = np.sqrt(k**2 + j**2 + i**2)
    array = np.where(distance < radius, 25, np.where(distance < radius + 10, anatomy.CARTILAGES, 0)).astype(np.uint8)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = -half
    return Volume(array, matrix)


@pytest.mark.parametrize("view", ["AP", "PA", "LAT", "RLAT"])
def test_samples_of_a_ball_in_every_view(view):
    geometry = XRayGeometry.from_view(view, angle=10)
    samples = occupancy_samples(ball_in_a_box(), [25], geometry, 50_000, 0.0, seed=1)
    assert samples.points.dtype == np.float32 and np.abs(samples.points).max() <= 0.5
    ras = geometry.ray_cube_to_ras(samples.points)
    distance = np.linalg.norm(ras, axis=1)
    in_view = (np.abs(ras) < 80.9).all(axis=1)
    sure = np.abs(distance - 60) > 2
    np.testing.assert_array_equal(samples.occupied[sure], distance[sure] < 60)
    sure = (np.abs(distance - 60) > 2) & (np.abs(distance - 70) > 2) & (np.abs(np.abs(ras) - 81) > 0.2).all(axis=1)
    known = in_view & ~((distance > 60) & (distance < 70))
    np.testing.assert_array_equal(samples.known[sure], known[sure])
    assert not (samples.occupied & ~samples.known).any()


def test_the_volume_of_the_ball_comes_out_in_millimetres():
    """Absolute scale: the part of the cube that is bone, times the cube, is the ball; perspective averages out."""
    samples = occupancy_samples(ball_in_a_box(), [25], XRayGeometry(sod=1e6 - 300, sid=1e6), 400_000, 0.0)
    assert samples.occupied.mean() * CUBE_EDGE_MM**3 == pytest.approx(4 / 3 * np.pi * 60**3, rel=0.03)


def test_cartilage_counts_where_it_is_asked_for():
    volume, geometry = ball_in_a_box(), XRayGeometry()
    bones = [25, anatomy.CARTILAGES]
    with_it = occupancy_samples(volume, bones, geometry, 20_000, 0.0)
    without = occupancy_samples(volume, [25], geometry, 20_000, 0.0)
    extra = with_it.occupied & ~without.occupied
    assert extra.sum() > 100 and with_it.known[extra].all() and not without.known[extra].any()
    as_background = occupancy_samples(volume, [25], geometry, 20_000, 0.0, ignored=())
    assert as_background.known[extra].all() and not as_background.occupied[extra].any()


def test_points_near_the_surface_are_near_the_surface():
    volume, geometry = ball_in_a_box(), XRayGeometry()
    near = occupancy_samples(volume, [25], geometry, 20_000, 1.0, spread_mm=3.0)
    distance = np.linalg.norm(geometry.ray_cube_to_ras(near.points), axis=1)
    assert abs(np.median(distance) - 60) < 1.5
    assert 2.5 < (distance - 60).std() < 4
    half = occupancy_samples(volume, [25], geometry, 20_000, 0.5, spread_mm=3.0)
    distance = np.linalg.norm(geometry.ray_cube_to_ras(half.points), axis=1)
    assert (np.abs(distance - 60) < 9).mean() == pytest.approx(0.5, abs=0.06)
    assert (np.abs(distance[:5000] - 60) < 9).mean() == pytest.approx(0.5, abs=0.06), "not in random order"


def test_the_border_of_the_scan_is_no_surface():
    """A bone that fills a slab of the scan: samples gather at its real faces, not where the scan cuts it."""
    array = np.zeros((40, 40, 40), dtype=np.uint8)
    array[10:30] = 25
    matrix = np.diag([3.0, 3, 3, 1])
    matrix[:3, 3] = -58.5
    geometry = XRayGeometry()
    near = occupancy_samples(Volume(array, matrix), [25], geometry, 5000, 1.0, spread_mm=0.5)
    ras = geometry.ray_cube_to_ras(near.points)
    assert (np.abs(np.abs(ras[:, 2]) - 28.5) < 4).all()


def test_the_same_seed_gives_the_same_samples():
    volume, geometry = ball_in_a_box(), XRayGeometry()
    one, two = (occupancy_samples(volume, [25], geometry, 5000, 0.5, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.points, two.points)
    np.testing.assert_array_equal(one.occupied, two.occupied)
    other = occupancy_samples(volume, [25], geometry, 5000, 0.5, seed=8)
    assert not np.array_equal(one.points, other.points)


def test_bad_requests_are_refused():
    volume = ball_in_a_box()
    with pytest.raises(InputError, match="fraction"):
        occupancy_samples(volume, [25], XRayGeometry(), 100, 1.5)
    with pytest.raises(InputError, match="cube"):
        occupancy_samples(volume, [1], XRayGeometry(), 100, 0.5)
    with pytest.raises(InputError, match="isocentre"):
        occupancy_samples(volume, [25], XRayGeometry(isocentre=np.array([900.0, 0, 0])), 100, 0.5)
    assert len(occupancy_samples(volume, [1], XRayGeometry(), 100, 0.0).points) == 100


def test_a_real_subject_agrees_with_its_mesh(labels, geometry):
    """Two roads to the same truth: the voxels' own labels, and the mesh made of them."""
    samples = occupancy_samples(labels, anatomy.THORAX, geometry, 60_000, 0.5, seed=0)
    mesh = labels_to_mesh(labels, anatomy.THORAX)
    inside = contains(mesh, geometry.ray_cube_to_ras(samples.points))
    known = samples.known
    both, either = (inside & samples.occupied & known).sum(), ((inside | samples.occupied) & known).sum()
    assert both / either > 0.9  # the smoothed surface against voxel steps, half of the points right at the surface
    assert 0.6 < known.mean() < 1 and 0.1 < samples.occupied.mean() < 0.4


def test_a_flipped_and_permuted_scan_has_the_same_truth(labels, geometry):
    samples = occupancy_samples(labels, anatomy.THORAX, geometry, 20_000, 0.3, seed=0)
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, labels.array.shape[2] - 1
    swap = np.eye(4)[:, [1, 0, 2, 3]]
    twin = Volume(labels.array[:, :, ::-1].transpose(0, 2, 1), labels.ijk_to_ras @ flip @ swap)
    points = geometry.ray_cube_to_ras(samples.points)
    for ours, theirs in zip(labels_at(labels, points), labels_at(twin, points), strict=True):
        assert (ours != theirs).mean() < 1e-3  # ties at voxel faces

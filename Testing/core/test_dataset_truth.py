"""Resampling, occupancy files and boxes of a data set against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.dataset import occupancy
from X2BRLogic.dataset.films import bones_box, boxes_of, covered_rows, depths_of
from X2BRLogic.dataset.resample import grid_of, resample
from X2BRLogic.dataset.truth import near_surface_samples
from X2BRLogic.drr import project_labels
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.volume import Volume


def _placed(array, spacing, directions=None):
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else directions) * spacing
    matrix[:3, 3] = (-30, 20, 7)
    return Volume(array, matrix)


def test_a_linear_field_stays_what_it_is():
    """Smoothing and linear interpolation leave a linear field alone, whatever the scan's axes are."""
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    scan = _placed(np.zeros((30, 50, 60), np.int16), (0.8, 0.9, 2.5), directions)
    slope, offset = np.array([7.0, -4.0, 5.0]), 100.0
    k, j, i = np.indices(scan.array.shape).reshape(3, -1)
    values = scan.to_ras(np.stack([i, j, k], axis=1)) @ slope + offset
    scan = Volume(np.round(values).astype(np.int16).reshape(scan.array.shape), scan.ijk_to_ras)
    labels = Volume(np.ones(scan.array.shape, np.uint8), scan.ijk_to_ras)

    ct, names = resample(scan, labels, 1.5)
    assert ct.array.dtype == np.int16 and names.array.shape == ct.array.shape
    np.testing.assert_allclose(ct.ijk_to_ras[:3, :3], 1.5 * np.eye(3))
    at = np.argwhere(names.array == 1)[:, ::-1]
    inside = scan.to_ijk(ct.to_ras(at))
    deep = ((inside > 6) & (inside < np.array(scan.array.shape[::-1]) - 7)).all(axis=1)
    assert deep.sum() > 1000
    i, j, k = at[deep].T
    expected = ct.to_ras(at[deep]) @ slope + offset
    assert np.abs(ct.array[k, j, i] - expected).max() <= 1.5  # rounded twice


def test_a_finer_scan_is_averaged_and_a_scan_on_the_grid_is_not_touched():
    fine = _placed(np.zeros((64, 64, 64), np.int16), 0.5)
    fine.array[::2] = 1000  # planes that a coarse grid would catch or miss
    labels = Volume(np.ones(fine.array.shape, np.uint8), fine.ijk_to_ras)
    ct, _ = resample(fine, labels, 1.5)
    middle = ct.array[5:-5, 5:-5, 5:-5]
    assert abs(middle.mean() - 500) < 5 and middle.std() < 60

    rng = np.random.default_rng(1)
    scan = _placed(rng.integers(-1000, 1000, (20, 21, 22)).astype(np.int16), 1.5)
    labels = Volume(rng.integers(0, 5, (20, 21, 22)).astype(np.uint8), scan.ijk_to_ras)
    ct, names = resample(scan, labels, 1.5)
    assert np.array_equal(ct.array, scan.array) and np.array_equal(names.array, labels.array)


def test_the_papers_grid_is_centred_on_the_scan():
    scan = _placed(np.zeros((40, 50, 60), np.int16), (0.8, 0.9, 2.5))
    grid = grid_of(scan, 1.0, 128)
    assert grid.array.shape == (128,) * 3
    np.testing.assert_allclose(grid.corners.mean(0), scan.corners.mean(0))
    assert (grid_of(scan, 1.5).corners.max(0) >= scan.corners.max(0) - 1e-6).all()


@pytest.fixture
def ball():
    """A ball of label 40 (T7), radius 30 mm, half of it above cartilage; its mesh; the grid of 2 mm."""
    k, j, i = np.indices((60, 60, 60))
    labels = np.where((i - 30) ** 2 + (j - 30) ** 2 + (k - 30) ** 2 <= 15**2, 40, 0).astype(np.uint8)
    labels[:10] = anatomy.CARTILAGES
    matrix = np.diag([2.0, 2, 2, 1])
    matrix[:3, 3] = (-60, -60, 100)
    mesh = trimesh.creation.icosphere(5, 30.0)
    mesh.apply_translation((0, 0, 160))
    return mesh, Volume(labels, matrix)


def test_occupancy_of_a_ball(tmp_path, ball):
    mesh, labels = ball
    settings = {"points": 20_000, "near_points": 5_000, "near_mm": 3.0}
    arrays = occupancy.sample(mesh, labels, **settings, seed=7)
    occupancy.write(tmp_path / "occupancy.npz", arrays)
    read = occupancy.read(tmp_path / "occupancy.npz")
    for name, array in occupancy.sample(mesh, labels, **settings, seed=7).items():
        assert np.array_equal(read[name], array), name

    radius = np.linalg.norm(read["points"], axis=1)
    clear = np.abs(radius - 0.5) > 1e-3
    assert np.array_equal(read["inside"][clear], (radius < 0.5)[clear])
    assert abs(read["inside"].mean() - np.pi / 6) < 0.01 and np.abs(read["points"]).max() <= 0.5
    distance = (np.linalg.norm(read["near_points"], axis=1) - 0.5) / read["scale"]
    assert abs(distance.std() - 3.0) < 0.15 and 0.35 < read["near_inside"].mean() < 0.55
    ras = read["points"] / read["scale"] + read["centre"]
    assert np.array_equal(read["known"], ras[:, 2] >= 100 + 9.5 * 2)  # below is cartilage
    assert abs(read["grid"].mean() - np.pi / 6) < 0.02


def test_a_damaged_occupancy_file_is_told(tmp_path, ball):
    mesh, labels = ball
    arrays = occupancy.sample(mesh, labels, points=100, near_points=50, near_mm=3.0, seed=0)
    file = tmp_path / "occupancy.npz"
    occupancy.write(file, arrays | {"inside": arrays["inside"][:-1]})
    with pytest.raises(InputError, match=r"inside is bool \(99,\), not bool \(100,\)"):
        occupancy.read(file)
    occupancy.write(file, {name: array for name, array in arrays.items() if name != "grid"})
    with pytest.raises(InputError, match="damaged or lacks an array"):
        occupancy.read(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged or lacks an array"):
        occupancy.read(file)


def test_points_near_a_surface_are_even_by_area():
    """Two boxes, one with nine times the other's surface: it has nine tenths of the points."""
    mesh = trimesh.util.concatenate(
        [trimesh.creation.box((3, 3, 3)), trimesh.creation.box((1, 1, 1)).apply_translation((10, 0, 0))]
    )
    points, inside = near_surface_samples(mesh, 20_000, 0.01, seed=3)
    assert abs((points[:, 0] < 5).mean() - 0.9) < 0.01
    assert abs(inside.mean() - 0.5) < 0.02


def test_boxes_depths_and_covered_rows_of_a_block():
    """A block about the isocentre: the box is its nearest face magnified, its depths are SOD -+ half its depth."""
    labels = np.zeros((100, 60, 60), np.uint8)
    labels[30:70, 20:40, 10:50] = 40
    matrix = np.diag([2.0, 2, 2, 1])
    matrix[:3, 3] = -np.array([59.0, 59.0, 99.0])
    volume = Volume(labels, matrix)
    geometry = XRayGeometry(shape=(512, 512), spacing=(0.5, 0.5))
    projection = project_labels(volume, geometry)

    near = geometry.sid / (geometry.sod - 20)
    [(name, bone)] = boxes_of(projection)["boxes"].items()
    assert name == anatomy.BY_LABEL[40].name and bone["visible"] == 1
    left, top, right, bottom = bone["box"]
    assert abs((right - left) - 80 * near / 0.5) <= 2 and abs((bottom - top) - 80 * near / 0.5) <= 2

    depths = depths_of(projection)
    assert abs(depths["front"][255, 255] - (geometry.sod - 20)) < 0.1
    assert abs(depths["back"][255, 255] - (geometry.sod + 20)) < 0.1
    assert np.isnan(depths["front"][0, 0])
    row, column = depths[f"{name}_corner"]
    crop = depths[f"{name}_front"]
    assert np.array_equal(
        crop, depths["front"][row : row + crop.shape[0], column : column + crop.shape[1]], equal_nan=True
    )

    # The scan ends 100 mm above and below the isocentre; its far upper edge is projected lowest.
    first, last = covered_rows(bones_box(volume), geometry)
    half = 100 * geometry.sid / (geometry.sod + 20) / 0.5
    assert abs(first - (255.5 - half)) <= 1 and abs(last - (255.5 + half)) <= 1

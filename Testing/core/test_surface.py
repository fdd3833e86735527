"""Surfaces on shapes whose answer is known, and on the bones of a real subject."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import trimesh
from analytic_fields import ball, cut_by_the_border, torus
from scipy import ndimage
from scipy.spatial import cKDTree

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.surface import (
    contains,
    drop_specks,
    extract,
    is_manifold,
    isosurface,
    labels_to_mesh,
    labels_to_meshes,
    make_watertight,
    mise,
    remesh,
    simplify,
)
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_labels

# --- extraction -----------------------------------------------------------------------------------------------------


def test_the_extracted_ball_is_a_ball():
    mesh = extract(mise(ball, 128).grid)
    assert is_manifold(mesh)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.31**3, rel=2e-3)
    distance = np.linalg.norm(mesh.vertices - (0.013, -0.021, 0.007), axis=1)
    assert np.abs(distance - 0.31).max() < 0.05 / 128
    outward = np.einsum("ij,ij->i", mesh.face_normals, mesh.triangles_center - (0.013, -0.021, 0.007))
    assert (outward > 0).all()


def test_a_torus_keeps_its_hole():
    assert extract(mise(torus, 64).grid).euler_number == 0


def test_bone_cut_by_the_border_is_closed_there():
    mesh = extract(mise(cut_by_the_border, 64).grid)
    assert is_manifold(mesh)
    assert 0.5 <= mesh.bounds[1, 0] < 0.5 + 0.011 / 64
    height = 0.3 + 0.15
    assert mesh.volume == pytest.approx(np.pi * height**2 * (0.3 - height / 3), rel=5e-3)


@pytest.mark.parametrize("view", ["AP", "PA", "LAT"])
def test_extraction_into_patient_space_faces_outward(view):
    geometry = XRayGeometry.from_view(view, isocentre=np.array([10.0, -20.0, 30.0]))
    mesh = extract(mise(ball, 64).grid, to_space=geometry.ray_cube_to_ras)
    assert is_manifold(mesh) and mesh.volume > 0
    truth = geometry.ray_cube_to_ras(extract(mise(ball, 64).grid).vertices)
    np.testing.assert_allclose(mesh.vertices, truth)


def test_a_mirroring_map_is_allowed_for():
    mesh = extract(mise(ball, 64).grid, to_space=lambda points: points * (-1, 1, 1))
    assert is_manifold(mesh) and mesh.volume > 0


def test_an_empty_field_says_so():
    with pytest.raises(InputError, match="bone"):
        extract(np.full((9, 9, 9), -5, dtype=np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_any_field_gives_a_closed_surface(seed):
    """White noise has every case of marching cubes in it; whole numbers put samples exactly on the level."""
    rng = np.random.default_rng(seed)
    for field in (rng.normal(size=(14, 15, 16)), rng.integers(-1, 2, (14, 15, 16)).astype(float)):
        vertices, faces = isosurface(field.astype(np.float32), 0.0)
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        assert is_manifold(mesh)
        assert len(cKDTree(vertices).query_pairs(1e-7)) == 0, "vertices that coincide"


# --- cleaning -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labels(shared_data) -> Volume:
    return read_labels(shared_data / "ct" / "lidc_0001" / "bones.nii.gz")


@pytest.fixture(scope="module")
def thorax(labels) -> trimesh.Trimesh:
    return labels_to_mesh(labels, anatomy.THORAX)


def reread(mesh):
    """What another program sees: written in single precision, coincident vertices joined."""
    return trimesh.load_mesh(io.BytesIO(mesh.export(file_type="ply")), file_type="ply")


@pytest.mark.parametrize(("faces", "tolerance"), [(100_000, 0.005), (40_000, 0.02), (15_000, 0.05)])
def test_simplified_bones_stay_manifold_even_when_read_back(thorax, faces, tolerance):
    simple = simplify(thorax, faces)
    assert 0.97 * faces < len(simple.faces) <= 1.01 * faces
    assert is_manifold(simple)
    assert is_manifold(reread(simple))
    assert simple.volume == pytest.approx(thorax.volume, rel=tolerance)


def test_simplify_leaves_a_small_mesh_and_refuses_nonsense():
    sphere = trimesh.creation.icosphere(2)
    assert simplify(sphere, 10_000) is sphere
    with pytest.raises(InputError):
        simplify(sphere, 2)


def test_specks_and_bubbles_go_and_the_rest_stays():
    bone = trimesh.creation.icosphere(3, radius=20)
    speck = trimesh.creation.icosphere(2, radius=1).apply_translation((60, 0, 0))
    bubble = trimesh.creation.icosphere(2, radius=1)
    bubble.invert()
    marrow = trimesh.creation.icosphere(2, radius=8)
    marrow.invert()
    marrow.apply_translation((9, 0, 0))
    other = trimesh.creation.icosphere(2, radius=5).apply_translation((0, 0, 500))
    kept = drop_specks(trimesh.util.concatenate([bone, speck, bubble, marrow, other]), 10)
    assert kept.volume == pytest.approx(bone.volume + marrow.volume + other.volume)
    assert len(kept.vertices) == len(bone.vertices) + len(marrow.vertices) + len(other.vertices)
    assert drop_specks(speck, 10).volume == pytest.approx(speck.volume), "the largest piece always stays"


def box(at=(0, 0, 0)):
    return trimesh.creation.box((10, 10, 10)).apply_translation(at)


def test_what_is_manifold():
    assert is_manifold(box())
    assert not is_manifold(trimesh.Trimesh(box().vertices, box().faces[1:], process=False)), "a hole"
    flipped = box().faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not is_manifold(trimesh.Trimesh(box().vertices, flipped, process=False)), "a face turned over"
    for touching in ((10, 10, 0), (10, 10, 10)):  # along an edge, in a corner
        pair = trimesh.util.concatenate([box(), box(touching)])
        assert is_manifold(pair)
        pair.merge_vertices()
        assert not is_manifold(pair)
        apart = make_watertight(pair)
        assert is_manifold(apart) and is_manifold(reread(apart))
        assert apart.volume == pytest.approx(2000, rel=1e-2)


def turned_over(mesh, rng):
    faces = mesh.faces.copy()
    some = rng.random(len(faces)) < 0.2
    faces[some] = faces[some, ::-1]
    return trimesh.Trimesh(mesh.vertices, faces, process=False)


def torn(mesh, rng, part=0.1):
    return trimesh.Trimesh(mesh.vertices, mesh.faces[rng.random(len(mesh.faces)) > part], process=False)


def soup(mesh, rng):
    """Triangles that share nothing any more, each moved a little by itself."""
    triangles = mesh.triangles + rng.normal(0, 0.05, (len(mesh.faces), 1, 3))
    return trimesh.Trimesh(triangles.reshape(-1, 3), np.arange(triangles.size // 3).reshape(-1, 3), process=False)


def inside_out(mesh, rng):
    return trimesh.Trimesh(mesh.vertices, mesh.faces[:, ::-1], process=False)


@pytest.mark.parametrize("damage", [turned_over, torn, soup, inside_out])
def test_broken_bones_are_mended(labels, damage):
    whole = labels_to_mesh(labels, anatomy.BY_NAME["rib_left_5"].label, faces=4000)
    broken = damage(whole, np.random.default_rng(0))
    assert not is_manifold(broken) or broken.volume < 0
    mended = make_watertight(broken)
    assert is_manifold(mended)
    assert mended.volume == pytest.approx(whole.volume, rel=0.02)
    distance, _ = cKDTree(whole.sample(20_000, seed=0)).query(mended.vertices)
    assert distance.max() < 2.5


def test_the_last_resort_always_closes():
    """Triangles thrown together at random: nothing to be right about, but the result must be closed."""
    rng = np.random.default_rng(0)
    mesh = trimesh.Trimesh(rng.normal(size=(12, 3)), rng.integers(0, 12, (40, 3)), process=False)
    assert is_manifold(make_watertight(mesh))


def test_remesh_keeps_a_vertebra(labels):
    vertebra = labels_to_mesh(labels, anatomy.BY_NAME["vertebra_T8"].label)
    again = remesh(torn(vertebra, np.random.default_rng(1), 0.3), resolution=96)
    assert is_manifold(again)
    assert again.volume == pytest.approx(vertebra.volume, rel=0.01)


def test_make_watertight_refuses_what_encloses_nothing():
    flat = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], [[0, 1, 2], [1, 3, 2]], process=False)
    empty = trimesh.Trimesh()
    unreal = trimesh.Trimesh(box().vertices * np.nan, box().faces, process=False)
    for mesh in (flat, empty, unreal):
        with pytest.raises(InputError):
            make_watertight(mesh)


def test_a_sound_mesh_comes_back_as_it_is():
    sphere = trimesh.creation.icosphere(2)
    mended = make_watertight(sphere)
    np.testing.assert_array_equal(mended.vertices, sphere.vertices)
    np.testing.assert_array_equal(mended.faces, sphere.faces)


def test_field_to_simplified_mesh_in_half_a_second():
    def once():
        start = time.process_time()  # of all threads: what one core alone would need
        simplify(extract(mise(lambda p: 60 * (0.35 - np.linalg.norm(p, axis=1)), 128).grid), 40_000)
        return time.process_time() - start

    assert min(once() for _ in range(4)) < 0.5


# --- inside ---------------------------------------------------------------------------------------------------------


def test_contains_on_a_box_and_a_ball():
    rng = np.random.default_rng(0)
    points = rng.uniform(-8, 8, (50_000, 3))
    np.testing.assert_array_equal(contains(box(), points), (np.abs(points) < 5).all(axis=1))
    sphere = trimesh.creation.icosphere(4, radius=5)
    distance = np.linalg.norm(points, axis=1)
    clear = np.abs(distance - 5) > 0.02  # how far the facets lie inside the sphere
    np.testing.assert_array_equal(contains(sphere, points)[clear], distance[clear] < 5)


def test_rays_through_edges_and_vertices_count_once():
    """Points in line with the vertices and edges of a lattice-like mesh."""
    mesh = trimesh.creation.box((10, 10, 10)).subdivide().subdivide()
    ticks = np.arange(-7.5, 8, 1.25) + 1e-9
    for ticks_yz in (ticks, np.arange(-7.5, 8, 1.25)):
        points = np.stack(np.meshgrid(ticks, ticks_yz, ticks_yz, indexing="ij"), axis=-1).reshape(-1, 3)
        points = points[(np.abs(np.abs(points) - 5) > 1e-6).all(axis=1)]
        np.testing.assert_array_equal(contains(mesh, points), (np.abs(points) < 5).all(axis=1))


def test_overlap_is_solid_and_a_cavity_is_hollow():
    hollow = box()
    hollow.apply_scale(0.4)
    hollow.invert()
    mesh = trimesh.util.concatenate([box(), box((5, 5, 5)), hollow])
    points = np.array([[3.0, 3, 3], [0, 0, 0], [-4, -4, -4], [9, 9, 9], [9, -4, 0]])
    np.testing.assert_array_equal(contains(mesh, points), [True, False, True, True, False])


def test_contains_agrees_with_a_real_bone_s_rays(labels):
    rib = labels_to_mesh(labels, anatomy.BY_NAME["rib_left_5"].label, faces=3000)
    points = np.random.default_rng(0).uniform(*rib.bounds, (20_000, 3))
    assert (contains(rib, points) != rib.contains(points)).mean() < 1e-3  # embree traces in single precision


# --- labels ---------------------------------------------------------------------------------------------------------


def test_every_bone_of_the_thorax_keeps_its_volume(labels):
    meshes = labels_to_meshes(labels, anatomy.THORAX)
    assert set(meshes) == set(anatomy.THORAX) & set(np.unique(labels.array).tolist())
    counts = np.bincount(labels.array.ravel())
    for label, mesh in meshes.items():
        assert is_manifold(mesh)
        assert mesh.volume == pytest.approx(counts[label] * 1.5**3, rel=0.01), anatomy.BY_LABEL[label].name


def test_a_mesh_lies_where_its_voxels_are(labels):
    label = anatomy.BY_NAME["sternum"].label
    mesh = labels_to_mesh(labels, label)
    voxels = labels.to_ras(np.argwhere(labels.array == label)[:, ::-1])
    np.testing.assert_allclose(mesh.center_mass, voxels.mean(axis=0), atol=0.1)
    assert contains(mesh, voxels).mean() > 0.98
    np.testing.assert_allclose(mesh.bounds, [voxels.min(0) - 0.75, voxels.max(0) + 0.75], atol=1.0)


def flipped(volume: Volume) -> Volume:
    """The same patient, stored left-handed: one axis the other way round."""
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, volume.array.shape[2] - 1
    return Volume(volume.array[:, :, ::-1], volume.ijk_to_ras @ flip)


def permuted(volume: Volume) -> Volume:
    """The same patient, stored with its axes in another order."""
    return Volume(volume.array.transpose(1, 2, 0), volume.ijk_to_ras @ np.eye(4)[[1, 2, 0, 3]])


def cropped(volume: Volume, label: int, margin: int = 6) -> Volume:
    where = np.argwhere(volume.array == label)
    low, high = np.maximum(where.min(0) - margin, 0), where.max(0) + margin + 1
    shift = np.eye(4)
    shift[:3, 3] = low[::-1]
    return Volume((volume.array[tuple(map(slice, low, high))] == label).astype(np.uint8), volume.ijk_to_ras @ shift)


def oblique_grid(centre, size, spacing=(1.0, 1.3, 1.6)) -> Volume:
    """An empty volume about a point: oblique, anisotropic and left-handed."""
    matrix = trimesh.transformations.euler_matrix(0.4, -0.3, 0.5) @ np.diag([-spacing[0], spacing[1], spacing[2], 1])
    count = np.ceil(size / np.array(spacing)).astype(int)
    matrix[:3, 3] = centre - matrix[:3, :3] @ (count - 1) / 2
    return Volume(np.zeros(count[::-1], dtype=np.uint8), matrix)


def voxels_of(volume: Volume) -> np.ndarray:
    """RAS positions of all voxels, in the order of the array."""
    return volume.to_ras(np.argwhere(np.ones(volume.array.shape, dtype=bool))[:, ::-1])


def resampled_obliquely(volume: Volume) -> Volume:
    """The same patient on another grid; the mask interpolated, so that its edge stays where it is."""
    twin = oblique_grid(volume.corners.mean(axis=0), np.linalg.norm(np.ptp(volume.corners, axis=0)))
    where = volume.to_ijk(voxels_of(twin))[:, ::-1].T
    value = ndimage.map_coordinates(volume.array.astype(np.float32), where, order=1, mode="constant")
    return Volume((value >= 0.5).reshape(twin.array.shape).astype(np.uint8), twin.ijk_to_ras)


def distances(a: trimesh.Trimesh, b: trimesh.Trimesh) -> np.ndarray:
    """Distances between two surfaces, both ways, in mm; their largest is the Hausdorff distance."""
    there = trimesh.proximity.closest_point(a, b.vertices[::4])[1]
    back = trimesh.proximity.closest_point(b, a.vertices[::4])[1]
    return np.concatenate([there, back])


@pytest.mark.parametrize("name", ["rib_left_5", "vertebra_T8"])
@pytest.mark.parametrize("twin", [flipped, permuted])
def test_another_storage_order_gives_the_same_mesh(labels, name, twin):
    bone = cropped(labels, anatomy.BY_NAME[name].label)
    mesh, other = labels_to_mesh(bone, 1), labels_to_mesh(twin(bone), 1)
    assert is_manifold(other)
    assert other.volume == pytest.approx(mesh.volume, rel=1e-3)
    distance, _ = cKDTree(mesh.vertices).query(other.vertices)
    assert distance.max() < 1e-2


@pytest.mark.parametrize("name", ["rib_left_5", "vertebra_T8", "sternum"])
def test_an_oblique_anisotropic_twin_gives_the_same_physical_mesh(labels, name):
    bone = cropped(labels, anatomy.BY_NAME[name].label)
    mesh, other = labels_to_mesh(bone, 1), labels_to_mesh(resampled_obliquely(bone), 1)
    assert is_manifold(other) and other.volume > 0
    assert other.volume == pytest.approx(mesh.volume, rel=0.02)
    apart = distances(mesh, other)  # the steps of the 1.5 mm voxels stay in the finer twin
    assert apart.mean() < 0.25
    assert np.quantile(apart, 0.95) < 0.6


def test_two_grids_see_the_same_ellipsoid():
    """A shape known at every point: Hausdorff distance under two thirds of a voxel, whatever the grid."""
    centre, axes = np.array([12.0, -30, 7]), np.array([25.0, 18, 30])

    def labelled(volume):
        volume.array[:] = (np.linalg.norm((voxels_of(volume) - centre) / axes, axis=1) < 1).reshape(volume.array.shape)
        return labels_to_mesh(volume, 1)

    straight = np.diag([1.5, 1.5, 1.5, 1.0])
    straight[:3, 3] = centre - 34
    mesh = labelled(Volume(np.zeros((46, 46, 46), dtype=np.uint8), straight))
    other = labelled(oblique_grid(centre, 75))
    assert is_manifold(other) and other.volume == pytest.approx(4 / 3 * np.pi * axes.prod(), rel=0.01)
    apart = distances(mesh, other)
    assert apart.max() < 1.0  # measured 0.90: each of the two steps of voxels is off by its half at worst
    assert apart.mean() < 0.3


def test_a_turned_patient_has_a_turned_mesh(labels):
    bone = cropped(labels, anatomy.BY_NAME["vertebra_T8"].label)
    motion = trimesh.transformations.euler_matrix(0.4, -0.3, 0.5)
    motion[:3, 3] = 40, -10, 5
    mesh, other = labels_to_mesh(bone, 1), labels_to_mesh(Volume(bone.array, motion @ bone.ijk_to_ras), 1)
    np.testing.assert_allclose(other.vertices, mesh.apply_transform(motion).vertices, atol=1e-6)
    np.testing.assert_array_equal(other.faces, mesh.faces)


def test_a_digital_ball_is_smooth_and_round():
    ticks = np.arange(-20, 21)
    k, j, i = np.meshgrid(ticks, ticks, ticks, indexing="ij")
    volume = Volume((k**2 + j**2 + i**2 <= 15**2).astype(np.uint8), np.eye(4))
    mesh = labels_to_mesh(volume, 1, smooth_mm=1.0)
    radius = np.linalg.norm(mesh.vertices - 20, axis=1)
    assert radius.std() < 0.12
    stepped = labels_to_mesh(volume, 1, smooth_mm=0)
    assert is_manifold(stepped) and stepped.area > 1.05 * mesh.area


def test_a_bone_cut_by_the_volume_is_closed():
    volume = Volume(np.ones((4, 5, 6), dtype=np.uint8), np.diag([2.0, 2, 2, 1]))
    mesh = labels_to_mesh(volume, 1)
    assert is_manifold(mesh)
    assert mesh.volume == pytest.approx(4 * 5 * 6 * 8, rel=0.01)


def test_a_single_voxel_is_a_bone_too():
    array = np.zeros((5, 5, 5), dtype=np.int16)
    array[2, 2, 2] = 300
    for smooth in (0, 0.75, 3.0):
        mesh = labels_to_mesh(Volume(array, np.eye(4)), 300, smooth_mm=smooth)
        assert is_manifold(mesh)
        np.testing.assert_allclose(mesh.center_mass, 2, atol=0.01)


def test_labels_that_are_not_there(labels):
    with pytest.raises(InputError, match="99"):
        labels_to_mesh(labels, 99)
    with pytest.raises(InputError, match="99"):
        labels_to_meshes(labels, [99])
    assert set(labels_to_meshes(labels, [99, 25])) == {25}
    with pytest.raises(InputError, match="whole numbers"):
        labels_to_mesh(Volume(np.full((3, 3, 3), 0.5), np.eye(4)), 1)


def test_a_label_map_of_floats_is_a_label_map(labels):
    bone = cropped(labels, 25)
    as_float = Volume(bone.array.astype(np.float32), bone.ijk_to_ras)
    np.testing.assert_array_equal(labels_to_mesh(as_float, 1).vertices, labels_to_mesh(bone, [1]).vertices)

"""Metrics against shapes whose answer is known by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.evaluation import evaluate, evaluate_files, load_shape, markdown_table, metrics
from X2BRLogic.evaluation.nearest import Nearest
from X2BRLogic.evaluation.occupancy import is_closed, occupancy
from X2BRLogic.surface import contains

SHARED = Path(os.environ.get("X2BR_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

METRICS = (
    "iou dice chamfer_l1_mm chamfer_l1_unit f_score normal_consistency maxe_mm maye_mm maze_mm hd95_mm asd_mm"
).split()


def sphere(radius=50.0, centre=(0, 0, 0)):
    ball = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    ball.apply_translation(centre)
    return ball


def box(size=(30, 30, 30), centre=(0, 0, 0)):
    cuboid = trimesh.creation.box(size)
    cuboid.apply_translation(centre)
    return cuboid


def lump():
    """No symmetry at all, so that only the right rigid motion fits."""
    ball = trimesh.creation.icosphere(subdivisions=5, radius=40)
    x, y, z = ball.vertices.T / 40
    ball.vertices *= (1 + 0.3 * x * y - 0.2 * z**3 + 0.15 * np.sin(3 * y + z))[:, None] * [1, 1.2, 1.5]
    return ball


# --- known answers ----------------------------------------------------------------------------------------------------


def test_a_shape_against_itself():
    result = evaluate(lump(), lump())
    assert result["iou"] == result["dice"] == result["f_score"] == 1
    assert result["normal_consistency"] == pytest.approx(1, abs=1e-6)
    for name in METRICS:
        if name.endswith(("mm", "unit")):
            assert result[name] == pytest.approx(0, abs=1e-9), name
    assert result["warnings"] == []


def test_shifted_spheres():
    radius, shift = 50.0, 12.0
    result = evaluate(sphere(radius, (0, 0, shift)), sphere(radius))
    lens = np.pi * (4 * radius + shift) * (2 * radius - shift) ** 2 / 12
    ball = 4 / 3 * np.pi * radius**3
    assert result["iou"] == pytest.approx(lens / (2 * ball - lens), abs=0.003)
    assert result["dice"] == pytest.approx(lens / ball, abs=0.003)
    # On a sphere the cosine to the shift is uniform; a shifted point lies |p| - r off the other sphere.
    cosine = np.linspace(-1, 1, 100_001)
    off = np.abs(np.sqrt(radius**2 + shift**2 + 2 * radius * shift * cosine) - radius)
    assert result["asd_mm"] == pytest.approx(off.mean(), abs=0.05)
    assert result["chamfer_l1_mm"] == pytest.approx(off.mean(), abs=0.05)
    assert result["chamfer_l1_unit"] == pytest.approx(off.mean() / (2 * radius), abs=0.0005)
    assert result["hd95_mm"] == pytest.approx(np.percentile(off, 95), abs=0.1)
    assert result["f_score"] == pytest.approx(np.mean(off <= 0.02 * 2 * radius), abs=0.01)
    between_normals = (radius + shift * cosine) / np.sqrt(radius**2 + shift**2 + 2 * radius * shift * cosine)
    assert result["normal_consistency"] == pytest.approx(between_normals.mean(), abs=0.001)
    assert max(result["maxe_mm"], result["maye_mm"], result["maze_mm"]) < 0.01  # ICP takes the shift back


@pytest.mark.parametrize("shift", [3.0, 12.0, 27.0, 33.0])
def test_shifted_boxes_are_exact_on_the_lattice(shift):
    # An even number of 1.5 mm voxels: faces of both boxes run between voxel centres.
    result = evaluate(box(centre=(shift, 0, 0)), box())
    assert result["iou"] == pytest.approx(max(0, (30 - shift) / (30 + shift)), abs=1e-12)
    assert result["dice"] == pytest.approx(2 * result["iou"] / (1 + result["iou"]), abs=1e-12)


def test_concentric_spheres():
    result = evaluate(sphere(52), sphere(50))
    for name in ("chamfer_l1_mm", "asd_mm", "hd95_mm"):
        assert result[name] == pytest.approx(2, abs=0.06), name
    assert result["normal_consistency"] == pytest.approx(1, abs=0.001)
    assert result["iou"] == pytest.approx((50 / 52) ** 3, abs=0.005)


@pytest.mark.parametrize(("gap", "expected"), [(1.8, 1.0), (2.2, 0.0)])
def test_f_score_threshold_is_two_percent_of_the_reference_edge(gap, expected):
    assert evaluate(sphere(50 + gap), sphere(50))["f_score"] == expected


def test_f_score_and_surface_distance_of_a_missing_half():
    whole = trimesh.util.concatenate([sphere(10, (-100, 0, 0)), sphere(10, (100, 0, 0))])
    result = evaluate(sphere(10, (-100, 0, 0)), whole)
    assert result["f_score"] == pytest.approx(2 / 3, abs=0.005)  # precision 1, recall 1/2
    missing = np.mean(np.sqrt(200**2 + 10**2 + 2 * 200 * 10 * np.linspace(-1, 1, 10_001)) - 10)
    assert result["chamfer_l1_mm"] == pytest.approx(missing / 4, rel=0.01)  # 0 one way, half of the other way
    assert result["asd_mm"] == pytest.approx(missing / 3, rel=0.01)  # one ball of three is without partner
    assert result["hd95_mm"] > 195


def test_normal_consistency_drops_the_sign_and_averages_both_directions():
    x, z, tilted = np.eye(3)[[0]], np.eye(3)[[2]], np.array([[0.5, 0, np.sqrt(0.75)]])
    assert metrics.normal_consistency(z, -z, z, z) == 1
    assert metrics.normal_consistency(z, x, z, z) == 0.5
    assert metrics.normal_consistency(x, tilted, x, -tilted) == pytest.approx(0.5)


def test_axis_errors_of_a_stretched_box():
    result = evaluate(box((24, 20, 20)), box((20, 20, 20)))
    # Stretched to box: the ends are 2 mm off, the 2 mm of sides beyond the box 1 mm on average, the rest nothing.
    forth = (800 * 2 + 320 * 1) / 2720
    # Box to stretched: the inner 16 x 16 of an end is nearest the end (2 mm), its rim nearest the sides.
    back = 2 * 16 * 16 * 2 / 2400
    rim = 2 * 0.5 * (160 - 64 / 3) / 2400
    assert result["maxe_mm"] == pytest.approx((forth + back) / 2, abs=0.02)
    assert result["maye_mm"] == pytest.approx(rim / 2, abs=0.02)
    assert result["maze_mm"] == pytest.approx(rim / 2, abs=0.02)


def test_axis_errors_forgive_a_rigid_motion_and_nothing_else():
    moved, scaled = lump(), lump()
    moved.apply_transform(trimesh.transformations.euler_matrix(0.08, -0.1, 0.12))
    moved.apply_translation([4, -3, 5])
    scaled.apply_scale(1.1)
    moved, scaled = evaluate(moved, lump()), evaluate(scaled, lump())
    assert moved["asd_mm"] > 1
    assert max(moved["maxe_mm"], moved["maye_mm"], moved["maze_mm"]) < 0.05
    assert min(scaled["maxe_mm"], scaled["maye_mm"], scaled["maze_mm"]) > 0.5


# --- protocols --------------------------------------------------------------------------------------------------------


def test_the_paper_protocol_ignores_place_and_size_and_the_strict_one_does_not():
    prediction = lump()
    prediction.vertices *= [1, 1.06, 0.97]
    moved = prediction.copy().apply_scale(1.7).apply_translation([50, -20, 300])
    first, second = evaluate(prediction, lump(), "paper"), evaluate(moved, lump(), "paper")
    for name in METRICS:
        assert first[name] == pytest.approx(second[name], rel=1e-6), name
    assert first["iou"] > 0.8
    assert evaluate(moved, lump())["iou"] == 0


def test_the_paper_protocol_measures_in_the_unit_box():
    a, b = box((120, 60, 60)), box((120, 75, 60))
    result = evaluate(a, b, "paper")
    assert result["voxels"] == [32, 32, 32]
    assert result["iou"] == 0.8  # 16 of 20 voxels
    assert result["edge_mm"] == pytest.approx(120)
    assert result["chamfer_l1_unit"] * result["edge_mm"] == pytest.approx(result["chamfer_l1_mm"])


def test_the_paper_protocol_keeps_the_sampling_floor_of_the_literature():
    ball = sphere(50)
    floor = 0.5 * np.sqrt(ball.area / 100_000)
    assert evaluate(ball, ball, "paper")["chamfer_l1_mm"] == pytest.approx(floor, rel=0.02)


def test_results_are_repeatable_and_json():
    first = evaluate(sphere(52), sphere(), seed=3)
    assert first == evaluate(sphere(52), sphere(), seed=3)
    assert first["asd_mm"] != evaluate(sphere(52), sphere(), seed=4)["asd_mm"]
    assert set(METRICS) <= set(json.loads(json.dumps(first, allow_nan=False)))


# --- region -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_bones_beyond_the_scan_are_not_punished_within_a_region(protocol):
    person = trimesh.creation.cylinder(radius=20, height=300)
    scanned = trimesh.creation.cylinder(radius=20, height=201)
    inf = np.inf
    region = [[-inf, -inf, -90], [inf, inf, 90]]
    punished = evaluate(person, scanned, protocol)
    assert punished["iou"] < 0.7
    assert punished["hd95_mm"] > 5
    within = evaluate(person, scanned, protocol, region=region)
    assert within["iou"] == 1
    assert within["hd95_mm"] < (1e-6 if protocol == "strict" else 2)
    assert within["edge_mm"] == pytest.approx(180)
    if protocol == "strict":
        assert within["voxels"][2] == 120


# --- inside -----------------------------------------------------------------------------------------------------------


def test_occupancy_agrees_with_the_surface_room():
    mesh = lump()
    origin, spacing, shape = mesh.bounds[0] - 1.37, 3.1, (35, 40, 50)
    points = origin + spacing * np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    expected = contains(mesh, points).reshape(shape)
    assert expected.any()
    assert (occupancy(mesh, origin, spacing, shape) == expected).all()


def test_occupancy_leaks_nowhere_when_every_edge_meets_the_lattice():
    cube = box((10, 10, 10), (5, 5, 5))
    inside = occupancy(cube, (-1, -1, -1), 1.0, (13, 13, 13))
    assert inside.sum() == 10**3  # half-open: lower faces in, upper faces out
    assert inside[1:11, 1:11, 1:11].all()
    octahedron = trimesh.convex.convex_hull(np.vstack([np.eye(3), -np.eye(3)]) * 6)
    inside = occupancy(octahedron, (-8, -8, -8), 1.0, (17, 17, 17))
    distance = np.abs(np.indices((17, 17, 17)) - 8).sum(axis=0)
    assert inside[distance < 6].all()
    assert not inside[distance > 6].any()


def test_overlapping_bones_are_solid_and_cavities_hollow():
    a, b = box((10, 10, 10)), box((10, 10, 10), (4, 0, 0))
    count = {"origin": (-9.5, -9.5, -9.5), "spacing": 1.0, "shape": (30, 20, 20)}
    assert occupancy(trimesh.util.concatenate([a, b]), **count).sum() == 1400
    cavity = box((4, 4, 4))
    cavity.invert()
    assert occupancy(trimesh.util.concatenate([a, cavity]), **count).sum() == 1000 - 64
    a.invert()
    assert occupancy(a, **count).sum() == 1000


def test_closed_is_about_borders_not_about_manifolds():
    touching = trimesh.util.concatenate([box((2, 2, 2)), box((2, 2, 2), (2, 2, 0))])
    touching.merge_vertices()
    assert not touching.is_watertight
    assert is_closed(touching)
    touching.update_faces(np.arange(len(touching.faces)) > 0)
    assert not is_closed(touching)


def test_an_open_mesh_has_distances_but_no_volume():
    open_ball = sphere(50)
    open_ball.update_faces(np.arange(len(open_ball.faces)) > 2)
    result = evaluate(open_ball, sphere(50))
    assert result["iou"] is None and result["dice"] is None
    assert "prediction is not a closed surface" in result["warnings"][0]
    assert result["asd_mm"] < 0.01


def test_nearest_is_exact():
    mesh = lump()
    points = np.random.default_rng(0).uniform(-90, 90, (500, 3))
    matches = Nearest.on_surface(mesh)(points)
    _, expected, _ = trimesh.proximity.closest_point(mesh, points)
    assert np.linalg.norm(matches.points - points, axis=1) == pytest.approx(expected, abs=1e-9)
    samples, faces = trimesh.sample.sample_surface(mesh, 3000, seed=0)
    distances, order = scipy.spatial.cKDTree(samples).query(points)
    matches = Nearest.among(samples, mesh.face_normals[faces])(points)
    assert np.linalg.norm(matches.points - points, axis=1) == pytest.approx(distances, abs=1e-9)
    assert (matches.normals == mesh.face_normals[faces][order]).all()
    one = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    assert Nearest.on_surface(one)(np.array([[0.2, 0.3, 5.0], [3.0, -1.0, 0.0]])).points == pytest.approx(
        np.array([[0.2, 0.3, 0.0], [1.0, 0.0, 0.0]])
    )


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj"])
def test_meshes_from_files(tmp_path, suffix):
    path = tmp_path / f"bones{suffix}"
    lump().export(path)
    mesh = load_shape(path)
    assert is_closed(mesh)
    assert mesh.bounds == pytest.approx(lump().bounds, abs=1e-4)
    result = evaluate_files(path, path, "paper")
    assert result["iou"] == 1
    assert result["prediction"] == str(path)


def test_a_mesh_that_says_lps_is_turned_to_ras(tmp_path):
    path = tmp_path / "slicer.obj"
    lump().export(path)
    path.write_text("# 3D Slicer output. SPACE=LPS\n" + path.read_text())
    turned = load_shape(path)
    assert turned.vertices == pytest.approx(lump().vertices * [-1, -1, 1], abs=1e-4)
    assert turned.volume == pytest.approx(lump().volume, rel=1e-4)


def label_map(path, array, spacing=1.5, origin=(0, 0, 0)):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([-origin[0], -origin[1], origin[2]])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # so that i, j, k run along R, A, S
    sitk.WriteImage(image, str(path))


def test_a_label_map_and_a_mesh_of_one_ball_agree(tmp_path):
    centre, spacing = np.array([10.0, -20.0, 30.0]), 1.5
    k, j, i = np.indices((50, 50, 50)) * spacing
    origin = centre - 24.5 * spacing
    inside = np.linalg.norm(np.stack([i, j, k], -1) + origin - centre, axis=-1) < 30
    array = np.where(inside, anatomy.STERNUM, 0)
    array[:2] = anatomy.BY_NAME["humerus_left"].label  # context, never part of the thorax
    label_map(tmp_path / "bones.nii.gz", array, spacing, origin)
    sphere(30, centre).export(tmp_path / "bones.ply")
    result = evaluate_files(tmp_path / "bones.nii.gz", tmp_path / "bones.ply")
    assert result["iou"] > 0.95
    assert result["hd95_mm"] < spacing
    assert result["chamfer_l1_mm"] < 0.5


def test_thorax_of_a_scan_against_itself_and_against_another():
    folder = SHARED / "ct"
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no shared data at {folder}")
    path = folder / "lidc_0001" / "bones.nii.gz"
    one, other = load_shape(path), load_shape(folder / "lidc_0314" / "bones.nii.gz")
    same = evaluate(one, one)
    assert same["iou"] == 1
    assert same["asd_mm"] < 1e-6
    different = evaluate(other, one, "paper")
    assert 0 < different["iou"] < 0.5
    assert different["asd_mm"] > 3


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "protocol", "region", "says"),
    [
        (box(), "lenient", None, "no protocol 'lenient'"),
        (trimesh.Trimesh(), "strict", None, "prediction has no surface"),
        (trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False), "paper", None, "no surface"),
        (trimesh.Trimesh([[0, 0, np.nan], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False), "paper", None, "finite"),
        (box(), "strict", [[0, 0, 0], [1, 1, -1]], "min below max"),
        (box(), "strict", [0, 1], "min below max"),
        (box(), "strict", [[100, 100, 100], [200, 200, 200]], "nothing of the prediction"),
        (box((5000, 5000, 5000)), "strict", None, "RAS millimetres"),
    ],
)
def test_bad_shapes(prediction, protocol, region, says):
    with pytest.raises(InputError, match=says):
        evaluate(prediction, box(), protocol, region=region)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bones.ply", None, "no such file"),
        ("bones.ply", b"", "cannot be read as a mesh"),
        ("bones.stl", b"solid nothing\nendsolid\n", "mesh|triangles"),
        ("bones.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "mesh|triangles"),
        ("bones.ply", b"not a mesh at all", "cannot be read as a mesh"),
        ("bones.txt", b"hello", "neither a mesh nor a label map"),
    ],
)
def test_bad_files(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        load_shape(path)


def test_a_label_map_without_thorax(tmp_path):
    label_map(tmp_path / "empty.nii.gz", np.zeros((8, 8, 8)))
    with pytest.raises(InputError):
        load_shape(tmp_path / "empty.nii.gz")


# --- table ------------------------------------------------------------------------------------------------------------


def test_markdown_table():
    rows = [
        {"name": "x2b", "protocol": "strict", "iou": 0.12345, "asd_mm": 3.14159, "chamfer_l1_unit": 0.00512},
        {"name": "a|b", "iou": None},
    ]
    header, rule, first, second = markdown_table(rows).splitlines()
    assert header.startswith("| name | protocol | IoU | Dice | Chamfer-L1 (edge)")
    assert rule.count("--:") == 11
    assert first.startswith("| x2b | strict | 0.123 | – | 0.0051 |") and first.endswith("| 3.14 |")
    assert second.startswith(r"| a\|b | – | – |")

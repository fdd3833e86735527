"""X-ray geometry: projection and its inverse, the views' conventions, the cubes, data round trip."""

import json

import numpy as np
import pytest

from X2BRLogic.errors import InputError
from X2BRLogic.geometry import CUBE_EDGE_MM, VIEWS, XRayGeometry

POSES = [{}, {"angle": 12.5}, {"angle": -30, "tilt": 8, "roll": -5}]


@pytest.fixture(params=[(view, pose) for view in VIEWS for pose in POSES], ids=lambda p: f"{p[0]}-{len(p[1])}")
def geometry(request):
    view, pose = request.param
    return XRayGeometry.from_view(
        view,
        **pose,
        sid=1700,
        sod=1350,
        shape=(400, 520),
        spacing=(0.7, 0.5),
        isocentre=np.array([12.0, -30.0, 401.5]),
        principal_point=(250.0, 210.5),
    )


@pytest.fixture
def points(geometry):
    return geometry.isocentre + np.random.default_rng(0).uniform(-200, 200, (500, 3))


def test_back_projection_undoes_projection(geometry, points):
    again = geometry.back_project(geometry.project(points), geometry.depth(points))
    assert np.abs(again - points).max() < 1e-4


def test_a_pixel_lies_on_the_line_from_source_through_point(geometry, points):
    on_detector = geometry.pixel_positions(geometry.project(points))
    ray, through = on_detector - geometry.source, points - geometry.source
    assert np.abs(np.cross(ray, through) / np.linalg.norm(ray, axis=1, keepdims=True)).max() < 1e-6
    assert np.allclose((on_detector - geometry.source) @ -geometry.to_source, geometry.sid)


def test_pixel_to_ras_is_the_matrix_of_pixel_positions(geometry):
    pixels = np.array([[0, 0], [519, 399], [17.5, 3.25]])
    homogeneous = np.column_stack([pixels, np.zeros(3), np.ones(3)])
    assert np.allclose((homogeneous @ geometry.pixel_to_ras.T)[:, :3], geometry.pixel_positions(pixels))
    assert np.linalg.det(geometry.pixel_to_ras) != 0


def test_cubes_invert(geometry, points):
    assert np.allclose(geometry.cube_to_ras(geometry.ras_to_cube(points)), points)
    assert np.allclose(geometry.ray_cube_to_ras(geometry.ras_to_ray_cube(points)), points)


def test_a_ray_is_a_line_along_y_of_the_ray_cube(geometry, points):
    further = geometry.source + (points - geometry.source) * 1.1
    a, b = geometry.ras_to_ray_cube(points), geometry.ras_to_ray_cube(further)
    assert np.allclose(a[:, [0, 2]], b[:, [0, 2]]) and (np.abs(a[:, 1] - b[:, 1]) > 0.1).all()


def test_network_pixels_are_where_the_ray_cube_says(geometry):
    size = 32
    pixels = geometry.network_pixels(size)
    x, z = 0.5 - (7 + 0.5) / size, 0.5 - (20 + 0.5) / size
    on_ray = geometry.ray_cube_to_ras(np.array([[x, 0.3, z]]))
    assert np.allclose(geometry.project(on_ray)[0], pixels[20, 7])


@pytest.mark.parametrize("view", ["AP", "PA"])
def test_frontal_films_show_the_patients_right_on_the_left_and_the_head_on_top(view):
    geometry = XRayGeometry.from_view(view)
    right, left = geometry.project(np.array([[100.0, 0, 0], [-100.0, 0, 0]]))
    head, foot = geometry.project(np.array([[0, 0, 100.0], [0, 0, -100.0]]))
    assert right[0] < left[0] and head[1] < foot[1]
    assert np.allclose(geometry.cube_axes, np.eye(3))
    assert geometry.source[1] == (1500 if view == "AP" else -1500)


def test_lateral_views_stand_where_their_names_say():
    # Left lateral: the left side (negative R) at the detector, so the source on the right.
    assert XRayGeometry.from_view("LAT").source[0] == 1500
    assert XRayGeometry.from_view("RLAT").source[0] == -1500
    assert np.allclose(XRayGeometry.from_view("AP", angle=90).source, XRayGeometry.from_view("RLAT").source)


def test_magnification_at_the_isocentre_is_sid_over_sod():
    geometry = XRayGeometry()
    a, b = geometry.project(np.array([[10.0, 0, 0], [-10.0, 0, 0]]))
    assert np.isclose((b - a)[0] * geometry.spacing[1], 20 * 1800 / 1500)


def test_json_round_trip(geometry):
    again = XRayGeometry.from_dict(json.loads(json.dumps(geometry.to_dict())))
    assert again.shape == geometry.shape and again.view == geometry.view
    assert np.allclose(again.pixel_to_ras, geometry.pixel_to_ras) and np.allclose(again.source, geometry.source)


def test_resizing_keeps_the_detector(geometry, points):
    small = geometry.resized((200, 130))
    scale = np.array([130 / 520, 200 / 400])
    assert np.allclose(small.project(points), (geometry.project(points) + 0.5) * scale - 0.5)


@pytest.mark.parametrize(
    "settings",
    [
        {"sid": 0},
        {"sod": -1},
        {"sod": 1900},
        {"spacing": (0, 1)},
        {"shape": (0, 10)},
        {"sid": float("nan")},
        {"isocentre": np.array([0, np.inf, 0])},
        {"columns": np.array([1.0, 1.0, 0.0])},
    ],
    ids=str,
)
def test_nonsense_is_refused(settings):
    with pytest.raises(InputError, match="geometry"):
        XRayGeometry(**settings)


def test_unknown_view_is_refused():
    with pytest.raises(InputError, match="AP, PA"):
        XRayGeometry.from_view("FRONTAL")


@pytest.mark.parametrize("damage", [{"sid_mm": None}, {"spacing_mm": ["a", 1]}, {"isocentre": [1, 2]}, {"rows": "x"}])
def test_a_damaged_geometry_file_is_refused(damage):
    with pytest.raises(InputError, match="geometry"):
        XRayGeometry.from_dict(XRayGeometry().to_dict() | damage)


def test_a_missing_number_is_named():
    data = XRayGeometry().to_dict()
    del data["sod_mm"]
    with pytest.raises(InputError, match="sod_mm"):
        XRayGeometry.from_dict(data)


def test_the_cube_has_the_documented_edge():
    corner = XRayGeometry().cube_to_ras(np.array([[0.5, 0.5, 0.5]]))
    assert np.allclose(corner, CUBE_EDGE_MM / 2)

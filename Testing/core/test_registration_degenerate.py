"""Odd input to a registration: one sentence, or a result that is flagged; never a hang, a crash or a NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from X2BRLogic.errors import InputError
from X2BRLogic.registration import DEFAULTS, METHODS, NDPSettings, Settings, register

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def ball(scale=(30, 20, 25), subdivisions=2) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions).apply_scale(scale)


def settings_of(method: str):
    if method == "ndp":
        return NDPSettings(levels=2, iterations=10)
    return replace(DEFAULTS[method], iterations=80)


def broken(points: np.ndarray, value: float) -> np.ndarray:
    points = np.array(points)
    points[3, 1] = value
    return points


IMPOSSIBLE = {
    "two points": (np.array([[0, 0, 0.0], [1, 1, 1]]), "2 distinct point"),
    "coincident points": (np.ones((50, 3)), "1 distinct point"),
    "no points": (np.empty((0, 3)), "is empty"),
    "an empty mesh": (trimesh.Trimesh(), "is empty"),
    "NaN": (broken(ball().vertices, np.nan), "NaN or infinite"),
    "infinity": (broken(ball().vertices, np.inf), "NaN or infinite"),
    "points in the plane": (np.zeros((9, 2)), r"shape \(9, 2\)"),
    "no numbers": ("rib.ply", "no mesh and no array"),
    "faces without vertices": (trimesh.Trimesh(ball().vertices, [[0, 1, 9999]], process=False), "a vertex that is not"),
}


@pytest.mark.parametrize("side", ["moving", "fixed"])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_input_is_told_in_one_sentence(name, side):
    shape, words = IMPOSSIBLE[name]
    pair = {"moving": (shape, ball()), "fixed": (ball(), shape)}[side]
    for method in METHODS:
        with pytest.raises(InputError, match=words) as raised:
            register(*pair, method)
        assert side in str(raised.value) and "\n" not in str(raised.value)


def heap() -> np.ndarray:
    return np.concatenate([np.ones((300, 3)), np.random.default_rng(0).normal(size=(8, 3)) * 10])


def in_pieces() -> trimesh.Trimesh:
    return trimesh.util.concatenate([ball(), ball().apply_translation([100, 0, 0])])


def with_a_stray_vertex() -> trimesh.Trimesh:
    return trimesh.Trimesh(np.concatenate([ball().vertices, [[9.0, 9.0, 9.0]]]), ball().faces, process=False)


def with_a_hole() -> trimesh.Trimesh:
    mesh = ball()
    mesh.update_faces(mesh.triangles_center[:, 2] < 15)
    mesh.remove_unreferenced_vertices()
    return mesh


ODD = {
    "pieces": (in_pieces(), ball(), "2 separate pieces"),
    "hole": (with_a_hole(), ball(), "is open along"),
    "ten times too large": (ball(), ball((300, 200, 250)), "10 times as large"),
    "no faces": (ball().vertices, ball(), "no faces"),
    "heap": (heap(), ball(), "only 9 of the moving shape's 308 points"),
    "line": (ball(), np.linspace([0, 0, 0], [50, 10, 0], 100), "on a line"),
    "plane": (ball(), np.random.default_rng(0).normal(size=(100, 3)) * [30, 30, 0], "in a plane"),
    "stray vertex": (with_a_stray_vertex(), ball(), "belong to no face"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_input_gives_a_finite_result_that_says_so(name):
    moving, fixed, words = ODD[name]
    for method in METHODS:
        result = register(moving, fixed, method, settings_of(method))
        for array in (result.vertices, result.correspondences, result.similarity, result.history):
            assert np.isfinite(array).all()
        if method.startswith("gbcpd"):  # the others do not look at faces
            assert any(words in warning for warning in result.warnings), result.warnings
            assert np.isfinite(result.uncertainty).all()


def test_identical_shapes_stay_where_they_are():
    for method in METHODS:
        if method != "ndp":
            result = register(ball(subdivisions=3), ball(subdivisions=3), method)
            assert np.abs(result.vertices - ball(subdivisions=3).vertices).max() < 0.5


def test_four_points_are_enough():
    corners = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10.0]])
    for method in METHODS:
        assert np.isfinite(register(corners, corners + 1.0, method, settings_of(method)).vertices).all()


def test_a_target_out_of_reach_is_told():
    far = ball().apply_translation([1e5, 0, 0])
    with pytest.raises(InputError, match="within reach"):
        register(ball(), far, "gbcpd++", Settings(normalise="x", gamma=0.1))
    with pytest.raises(InputError, match="within reach"):
        register(ball(), far, "bcpd", Settings(normalise="n", gamma=1e-4))


def test_what_stops_unfinished_is_flagged():
    result = register(ball(), ball((35, 20, 22)), "bcpd", Settings(iterations=3))
    assert result.iterations == 3 and any("not converged" in warning for warning in result.warnings)


def test_exact_sums_over_too_many_pairs_are_refused():
    many = np.random.default_rng(0).normal(size=(70_000, 3))
    with pytest.raises(InputError, match="nystrom_p"):
        register(many, many, "bcpd", Settings(nystrom_p=0, nystrom_g=10))


def test_an_exact_kernel_that_would_take_for_ever_is_refused(monkeypatch):
    monkeypatch.setattr("X2BRLogic.registration.coherence._MOST_LANDMARKS", 100)
    with pytest.raises(InputError, match="nystrom_g"):
        register(ball(), ball(), "bcpd", Settings(nystrom_g=0, beta=0.02))


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("icp", None, "no registration is called"),
        ("ndp", Settings(), "NDPSettings"),
        ("cpd", NDPSettings(), "give Settings"),
        ("cpd", Settings(transformation="srn"), "alone"),
        ("gbcpd", Settings(nystrom_g=0), "landmarks"),
    ],
)
def test_settings_that_do_not_fit_the_method_are_told(method, settings, words):
    with pytest.raises(InputError, match=words):
        register(ball(), ball(), method, settings)

"""Registration: each part against a plain formula or another library, the whole on shapes whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from X2BRLogic.errors import InputError
from X2BRLogic.registration import DEFAULTS, METHODS, NDPSettings, Settings, register
from X2BRLogic.registration.bcpd import _displacement
from X2BRLogic.registration.coherence import Coherence, pivots
from X2BRLogic.registration.gauss_sums import Cells, gaussians
from X2BRLogic.registration.geodesic import distances, mesh_edges, neighbour_edges
from X2BRLogic.registration.matching import Match, Matcher
from X2BRLogic.registration.mersenne import Random
from X2BRLogic.registration.sampling import downsample
from X2BRLogic.registration.settings import Sampling
from X2BRLogic.registration.shapes import as_shape
from X2BRLogic.registration.similarity import Motion, fitted

QUICK_NDP = NDPSettings(levels=6, iterations=60, samples=600)


@pytest.fixture
def random():
    return np.random.default_rng(5)


def bone() -> trimesh.Trimesh:
    """A bent, tapered rod of 642 vertices and 90 mm, with no symmetry that a registration could fall for."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    x, y, z = mesh.vertices.T
    mesh.vertices = np.stack([45 * x, 14 * y * (1 + 0.4 * x) + 18 * x**2, 10 * z * (1 - 0.3 * x) + 6 * x**3], axis=1)
    return mesh


def turned(degrees: float) -> np.ndarray:
    return trimesh.transformations.rotation_matrix(np.radians(degrees), [1, 2, 3])[:3, :3]


def warped(points: np.ndarray) -> np.ndarray:
    """A smooth deformation of some millimetres, turned, grown and moved."""
    bend = 4.0 * np.sin(points[:, [1, 2, 0]] / 20.0)
    return 1.2 * (points + bend) @ turned(20).T + [30.0, -20.0, 10.0]


# --- the parts ------------------------------------------------------------------------------------------------------


def test_the_generator_is_the_64_bit_mersenne_twister():
    """ISO C++ [rand.predef]: the 10000th number of mt19937_64 with its preset seed of 5489."""
    assert Random(5489).closed(10000)[-1] == pytest.approx((9981545732273789042 >> 11) / (2**53 - 1), abs=1e-16)
    assert sorted(Random(3).permutation(1000)) == list(range(1000))


@pytest.mark.parametrize("radius", [np.inf, 0.4, 1e-6])
def test_sums_over_cells_are_those_over_all_pairs(random, radius):
    points, queries = random.normal(size=(700, 3)), random.normal(size=(300, 3))
    queries[:100] = points[:100]
    queries[-1] = 50.0  # far outside the grid
    weights = random.normal(size=700)
    apart = cdist(queries, points)
    kernel = np.exp(-(apart**2) / (2 * 0.3**2)) * (apart <= radius) * weights
    expected = np.concatenate([kernel.sum(axis=1, keepdims=True), kernel @ points], axis=1)
    edge = radius if np.isfinite(radius) else np.inf
    np.testing.assert_allclose(Cells(points, edge).moments(queries, weights, 0.3, radius), expected, atol=1e-9)


def test_gaussians_agree_with_the_library_exponential(random):
    a, b = random.normal(size=(40, 3)), random.normal(size=(50, 3))
    np.testing.assert_allclose(gaussians(a, b, 0.7), np.exp(-(cdist(a, b) ** 2) / 0.98), rtol=1e-9)


def test_geodesics_are_shortest_paths_within_a_piece():
    one = bone()
    two = trimesh.util.concatenate([one, one.copy().apply_translation([0, 60, 0])])
    shape = as_shape(two, "moving")
    graph = mesh_edges(shape.points, shape.faces, shape.alike)
    sources = np.array([0, 5, 900])
    expected = dijkstra(graph, indices=sources)
    assert np.isinf(expected).any(axis=1).all()  # nothing leads to the other piece
    np.testing.assert_allclose(distances(graph, sources, np.inf), expected, rtol=1e-5)
    limited = distances(graph, sources, 30.0)
    np.testing.assert_allclose(limited, np.where(expected <= 30.0, expected, np.inf), rtol=1e-5)


def test_an_unwelded_mesh_has_the_geodesics_of_the_welded_one():
    welded, soup = bone(), bone()
    soup.unmerge_vertices()
    shape = as_shape(soup, "moving")
    graph = mesh_edges(shape.points, shape.faces, shape.alike)
    first = np.flatnonzero((shape.points == welded.vertices[7]).all(axis=1))[0]
    along = distances(graph, np.array([first]), np.inf)[0]
    whole = as_shape(welded, "moving")
    expected = distances(mesh_edges(whole.points, whole.faces, whole.alike), np.array([7]), np.inf)[0]
    place = {tuple(point): n for n, point in enumerate(whole.points)}
    np.testing.assert_allclose(along, expected[[place[tuple(point)] for point in shape.points]], rtol=1e-5, atol=1e-9)


def test_neighbours_join_a_cloud_as_a_mesh_would():
    points = bone().vertices / 30.0
    along = distances(neighbour_edges(points, radius=0.5), np.array([0]), np.inf)[0]
    assert np.isfinite(along).all()
    assert (along >= np.linalg.norm(points - points[0], axis=1) - 1e-5).all()


def test_pivoted_landmarks_give_the_exact_kernel():
    points = bone().vertices / 30.0
    chosen = pivots(points, 0.5)
    coherence = Coherence(points, chosen, 0.5)
    assert len(chosen) < len(points) / 2
    basis = coherence.basis(np.arange(len(points)))
    np.testing.assert_allclose(basis @ basis.T, gaussians(points, points, 0.5), atol=1e-6)
    coefficients, factor = np.ones((coherence.rank, 3)), np.eye(coherence.rank)
    displacement, norm = coherence.everywhere(coefficients, factor)
    np.testing.assert_allclose(displacement, basis @ coefficients, atol=1e-8)
    np.testing.assert_allclose(norm, 1.0, atol=1e-5)  # the kernel's diagonal


def test_the_geodesic_kernel_keeps_near_sheets_apart_and_stays_positive():
    """Two sheets 0.1 apart, joined far away at a fold: near in space, far along the surface."""
    u, v = np.meshgrid(np.linspace(0, 4, 41), np.linspace(0, 1, 6), indexing="ij")
    folded = np.where(u < 2, u, 4 - u)
    points = np.stack([folded, v, np.where(u < 2, 0.0, 0.1)], axis=-1).reshape(-1, 3)
    at = np.arange(41 * 6).reshape(41, 6)
    corners = [at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]]
    a, b, c, d = (corner.ravel() for corner in corners)
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    shape = as_shape(trimesh.Trimesh(points, faces, process=False), "moving")
    graph = mesh_edges(shape.points, shape.faces, shape.alike)
    first, opposite = at[0, 3], at[-1, 3]
    couplings = {}
    for tau in (0.0, 0.5, 1.0):
        coherence = Coherence(points, np.arange(len(points)), 0.3, 1e-3, tau, graph)
        rows = coherence.basis(np.array([first, opposite]))
        couplings[tau] = rows[0] @ rows[1]
        assert np.linalg.eigvalsh(rows @ rows.T).min() > 0
    assert couplings[0.0] > 0.9
    assert couplings[0.5] == pytest.approx(0.5 * couplings[0.0], abs=0.05)
    assert abs(couplings[1.0]) < 0.05


def dense_match(moving, target, weights, width, outliers) -> Match:
    kernel = gaussians(moving, target, width) * weights[:, None]
    chance = kernel / (kernel.sum(axis=0) + outliers)
    return Match(chance.sum(axis=1), chance @ target, chance.sum(axis=0))


@pytest.mark.parametrize(
    ("width", "settings", "tolerance"),
    [
        (0.5, Settings(nystrom_p=0, local=False), 1e-9),
        (0.05, Settings(nystrom_p=0, local_radius=0.5), 1e-8),
        (0.5, Settings(nystrom_p=300), 2e-2),
    ],
    ids=["all pairs", "near pairs", "Nystrom"],
)
def test_matches_are_those_of_the_full_matrix(random, width, settings, tolerance):
    moving, target = random.normal(size=(400, 3)) * 0.4, random.normal(size=(500, 3)) * 0.4
    weights = random.uniform(0.5, 1.5, 400) / 400
    samples = Random(1).permutation(900)[: settings.nystrom_p] if settings.nystrom_p else np.arange(0)
    match = Matcher(target, 400, samples, settings)(moving, weights, width, 1e-3)
    expected = dense_match(moving, target, weights, width, 1e-3)
    for got, wanted in zip(match, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=tolerance * np.abs(wanted).max())


def test_the_displacement_is_that_of_the_papers_full_matrices(random):
    """v = G (G + lambda sigma^2 / s^2 N^-1)^-1 (T^-1(x) - y), as published, against the low-rank form."""
    source = random.normal(size=(60, 3))
    basis = Coherence(source, np.arange(60), 0.8).basis(np.arange(60))
    moving = random.uniform(0.2, 2.0, 60)
    aligned = random.normal(size=(60, 3))
    motion = Motion(1.3 * turned(25), np.array([0.2, -0.1, 0.4]), 1.3)
    match = Match(moving, moving[:, None] * aligned, np.ones(60))
    coefficients, factor = _displacement(source, basis, match, motion, 0.3, 5.0, np.empty_like(basis))
    kernel, stiffness = gaussians(source, source, 0.8), 5.0 * (0.3 / 1.3) ** 2
    rest = (aligned - motion.translation) @ turned(25) / 1.3 - source
    expected = kernel @ np.linalg.solve(kernel + np.diag(stiffness / moving), rest)
    np.testing.assert_allclose(basis @ coefficients, expected, atol=1e-6)
    posterior = np.linalg.inv(np.linalg.inv(kernel + 1e-10 * np.eye(60)) + np.diag(moving / stiffness))
    spread = np.linalg.solve(factor, np.eye(60)[: len(factor), : len(factor)]).T
    np.testing.assert_allclose((np.linalg.norm(basis @ spread, axis=1)) ** 2, np.diag(posterior) / stiffness, rtol=1e-4)


@pytest.mark.parametrize("kind", ["srn", "rn", "a", "n"])
def test_the_motion_is_recovered_from_matches(random, kind):
    points = random.normal(size=(50, 3))
    linear = {"srn": 1.4 * turned(70), "rn": turned(70), "a": turned(70) + 0.2, "n": np.eye(3)}[kind]
    shift = np.zeros(3) if kind == "n" else np.array([3.0, 1.0, -2.0])
    moving = random.uniform(0.1, 2.0, 50)
    match = Match(moving, moving[:, None] * (points @ linear.T + shift), np.ones(50))
    motion = fitted(points, match, kind)
    np.testing.assert_allclose(motion.linear, linear, atol=1e-9)
    np.testing.assert_allclose(motion.translation, shift, atol=1e-9)


def test_a_mirrored_target_never_mirrors_the_shape(random):
    points = random.normal(size=(50, 3))
    match = Match(np.ones(50), points * [1, 1, -1], np.ones(50))
    assert np.linalg.det(fitted(points, match, "srn").linear) > 0


@pytest.mark.parametrize("shape", ["voxel", "ball"])
def test_thinning_evens_out_the_density(random, shape):
    dense, sparse = random.uniform(0, 1, (9000, 3)), random.uniform(2, 3, (1000, 3))
    points = np.concatenate([dense, sparse])
    chosen = downsample(points, Sampling(2000, 0.3, shape), Random(1))
    assert 0.4 < (chosen < 9000).mean() < 0.6
    plain = downsample(points, Sampling(2000, 0.0, shape), Random(1))
    assert 0.87 < (plain < 9000).mean() < 0.93 and len(np.unique(plain)) == 2000
    assert list(downsample(points[:50], Sampling(2000, 0.3, shape), Random(1))) == list(range(50))


@pytest.mark.parametrize(
    "wrong",
    [
        {"omega": 1.0}, {"beta": 0.0}, {"lambda_": -1.0}, {"tau": 1.5}, {"gamma": float("nan")}, {"nystrom_g": -3},
        {"iterations": 0}, {"normalise": "z"}, {"transformation": "q"}, {"downsample": "Q,5,1"},
        {"downsample": ("X,100,0.1", "Y,two,0.1")}, {"tolerance": "small"}, {"local_radius": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_told(wrong):
    with pytest.raises(InputError, match=r"give "):
        Settings(**wrong)


# --- the whole ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_known_deformation_is_found(method):
    moving = bone()
    truth = warped(moving.vertices)
    order = np.random.default_rng(2).permutation(len(truth))  # the target's order says nothing
    settings = QUICK_NDP if method == "ndp" else DEFAULTS[method]
    result = register(moving, truth[order], method, settings)
    error = np.linalg.norm(result.vertices - truth, axis=1).mean()
    assert error < (6.0 if method in ("cpd", "ndp") else 1.5)  # those two have no scale and rotation of their own
    assert result.vertices.shape == result.correspondences.shape == moving.vertices.shape
    assert np.linalg.norm(result.correspondences - result.vertices, axis=1).mean() < 3.0
    assert len(result.history) == result.iterations
    assert result.seconds >= sum(result.stages.values()) > 0
    assert result.reason and result.method == method


@pytest.mark.parametrize("method", ["cpd", "bcpd"])
@pytest.mark.parametrize(
    ("letters", "linear"),
    [("r", turned(25)), ("sr", 1.5 * turned(25)), ("a", turned(15) @ np.diag([1.1, 0.9, 1.0]))],
)
def test_motion_as_a_whole_alone(method, letters, linear):
    moving = bone()
    truth = moving.vertices @ linear.T + [5.0, -3.0, 8.0]
    settings = replace(DEFAULTS[method], transformation=letters, nystrom_p=0, tolerance=1e-8, iterations=400)
    result = register(moving, truth, method, settings)
    np.testing.assert_allclose(result.vertices, truth, atol=0.05)
    np.testing.assert_allclose(result.similarity[:3, :3], linear, atol=0.01)
    np.testing.assert_allclose(trimesh.transform_points(moving.vertices, result.similarity), result.vertices, atol=1e-6)


def test_cpd_with_rotation_matches_its_own_paper_on_outliers():
    """A third of the target is noise: with omega of a third rigid CPD still finds the pose."""
    moving = bone()
    noise = np.random.default_rng(0).uniform(-60, 60, (320, 3))
    truth = moving.vertices @ turned(15).T
    settings = replace(DEFAULTS["cpd"], transformation="r", omega=0.33)
    result = register(moving, np.concatenate([truth, noise]), "cpd", settings)
    assert np.linalg.norm(result.vertices - truth, axis=1).mean() < 1.0


def test_uncertainty_grows_where_the_target_is_missing(random):
    moving = bone()
    seen = moving.vertices[:, 0] < 10.0
    fixed = moving.vertices[seen] + random.normal(0, 0.5, (seen.sum(), 3))
    settings = Settings(omega=0.1, beta=0.3, normalise="y", gamma=0.1, transformation="n")
    result = register(moving, fixed, "bcpd", settings)
    assert np.isfinite(result.uncertainty).all()
    far = moving.vertices[:, 0] > 30.0
    assert result.uncertainty[far].mean() > 2.0 * result.uncertainty[seen].mean()
    assert 0.0 < result.uncertainty[seen].mean() < result.sigma


def test_the_same_seed_gives_the_same_result_and_another_nearly():
    moving, fixed = bone(), trimesh.Trimesh(warped(bone().vertices), bone().faces, process=False)
    settings = Settings(downsample="B,300,0.05", nystrom_g=60)
    first, again = (register(moving, fixed, "gbcpd++", settings) for _ in range(2))
    np.testing.assert_array_equal(first.vertices, again.vertices)
    other = register(moving, fixed, "gbcpd++", replace(settings, seed=9))
    apart = np.linalg.norm(other.vertices - first.vertices, axis=1).mean()
    assert 0.0 < apart < 3.0


def test_progress_rises_to_one_and_what_it_raises_passes_through():
    told: list[float] = []
    register(bone(), warped(bone().vertices), "gbcpd++", progress=lambda fraction, stage: told.append(fraction))
    assert told == sorted(told) and told[-1] == 1.0 and len(told) > 30

    class StopError(Exception):
        pass

    def stop(fraction, stage):
        if fraction > 0.1:
            raise StopError

    for method in METHODS:
        with pytest.raises(StopError):
            register(bone(), warped(bone().vertices), method, progress=stop)

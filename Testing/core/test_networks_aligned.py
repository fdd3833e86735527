"""x2b_aligned: bones by name, groups with thresholds of their own, and two films of one patient."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from untrained import save_slab

from X2BRLogic import anatomy
from X2BRLogic.confidence import CONFIDENCE, ERROR, Calibration, signs, steepness
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.models import resources
from X2BRLogic.networks import Batch, OccupancyField, TwoViews, build, save_model, with_facts
from X2BRLogic.networks.x2b_aligned import GROUPS, NAMED, RayFields
from X2BRLogic.pipeline import Reconstructor
from X2BRLogic.radiograph import radiograph_from_array
from X2BRLogic.surface import split_by_name

SMALL = {"image_size": 64, "depths": 16, "name_depths": 4, "width": 16}
CELLS = (16, 32, 32)
CALIBRATION = {"weights": [1.0, 0.0, 0.0, 0.0], "usual_mm": {"sternum": 3.0}, "score": [1.0], "error_mm": [4.0]}


def batch_of_balls(count: int = 4) -> Batch:
    """Films with a bright disc, a ball of one rib behind it, and of cartilage beside it."""
    rng = np.random.default_rng(0)
    image, labels = np.zeros((count, 1, 64, 64), np.float32), np.zeros((count, *CELLS), np.uint8)
    depth, row, column = np.indices(CELLS)
    for n in range(count):
        y, x = rng.uniform(8, 24, 2)
        above = ((depth - 8) / 2.0) ** 2 + ((row - y) / 4.0) ** 2
        labels[n][above + ((column - x - 8) / 4.0) ** 2 < 1] = anatomy.CARTILAGES
        labels[n][above + ((column - x) / 4.0) ** 2 < 1] = 1 if x < 16 else 13
        labels[n][:, :2] = 255
        rows, columns = np.indices((64, 64))
        image[n, 0][(rows / 2 - y) ** 2 + (columns / 2 - x) ** 2 < 16] = 1.0
    points = torch.rand(count, 32, 3) - 0.5
    zeros = torch.zeros(count, 32)
    film = torch.from_numpy(image)
    return Batch(film, torch.zeros(count, dtype=torch.bool), film, points, zeros, zeros + 1, torch.from_numpy(labels))


def test_it_learns_bone_cartilage_and_names_from_whole_rays():
    torch.manual_seed(0)
    network, batch = build("x2b_aligned", SMALL), batch_of_balls()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = network.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    first = {name: p.grad for name, p in network.named_parameters() if "head.norm" not in name}
    assert all(grad is not None and grad.isfinite().all() for grad in first.values())
    # Running statistics of so few steps say little; those of the batch itself do.
    with torch.no_grad():
        fields = network.encode(batch.image)
    rib = (batch.labels == 1) | (batch.labels == 13)
    known = batch.labels != 255
    inside = torch.nn.functional.interpolate(fields.presence, size=CELLS, mode="trilinear")[:, 0] > 0
    overlap = 2 * (inside & rib & known).sum() / ((inside & known).sum() + (rib & known).sum())
    assert overlap > 0.6
    for n in range(len(rib)):
        cells = rib[n].nonzero()[::7]
        points = torch.stack([0.5 - (cells[:, 2] + 0.5) / 32, (cells[:, 0] + 0.5) / 16 - 0.5], dim=1)
        points = torch.cat([points, 0.5 - (cells[:, 1:2] + 0.5) / 32], dim=1).float()
        told = network.named(RayFields(*(field[n : n + 1] for field in fields)), points)
        names = torch.tensor(NAMED)[told[:, 1:].argmax(1)]
        assert (names == batch.labels[n][rib[n]][0]).float().mean() > 0.8


def test_unknown_cells_cost_nothing():
    torch.manual_seed(0)
    network, batch = build("x2b_aligned", SMALL).eval(), batch_of_balls(2)
    nothing = dataclasses.replace(batch, labels=torch.full_like(batch.labels, 255))
    loss = network.loss(nothing)
    loss.backward()
    assert network.rays.weight.grad.abs().max() == 0


def test_a_group_s_offset_moves_its_bones_alone():
    torch.manual_seed(0)
    network = build("x2b_aligned", SMALL).eval()
    rib, vertebra = NAMED.index(1), NAMED.index(anatomy.THORACIC_VERTEBRAE[0])
    torch.nn.init.zeros_(network.names.weight)
    bias = network.names.bias.data.view(len(NAMED), -1)
    bias.zero_()
    bias[rib, :2], bias[vertebra, 2:] = 30.0, 30.0  # the back half of each ray is a rib, the front a vertebra
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        before = network.encode(image).presence
        network.offsets.copy_(torch.tensor([1.5, 0.0, 9.0]))
        change = network.encode(image).presence - before
    assert torch.allclose(change[:, 0, :6], torch.tensor(1.5), atol=1e-4)
    assert change[:, 0, 10:].abs().max() < 1e-4 and change[:, 1].abs().max() == 0
    assert {label for group in GROUPS for label in group} == set(NAMED)


# --- bones by name ----------------------------------------------------------------------------------------------------


def test_a_field_is_split_where_the_names_change():
    ticks = np.linspace(-0.5, 0.5, 41)
    x, y, z = np.meshgrid(ticks, ticks, ticks, indexing="ij")
    grid = (10 * (0.3 - np.sqrt(x**2 + y**2 + z**2))).astype(np.float32)
    found = dict(
        split_by_name(grid, 0.0, lambda p: np.stack([p[:, 0], -p[:, 0], 0 * p[:, 0] - 9], axis=1) * 40, _twice)
    )
    assert set(found) == {0, 1}
    for sign, mesh in ((1, found[0]), (-1, found[1])):
        assert mesh.is_watertight and mesh.volume == pytest.approx(8 * 2 / 3 * np.pi * 0.3**3, rel=0.05)
        assert (sign * mesh.vertices[:, 0] > -0.01).all()


def _twice(points: np.ndarray) -> np.ndarray:
    return 2.0 * points


def test_nothing_is_split_into_nothing():
    assert list(split_by_name(np.full((9, 9, 9), -1.0, np.float32), 0.0, lambda p: np.zeros((len(p), 2)), _twice)) == []


class Ball(torch.nn.Module):
    """Knows a ball about a place of the ray cube, whatever the film, and names its halves."""

    views = 1

    def __init__(self, centre, steep: float = 40.0):
        super().__init__()
        self.centre, self.steep = torch.tensor(centre, dtype=torch.float32), steep

    def encode(self, image):
        return image

    def field(self, code):
        return lambda points: self.steep * (0.2 - (points - self.centre).norm(dim=1))

    def named(self, code, points):
        names = torch.zeros(len(points), 1 + len(NAMED)) - 5.0
        names[:, 1] = 100 * points[:, 0]
        return names

    def surface_points(self, code, level):
        return self.centre[None] + torch.tensor([[0.2, 0.0, 0.0]])


def field_of(network) -> OccupancyField:
    return OccupancyField(network, [np.zeros((8, 8), np.float32)], torch.device("cpu"))


def test_two_films_add_what_they_know():
    """Weighted, each in its own cube; where the second film's cube ends, the first speaks alone."""
    ap, lateral = XRayGeometry.from_view("AP"), XRayGeometry.from_view("LAT")
    one, other = field_of(Ball([0.0, 0.0, 0.0])), field_of(Ball([0.1, 0.0, 0.0]))
    both = TwoViews(
        one,
        other,
        lambda points: lateral.ras_to_ray_cube(ap.ray_cube_to_ras(points)).astype(np.float32),
        lambda points: ap.ras_to_ray_cube(lateral.ray_cube_to_ras(points)),
        (0.5, 0.5, -1.0),
    )
    points = (np.random.default_rng(0).random((200, 3)) * 0.6 - 0.3).astype(np.float32)
    beside = lateral.ras_to_ray_cube(ap.ray_cube_to_ras(points)).astype(np.float32)
    assert np.allclose(both(points), 0.5 * one(points) + 0.5 * other(beside) - 1.0, atol=1e-5)
    assert np.allclose(both.names(points), one.names(points) + other.names(beside), atol=1e-4)
    corner = np.array([[0.49, 0.49, 0.49]], dtype=np.float32)
    outside = np.abs(lateral.ras_to_ray_cube(ap.ray_cube_to_ras(corner))).max() > 0.5
    assert outside and both(corner) == pytest.approx(one(corner))
    seeds = both.surface_points(0.0)
    assert seeds.shape == (2, 3) and np.abs(lateral.ras_to_ray_cube(ap.ray_cube_to_ras(seeds[1:]))[0, 0] - 0.3) < 1e-4


# --- confidence -------------------------------------------------------------------------------------------------------


def test_steepness_is_the_slope_in_mm():
    slope = np.array([0.3, -0.4, 0.0])
    assert np.allclose(steepness(lambda points: points @ slope, np.random.default_rng(0).random((20, 3))), 0.5)


def test_signs_are_flatness_and_doubt_of_the_name():
    seen = signs(np.array([0.5, 0.0]), np.array([[2.0, 2.0, -50.0], [9.0, -90.0, -90.0]]))
    assert np.allclose(seen, [[2.0, 0.5, 0.25], [20.0, 0.0, 0.25]])
    assert np.allclose(signs(np.array([4.0]), np.empty((1, 0))), [[0.25, 0.0, 0.0]])
    assert signs(np.empty(0), np.empty((0, 3))).shape == (0, 3)


def test_a_calibration_gives_back_what_it_was_fitted_to():
    rng = np.random.default_rng(0)
    found = []
    for name, usual in (("rib_left_1", 2.0), ("rib_left_2", 5.0), ("sternum", 2.0)) * 6:
        seen = rng.uniform(0.0, 1.0, (4000, 3)) * (4.0, 1.0, 1.0)
        found.append((name, seen, rng.exponential(usual + 2.0 * seen[:, 0] + 10.0 * seen[:, 1])))
    fitted = Calibration.fitted(found)
    assert np.all(np.diff(fitted.score) > 0) and np.all(np.diff(fitted.error_mm) >= 0)
    assert fitted.usual_mm["rib_left_2"] > fitted.usual_mm["sternum"] + 1.0
    for doubt in (0.2, 0.8):
        seen = np.array([[2.0, doubt, 0.5]])
        assert fitted.expected_error_mm("rib_left_1", seen) == pytest.approx(6.0 + 10.0 * doubt, rel=0.15)
        assert fitted.expected_error_mm("rib_left_2", seen) > fitted.expected_error_mm("rib_left_1", seen) + 1.0
        assert np.isfinite(fitted.expected_error_mm("vertebra_T1", seen))
    assert Calibration.from_dict(json.loads(json.dumps(vars(fitted)))) == fitted
    assert fitted.grown(2.0).error_mm[3] == pytest.approx(2.0 * fitted.error_mm[3], abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"score": [1.0, 2.0]},
        {"score": [2.0, 1.0], "error_mm": [4.0, 5.0]},
        {"score": [], "error_mm": []},
        {"error_mm": ["x"]},
        {"error_mm": [float("inf")]},
        {"weights": [1.0]},
        {"usual_mm": [3.0]},
        {"usual_mm": {"sternum": None}},
    ],
)
def test_a_damaged_calibration_is_refused(change):
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_dict(CALIBRATION | change)
    for header in ([], "x", {"1": {"steepness": [1.0], "error_mm": [2.0]}}, {"1": 3}):  # the third: an earlier form
        with pytest.raises(InputError, match="x2br calibrate"):
            Calibration.of_model({"expected_error": header}, 1)
    assert (
        Calibration.of_model({}, 1) is None and Calibration.of_model({"expected_error": {"1": CALIBRATION}}, 2) is None
    )


# --- the whole way, with a network that nobody trained ----------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = save_slab(tmp_path_factory.mktemp("weights") / "aligned.safetensors")
    with_facts(path, expected_error={"1": CALIBRATION | {"score": [0.0, 20.0], "error_mm": [2.0, 8.0]}})
    return path


def film(view: str):
    return radiograph_from_array(np.random.default_rng(0).random((64, 64)).astype(np.float32), view, view=view)


def test_a_named_bone_comes_out_with_what_it_knows_of_its_error(weights, tmp_path):
    found = Reconstructor(weights=weights, device="cpu").reconstruct(film("AP"), resolution=32)
    name = anatomy.BY_LABEL[NAMED[3]].name
    assert set(found.bones) == {name, "costal_cartilages"}
    bone = found.bones[name]
    assert bone.is_watertight and set(bone.vertex_attributes) == {ERROR, CONFIDENCE}
    assert 2.0 <= bone.vertex_attributes[ERROR].min() and bone.vertex_attributes[ERROR].max() <= 8.0
    assert found.summary["bones"][name]["volume_ml"] > 1
    written = found.save(tmp_path / "out")
    assert (tmp_path / "out" / "bones" / f"{name}.ply").is_file() and "labels.nrrd" in written


def test_a_second_film_must_be_a_lateral_one_and_wanted(weights, tmp_path):
    reconstructor = Reconstructor(weights=weights, device="cpu")
    found = reconstructor.reconstruct(film("AP"), resolution=32, second=film("LAT"))
    assert found.mesh.is_watertight
    with pytest.raises(InputError, match="no lateral film"):
        reconstructor.reconstruct(film("AP"), resolution=32, second=film("PA"))
    torch.manual_seed(0)
    small = {"image_size": 64, "latent": 16, "hidden": 8, "blocks": 1, "octaves": 1}
    for system, second, sentence in (("x2b", film("LAT"), "takes one film"), ("x2b2", None, "needs a lateral film")):
        save_model(build(system, small), tmp_path / f"{system}.safetensors")
        with pytest.raises(InputError, match=sentence):
            Reconstructor(weights=tmp_path / f"{system}.safetensors", device="cpu").reconstruct(
                film("AP"), second=second
            )


def test_the_command_takes_a_lateral_film(weights, tmp_path, capsys):
    from X2BRLogic.cli import main

    for name in ("front.png", "side.png"):
        shutil.copy(resources() / "SampleData" / "chest_ap.png", tmp_path / name)
    arguments = ["reconstruct", str(tmp_path / "front.png"), "--lateral", str(tmp_path / "side.png"), "--json"]
    arguments += ["--weights", str(weights), "--resolution", "32", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "rib_left_4" in json.loads(capsys.readouterr().out)["bones"]

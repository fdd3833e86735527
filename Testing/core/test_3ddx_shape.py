"""The statistical shape model: learned from shapes of known modes, laid onto a part, and on disk."""

import json

import numpy as np
import pytest
import trimesh
from safetensors.numpy import load_file, save_file
from scipy.spatial.transform import Rotation

from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.shape_model import Cage, LinearModel, Observed, Prior, fit, load_cage
from X2BRLogic.shape_model.linear import aligned
from X2BRLogic.shape_model.quality import compactness, generalisation, specificity

BALL = trimesh.creation.icosphere(3, radius=20.0)
PLACE = np.array([30.0, -80.0, 12.0])
LENGTH, WIDTH = BALL.vertices * [0, 0, 1], BALL.vertices * [1, 1, 0]


def people(count: int = 40, seed: int = 0) -> np.ndarray:
    """Balls whose length varies by a tenth and whose width by a twentieth, independently."""
    one, other = np.random.default_rng(seed).standard_normal((2, count, 1, 1))
    return BALL.vertices + 0.1 * one * LENGTH + 0.05 * other * WIDTH


@pytest.fixture(scope="module")
def model() -> LinearModel:
    return LinearModel.learn(people())


# --- learning ---------------------------------------------------------------------------------------------------------


def test_two_known_modes_are_found(model):
    assert len(model.modes) == 2
    np.testing.assert_allclose(
        np.sort(np.sqrt(model.variances)),
        np.sort([0.1 * np.linalg.norm(LENGTH), 0.05 * np.linalg.norm(WIDTH)]),
        rtol=0.3,
    )
    for direction in (LENGTH, WIDTH):  # each lies in the space of the modes
        flat = direction.ravel() / np.linalg.norm(direction)
        basis = model.modes.reshape(2, -1) / np.sqrt(model.variances)[:, None]
        assert np.linalg.norm(basis @ flat) == pytest.approx(1.0, abs=1e-6)
    shape = people(5, seed=9)[3]
    np.testing.assert_allclose(model.shape(model.coefficients(shape)), shape, atol=1e-6)
    np.testing.assert_allclose(model.shape([]), model.mean)


def test_fewer_modes_where_less_variance_is_wanted_or_there_are_fewer_people(model):
    assert len(LinearModel.learn(people(), variance=0.5).modes) == 1
    assert len(LinearModel.learn(people(), most=1).modes) == 1
    assert len(LinearModel.learn(people(2)).modes) == 1


def test_people_who_are_all_alike_have_no_modes():
    model = LinearModel.learn(np.stack([BALL.vertices] * 5))
    assert model.modes.shape == (0, len(BALL.vertices), 3)
    np.testing.assert_allclose(model.shape(np.zeros(0)), BALL.vertices)
    found = fit(model, [Observed(slice(0, len(BALL.vertices)), BALL.vertices + 5.0, BALL.vertex_normals)], Prior())
    np.testing.assert_allclose(found.vertices, BALL.vertices + 5.0, atol=0.3)


@pytest.mark.parametrize(
    "samples", [people(1), np.zeros((3, 0, 3)), np.zeros((4, 5)), np.full((3, 4, 3), np.nan), np.zeros((3, 4, 2))]
)
def test_what_is_no_population_is_refused_in_one_sentence(samples):
    with pytest.raises(InputError) as error:
        LinearModel.learn(samples)
    assert "\n" not in str(error.value)


def test_place_and_turn_are_taken_away_and_size_is_not():
    rng = np.random.default_rng(1)
    sizes = rng.uniform(0.8, 1.2, 20)
    box = trimesh.creation.box((10, 20, 40)).subdivide().vertices
    turns = Rotation.from_rotvec(rng.normal(0, 0.2, (20, 3)))
    shapes = np.stack([turn.apply(size * box) + rng.normal(0, 50, 3) for turn, size in zip(turns, sizes, strict=True)])
    placed = aligned(shapes)
    np.testing.assert_allclose(placed.mean(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(
        placed / sizes[:, None, None], np.broadcast_to(placed[0] / sizes[0], placed.shape), atol=1e-3
    )
    assert len(LinearModel.learn(placed).modes) == 1


def test_curves(model):
    told = compactness(model)
    assert told[-1] == pytest.approx(1.0) and told[0] < 1.0
    groups = [people(6, seed=n) for n in range(4)]
    errors = generalisation(groups, 3)
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.05
    near = specificity(model, people(), draws=20)
    assert len(near) == 2 and 0 < near[0] < 3


# --- laid onto points -------------------------------------------------------------------------------------------------


def seen(shape: np.ndarray, where: np.ndarray) -> Observed:
    mesh = trimesh.Trimesh(shape, BALL.faces, process=False)
    return Observed(slice(0, len(shape)), shape[where], mesh.vertex_normals[where])


def test_the_hidden_half_follows_from_the_half_that_is_seen(model):
    true = BALL.vertices + 0.15 * LENGTH - 0.05 * WIDTH
    # Not about its axis: nobody could tell.
    placed = Rotation.from_rotvec([0.05, 0.02, 0.0]).apply(true) + PLACE
    front = BALL.vertices[:, 1] > 0
    found = fit(model, [seen(placed, front)], Prior(noise_mm=1.0, effective=200.0))
    start = np.linalg.norm(model.mean + PLACE - placed, axis=1)[~front].mean()
    error = np.linalg.norm(found.vertices - placed, axis=1)[~front].mean()
    assert error < 0.8 < 0.5 * start
    assert np.linalg.norm(model.shape(found.coefficients) - true, axis=1).mean() < 0.8


def test_outliers_do_not_pull_it_away(model):
    true = BALL.vertices + 0.1 * LENGTH
    good = seen(true, BALL.vertices[:, 1] > 0)
    wrong = good.points.copy()
    wrong[::8] += 60.0 * good.normals[::8]
    found = fit(model, [Observed(good.part, wrong, good.normals)], Prior(noise_mm=1.0, effective=200.0))
    assert np.linalg.norm(found.vertices - true, axis=1).mean() < 1.0


def test_few_points_of_much_noise_leave_the_mean_shape(model):
    true = BALL.vertices + 0.3 * LENGTH
    one = fit(model, [seen(true, slice(None))], Prior(noise_mm=0.5, effective=500.0)).coefficients
    other = fit(model, [seen(true, slice(None))], Prior(noise_mm=30.0, effective=2.0)).coefficients
    assert np.abs(one).max() > 2.0 and np.abs(other).max() < 0.2


def test_without_points_the_mean_comes_back(model):
    np.testing.assert_allclose(fit(model, [], Prior()).vertices, model.mean)
    empty = Observed(slice(0, 4), np.zeros((0, 3)), np.zeros((0, 3)))
    np.testing.assert_allclose(
        fit(model, [empty], Prior(), start=np.array([1.0, 2.0, 3.0])).vertices.mean(0), [1, 2, 3]
    )


# --- the cage ---------------------------------------------------------------------------------------------------------

PLACES = {"rib_left_3": (-60, 0, 0), "rib_right_3": (60, 0, 0), "sternum": (0, 70, 0), "vertebra_T4": (0, -70, 10)}


def bones_of(length: float, width: float) -> dict[str, np.ndarray]:
    """A cage of four balls that vary together, further apart the larger they are."""
    shape = BALL.vertices + length * LENGTH + width * WIDTH
    return {name: shape + np.multiply(place, 1.0 + length) for name, place in PLACES.items()}


@pytest.fixture(scope="module")
def cage() -> Cage:
    drawn = np.random.default_rng(3).standard_normal((30, 2)) * [0.1, 0.05]
    return Cage.learn([bones_of(*one) for one in drawn], dict.fromkeys(PLACES, BALL.faces), {"subjects": []})


def test_a_bone_that_nobody_saw_follows_from_the_others(cage):
    true = bones_of(0.15, 0.02)
    observed = {
        name: (true[name] + 7.0, trimesh.Trimesh(true[name], BALL.faces, process=False).vertex_normals)
        for name in ("rib_left_3", "sternum", "vertebra_T4")
    }
    found = cage.fitted(observed, Prior(noise_mm=1.0, effective=100.0))
    assert set(found) == set(PLACES)
    for name, vertices in found.items():
        assert np.linalg.norm(vertices - true[name] - 7.0, axis=1).mean() < 2.0
    far = np.linalg.norm(cage.whole.mean[cage.parts["rib_right_3"]] + 7.0 - true["rib_right_3"] - 7.0, axis=1).mean()
    assert far > 8.0


def test_the_cage_on_disk(cage, tmp_path):
    path = tmp_path / "cage.safetensors"
    cage.save(path)
    again = Cage.read(path)
    assert list(again.faces) == list(PLACES) and again.parts == cage.parts and again.facts == cage.facts
    np.testing.assert_allclose(again.whole.mean, cage.whole.mean, atol=1e-4)
    np.testing.assert_allclose(again.whole.modes, cage.whole.modes, atol=0.02)
    assert not list(tmp_path.glob("*.partial"))


def damage_missing(path):
    path.unlink()


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:3000])


def damage_pickle(path):
    path.write_bytes(b"\x80\x04N.")


def _rewritten(path, change, **header):
    tensors = load_file(path)
    change(tensors)
    told = {"schema": "x2br-cage-1", "bones": list(PLACES), "facts": {}} | header
    save_file(tensors, path, metadata={"x2br": json.dumps(told)})


def damage_schema(path):
    _rewritten(path, lambda tensors: None, schema="other")


def damage_bone(path):
    _rewritten(path, lambda tensors: None, bones=["../x", *PLACES])


def damage_nan(path):
    _rewritten(path, lambda tensors: tensors["mean"].__setitem__(0, np.nan))


def damage_shape(path):
    _rewritten(path, lambda tensors: tensors.update(mean=tensors["mean"][:-2].copy()))


def damage_triangle(path):
    _rewritten(path, lambda tensors: tensors["faces.sternum"].__setitem__(0, 60_000))


@pytest.mark.parametrize("damage", [f for name, f in sorted(globals().items()) if name.startswith("damage_")])
def test_a_bad_shape_model_is_refused_in_one_sentence(cage, tmp_path, damage):
    path = tmp_path / "cage.safetensors"
    cage.save(path)
    damage(path)
    with pytest.raises(InputError) as error:
        Cage.read(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_the_one_that_ships_is_of_closed_bones_and_of_nobody_left_out():
    cage = load_cage()
    assert len(cage.faces) == 37 and "C3N-00249" not in json.dumps(cage.facts["subjects"])
    assert 4 <= len(cage.whole.modes) <= 24
    for name, part in cage.parts.items():
        mesh = trimesh.Trimesh(cage.whole.mean[part], cage.faces[name], process=False)
        assert mesh.is_watertight and mesh.volume > 1000.0
    width, _, height = np.ptp(cage.whole.mean, axis=0)
    assert 180 < width < 350 and 220 < height < 420
    geometry = XRayGeometry()
    left = cage.whole.mean[cage.parts["rib_left_5"]]
    assert geometry.ras_to_cube(left)[:, 0].mean() < 0  # patient's left is at negative R
    curves = cage.facts["curves"]
    assert (
        np.all(np.diff(curves["compactness"]) >= 0) and curves["generalisation_mm"][-1] < curves["generalisation_mm"][0]
    )

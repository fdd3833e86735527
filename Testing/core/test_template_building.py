"""How the template is made: the mean of people of known form, what a scan cuts, what is modelled."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.evaluation.nearest import Nearest
from X2BRLogic.surface import is_manifold, simplify
from X2BRLogic.template import load_template, save_skeleton
from X2BRLogic.template.building import build_template
from X2BRLogic.template.building.correspondence import completed
from X2BRLogic.template.building.finish import with_volume
from X2BRLogic.template.building.mean import halves, procrustes_mean
from X2BRLogic.template.building.modelled import costal_cartilages, neighbours_of_the_thorax
from X2BRLogic.template.building.person import Person, read_person
from X2BRLogic.template.contact import overlap, separated
from X2BRLogic.template.parts import mirrored_name
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume

NAMES = ("rib_left_5", "rib_left_6", "rib_right_5", "rib_right_6", *(f"vertebra_T{n}" for n in range(4, 8)))
HALF = tuple(name for name in NAMES if "right" not in name)


def scan(top: float = 400.0, bottom: float = -400.0) -> Volume:
    """The place of a scan that ends below and above at given heights, mm."""
    matrix = np.diag([10.0, 10, 1, 1])
    matrix[:3, 3] = -395, -395, bottom + 0.5
    return Volume(np.zeros((int(top - bottom), 80, 80), dtype=np.uint8), matrix)


@pytest.fixture(scope="module")
def bones():
    """Some of the template with few faces, the right ribs vertex by vertex the left ones' image."""
    half = {name: simplify(load_template().bones[name], 700) for name in HALF}
    image = {
        mirrored_name(n): m.copy().apply_transform(np.diag([-1.0, 1, 1, 1])) for n, m in half.items() if "rib" in n
    }
    return half | image


def person(bones, matrix=None, grid=None) -> Person:
    """Somebody of the template's form, moved; bones that leave the scan are cut there."""
    moved = {name: mesh.copy().apply_transform(np.eye(4) if matrix is None else matrix) for name, mesh in bones.items()}
    someone = Person("someone", {}, moved, frozenset(), frozenset(), grid or scan())
    cut = {}
    for name, mesh in moved.items():
        if not someone.within(mesh.vertices).all():
            low, high = someone.grid.corners[:, 2].min(), someone.grid.corners[:, 2].max()
            slab = trimesh.creation.box(bounds=[[-400, -400, low], [400, 400, high]])
            cut[name] = trimesh.boolean.intersection([mesh, slab], engine="manifold")
    kept = {name: cut.get(name, mesh) for name, mesh in moved.items() if name not in cut or len(cut[name].faces)}
    return replace(someone, bones=kept, cut=frozenset(cut))


def distance(a: trimesh.Trimesh, b: trimesh.Trimesh) -> np.ndarray:
    return np.linalg.norm(Nearest.on_surface(b)(a.vertices).points - a.vertices, axis=1)


def motion(seed: int, size: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = trimesh.transformations.euler_matrix(*np.deg2rad(rng.uniform(-8, 8, 3)))
    matrix[:3] *= size
    matrix[:3, 3] = rng.uniform(-60, 60, 3)
    return matrix


def test_people_who_differ_in_place_turn_and_size_have_their_own_form_as_mean(bones):
    people = [person(bones, motion(seed, size)) for seed, size in ((1, 0.9), (2, 1.0), (3, 1.1))]
    samples = halves(people)
    shapes = [{name: np.array(sample.bones[name].vertices) for name in HALF} for sample in samples]
    for shape, sample in zip(
        shapes[1::2], samples[1::2], strict=True
    ):  # the mirror's vertices in the order of the left's
        for name in HALF:
            if name.startswith("vertebra"):
                shape[name] = np.array(sample.bones[name].vertices)
    mean, poses = procrustes_mean(shapes, samples)
    sizes = np.cbrt([np.linalg.det(pose[:3, :3]) for pose in poses])
    np.testing.assert_allclose(sizes / sizes[2], [0.9, 0.9, 1.0, 1.0, 1.1, 1.1], rtol=2e-3)
    np.testing.assert_allclose(np.prod(sizes), 1.0, rtol=1e-6)
    assert sizes[2] == pytest.approx(1 / np.cbrt(0.9 * 1.1), rel=5e-3)
    ribs = np.concatenate([mean[name] for name in ("rib_left_5", "rib_left_6")])
    truth = np.concatenate([bones[name].vertices for name in ("rib_left_5", "rib_left_6")])
    fit = trimesh.registration.procrustes(truth, ribs, reflection=False, return_cost=False)
    assert np.linalg.norm(trimesh.transform_points(truth, fit) - ribs, axis=1).mean() < 1.0


def test_a_cut_bone_is_carried_on_as_its_neighbours_go(bones):
    """The scan ends half way down the ribs: what it shows is followed, the rest lies where it must."""
    height = float(bones["rib_left_6"].bounds[:, 2].mean())
    cut = person(bones, grid=scan(bottom=round(height)))
    assert {"rib_left_6", "vertebra_T7"} <= cut.cut and "vertebra_T4" in cut.whole
    smaller = {name: mesh.vertices * 0.95 for name, mesh in bones.items() if name in HALF}
    faces = {name: bones[name].faces for name in HALF}
    said = []
    ((shapes, whole, partly),) = completed(smaller, faces, [np.eye(4)], [cut], said.append)
    assert set(shapes) == set(HALF) and "vertebra_T4" in whole and "rib_left_6" in partly
    for name in HALF:
        off = distance(trimesh.Trimesh(shapes[name], faces[name], process=False), bones[name])
        seen = cut.within(shapes[name], 3.0)
        assert off[seen].mean() < 0.7, name
        if (~seen).any():
            assert off[~seen].mean() < 6.0, name
    assert len(said) == 1


def test_the_mirror_image_is_another_half(bones):
    image = person(bones, motion(4, 1.0)).mirrored()
    assert all(mesh.volume > 0 for mesh in image.bones.values())
    again = image.mirrored()
    for name in NAMES:
        np.testing.assert_allclose(again.bones[name].vertices, person(bones, motion(4, 1.0)).bones[name].vertices)
    points = np.array([[10.0, 20, 30], [-500, 0, 0]])
    np.testing.assert_array_equal(image.within(points * [-1, 1, 1]), person(bones).within(points))


def test_a_mesh_given_a_volume_keeps_its_form():
    ball = trimesh.creation.icosphere(2, radius=10)
    grown = with_volume(ball, 4 / 3 * np.pi * 1000)
    assert grown.volume == pytest.approx(4 / 3 * np.pi * 1000, rel=1e-3)
    np.testing.assert_allclose(grown.center_mass, 0, atol=1e-6)


def test_overlapping_bones_are_parted():
    a = trimesh.creation.icosphere(3, radius=10)
    b = a.copy().apply_translation([18, 0, 0])
    parted = separated({"first": a, "second": b})
    assert overlap(a, b) > 10 and overlap(parted["first"], parted["second"]) < 0.5
    for before, after in ((a, parted["first"]), (b, parted["second"])):
        assert is_manifold(after) and after.volume > 0.95 * before.volume
    kept = separated({"first": a, "second": b}, fixed=frozenset(["first"]))
    np.testing.assert_array_equal(kept["first"].vertices, a.vertices)
    assert overlap(kept["first"], kept["second"]) < 0.5


def test_modelled_parts_join_what_they_belong_to():
    template = load_template()
    made = costal_cartilages(template.bones) | neighbours_of_the_thorax(template.bones)
    assert len(made) == 25 and all(is_manifold(mesh) for mesh in made.values())
    for side in ("left", "right"):
        for level in range(1, 11):
            mesh = made[f"costal_cartilage_{side}_{level}"]
            assert distance(mesh, template.bones[f"rib_{side}_{level}"]).min() < 2.0
            other = template.bones["sternum"] if level < 8 else made[f"costal_cartilage_{side}_{level - 1}"]
            assert distance(mesh, other).min() < 4.0, (side, level)
            assert np.sign(mesh.center_mass[0]) == (-1 if side == "left" else 1)
    centre = np.array([made[f"vertebra_L{n}"].center_mass for n in range(2, 6)])
    steps = np.linalg.norm(np.diff(centre, axis=0), axis=1)
    assert ((25 < steps) & (steps < 45)).all() and (np.diff(centre[:, 2]) < -20).all()
    forward = np.diff(centre[:, 1]) / steps
    assert (np.diff(forward) < 0).all()  # lordosis: each step leans less forward than the one above


# --- from files -----------------------------------------------------------------------------------------------------


def test_a_person_is_read_with_what_the_scan_cuts(tmp_path):
    labels = np.zeros((40, 40, 60), dtype=np.uint8)
    labels[5:15, 10:20, 10:50] = 6  # rib_left_6, inside
    labels[30:40, 10:20, 10:50] = 7  # rib_left_7, to the top
    labels[20:26, 25:35, 20:40] = 39  # T6
    labels[20, 1, 1] = 6  # a speck
    write_volume(tmp_path / "bones.nii.gz", Volume(labels, np.diag([2.0, 2, 2, 1])))
    facts = {
        "subject": "x",
        "licence": "CC BY 4.0",
        "unreliable": ["vertebra_T6 (noisy)", "the heart"],
        "age_years": 70,
    }
    (tmp_path / "subject.json").write_text(json.dumps(facts))
    someone = read_person(tmp_path)
    assert set(someone.bones) == {"rib_left_6", "rib_left_7", "vertebra_T6"}
    assert someone.cut == {"rib_left_7"} and someone.doubtful == {"vertebra_T6"} and someone.whole == {"rib_left_6"}
    assert someone.facts == {"subject": "x", "licence": "CC BY 4.0"}
    assert someone.bones["rib_left_6"].volume == pytest.approx(10 * 10 * 40 * 8, rel=0.02)
    open_end = someone.seen("rib_left_7")
    assert not open_end.is_watertight and open_end.bounds[1, 2] < someone.bones["rib_left_7"].bounds[1, 2]

    (tmp_path / "subject.json").write_text("{")
    with pytest.raises(InputError, match=r"subject\.json"):
        read_person(tmp_path)
    with pytest.raises(InputError, match="no bones volume"):
        read_person(tmp_path / "nobody")


def test_people_who_are_not_there(subjects):
    folder = subjects[0].parent
    with pytest.raises(InputError, match="nobody_7"):
        build_template(folder, exclude=["nobody_7"], say=lambda line: None)
    with pytest.raises(InputError, match="nobody is left"):
        build_template(folder, exclude=[path.name for path in subjects], say=lambda line: None)


def test_a_bone_that_nobody_shows_whole(tmp_path):
    (tmp_path / "someone").mkdir()
    labels = np.zeros((30, 30, 30), dtype=np.uint8)
    labels[10:20, 10:20, 10:20] = 6
    for name in ("ct", "bones"):
        write_volume(tmp_path / "someone" / f"{name}.nii.gz", Volume(labels, np.eye(4)))
    with pytest.raises(InputError, match="shows the whole of rib_left_1"):
        build_template(tmp_path, say=lambda line: None)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_shows_and_writes(tmp_path, capsys):
    assert main(["template", "show", "--json", "--picture", str(tmp_path / "a.png"), "--out", str(tmp_path / "t")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["bones"]) == len(load_template().bones) and shown["joints"] == len(load_template().joints)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert main(["template", "show", str(tmp_path / "t")]) == 0
    told = capsys.readouterr().out
    assert "rib_left_5" in told and "modelled" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["template", "show", "nothing_here"],
        ["template", "build", "nothing_here", "--out", "t"],
        ["template", "build"],
        ["template"],
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("x2br: error:") and error.count("\n") == 1


def test_a_skeleton_cannot_be_written_over_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        save_skeleton(load_template(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"

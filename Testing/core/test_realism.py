"""Anatomical realism: figures that tell a thorax from its pieces, on bones whose answers are known."""

import numpy as np
import pytest
import trimesh

from X2BRLogic.errors import InputError
from X2BRLogic.evaluation.centre_line import centre_line, curvature
from X2BRLogic.evaluation.realism import realism


def arc_tube(radius=100.0, degrees=120.0, thickness=5.0, steps=60, around=12):
    """A closed tube bent to an arc in the x-y plane that begins behind (small y)."""
    angles = np.deg2rad(np.linspace(-90, degrees - 90, steps))
    middle = radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    outward = middle / radius
    turns = np.linspace(0, 2 * np.pi, around, endpoint=False)
    rings = middle[:, None] + thickness * (
        np.cos(turns)[None, :, None] * outward[:, None] + np.sin(turns)[None, :, None] * np.array([0, 0, 1.0])
    )
    vertices = np.concatenate([rings.reshape(-1, 3), middle[[0, -1]]])
    n = np.arange(around)
    faces = []
    for ring in range(steps - 1):
        a, b = ring * around + n, ring * around + (n + 1) % around
        faces += [np.stack([a, b, a + around], 1), np.stack([b, b + around, a + around], 1)]
    first, last = steps * around, steps * around + 1
    faces.append(np.stack([np.roll(n, -1), n, np.full(around, first)], 1))
    end = (steps - 1) * around + n
    faces.append(np.stack([end, np.roll(end, -1), np.full(around, last)], 1))
    tube = trimesh.Trimesh(vertices, np.concatenate(faces), process=False)
    trimesh.repair.fix_normals(tube)
    return tube


def cage():
    """Three ribs of one side, 25 mm apart, and two vertebrae."""
    bones = {}
    for level in (4, 5, 6):
        bones[f"rib_left_{level}"] = arc_tube()
        bones[f"rib_left_{level}"].apply_translation([0, 0, -25.0 * level])
    for level in (4, 5):
        bones[f"vertebra_T{level}"] = trimesh.creation.icosphere(3, 12.0)
        bones[f"vertebra_T{level}"].apply_translation([-40, -110, -25.0 * level])
    return bones


def test_centre_line_of_a_bent_tube():
    line = centre_line(arc_tube())
    assert np.allclose(np.linalg.norm(line, axis=1), 100, atol=1.0)
    assert np.abs(line[:, 2]).max() < 1.0
    assert line[0, 1] < line[-1, 1]  # begins behind
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    assert length == pytest.approx(0.92 * 100 * np.deg2rad(120), rel=0.03)
    assert np.median(curvature(line)) == pytest.approx(1 / 100, rel=0.05)


def test_centre_line_refuses_a_triangle():
    with pytest.raises(InputError, match="four vertices"):
        centre_line(trimesh.Trimesh(np.eye(3), [[0, 1, 2]]))


def test_the_truth_itself_is_perfect():
    figures = realism(cage(), cage())
    assert (figures["found"], figures["whole"], figures["separate"]) == (1.0, 1.0, 1.0)
    assert figures["parts_a_bone"] == 1 and figures["ribs_in_order"] == 1.0 and figures["watertight"]
    for name in ("rib_spacing_mm", "rib_curvature_per_m", "rib_length_mm", "bone_asd_mm", "penetration_ml"):
        assert figures[name] == pytest.approx(0, abs=1e-6)
    assert set(figures["bones"]) == set(cage())


def test_one_mesh_of_separate_bones_scores_as_the_bones_do():
    figures = realism(trimesh.util.concatenate(list(cage().values())), cage())
    assert (figures["found"], figures["whole"], figures["separate"]) == (1.0, 1.0, 1.0)
    assert figures["bone_asd_mm"] < 0.3


def test_a_rib_that_lies_too_low_shows_in_spacing_and_distance():
    moved = cage()
    moved["rib_left_5"].apply_translation([0, 0, -5.0])
    figures = realism(moved, cage())
    assert figures["rib_spacing_mm"] == pytest.approx(5.0, abs=0.2)
    assert 2.5 < figures["bones"]["rib_left_5"] < 5.0
    assert figures["rib_curvature_per_m"] == pytest.approx(0, abs=0.2)


def test_swapped_ribs_are_out_of_order():
    bones = cage()
    bones["rib_left_4"], bones["rib_left_5"] = bones["rib_left_5"], bones["rib_left_4"]
    assert realism(bones, cage())["ribs_in_order"] == 0.5


def test_a_broken_rib_has_parts_and_is_not_whole():
    bones = cage()
    gap = trimesh.creation.box([300, 30, 40])
    gap.apply_translation([0, 0, -100])
    bones["rib_left_4"] = trimesh.boolean.difference([bones["rib_left_4"], gap], engine="manifold")
    figures = realism(bones, cage())
    assert figures["parts_a_bone"] == pytest.approx(6 / 5)
    assert figures["whole"] == pytest.approx(4 / 5)


def test_bones_grown_together_are_not_separate():
    bones = cage()
    bridge = trimesh.creation.box([10, 10, 30])
    bridge.apply_translation([100, 0, -112])
    grown = trimesh.boolean.union([*bones.values(), bridge], engine="manifold")
    figures = realism(grown, cage())
    assert figures["separate"] == pytest.approx(3 / 5)
    assert figures["found"] == 1.0


def test_a_missing_bone_is_not_found():
    bones = cage()
    del bones["rib_left_5"]
    figures = realism(bones, cage())
    assert figures["found"] == pytest.approx(4 / 5)
    assert figures["rib_spacing_mm"] is None  # no neighbours left


def test_overlap_is_measured():
    bones = {f"vertebra_T{n}": trimesh.creation.box([20, 20, 20]) for n in (1, 2)}
    bones["vertebra_T2"].apply_translation([0, 0, -15])
    assert realism(bones, bones)["penetration_ml"] == pytest.approx(2.0, rel=1e-3)


def test_a_leaning_spine_shows_in_the_angle():
    bones = cage()
    bones["vertebra_T5"].apply_translation([25, 0, 0])
    assert realism(bones, cage())["vertebral_angle_deg"] == pytest.approx(45, abs=0.5)


@pytest.mark.parametrize(
    "prediction, truth, words",
    [
        ({"rib_13": arc_tube()}, {"rib_left_4": arc_tube()}, "no bone is called 'rib_13'"),
        ({"rib_left_4": arc_tube()}, {}, "nothing to compare"),
        ({"rib_left_4": arc_tube()}, {"clavicle_left": arc_tube()}, "nothing to compare"),
    ],
)
def test_bad_names(prediction, truth, words):
    with pytest.raises(InputError, match=words):
        realism(prediction, truth)

"""The skeleton template that ships, and what a skeleton can do."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.models import resources
from X2BRLogic.surface import contains, is_manifold
from X2BRLogic.template import articulations, bone_of, load_template, read_skeleton, save_skeleton
from X2BRLogic.template.contact import overlap
from X2BRLogic.template.parts import NAMES, SIDES, mirrored_name, side_of
from X2BRLogic.volume import Volume

LEFT_OUT = "cptac_pda_C3N-00249"
RIBS = [f"rib_{side}_{n}" for side in SIDES for n in range(1, 13)]
THORACIC = [f"vertebra_T{n}" for n in range(1, 13)]
CARTILAGES = [f"costal_cartilage_{side}_{n}" for side in SIDES for n in range(1, 11)]
NEIGHBOURS = ["vertebra_C7", *(f"vertebra_L{n}" for n in range(1, 6))]


@pytest.fixture(scope="module")
def template():
    return load_template()


def separation(a: trimesh.Trimesh, b: trimesh.Trimesh) -> float:
    return float(trimesh.proximity.closest_point(b, a.vertices)[1].min())


# --- the template that ships ----------------------------------------------------------------------------------------


def test_every_bone_of_the_thorax_is_there_closed_and_manifold(template):
    assert set(template.bones) == {*RIBS, *THORACIC, *CARTILAGES, *NEIGHBOURS, "sternum"}
    for name, mesh in template.bones.items():
        assert is_manifold(mesh) and mesh.volume > 0 and mesh.body_count == 1, name


def test_it_is_small_and_quick_to_load():
    folder = resources() / "Template"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    start = time.process_time()
    read_skeleton(folder)
    assert time.process_time() - start < 1.5


def test_it_is_symmetric_and_centred(template):
    assert np.abs(template.centre).max() < 1.0
    for name in RIBS + CARTILAGES:
        if side_of(name) == "left":
            left, right = template.bones[name], template.bones[mirrored_name(name)]
            assert left.volume == pytest.approx(right.volume, rel=0.03), name
            np.testing.assert_allclose(left.center_mass * [-1, 1, 1], right.center_mass, atol=1.0)
    for name in (*THORACIC, "sternum"):
        assert abs(template.bones[name].center_mass[0]) < 1.5


def test_the_order_is_anatomical(template):
    height = {name: mesh.center_mass[2] for name, mesh in template.bones.items()}
    for column in (["vertebra_C7", *THORACIC, *NEIGHBOURS[1:]], RIBS[:12], RIBS[12:]):
        levels = np.array([height[name] for name in column])
        assert (np.diff(levels) < -5).all()
    for side, sign in (("left", -1), ("right", 1)):
        for n in range(1, 13):
            assert sign * template.bones[f"rib_{side}_{n}"].center_mass[0] > 20
    front = template.bones["sternum"].center_mass[1]
    assert front > max(template.bones[name].center_mass[1] for name in THORACIC) + 50


def test_sizes_are_human(template):
    """Adult ranges, wide: rib lengths about 80 to 340 mm along the outer curve, vertebral volumes growing downward."""
    volume = {name: mesh.volume / 1000 for name, mesh in template.bones.items()}
    assert all(3 < volume[name] < 40 for name in RIBS[0:11] + RIBS[12:23])
    assert all(1 < volume[f"rib_{side}_12"] < 15 for side in SIDES)
    assert all(12 < volume[name] < 75 for name in THORACIC)
    assert volume["vertebra_T12"] > 1.3 * volume["vertebra_T4"]
    assert 40 < volume["sternum"] < 160
    thorax = template.as_mesh(anatomy.BY_LABEL[label].name for label in anatomy.THORAX)
    assert (np.array([220, 120, 250]) < thorax.extents).all() and (thorax.extents < [360, 260, 420]).all()


def test_neighbours_meet_without_running_through_each_other(template):
    joints = {frozenset(joint.parts): joint for joint in template.joints}
    assert len(template.joints) == len(articulations())
    for n in range(1, 13):
        for side in SIDES:
            rib, vertebra = template.bones[f"rib_{side}_{n}"], template.bones[f"vertebra_T{n}"]
            # The labels leave the head of a rib out; the lowest have no transverse process to end at instead.
            assert separation(rib, vertebra) < (5.0 if n < 10 else 12.0), (side, n)
    for kind, first, second in articulations():
        a, b = template.bones[first], template.bones[second]
        assert overlap(a, b) < 1.0, (first, second)
        point = joints[frozenset((first, second))].point
        reach = 12.0 if kind == "costovertebral" else 6.0
        for mesh in (a, b):
            assert trimesh.proximity.closest_point(mesh, [point])[1][0] < reach, (first, second)


def test_the_table_says_what_the_bones_are_and_where_they_come_from(template):
    table = json.loads((resources() / "Template" / "template.json").read_text())
    assert {entry["name"] for entry in table["bones"]} == set(template.bones)
    for entry in table["bones"]:
        assert entry["code"] == bone_of(entry["name"]).code and entry["label"] == bone_of(entry["name"]).label
        assert entry["made"] == "mean" or entry["made"].startswith("modelled")
        if entry["name"] in RIBS + THORACIC:
            assert entry["made"] == "mean" and entry["seen"]["whole"] + entry["seen"]["in_part"] >= 1
        if entry["name"] in CARTILAGES:
            assert entry["made"].startswith("modelled") and entry["label"] == anatomy.CARTILAGES
    subjects = [subject["subject"] for subject in table["facts"]["subjects"]]
    assert len(subjects) >= 4 and LEFT_OUT not in subjects
    assert all("CC BY" in subject["licence"] and subject["attribution"] for subject in table["facts"]["subjects"])


def test_ordinary_programs_see_a_thorax_of_human_size(template):
    """glTF: metres, y up, the front toward the viewer."""
    scene = trimesh.load_scene(resources() / "Template" / "template.glb")
    low, high = scene.bounds
    assert 0.3 < (high - low)[1] < 0.9 and (high - low)[0] < 0.4
    spine = scene.geometry["vertebra_T6"].copy().apply_transform(scene.graph.get("vertebra_T6")[0])
    sternum = scene.geometry["sternum"].copy().apply_transform(scene.graph.get("sternum")[0])
    assert sternum.centroid[2] > spine.centroid[2] + 0.05
    left = scene.geometry["rib_left_5"].copy().apply_transform(scene.graph.get("rib_left_5")[0])
    assert left.centroid[0] > 0.02


# --- what a skeleton can do -----------------------------------------------------------------------------------------


def test_moving_and_mirroring(template):
    motion = trimesh.transformations.euler_matrix(0.2, -0.1, 0.3)
    motion[:3, 3] = 10, -20, 30
    moved = template.transformed(motion)
    np.testing.assert_allclose(
        moved.bones["rib_left_5"].vertices,
        trimesh.transform_points(template.bones["rib_left_5"].vertices, motion),
    )
    np.testing.assert_allclose(moved.joints[3].point, trimesh.transform_points([template.joints[3].point], motion)[0])
    np.testing.assert_allclose(moved.centre, trimesh.transform_points([template.centre], motion)[0], atol=1e-6)

    image = moved.mirrored()
    np.testing.assert_allclose(
        image.bones["rib_right_5"].center_mass, moved.bones["rib_left_5"].center_mass * [-1, 1, 1], atol=1e-9
    )
    assert all(mesh.volume > 0 for mesh in image.bones.values())
    assert {frozenset(j.parts) for j in image.joints} == {frozenset(j.parts) for j in moved.joints}
    with pytest.raises(InputError, match="mirror"):
        template.transformed(np.diag([-1.0, 1, 1, 1]))


def test_one_bone_moved_takes_its_joints_half_way(template):
    up = np.eye(4)
    up[2, 3] = 10
    posed = template.posed({"rib_left_5": up})
    raised = np.add(template.bones["rib_left_5"].vertices, [0, 0, 10])
    np.testing.assert_allclose(posed.bones["rib_left_5"].vertices, raised)
    np.testing.assert_array_equal(posed.bones["rib_left_6"].vertices, template.bones["rib_left_6"].vertices)
    for before, after in zip(template.joints, posed.joints, strict=True):
        np.testing.assert_allclose(after.point - before.point, [0, 0, 5 * ("rib_left_5" in before.parts)], atol=1e-9)


def test_bent_bones_take_their_joints_along(template):
    shift = np.array([1.0, 2, 3])
    bent = template.with_vertices({name: mesh.vertices + shift for name, mesh in template.bones.items()})
    for before, after in zip(template.joints, bent.joints, strict=True):
        np.testing.assert_allclose(after.point - before.point, shift, atol=1e-9)


def test_a_subset_keeps_its_own_joints(template):
    some = template.subset(["rib_left_4", "vertebra_T4", "vertebra_T3", "no such bone"])
    assert list(some.bones) == ["rib_left_4", "vertebra_T3", "vertebra_T4"]
    assert {j.parts for j in some.joints} == {
        ("rib_left_4", "vertebra_T4"),
        ("rib_left_4", "vertebra_T3"),
        ("vertebra_T3", "vertebra_T4"),
    }
    with pytest.raises(InputError, match="none of the bones"):
        some.as_mesh(["sternum"])


def test_a_label_map_holds_every_bone_in_its_place(template):
    labels = template.label_map(2.0)
    assert labels.array.dtype == np.uint8
    counts = np.bincount(labels.array.ravel(), minlength=58)
    for name in RIBS + THORACIC + ["sternum"]:
        label = bone_of(name).label
        assert counts[label] * 8 == pytest.approx(template.bones[name].volume, rel=0.08), name
        voxels = labels.to_ras(np.argwhere(labels.array == label)[:, ::-1])
        assert contains(template.bones[name], voxels).all()
    assert counts[anatomy.CARTILAGES] * 8 == pytest.approx(
        sum(template.bones[name].volume for name in CARTILAGES), rel=0.05
    )


def test_a_label_map_on_another_grid_agrees(template):
    """An oblique, flipped, anisotropic grid sees the same bone at the same place."""
    bone = template.subset(["vertebra_T7"])
    centre = bone.bones["vertebra_T7"].center_mass
    matrix = trimesh.transformations.euler_matrix(0.4, -0.3, 0.5) @ np.diag([-1.0, 1.3, 1.6, 1])
    matrix[:3, 3] = centre - matrix[:3, :3] @ (np.array([99, 79, 69]) / 2)
    labels = bone.label_map(like=Volume(np.zeros((70, 80, 100), dtype=np.uint8), matrix))
    assert set(np.unique(labels.array)) == {0, bone_of("vertebra_T7").label}
    found = labels.to_ras(np.argwhere(labels.array > 0)[:, ::-1])
    np.testing.assert_allclose(found.mean(axis=0), centre, atol=0.2)
    assert len(found) * 1.3 * 1.6 == pytest.approx(bone.bones["vertebra_T7"].volume, rel=0.03)


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), 0.05])
def test_a_spacing_that_makes_no_sense(template, spacing):
    with pytest.raises(InputError, match="spacing"):
        template.label_map(spacing)


def test_a_bone_has_a_known_name(template):
    with pytest.raises(InputError, match="thumb"):
        replace(template, bones={"thumb": template.bones["sternum"]})
    assert set(map(mirrored_name, NAMES)) == set(NAMES)
    assert mirrored_name("sternum") == "sternum"


# --- on disk --------------------------------------------------------------------------------------------------------


def test_a_skeleton_comes_back_as_it_was(template, tmp_path):
    moved = template.transformed(trimesh.transformations.translation_matrix([500, -300, 1200]))
    save_skeleton(moved, tmp_path / "mine")
    for path in (tmp_path / "mine", tmp_path / "mine" / "template.json", tmp_path / "mine" / "template.glb"):
        again = read_skeleton(path)
        assert list(again.bones) == list(moved.bones) and again.facts == moved.facts
        for name, mesh in moved.bones.items():
            np.testing.assert_allclose(again.bones[name].vertices, mesh.vertices, atol=2e-4)
            np.testing.assert_array_equal(again.bones[name].faces, mesh.faces)
        for before, after in zip(moved.joints, again.joints, strict=True):
            assert (before.kind, before.parts) == (after.kind, after.parts)
            np.testing.assert_allclose(after.point, before.point, atol=1e-3)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def scribbled(path):
    path.write_bytes(b"\x00\xff" * 500)


@pytest.mark.parametrize("damage", [cut_in_half, emptied, scribbled, lambda path: path.unlink()])
@pytest.mark.parametrize("file", ["template.glb", "template.json"])
def test_a_damaged_template_is_one_clear_sentence(tmp_path, file, damage):
    folder = tmp_path / "mine"
    shutil.copytree(resources() / "Template", folder)
    damage(folder / file)
    with pytest.raises(InputError, match=r"template|mesh named after a bone"):
        read_skeleton(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.update(schema="another"),
        lambda table: table.pop("bones"),
        lambda table: table["bones"].pop(),
        lambda table: table["joints"][0].update(point=[1, 2]),
        lambda table: table["joints"][0].update(parts=["rib_left_1", "thumb"]),
        lambda table: table.update(joints=3),
    ],
)
def test_a_table_that_does_not_fit(tmp_path, change):
    folder = tmp_path / "mine"
    shutil.copytree(resources() / "Template", folder)
    table = json.loads((folder / "template.json").read_text())
    change(table)
    (folder / "template.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match=r"template\.json"):
        read_skeleton(folder)

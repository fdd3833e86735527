"""X2BR: bones that are whole, named, closed, apart and in contact, from good input and from bad."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from thorax_phantom import THORAX, phantom

from X2BRLogic.errors import InputError
from X2BRLogic.evaluation.realism import realism
from X2BRLogic.surface import contains
from X2BRLogic.template import bone_of, load_template
from X2BRLogic.template.contact import overlap
from X2BRLogic.x2br import CONFIDENCE, ERROR, complete
from X2BRLogic.x2br.following import followed
from X2BRLogic.x2br.joints import rejoined
from X2BRLogic.x2br.pinning import pinned
from X2BRLogic.x2br.poses import RIB, laid, similarity
from X2BRLogic.x2br.volumes import held, human_volumes


@pytest.fixture(scope="module")
def person():
    return phantom()


@pytest.fixture(scope="module")
def completed(person):
    return complete(person.radiograph, person.coarse, person.boxes)


def test_bones_lie_where_the_persons_are(person, completed):
    truth = {name: mesh for name, mesh in person.truth.bones.items() if name in THORAX}
    figures = realism({n: m for n, m in completed.skeleton.bones.items() if n in THORAX}, truth)
    assert (figures["found"], figures["separate"], figures["ribs_in_order"]) == (1.0, 1.0, 1.0)
    assert figures["whole"] > 0.95
    assert figures["bone_asd_mm"] < 3.0
    assert max(figures["bones"][name] for name in ("rib_left_9", "rib_right_4")) < 5.0  # which the mesh lacks


def test_bones_are_closed_and_apart(completed):
    bones = completed.skeleton.bones
    assert all(mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0 for mesh in bones.values())
    assert sum(max(overlap(bones[a], bones[b]), 0.0) for a, b in itertools.combinations(bones, 2)) < 1.0


def test_joints_are_closed(completed):
    template = load_template()
    for joint in completed.skeleton.joints:
        gaps = [_gap(*(skeleton.bones[name] for name in joint.parts)) for skeleton in (completed.skeleton, template)]
        assert gaps[0] < gaps[1] + 6.0, joint.parts


def _gap(a, b):
    return float(trimesh.proximity.ProximityQuery(b).vertex(a.vertices)[0].min())


def test_volumes_are_human(completed):
    ranges = human_volumes(load_template())
    for name, mesh in completed.skeleton.bones.items():
        if name in ranges:
            low, high = ranges[name]
            assert 0.95 * low <= mesh.volume <= 1.05 * high, name


def test_every_vertex_has_a_confidence_that_falls_with_its_error(completed):
    for name, mesh in completed.skeleton.bones.items():
        error, confidence = (mesh.vertex_attributes[key] for key in (ERROR, CONFIDENCE))
        assert len(error) == len(confidence) == len(mesh.vertices), name
        assert (error > 0).all() and (confidence > 0).all() and (confidence < 1).all()
        order = np.argsort(error)
        assert (np.diff(confidence[order]) <= 1e-6).all()


def test_confidence_is_lower_where_the_coarse_mesh_is_far(completed):
    confidence = {name: mesh.vertex_attributes[CONFIDENCE].mean() for name, mesh in completed.skeleton.bones.items()}
    assert confidence["rib_left_9"] < confidence["rib_left_8"] - 0.05
    assert confidence["rib_right_4"] < confidence["rib_right_5"] - 0.05


def test_it_says_which_bones_are_out_of_view(person, completed):
    assert "vertebra_L5" not in completed.skeleton.bones
    assert any("out of view" in note and "vertebra_L5" in note for note in completed.warnings)
    assert completed.facts["out_of_view"]


def test_the_same_input_gives_the_same_bones(person, completed):
    again = complete(person.radiograph, person.coarse, person.boxes)
    for name, mesh in completed.skeleton.bones.items():
        assert np.array_equal(mesh.vertices, again.skeleton.bones[name].vertices), name


def test_without_boxes_the_coarse_mesh_places_the_template_and_it_says_so(person):
    result = complete(person.radiograph, person.coarse)
    assert any("levels may be off by one" in note for note in result.warnings)
    truth = {name: mesh for name, mesh in person.truth.bones.items() if name in THORAX}
    assert realism({n: m for n, m in result.skeleton.bones.items() if n in THORAX}, truth)["bone_asd_mm"] < 8.0


def test_without_boxes_a_film_aimed_too_high_keeps_its_levels(person):
    shift = np.array([0.0, 0.0, -45.0])
    coarse = trimesh.Trimesh(person.coarse.vertices + shift, person.coarse.faces, process=False)
    result = complete(person.radiograph, coarse)
    off = result.skeleton.bones["vertebra_T6"].center_mass - (person.truth.bones["vertebra_T6"].center_mass + shift)
    assert np.linalg.norm(off) < 15.0


@pytest.mark.parametrize("scale", [10.0, 0.05])
def test_a_mesh_that_is_no_thorax_leaves_the_boxes(person, scale):
    wrong = trimesh.Trimesh(person.coarse.vertices * scale, person.coarse.faces, process=False)
    with pytest.raises(InputError, match="mm across"):
        complete(person.radiograph, wrong)
    result = complete(person.radiograph, wrong, person.boxes)
    assert any("boxes alone" in note for note in result.warnings)
    assert all(mesh.is_watertight for mesh in result.skeleton.bones.values())
    truth = {name: mesh for name, mesh in person.truth.bones.items() if name in THORAX}
    figures = realism({n: m for n, m in result.skeleton.bones.items() if n in THORAX}, truth)
    assert figures["bone_asd_mm"] < 10.0


@pytest.mark.parametrize("what", ["empty", "nan", "far", "speck"])
def test_a_mesh_that_cannot_be_used_ends_in_one_sentence(person, what):
    coarse = {
        "empty": trimesh.Trimesh(),
        "nan": trimesh.Trimesh(np.full((4, 3), np.nan), [[0, 1, 2], [0, 2, 3]], process=False),
        "far": trimesh.Trimesh(person.coarse.vertices + 2000.0, person.coarse.faces, process=False),
        "speck": trimesh.creation.icosphere(2, 8.0),
    }[what]
    with pytest.raises(InputError, match="check the radiograph"):
        complete(person.radiograph, coarse)


@pytest.mark.parametrize("wrong", [0.3, 1.0])
def test_contradictory_boxes_still_give_a_thorax(person, wrong):
    """Boxes on levels that run the other way, some of them or all."""
    count = round(wrong * len(person.boxes))
    reversed_levels = [b if b.level is None else replace(b, level=13 - b.level) for b in person.boxes[-count:]]
    result = complete(person.radiograph, person.coarse, [*person.boxes[:-count], *reversed_levels])
    heights = [result.skeleton.bones[f"vertebra_T{n}"].center_mass[2] for n in range(1, 13)]
    assert (np.diff(heights) < -8).all()
    assert any("box" in note.lower() for note in result.warnings)
    truth = {name: mesh for name, mesh in person.truth.bones.items() if name in THORAX}
    bones = {n: m for n, m in result.skeleton.bones.items() if n in THORAX}
    assert realism(bones, truth)["bone_asd_mm"] < 8.0


def test_progress_never_falls_and_may_end_the_work(person):
    told = []
    complete(person.radiograph, person.coarse, person.boxes, progress=lambda part, stage: told.append(part))
    assert told == sorted(told) and told[0] == 0.0 and told[-1] == 1.0 and len(told) > 10

    class StopError(Exception):
        pass

    def stop(part, stage):
        if part > 0.5:
            raise StopError

    with pytest.raises(StopError):
        complete(person.radiograph, person.coarse, person.boxes, progress=stop)


def test_a_similarity_is_found_and_its_scale_held():
    random = np.random.default_rng(1)
    points = random.normal(size=(50, 3)) * 20
    turn = trimesh.transformations.rotation_matrix(0.4, [1, 2, 3])[:3, :3]
    target = 1.1 * points @ turn.T + [5, -3, 2]
    matrix = similarity(points, target, np.ones(50), (0.8, 1.25))
    assert np.allclose(points @ matrix[:3, :3].T + matrix[:3, 3], target)
    held_back = similarity(points, 3.0 * points, np.ones(50), (0.8, 1.25))
    assert np.cbrt(np.linalg.det(held_back[:3, :3])) == pytest.approx(1.25)


def test_a_rib_follows_a_bend_and_not_the_noise():
    angle = np.linspace(0, 2.2, 400)
    rib = np.stack([100 * np.sin(angle), 100 * np.cos(angle), 0 * angle], axis=1)
    bent = rib + np.stack([0 * angle, 0 * angle, 6.0 * np.sin(angle)], axis=1)
    noise = np.random.default_rng(2).normal(0, 4.0, rib.shape)
    followed_to = laid(rib, bent + noise, np.full(400, 4.0), RIB, 1.0)
    assert np.linalg.norm(followed_to - bent, axis=1).mean() < 2.0


def test_a_pinned_bone_fills_its_box(person):
    geometry = person.radiograph.geometry
    box = next(box for box in person.boxes if box.name == "rib_left_5")
    box = replace(box, confidence=1.0)
    moved = person.truth.bones["rib_left_5"].vertices + np.array([6.0, 9.0, -7.0])
    found = geometry.project(pinned({"rib_left_5": moved}, {"rib_left_5": box}, geometry)["rib_left_5"])
    assert np.allclose([*found.min(axis=0), *found.max(axis=0)], box.edges, atol=1.0)


def test_neighbours_meet_again(person):
    skeleton = load_template()
    vertices = {name: np.array(mesh.vertices) for name, mesh in skeleton.bones.items()}
    vertices["rib_left_5"] += [0.0, 8.0, 0.0]
    before = _gap(trimesh.Trimesh(vertices["rib_left_5"]), skeleton.bones["vertebra_T5"])
    joined = rejoined(skeleton, vertices)
    after = _gap(trimesh.Trimesh(joined["rib_left_5"]), trimesh.Trimesh(joined["vertebra_T5"]))
    assert after < before / 2


def test_what_the_mesh_does_not_show_follows_its_neighbours():
    skeleton = load_template()
    shift = np.array([3.0, -12.0, 5.0])
    moved = {n: mesh.vertices + shift for n, mesh in skeleton.bones.items() if n in THORAX}
    for name, vertices in followed(skeleton, moved).items():
        assert np.allclose(vertices, skeleton.bones[name].vertices + shift, atol=1e-6), name


def test_a_bone_of_no_human_size_is_brought_back():
    skeleton = load_template().subset({"vertebra_T5", "rib_left_3"})
    vertices = {name: np.asarray(mesh.vertices) for name, mesh in skeleton.bones.items()}
    vertices["vertebra_T5"] = vertices["vertebra_T5"] * 3.0
    kept, changed = held(skeleton, vertices, human_volumes(skeleton))
    assert changed == ["vertebra_T5"]
    assert np.array_equal(kept["rib_left_3"], vertices["rib_left_3"])
    volume = trimesh.Trimesh(kept["vertebra_T5"], skeleton.bones["vertebra_T5"].faces, process=False).volume
    assert volume == pytest.approx(human_volumes(skeleton)["vertebra_T5"][1], rel=1e-3)


def test_no_bone_has_a_vertex_inside_another(completed):
    bones = completed.skeleton.bones
    for a, b in itertools.permutations(bones, 2):
        near = ((bones[a].vertices > bones[b].bounds[0]) & (bones[a].vertices < bones[b].bounds[1])).all(axis=1)
        if near.any() and bone_of(a).group != "cartilages":
            points = bones[a].vertices[near]
            inside = points[contains(bones[b], points)]
            if len(inside):
                depth = trimesh.proximity.closest_point(bones[b], inside)[1]
                assert depth.max() < 0.05, (a, b)

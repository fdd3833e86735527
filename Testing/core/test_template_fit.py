"""The template brought to a radiograph by boxes of detected bones."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from X2BRLogic import anatomy
from X2BRLogic.detection import Box, read_boxes, write_boxes
from X2BRLogic.drr import isocentre, project_labels
from X2BRLogic.errors import InputError
from X2BRLogic.evaluation.nearest import Nearest
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.surface import labels_to_meshes
from X2BRLogic.template import fit_template, load_template
from X2BRLogic.template.articulated import NAMES, SPREAD, ArticulatedSkeleton
from X2BRLogic.template.projected import ProjectedSkeleton
from X2BRLogic.volume_io import read_labels

LEFT_OUT = "cptac_pda_C3N-00249"
GEOMETRY = XRayGeometry()


@pytest.fixture(scope="module")
def body():
    return ArticulatedSkeleton(load_template())


def somebody(seed: int) -> np.ndarray:
    """Parameters of a person within the spread of people, in the middle of the picture."""
    values = 0.6 * SPREAD * np.random.default_rng(seed).normal(size=len(NAMES))
    values[[NAMES.index(name) for name in ("right", "front", "up")]] *= 0.4
    return values


def boxes_of(view: ProjectedSkeleton, values: np.ndarray, part: float = 0.5) -> list[Box]:
    """Boxes of the thorax as a detector that makes no mistake would see them: cut at the border of the picture."""
    height, width = view.geometry.shape
    seen = view.visible(values)
    edges = np.clip(view.edges(values), -0.5, np.array([width, height, width, height]) - 0.5)
    thorax = {anatomy.BY_LABEL[label].name for label in anatomy.THORAX}
    named = zip(view.names, edges, strict=True)
    return [Box.of(name, edge) for name, edge in named if name in thorax and seen[name] > part]


def apart(a, b, geometry=GEOMETRY) -> float:
    """Mean distance of the same vertices of two skeletons' ribs and thoracic vertebrae, across the picture, mm.

    Along the beam a single radiograph hardly tells.
    """
    names = [anatomy.BY_LABEL[label].name for label in (*anatomy.RIBS, *anatomy.THORACIC_VERTEBRAE)]
    across = np.stack([geometry.columns, geometry.rows], axis=1)
    off = [(a.bones[n].vertices - b.bones[n].vertices) @ across for n in names]
    return float(np.mean([np.linalg.norm(vectors, axis=1).mean() for vectors in off]))


def fitted(boxes, geometry=GEOMETRY):
    return fit_template(load_template(), boxes, geometry)


# --- bending --------------------------------------------------------------------------------------------------------


def test_nothing_bends_when_all_is_zero(body):
    same = body.posed(np.zeros(len(NAMES)))
    for name, mesh in body.skeleton.bones.items():
        np.testing.assert_allclose(same.bones[name].vertices, mesh.vertices, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_bent_bones_stay_closed_and_joined(body, seed):
    """What met still meets: the joints' surfaces come and go by less than a few millimetres."""
    bent = body.posed(somebody(seed))
    for name, mesh in bent.bones.items():
        assert mesh.is_watertight and mesh.volume > 0.5 * body.skeleton.bones[name].volume
    for joint in bent.joints:
        first, second = (bent.bones[name].vertices for name in joint.parts)
        near = [np.linalg.norm(cloud - joint.point, axis=1).min() for cloud in (first, second)]
        assert max(near) < 16.0, joint.parts


@pytest.mark.parametrize(
    ("parameter", "bone", "direction"),
    [
        ("kyphosis", "vertebra_T6", [0, -1, 0]),
        ("scoliosis", "vertebra_T6", [1, 0, 0]),
        ("slope_left", "sternum", [0, 0, -1]),
        ("up", "rib_left_3", [0, 0, 1]),
        ("right", "sternum", [1, 0, 0]),
        ("front", "rib_right_8", [0, 1, 0]),
    ],
)
def test_parameters_move_what_they_say(body, parameter, bone, direction):
    values = np.zeros(len(NAMES))
    values[NAMES.index(parameter)] = SPREAD[NAMES.index(parameter)]
    bent, ends = body.posed(values), ("vertebra_T1", "vertebra_T12")
    moved = bent.bones[bone].center_mass - body.skeleton.bones[bone].center_mass
    if parameter in ("kyphosis", "scoliosis"):  # the middle against the ends
        moved -= np.mean([bent.bones[n].center_mass - body.skeleton.bones[n].center_mass for n in ends], axis=0)
    assert moved @ direction > 0.5 * np.linalg.norm(moved) > 0.5


# --- fitting to what is known ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["AP", "PA", "LAT", "RLAT"])
def test_boxes_of_a_known_form_bring_it_back(view):
    geometry = XRayGeometry.from_view(view, isocentre=np.array([30.0, -50, 900]))
    start = fitted([], geometry)
    seen = ProjectedSkeleton(ArticulatedSkeleton(start.skeleton), geometry)
    values = somebody(1)
    found = fitted(boxes_of(seen, values), geometry)
    truth = seen.body.posed(values)
    assert found.residual_px < 1.5
    assert apart(found.skeleton, truth, geometry) < min(3.0, 0.4 * apart(start.skeleton, truth, geometry))


def scene(seed: int):
    """A person in the beam: the boxes, the truth, and how well all boxes together find it."""
    view = ProjectedSkeleton(ArticulatedSkeleton(fitted([]).skeleton), GEOMETRY)
    values = somebody(seed)
    boxes = boxes_of(view, values)
    truth = view.body.posed(values)
    return boxes, truth, apart(fitted(boxes).skeleton, truth)


@pytest.mark.parametrize("seed", [2, 3])
def test_missing_bones_follow_their_neighbours(seed):
    boxes, truth, best = scene(seed)
    chosen = np.random.default_rng(seed).permutation(len(boxes))[: len(boxes) // 3]
    found = fitted([boxes[n] for n in chosen])
    assert apart(found.skeleton, truth) < best + 5.0
    assert len(found.boxes) == len(chosen)
    (note,) = found.notes
    missing = {box.name for box in boxes} - set(found.boxes)
    assert note.startswith("Not detected") and all(name in note for name in missing)


@pytest.mark.parametrize("seed", [2, 3])
def test_wrong_boxes_are_set_aside_and_named(seed):
    """A tenth of the boxes lie where no bone of that name can be."""
    boxes, truth, best = scene(seed)
    rng = np.random.default_rng(seed)
    for n in rng.permutation(len(boxes))[:4]:
        jump = rng.choice([-1, 1], 2) * rng.uniform(80, 150, 2)
        boxes[n] = Box.of(boxes[n].name, boxes[n].edges + np.tile(jump, 2))
        wrong = boxes[n].name
    found = fitted(boxes)
    assert apart(found.skeleton, truth) < best + 4.0
    assert wrong not in found.boxes
    assert any(note.startswith("Set aside") and wrong in note for note in found.notes)


def test_swapped_levels_do_no_harm():
    """Two ribs with each other's names, and a double: contradictions that a detector makes."""
    boxes, truth, best = scene(4)
    by_name = {box.name: box for box in boxes}
    a, b = by_name["rib_left_4"], by_name["rib_left_8"]
    swapped = [box for box in boxes if box not in (a, b)]
    swapped += [Box.of("rib_left_4", b.edges), Box.of("rib_left_8", a.edges)]
    swapped.append(Box.of("vertebra_T6", by_name["vertebra_T9"].edges, confidence=0.3))
    found = fitted(swapped)
    assert apart(found.skeleton, truth) < best + 4.0
    assert not {"rib_left_4", "rib_left_8"} & set(found.boxes)
    np.testing.assert_array_equal(found.boxes["vertebra_T6"].edges, by_name["vertebra_T6"].edges)
    assert any("vertebra_T6" in note and "lower confidence" in note for note in found.notes)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_levels_are_found_by_place(share):
    boxes, truth, best = scene(5)
    rng = np.random.default_rng(0)
    nameless = [Box(b.group, None, *b.edges) if rng.random() < share else b for b in boxes]
    found = fitted(nameless)
    assert apart(found.skeleton, truth) < best + 1.0
    right = [
        name for name, box in found.boxes.items() if any(b.name == name and (b.edges == box.edges).all() for b in boxes)
    ]
    assert len(right) == len(found.boxes) == len(boxes)
    assert any("without a level" in note for note in found.notes)


def test_without_a_box_the_template_lies_at_the_isocentre():
    geometry = XRayGeometry(isocentre=np.array([10.0, 20, 300]))
    found = fitted([], geometry)
    thorax = found.skeleton.as_mesh(anatomy.BY_LABEL[label].name for label in anatomy.THORAX)
    np.testing.assert_allclose(thorax.bounds.mean(axis=0), geometry.isocentre, atol=0.2)
    assert np.isnan(found.residual_px) and not found.boxes
    assert any("mean form" in note for note in found.notes)


@pytest.mark.parametrize("count", [1, 2])
def test_a_box_or_two_already_tell_the_place(count):
    boxes, truth, _ = scene(6)
    some = [box for box in boxes if box.name in ("vertebra_T7", "rib_left_7")][:count]
    found = fitted(some)
    assert np.isfinite(found.skeleton.as_mesh().vertices).all()
    assert apart(found.skeleton, truth) < apart(fitted([]).skeleton, truth)


def test_bones_out_of_the_picture_are_not_in_view():
    """A small detector at the upper left ribs."""
    geometry = XRayGeometry(shape=(160, 160), principal_point=(-10.0, 200.0))
    found = fitted([], geometry)
    assert "rib_left_2" in found.in_view or "rib_left_3" in found.in_view
    assert not {"rib_right_7", "vertebra_L3", "rib_left_12"} & set(found.in_view)
    assert {"vertebra_T1", "vertebra_T12", "rib_left_12", "sternum"} <= set(fitted([]).in_view)


def test_boxes_of_other_bones_are_passed_over():
    boxes, truth, best = scene(7)
    found = fitted([*boxes, Box("shoulder", None, 10, 10, 60, 60), Box.of("clavicle_left", (300, 60, 400, 90))])
    assert apart(found.skeleton, truth) < best + 1.0


def test_a_template_without_a_thorax_is_refused():
    with pytest.raises(InputError, match="complete thorax"):
        fit_template(load_template().subset(["vertebra_T5", "vertebra_T6"]), [], GEOMETRY)


# --- real people ----------------------------------------------------------------------------------------------------


def distance(a, b) -> float:
    """Mean of the mean distances of two surfaces, both ways, mm."""
    there = np.linalg.norm(Nearest.on_surface(b)(a.vertices).points - a.vertices, axis=1)
    back = np.linalg.norm(Nearest.on_surface(a)(b.vertices).points - b.vertices, axis=1)
    return float(there.mean() + back.mean()) / 2


@pytest.fixture(scope="module")
def person(subjects):
    """The person left out of the template: labels, boxes of the projected labels, and meshes of some whole bones."""
    labels = read_labels(next(path for path in subjects if path.name == LEFT_OUT) / "bones.nii.gz")
    geometry = XRayGeometry(isocentre=isocentre(None, labels))
    projected = project_labels(labels, geometry, anatomy.THORAX)
    boxes = [Box.of(anatomy.BY_LABEL[label].name, bone.box) for label, bone in projected.bones.items()]
    whole = [anatomy.BY_NAME[f"rib_{side}_{n}"].label for side in ("left", "right") for n in (3, 5, 7, 9)]
    whole += [anatomy.STERNUM, *(anatomy.BY_NAME[f"vertebra_T{n}"].label for n in (4, 7, 10))]
    bones = {anatomy.BY_LABEL[n].name: mesh for n, mesh in labels_to_meshes(labels, whole, faces=1500).items()}
    return geometry, boxes, bones


def test_the_template_fits_a_person_it_never_saw(person):
    geometry, boxes, bones = person
    start = time.process_time()
    found = fitted(boxes, geometry)
    assert time.process_time() - start < 2.0
    off = np.mean([distance(found.skeleton.bones[name], bone) for name, bone in bones.items()])
    unfitted = np.mean([distance(fitted([], geometry).skeleton.bones[name], bone) for name, bone in bones.items()])
    assert off < 0.6 * unfitted
    assert off < 8.0
    assert set(found.in_view) >= {box.name for box in boxes if box.name in found.boxes}


# --- boxes on disk --------------------------------------------------------------------------------------------------


def test_boxes_come_back(tmp_path):
    boxes = [
        Box.of("rib_left_4", (1, 2.5, 30, 40), 0.75),
        Box.of("vertebra_L1", (0, 0, 5, 6)),
        Box("ribs_right", None, 1, 2, 3, 4, 0.5),
        Box.of("sternum", (9, 9, 10, 10)),
    ]
    write_boxes(boxes, tmp_path / "boxes.json")
    assert read_boxes(tmp_path / "boxes.json") == boxes
    assert [box.name for box in boxes] == ["rib_left_4", "vertebra_L1", None, "sternum"]
    assert [box.level for box in boxes] == [4, 13, None, None]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("ribs", 1, 0, 0, 1, 1), "group"),
        (("ribs_left", 13, 0, 0, 1, 1), "level 13"),
        (("ribs_left", 1, 5, 0, 1, 1), "left edge"),
        (("ribs_left", 1, 0, 0, float("nan"), 1), "left edge"),
        (("ribs_left", 1, 0, 0, 1, 1, 1.5), "confidence"),
    ],
)
def test_a_box_without_sense(arguments, what):
    with pytest.raises(InputError, match=what):
        Box(*arguments)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"schema": "x2br-boxes-1"}),
        json.dumps({"schema": "x2br-boxes-1", "boxes": [{}]}),
    ],
)
def test_a_file_that_is_no_list_of_boxes(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(InputError, match=r"boxes\.json"):
        read_boxes(tmp_path / "boxes.json")

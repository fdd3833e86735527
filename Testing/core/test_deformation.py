"""Deformations of scanned people: nothing folds, bone stays bone, joints hold, and each number does what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from X2BRLogic import anatomy
from X2BRLogic.dataset import continuation, hounsfield
from X2BRLogic.dataset.continuation import UNKNOWN, continued, cut_bones
from X2BRLogic.dataset.deformation import Deformation, grid, warp
from X2BRLogic.dataset.hounsfield import Tissue, rescanned
from X2BRLogic.dataset.motion import (
    RANGES,
    acceptable,
    apply,
    armature,
    draw_local,
    draw_posture,
    learn,
    measure,
    pose,
)
from X2BRLogic.dataset.motion.shape_model import ShapeModel
from X2BRLogic.dataset.motion.transforms import (
    about,
    exponential,
    fit_affine,
    fit_rigid,
    logarithm,
    rotation,
    square_root,
)
from X2BRLogic.dataset.person import draw_patient, learn_from, prepare
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.errors import InputError
from X2BRLogic.volume import Volume


@pytest.fixture(scope="module")
def scan(subjects):
    """A real person in 1.5 mm voxels."""
    return read_subject(next(path for path in subjects if path.name == "lung_dx_A0126"))


@pytest.fixture(scope="module")
def person(scan):
    return prepare(scan)


@pytest.fixture(scope="module")
def patients(person):
    return [draw_patient(person, np.random.default_rng((11, n))) for n in range(4)]


@pytest.fixture(scope="module")
def still(person):
    """A patient drawn with no strength at all: the person as scanned."""
    return draw_patient(person, np.random.default_rng(0), strength=0.0)


def rigid_identity(bones):
    return np.broadcast_to(np.eye(4), (len(bones.labels), 4, 4))


def nothing():
    return draw_posture(np.random.default_rng(0), 0.0)


# --- transforms ---------------------------------------------------------------------------------------------------


def test_roots_logarithms_and_exponentials_undo_one_another():
    rng = np.random.default_rng(0)
    linear = [rotation(rng.normal(0, 12, 3)) @ np.diag(rng.uniform(0.8, 1.2, 3)) for _ in range(20)]
    stack = np.stack([about(rng.normal(0, 150, 3), m) for m in linear])
    root = square_root(stack)
    assert np.allclose(root @ root, stack, atol=1e-8)
    assert np.allclose(exponential(logarithm(stack)), stack, atol=1e-5)
    assert np.allclose(rotation([0, 0, 90.0]) @ [1, 0, 0], [0, 1, 0])


def test_an_affine_transform_is_found_again_and_kept_within_its_stretch():
    rng = np.random.default_rng(1)
    points = rng.normal(0, 40, (500, 3))
    true = about(np.array([10.0, 5, 0]), rotation([10.0, 5, 0]) @ np.diag([1.1, 0.95, 1.0]))
    assert np.allclose(fit_affine(points, apply(true, points)), true, atol=0.05)
    doubled = fit_affine(points, 2.0 * points, stretch=1.3)
    assert np.linalg.svd(doubled[:3, :3])[1] == pytest.approx([1.3] * 3)


# --- nothing folds ------------------------------------------------------------------------------------------------


def test_nothing_folds_anywhere_within_the_cells(patients):
    """The determinant by finite differences at random places, not at the corners where it was looked for."""
    rng = np.random.default_rng(0)
    for patient in patients:
        assert patient.deformation.determinant > 0
        points = rng.uniform([-235, -187, -235], [235, 187, 235], (40_000, 3))
        step = 0.01
        columns = [
            (patient.deformation.to_subject(points + e) - patient.deformation.to_subject(points - e)) / (2 * step)
            for e in step * np.eye(3)
        ]
        assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0


def test_local_variation_cannot_fold_even_at_its_bound():
    nodes = grid()
    for strength in (1.0, 50.0):  # 50: every coefficient is at its bound
        moved = draw_local(np.random.default_rng(3), nodes, strength)
        assert Deformation.of(moved).determinant > 0
        assert np.abs(moved - nodes).max() > 2.0


def test_a_fold_is_seen():
    nodes = grid().copy()
    assert Deformation.of(nodes).determinant == pytest.approx(1.0, abs=1e-4)
    nodes[20, 20, 20, 0] += 12.0
    assert Deformation.of(nodes).determinant < 0


def test_the_inverse_inverts(patients):
    points = np.random.default_rng(0).uniform(-150, 150, (3000, 3))
    for patient in patients:
        back = patient.deformation.to_patient(patient.deformation.to_subject(points))
        assert np.abs(back - points).max() < 0.02
    assert np.isnan(patients[0].deformation.to_patient(np.array([[3000.0, 0, 0]]))).all()


def test_a_patient_is_determined_by_its_seed(person, patients):
    again = draw_patient(person, np.random.default_rng((11, 2)))
    assert np.array_equal(again.deformation.source, patients[2].deformation.source)
    assert again.tissue == patients[2].tissue
    assert not np.array_equal(again.deformation.source, patients[1].deformation.source)


def test_without_strength_the_person_stays_as_scanned(person, still):
    assert np.abs(still.deformation.source - grid() - person.bones.centre).max() < 1e-3
    ct, labels = warp(person.ct, person.labels, still.deformation, 3.0)
    points = np.random.default_rng(0).uniform(-100, 100, (2000, 3))
    i, j, k = np.round(labels.to_ijk(points)).astype(int).T
    source = person.labels.to_ijk(labels.to_ras(np.stack([i, j, k], 1)) + person.bones.centre)
    a, b, c = np.floor(source + 0.5).astype(int).T
    # But for a few at the borders of labels, where a place lies half-way between two voxels.
    assert (labels.array[k, j, i] == person.labels.array[c, b, a]).mean() > 0.985
    assert ct.array.min() >= -1024


# --- bone stays bone ----------------------------------------------------------------------------------------------


def test_every_bone_keeps_its_shape_up_to_a_smooth_scale(person, patients):
    bones = person.bones
    for patient in patients:
        for label, points in zip(bones.labels, bones.points, strict=True):
            if label not in anatomy.THORAX:
                continue
            moved = patient.deformation.to_patient(points + bones.centre)
            affine, *_ = np.linalg.lstsq(np.c_[points, np.ones(len(points))], moved, rcond=None)
            bend = np.linalg.norm(np.c_[points, np.ones(len(points))] @ affine - moved, axis=1)
            assert np.sqrt((bend**2).mean()) < 2.5, anatomy.BY_LABEL[int(label)].name
            stretch = np.linalg.svd(affine[:3].T)[1]
            assert 0.6 < stretch.min() and stretch.max() < 1.6


def pieces(mask):
    """How many pieces hold more than a hundredth of the bone: sampling anew may chip a voxel off an edge."""
    found, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.count_nonzero(np.bincount(found.ravel())[1:] > 0.01 * np.count_nonzero(mask))


def test_no_bone_breaks(scan, person, patients):
    for patient in patients[:2]:
        _, labels = warp(person.ct, person.labels, patient.deformation, 2.0)
        boxes = [ndimage.find_objects(array) for array in (scan.labels.array, labels.array)]
        for label in anatomy.THORAX:
            before = pieces(scan.labels.array[boxes[0][label - 1]] == label)
            after = pieces(labels.array[boxes[1][label - 1]] == label)
            assert 1 <= after <= before, anatomy.BY_LABEL[label].name


def test_rib_heads_stay_on_their_vertebrae(person, patients):
    bones = person.bones
    for patient in patients:
        for label, rib in bones.ribs.items():
            level = anatomy.BY_LABEL[label].level
            vertebra = bones.points[bones.index(f"vertebra_T{level}")]
            near = vertebra[np.linalg.norm(vertebra - rib.head, axis=1).argmin()]
            before = np.linalg.norm(near - rib.head)
            a, b = patient.deformation.to_patient(np.stack([near, rib.head]) + bones.centre)
            assert abs(np.linalg.norm(a - b) - before) < 0.3 * before + 1.5


# --- each number does what it says --------------------------------------------------------------------------------


def tip_rise(bones, posture, label):
    motions, _ = pose(bones, posture, rigid_identity(bones))
    matrix, rib = motions[int(np.flatnonzero(bones.labels == label)[0])], bones.ribs[label]
    assert np.linalg.norm(apply(matrix, rib.head) - rib.head) < 1e-6
    return apply(matrix, rib.tip)[2] - rib.tip[2]


def test_the_pump_handle_lifts_the_front_ends_and_the_bucket_handle_the_flanks(person):
    bones = person.bones
    left, right = (anatomy.BY_NAME[f"rib_{side}_5"].label for side in ("left", "right"))
    pump, bucket = np.zeros((2, 12)), np.zeros((2, 12))
    pump[0, 4] = bucket[1, 4] = 10.0
    assert tip_rise(bones, replace(nothing(), pump=pump), left) > 8.0
    assert tip_rise(bones, replace(nothing(), pump=pump), right) == pytest.approx(0.0, abs=1e-6)
    lifted = replace(nothing(), bucket=bucket)
    assert tip_rise(bones, lifted, right) == pytest.approx(0.0, abs=1e-6)
    motions, _ = pose(bones, lifted, rigid_identity(bones))
    n = int(np.flatnonzero(bones.labels == right)[0])
    flank = bones.points[n][bones.points[n][:, 0].argmax()]
    assert apply(motions[n], flank)[2] - flank[2] > 5.0


def test_kyphosis_scoliosis_and_size_are_what_is_measured(person):
    bones = person.bones

    def measured(**change):
        motions, _ = pose(bones, replace(nothing(), **change), rigid_identity(bones))
        return measure(bones, lambda n, points: apply(motions[n], points))

    plain = measured()
    # T4 to T12 is eight of the eleven levels over which the bend of T1 to T12 is spread.
    assert measured(kyphosis=11.0)["kyphosis"] - plain["kyphosis"] == pytest.approx(8.0, abs=1.0)
    assert measured(curve=np.array([8.0, 11.0, 6.5]))["cobb"] > plain["cobb"] + 8.0
    assert measured(size=np.log([1.1, 1.0, 1.0]))["width"] == pytest.approx(1.1 * plain["width"], rel=0.01)
    deeper = measured(depth=np.full(12, np.log(1.1)))
    assert deeper["depth"] > 1.04 * plain["depth"] and deeper["haller"] < plain["haller"]
    assert measured(pump=np.full((2, 12), 6.0))["slope"] < plain["slope"] - 3.0


def test_measures_stay_in_the_ranges_of_adults_or_no_further_out_than_the_person(person, patients):
    before = measure(person.bones, lambda _, points: points)
    assert set(before) == set(RANGES)
    for patient in patients:
        for name, (low, high) in RANGES.items():
            # Local variation comes on top of what was accepted.
            slack = 0.06 * (high - low)
            assert min(low, before[name]) - slack <= patient.measures[name] <= max(high, before[name]) + slack
    assert not acceptable(before | {"kyphosis": 90.0}, before)
    assert acceptable(before | {"kyphosis": 90.0}, before | {"kyphosis": 95.0})


# --- the shape model ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known_pair(person):
    """A person, and the same one with every bone moved in a known way."""
    bones, rng = person.bones, np.random.default_rng(4)
    moves = {
        int(n): about(c, rotation(rng.normal(0, 3, 3)) @ np.diag(rng.uniform(0.95, 1.08, 3)))
        for n, c in zip(bones.labels, bones.centroids, strict=True)
    }
    points = tuple(apply(moves[int(n)], p) for n, p in zip(bones.labels, bones.points, strict=True))
    other = replace(bones, points=points, centroids=np.array([p.mean(0) for p in points]))
    return {"a": bones, "b": other}, moves


def test_the_shape_model_finds_known_differences(known_pair):
    people, _ = known_pair
    model = learn(people, {"a": (), "b": ()})
    assert np.array_equal(model.labels, people["a"].labels) and len(model.modes) == 1
    thorax = [n for n, label in enumerate(model.labels) if label in anatomy.THORAX]
    found = np.concatenate([apply(exponential(model.poses[1, n]), people["a"].points[n]) for n in thorax])
    true = np.concatenate([people["b"].points[n] for n in thorax])
    # How someone lies as a whole is not in the model.
    gaps = np.linalg.norm(apply(fit_rigid(found, true), found) - true, axis=1)
    before = np.linalg.norm(np.concatenate([people["a"].points[n] for n in thorax]) - true, axis=1)
    assert gaps.mean() < 0.4 * before.mean() and gaps.mean() < 1.0


def test_a_drawn_person_lies_between_those_known_and_the_model_survives_the_disk(known_pair, tmp_path):
    people, _ = known_pair
    model = learn(people, {"a": (), "b": ()})
    rng = np.random.default_rng
    assert np.allclose(model.draw(rng(0), people["a"], "a", 0.0), np.eye(4))
    moved = model.draw(rng(0), people["a"], "a", 1.0)
    assert not np.allclose(moved, np.eye(4), atol=1e-3)
    model.save(tmp_path / "m.safetensors")
    again = ShapeModel.read(tmp_path / "m.safetensors")
    assert again.names == ("a", "b") and np.array_equal(again.draw(rng(0), people["a"], "a", 1.0), moved)
    (tmp_path / "m.safetensors").write_bytes(b"no model")
    with pytest.raises(InputError, match="shape model"):
        ShapeModel.read(tmp_path / "m.safetensors")


def test_the_model_knows_nobody_who_was_left_out(subjects, tmp_path):
    kept = [path for path in subjects if path.name in ("lidc_0314", "lung_dx_A0126")]
    model = learn_from(kept, tmp_path / "m.safetensors")
    assert model.names == ("lidc_0314", "lung_dx_A0126")
    assert learn_from(kept, tmp_path / "m.safetensors").names == model.names
    assert learn_from(kept[:1], tmp_path / "m.safetensors") is None
    assert not (tmp_path / "m.safetensors").exists()  # it was of more people


# --- the scan's ends ----------------------------------------------------------------------------------------------


def test_the_scan_itself_is_untouched_and_all_beyond_it_unknown(scan):
    ct, labels = continued(scan.ct, scan.labels)
    low = np.round(ct.to_ijk(scan.ct.to_ras(np.zeros((1, 3))))[0]).astype(int)[::-1]
    inside = tuple(slice(a, a + n) for a, n in zip(low, scan.ct.array.shape, strict=True))
    assert np.array_equal(ct.array[inside], scan.ct.array)
    assert np.array_equal(labels.array[inside], scan.labels.array)
    assert (labels.array[: low[0]] == UNKNOWN).all() and (
        labels.array[low[0] + scan.ct.array.shape[0] :] == UNKNOWN
    ).all()
    # Beyond both ends there is a body, with a spine in it, and it does not jump at the cut.
    for edge, beyond in ((low[0], low[0] - 1), (low[0] + scan.ct.array.shape[0] - 1,) * 2):
        beyond = beyond if beyond < edge else edge + 1
        a, b = ct.array[edge] > -300, ct.array[beyond] > -300
        assert (a & b).sum() > 0.9 * a.sum()
        assert ct.array[beyond].max() > 300


def test_cut_bones_are_those_that_the_subject_lists(subjects):
    for folder in subjects[:3]:
        listed = json.loads((folder / "subject.json").read_text())["truncated"]
        found = {anatomy.BY_LABEL[n].name for n in cut_bones(read_subject(folder).labels)}
        ribs = {name for name in listed if name.startswith("rib")}
        assert found <= set(listed) and {name for name in found if name.startswith("rib")} == ribs


def test_beside_a_rib_cut_by_the_field_of_view_nothing_is_known():
    hu = np.full((30, 40, 40), 40, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[14:16, 18:22, :10] = 5
    matrix = np.diag([2.0, 2, 2, 1])
    wide = continuation.continued(Volume(hu, matrix), Volume(labels, matrix))[1]
    added = (wide.array.shape[2] - 40) // 2
    middle = wide.array.shape[0] // 2
    assert added > 0 and wide.array[middle, 20, added - 3] == UNKNOWN and wide.array[middle, 20, -3] == 0


# --- Hounsfield units ---------------------------------------------------------------------------------------------


def test_tissue_changes_what_it_says(scan, person):
    box = np.s_[80:200:2, ::2, ::2]
    matrix = np.diag([3.0, 3, 3, 1])
    ct, labels = (Volume(np.ascontiguousarray(v.array[box]), matrix) for v in (person.ct, person.labels))
    perfusion = hounsfield.perfused(ct, labels)

    def scanned(**tissue):
        return rescanned(ct, labels, perfusion, Tissue(**tissue)).array.astype(float)

    plain = scanned()
    assert np.array_equal(plain, ct.array)
    bone = (labels.array > 0) & (labels.array < UNKNOWN) & (labels.array != anatomy.CARTILAGES) & (plain > 200)
    assert (scanned(density=1.25) - 40)[bone].mean() == pytest.approx(1.25 * (plain - 40)[bone].mean(), rel=0.01)
    assert np.array_equal(scanned(density=1.25)[labels.array == 0], plain[labels.array == 0])
    assert (scanned(contrast=80) - plain)[perfusion == 255].mean() == pytest.approx(80, abs=1)
    assert np.array_equal(scanned(contrast=80)[perfusion == 0], plain[perfusion == 0])
    noise = (scanned(noise=20, noise_seed=5) - plain)[np.abs(plain) < 200]
    assert noise.std() == pytest.approx(20, rel=0.05) and abs(noise.mean()) < 1
    thick = scanned(slice_mm=9.0)
    assert thick[5:-5].mean() == pytest.approx(plain[5:-5].mean(), abs=8)
    assert np.abs(np.diff(thick, axis=0)).mean() < 0.6 * np.abs(np.diff(plain, axis=0)).mean()


def test_labels_without_a_thorax_are_refused():
    with pytest.raises(InputError, match="no bone of the thorax"):
        armature(Volume(np.full((8, 8, 8), 57, np.uint8), np.diag([8.0, 8, 8, 1])))

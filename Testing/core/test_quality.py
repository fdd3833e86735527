"""Quality gates: sound subjects pass with remarks, planted faults are rejected for the right reason and no other."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from X2BRLogic.anatomy import BY_NAME, RIBS, STERNUM, VERTEBRAE
from X2BRLogic.dataset.quality import GATES, assess, picture
from X2BRLogic.dataset.quality.picture import CUT_COLOUR, REJECTED_COLOUR
from X2BRLogic.dataset.subject import Subject, read_subject
from X2BRLogic.errors import InputError
from X2BRLogic.volume import Volume

#: Faults are planted in these two: one without contrast that the scan cuts below, one with, whose ribs are all whole.
NAMES = ("lidc_0001", "lidc_0314")


@cache
def coarse(folder) -> Subject:
    """A subject at every second voxel, 3 mm, as thick slices give them: judged in a fifth of a second."""
    subject = read_subject(folder)
    matrix = subject.ct.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    thin = [Volume(v.array[::2, ::2, ::2].copy(), matrix) for v in (subject.ct, subject.labels)]
    return Subject(subject.name, *thin)


@pytest.fixture(params=NAMES)
def a_subject(request, shared_data) -> Subject:
    return coarse(shared_data / "ct" / request.param)


def label(name: str) -> int:
    return BY_NAME[name].label


def renamed(labels: np.ndarray, names: dict[int, int]) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    for before, after in names.items():
        table[before] = after
    return table[labels]


def shifted(steps: int, ribs: bool = True, vertebrae: bool = True, sides: tuple[int, ...] = (0, 12)) -> dict[int, int]:
    """Every name `steps` levels lower; what leaves the table has no label any more."""
    names = {}
    for offset in sides if ribs else ():
        names |= {offset + k: offset + k + steps if 1 <= k + steps <= 12 else 0 for k in range(1, 13)}
    if vertebrae:
        names |= {n: n + steps if n + steps in VERTEBRAE else 0 for n in VERTEBRAE}
    return names


def swap(first: range, second: range) -> dict[int, int]:
    return dict(zip([*first, *second], [*second, *first], strict=True))


def judged(subject: Subject, *, ct: np.ndarray | None = None, labels: np.ndarray | None = None) -> dict:
    """The verdict on a subject with another CT or other labels on its grid."""
    matrix = subject.ct.ijk_to_ras
    volumes = [
        Volume(own.array if given is None else given, matrix)
        for own, given in ((subject.ct, ct), (subject.labels, labels))
    ]
    return assess(*volumes).to_dict()


def assert_rejected(verdict: dict, gate: str, *words: str) -> None:
    assert verdict["gates"] == [gate], verdict["reasons"]
    assert not verdict["accepted"] and len(verdict["reasons"]) == 1
    for word in words:
        assert word in verdict["reasons"][0]
    json.dumps(verdict, allow_nan=False)


def test_every_shared_subject_is_usable_and_its_cut_bones_are_told(subjects):
    for folder in subjects:
        known = json.loads((folder / "subject.json").read_text())
        verdict = assess(*(v for v in (coarse(folder).ct, coarse(folder).labels))).to_dict()
        assert verdict["accepted"], (folder.name, verdict["reasons"])
        assert not verdict["reasons"]
        cut = {name for name in known["truncated"] if name in verdict["measures"]["bones"]}
        judged_cut = {name for name, bone in verdict["measures"]["bones"].items() if bone["cut"]}
        assert judged_cut <= cut  # half the slices see half the bones that end in the last one
        assert any("the scan cuts" in remark for remark in verdict["remarks"])


def test_full_resolution_agrees_with_what_is_known_of_a_subject(shared_data):
    folder = shared_data / "ct" / "lidc_0314"
    known = json.loads((folder / "subject.json").read_text())
    subject = read_subject(folder)
    verdict = assess(subject.ct, subject.labels).to_dict()
    assert verdict["accepted"]
    bones = verdict["measures"]["bones"]
    for name, bone in bones.items():
        assert bone["volume_cm3"] == pytest.approx(known["bones"][name]["cm3"], rel=0.01, abs=0.02)
        assert bone["cut"] == known["truncated"].get(name, [])
        assert bone["pieces"] == 1
    joints = {name: f"T{joint['level']}" for name, joint in verdict["measures"]["joints"].items()}
    contacts = known["checks"]["rib_to_vertebra_contact"]
    assert joints == {name: levels[0] for name, levels in contacts.items()}


FAULTS = {
    "a rib relabelled twice": ({5: 6}, "ribs", ("left rib 5 is missing", "left rib 6")),
    "a lower rib relabelled twice": ({20: 19}, "ribs", ("right rib 8 is missing", "right rib 7")),
    "one rib removed": ({18: 0}, "ribs", ("right rib 6 is missing",)),
    "the first rib removed": ({1: 0}, "ribs", ("left rib 1 is missing",)),
    "every name one level too low": (shifted(1), "levels", ("one too high", "rib 5 is called rib 4")),
    "every name one level too high": (shifted(-1), "levels", ("one too low", "rib 5 is called rib 6")),
    "ribs shifted against the spine": (shifted(1, vertebrae=False), "levels", ("meets T",)),
    "spine shifted against the ribs": (shifted(-1, ribs=False), "levels", ("meets T",)),
    "left ribs shifted": (shifted(1, vertebrae=False, sides=(0,)), "levels", ("left rib 3 meets T2",)),
    "left and right swapped": (swap(range(1, 13), range(13, 25)), "orientation", ("12 of 12 pairs",)),
    "one pair swapped": (swap(range(5, 6), range(17, 18)), "orientation", ("1 of 12 pairs of ribs (5)",)),
    "a vertebra without label": ({39: 0}, "segmentation", ("vertebra_T6", "has no label")),
    "two vertebrae in one": ({39: 40}, "segmentation", ("vertebra_T7", "times the volume")),
    "no sternum": ({STERNUM: 0}, "field_of_view", ("the sternum",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_names_are_rejected_for_the_right_reason(a_subject, fault):
    names, gate, words = FAULTS[fault]
    assert_rejected(judged(a_subject, labels=renamed(a_subject.labels.array, names)), gate, *words)


def test_rib_in_two_names_is_rejected(a_subject):
    labels = a_subject.labels.array.copy()
    front = np.argwhere(labels == 5)
    middle = int(np.median(front[:, 1]))
    labels[:, middle:][labels[:, middle:] == 5] = 6
    assert_rejected(judged(a_subject, labels=labels), "ribs", "left rib 5 is", "left rib 6 is")


@pytest.mark.parametrize("where", ["upper", "lower", "left", "right", "front", "back"])
def test_half_the_thorax_is_an_incomplete_thorax(a_subject, where):
    depth, height, width = a_subject.ct.array.shape
    kept = {
        "upper": np.s_[depth // 2 :, :, :],
        "lower": np.s_[: depth // 2, :, :],
        "left": np.s_[:, :, : width // 2],
        "right": np.s_[:, :, width // 2 :],
        "front": np.s_[:, height // 2 :, :],
        "back": np.s_[:, : height // 2, :],
    }[where]
    matrix = a_subject.ct.ijk_to_ras.copy()
    matrix[:3, 3] = a_subject.ct.to_ras([[span.start or 0 for span in reversed(kept)]])[0]
    halves = [Volume(v.array[kept], matrix) for v in (a_subject.ct, a_subject.labels)]
    assert_rejected(assess(*halves).to_dict(), "field_of_view", "the thorax is incomplete: the scan lacks")


def test_label_grown_into_the_lung_is_rejected(a_subject):
    ct, labels = a_subject.ct.array, a_subject.labels.array.copy()
    grown = ndimage.binary_dilation(labels == 6, iterations=2) & (ct < -500) & (labels == 0)
    labels[grown] = 6
    assert_rejected(judged(a_subject, labels=labels), "segmentation", "rib_left_6", "lung or air")


@pytest.mark.parametrize("contrast", [None, 300])
def test_leak_into_the_aorta_is_rejected_with_contrast_and_without(a_subject, contrast):
    ct, labels = a_subject.ct.array.copy(), a_subject.labels.array.copy()
    voxels = np.argwhere(labels == label("vertebra_T8"))
    middle, front = np.median(voxels, axis=0), np.percentile(voxels[:, 1], 98)
    k, j, i = np.ogrid[tuple(map(slice, labels.shape))]
    vessel = ((j - front - 1.5) ** 2 + (i - middle[2] + 6) ** 2 < 4**2) & (labels == 0)  # 24 mm wide, left in front
    leak = vessel & (abs(k - middle[0]) < 15) & (ct > -400)
    if contrast:
        ct[np.broadcast_to(vessel, ct.shape)] = contrast
    labels[leak] = label("vertebra_T8")
    assert_rejected(judged(a_subject, ct=ct, labels=labels), "segmentation", "vertebra_T8")


def test_labels_beside_the_bone_are_rejected(a_subject):
    verdict = judged(a_subject, labels=np.roll(a_subject.labels.array, 3, axis=1))
    assert_rejected(verdict, "segmentation", "labels do not follow the bone")


@pytest.mark.parametrize(
    "axis, words", [(2, "exchanged in 12 of 12"), (0, "upside down"), (1, "the sternum is")], ids=["x", "z", "y"]
)
def test_wrong_directions_are_rejected(a_subject, axis, words):
    flipped = [np.flip(v.array, axis) for v in (a_subject.ct, a_subject.labels)]
    assert_rejected(judged(a_subject, ct=flipped[0], labels=flipped[1]), "orientation", words)


@pytest.mark.parametrize(
    "values", [lambda hu: hu + 1024, lambda hu: hu // 2, lambda hu: (np.clip(hu, -1000, 1000) + 1000) // 8]
)
def test_values_that_are_no_hounsfield_units_are_rejected(a_subject, values):
    assert_rejected(judged(a_subject, ct=values(a_subject.ct.array)), "ct", "not in Hounsfield units")


def test_noise_of_a_low_dose_scan_is_no_reason(a_subject):
    noise = np.random.default_rng(0).normal(0, 60, a_subject.ct.array.shape)
    assert judged(a_subject, ct=(a_subject.ct.array + noise).astype(np.int16))["accepted"]


def test_verdict_is_of_the_patient_not_of_the_array(a_subject):
    """Axes in another order, running backwards, and padding round about change nothing."""
    expected = assess(a_subject.ct, a_subject.labels).to_dict()
    matrix = a_subject.ct.ijk_to_ras.copy()
    matrix[:3, 3] = a_subject.ct.to_ras([[a_subject.ct.array.shape[2] - 1 + 4, -4, -4]])[0]
    matrix = matrix @ np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    turned = []
    for volume, outside in ((a_subject.ct, -1024), (a_subject.labels, 0)):
        array = np.pad(volume.array, 4, constant_values=outside)[:, :, ::-1].transpose(0, 2, 1)
        turned.append(Volume(array, matrix))
    verdict = assess(*turned).to_dict()
    assert verdict["remarks"] == expected["remarks"] and verdict["accepted"] == expected["accepted"]
    for name, bone in verdict["measures"]["bones"].items():
        assert bone["cut"] == expected["measures"]["bones"][name]["cut"]
        assert bone["volume_cm3"] == expected["measures"]["bones"][name]["volume_cm3"]


def test_two_faults_are_two_reasons(a_subject):
    labels = renamed(a_subject.labels.array, {18: 0, 39: 0})
    verdict = judged(a_subject, labels=labels)
    assert verdict["gates"] == ["ribs", "segmentation"] and len(verdict["reasons"]) == 2
    assert set(verdict["gates"]) <= set(GATES)


def test_labels_without_a_bone_of_the_thorax(a_subject):
    assert_rejected(judged(a_subject, labels=np.zeros_like(a_subject.labels.array)), "ribs", "no bone of the thorax")


def test_other_grid_is_refused(a_subject):
    moved = a_subject.labels.ijk_to_ras.copy()
    moved[0, 3] += 5
    with pytest.raises(InputError, match="not on the CT's grid"):
        assess(a_subject.ct, Volume(a_subject.labels.array, moved))


def test_picture_marks_what_is_wrong_and_where_the_scan_ends(shared_data):
    subject = coarse(shared_data / "ct" / "lidc_0314")
    sound = assess(subject.ct, subject.labels)
    seen = np.asarray(picture(subject.ct, subject.labels, sound))
    assert seen.shape[0] < 300 and (seen == CUT_COLOUR).all(-1).any()
    assert not reddish(seen[:256]).any()

    labels = Volume(renamed(subject.labels.array, {5: 6}), subject.ct.ijk_to_ras)
    wrong = np.asarray(picture(subject.ct, labels, assess(subject.ct, labels)))
    frontal = wrong[:256, wrong.shape[1] // 3 : 2 * wrong.shape[1] // 3]
    rows, columns = np.nonzero(reddish(frontal))
    assert len(rows) > 50
    assert columns.mean() > frontal.shape[1] / 2  # left ribs are on the right of a frontal picture
    assert (wrong[-1] == REJECTED_COLOUR).all()


def reddish(pixels: np.ndarray) -> np.ndarray:
    """Pixels of the colour of rejection, at any depth."""
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    return (red > 40) & (green < 0.25 * red) & (blue < 0.35 * red)


def test_picture_of_any_volume(a_subject):
    """Nothing labelled, one voxel, axes in any order: a rejected subject has a picture too."""
    for array in (a_subject.ct.array[:1, :1, :1], a_subject.ct.array.transpose(1, 2, 0)):
        ct = Volume(array, np.diag([-3.0, 3.0, 3.0, 1.0]))
        labels = Volume(np.zeros(array.shape, dtype=np.uint8), ct.ijk_to_ras)
        image = picture(ct, labels, assess(ct, labels))
        assert image.height > 200 and image.width > 2


def test_numbers_of_ribs_cover_the_table():
    assert len(RIBS) == 24  # the faults above count on the numbering
    assert [label("rib_left_5"), label("rib_right_6"), label("vertebra_T6")] == [5, 18, 39]

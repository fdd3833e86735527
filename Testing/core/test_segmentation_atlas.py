"""The weight-free naming on a thorax made of tubes, whose labels are known, and on a real one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from segmentation_phantom import SPACING, labelled, matrix, rib_line, scan, tube

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.segmentation.atlas import atlas_from_labels, label_by_atlas
from X2BRLogic.segmentation.atlas.grid import upright
from X2BRLogic.segmentation.atlas.numbers import number_ribs
from X2BRLogic.segmentation.atlas.ribs import find_ribs
from X2BRLogic.segmentation.atlas.spine import find_canal
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_ct, read_labels


@pytest.fixture(scope="module")
def truth() -> Volume:
    return labelled()


@pytest.fixture(scope="module")
def atlas(truth):
    return atlas_from_labels(truth)


def numbered(ct: Volume, atlas) -> dict[int, int]:
    """For each label given to a piece of `ct`, the label of the phantom's rib that it is on (by its start)."""
    origin = ct.ijk_to_ras[:3, 3]
    hu = ct.array.astype(np.float32)
    canal = find_canal(hu, SPACING, origin)
    ribs = number_ribs(find_ribs(hu > 150, canal, SPACING, origin), canal, atlas).ribs
    return {label: rib_at(piece.line[2]) for label, piece in ribs.items()}


def rib_at(point: np.ndarray) -> int:
    """The phantom's rib that runs nearest to a point."""
    distance = {}
    for label in anatomy.RIBS:
        bone = anatomy.BY_LABEL[label]
        line = rib_line(bone.level, -1.0 if bone.side == anatomy.LEFT else 1.0)
        distance[label] = np.linalg.norm(line - point, axis=1).min()
    return min(distance, key=distance.get)


def cropped(ct: Volume, low: int, high: int) -> Volume:
    """The slices `low` to `high` alone."""
    to_ras = ct.ijk_to_ras.copy()
    to_ras[:3, 3] = ct.to_ras([[0, 0, low]])[0]
    return Volume(ct.array[low:high], to_ras)


def dice(found: np.ndarray, true: np.ndarray, label: int) -> float:
    return 2 * np.sum((found == label) & (true == label)) / (np.sum(found == label) + np.sum(true == label))


def test_the_canal_is_found_within_two_millimetres(truth):
    canal = find_canal(scan(truth).array.astype(np.float32), SPACING, truth.ijk_to_ras[:3, 3])
    assert np.abs(canal.x[10:-10]).max() < 2.0
    assert np.abs(canal.y[10:-10]).max() < 3.0


def test_every_rib_has_its_number(truth, atlas):
    got = numbered(scan(truth), atlas)
    assert sorted(got) == sorted(anatomy.RIBS)
    assert all(label == rib for label, rib in got.items())


def test_a_missing_rib_leaves_the_others_their_numbers(atlas):
    gone = ("rib_left_5", "rib_right_12")
    got = numbered(scan(labelled(missing=gone)), atlas)
    assert sorted(got) == sorted(set(anatomy.RIBS) - {anatomy.BY_NAME[name].label for name in gone})
    assert all(label == rib for label, rib in got.items())


@pytest.mark.parametrize(("low", "high"), [(0, 150), (50, 190)], ids=["first ribs cut off", "last ribs cut off"])
def test_a_scan_that_ends_early_does_not_shift_the_numbers(truth, atlas, low, high):
    got = numbered(cropped(scan(truth), low, high), atlas)
    assert len(got) >= 16
    assert all(label == rib for label, rib in got.items())


def test_contrast_beside_the_first_rib_and_fused_ribs_do_not_shift_the_numbers(truth, atlas):
    vein = np.linspace(rib_line(1, 1.0)[150] + (0, 0, 6), (10.0, 70.0, 150.0), 300)
    aorta = np.column_stack([np.full(300, -18.0), np.full(300, 44.0), np.linspace(20.0, 200.0, 300)])
    heart = np.linspace((-30.0, 80.0, 110.0), (10.0, 80.0, 120.0), 200)
    bridge = np.linspace(rib_line(6, -1.0)[300], rib_line(7, -1.0)[300], 100)
    joined = np.linspace(rib_line(1, -1.0)[250], rib_line(2, -1.0)[250], 100)
    vessels = (tube(vein, 8.0), tube(aorta, 12.0), tube(heart, 28.0), tube(bridge, 4.0), tube(joined, 5.0))
    got = numbered(scan(truth, contrast=vessels), atlas)
    assert all(label == rib for label, rib in got.items())
    assert len(got) >= 23


def test_a_larger_person_in_another_frame_and_grid_is_labelled_on_that_grid(truth, atlas):
    """12 % larger, leaning by 8 degrees, on an oblique grid of other spacing with its axes permuted and flipped."""
    lean = np.deg2rad(8.0)
    person = np.eye(4)
    person[:3, :3] = 1.12 * np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    person[:3, 3] = (30.0, -200.0, 900.0)
    ct = scan(truth)
    flipped = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 189], [0, 0, 0, 1.0]])  # new i, j, k to old
    values, names = (np.transpose(v.array, (2, 1, 0))[:, :, ::-1] for v in (ct, truth))
    subject = Volume(np.ascontiguousarray(values), person @ ct.ijk_to_ras @ flipped)
    np.testing.assert_allclose(
        subject.to_ras([[0, 0, 0]])[0], (person @ np.append(ct.to_ras([[0, 0, 189]])[0], 1.0))[:3], atol=1e-6
    )

    stages = []
    found, notes = label_by_atlas(subject, atlas, lambda fraction, stage: stages.append((fraction, stage)))

    assert found.array.shape == subject.array.shape and found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.ijk_to_ras, subject.ijk_to_ras)
    assert notes == ()
    fractions = [fraction for fraction, _ in stages]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert min(dice(found.array, names, label) for label in anatomy.RIBS) > 0.85
    assert min(dice(found.array, names, label) for label in anatomy.THORACIC_VERTEBRAE) > 0.85
    assert dice(found.array, names, anatomy.STERNUM) > 0.9


def test_the_working_grid_keeps_places(truth):
    """A corner voxel of an oblique volume stays where it is."""
    turn = np.deg2rad(20.0)
    to_ras = matrix() @ np.diag([0.8, 0.8, 2.0, 1.0])
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    to_ras[:3, :3] = turned @ to_ras[:3, :3]
    array = np.full((30, 50, 60), -1000, dtype=np.int16)
    array[12:16, 20:28, 30:40] = 1000
    volume = Volume(array, to_ras)
    grid = upright(volume, order=1, outside=-1000.0)
    middle = grid.to_ras(np.array(ndimage.center_of_mass(grid.array > 0))[None, ::-1])[0]
    np.testing.assert_allclose(middle, volume.to_ras([[34.5, 23.5, 13.5]])[0], atol=0.4)


@pytest.mark.parametrize(
    ("hu", "says"),
    [
        (np.full((60, 60, 60), 30.0), "no bone"),
        (np.random.default_rng(0).normal(600, 300, (80, 80, 80)), "0 ribs"),
    ],
    ids=["water", "noise"],
)
def test_what_is_no_thorax_is_refused(hu, says, atlas):
    with pytest.raises(InputError, match=says):
        label_by_atlas(Volume(hu.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0])), atlas)


def test_a_spine_without_ribs_is_refused(atlas):
    every = tuple(anatomy.BY_LABEL[label].name for label in anatomy.RIBS)
    with pytest.raises(InputError, match="ribs"):
        label_by_atlas(scan(labelled(missing=every)), atlas)


def test_a_scan_upside_down_is_refused(truth, atlas):
    ct = scan(truth)
    with pytest.raises(InputError, match="upside down"):
        label_by_atlas(Volume(ct.array[::-1].copy(), ct.ijk_to_ras), atlas)


def test_progress_can_cancel(truth, atlas):
    class CancelledError(Exception):
        pass

    def cancel(fraction, stage):
        if fraction > 0.1:
            raise CancelledError

    with pytest.raises(CancelledError):
        label_by_atlas(scan(truth), atlas, cancel)


@pytest.mark.slow
def test_a_real_thorax_named_by_another_person(subjects):
    """The scan with dense contrast, on which naming by registration alone slipped by one level."""
    by_name = {path.name: path for path in subjects}
    other = atlas_from_labels(read_labels(by_name["cptac_pda_C3N-00249"] / "bones.nii.gz"))
    ct = read_ct(by_name["lidc_0001"] / "ct.nii.gz")
    true = read_labels(by_name["lidc_0001"] / "bones.nii.gz").array
    found, _ = label_by_atlas(ct, other)
    both = np.isin(true, anatomy.RIBS) & np.isin(found.array, anatomy.RIBS)
    assert np.mean(found.array[both] == true[both]) > 0.97
    assert np.mean([dice(found.array, true, label) for label in anatomy.RIBS]) > 0.8

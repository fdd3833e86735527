"""The check of a film before it is reconstructed: chest or not, how it lies, where the heart is, and its scale."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from X2BRLogic.cli import main
from X2BRLogic.detection import Box, detect
from X2BRLogic.errors import InputError
from X2BRLogic.fitness import admission, admit, bones_seen, check, heart_side, spacing_from_bones
from X2BRLogic.fitness.evidence import CHEST, NOTHING, needed
from X2BRLogic.fitness.heart import GRID, MIRRORED, asymmetry
from X2BRLogic.fitness.learning import learn
from X2BRLogic.models import resources
from X2BRLogic.radiograph import Handling, normalise, radiograph_from_array, read_radiograph

SAMPLE = resources() / "SampleData" / "chest_ap.png"


@pytest.fixture(scope="module")
def sample():
    return read_radiograph(SAMPLE)


@pytest.fixture(scope="module")
def boxes(sample):
    return detect(sample).boxes


def noise(shape=(128, 128)):
    return radiograph_from_array(np.random.default_rng(0).random(shape), "noise")


def handled(radiograph, **how):
    return Handling(**how).of(radiograph)


# --- what sets a film right -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_what_a_film_shows_stays_at_its_central_ray(turn, mirror):
    pixels = np.zeros((80, 100))
    pixels[20, 30] = 1
    film = radiograph_from_array(pixels, "point", pixel_spacing=(0.5, 0.7))
    film = replace(film, geometry=replace(film.geometry, principal_point=(30.0, 20.0)))
    turned = handled(film, turn=turn, mirror=mirror)
    assert turned.pixels.shape == ((80, 100) if turn % 180 == 0 else (100, 80)) == turned.geometry.shape
    row, column = np.argwhere(turned.pixels == 1)[0]
    assert turned.geometry.principal_point == (column, row)
    assert turned.geometry.spacing == ((0.5, 0.7) if turn % 180 == 0 else (0.7, 0.5))


def test_turning_is_clockwise_and_four_turns_are_none(sample):
    once = handled(sample, turn=90)
    assert np.array_equal(once.pixels, np.rot90(sample.pixels, -1))
    back = handled(handled(once, turn=90), turn=180)
    assert np.array_equal(back.pixels, sample.pixels)
    assert np.allclose(back.geometry.principal_point, sample.geometry.principal_point)


def test_a_negative_of_a_negative_is_the_film(sample):
    twice = handled(handled(sample, invert=True), invert=True)
    assert np.allclose(twice.pixels, sample.pixels, rtol=1e-5)
    with pytest.raises(InputError, match="90, 180 or 270"):
        Handling(turn=45)


# --- chest or not -----------------------------------------------------------------------------------------------------


def test_a_chest_film_is_admitted_as_it_is(sample, boxes):
    assert bones_seen(boxes) > 20
    film = check(sample, boxes)
    assert film.warnings == () and not film.handling and film.heart > 0.2
    admitted = admit(sample, boxes, method="x2br")
    assert admitted.radiograph.warnings == sample.warnings and admitted.boxes is boxes
    assert admitted.radiograph.geometry == sample.geometry  # its spacing is known


def test_evidence_counts_ribs_and_thoracic_vertebrae_by_confidence():
    found = [Box.of("rib_left_3", (0, 0, 9, 9), 0.5), Box.of("vertebra_T4", (0, 0, 9, 9), 0.25)]
    assert bones_seen(found) == 0.75
    assert bones_seen([*found, Box.of("vertebra_L2", (0, 0, 9, 9)), Box("vertebrae", None, 0, 0, 9, 9)]) == 0.75


def test_noise_is_refused_in_one_sentence_and_a_stored_box_does_not_help():
    with pytest.raises(InputError, match="shows no thorax, whichever way it is turned"):
        check(noise(), [Box.of("rib_left_3", (0, 0, 9, 9))])


@pytest.mark.parametrize("how", [{"turn": 180}, {"turn": 90, "invert": True}])
def test_a_film_stored_the_wrong_way_is_told_with_what_mends_it(sample, how):
    stored = handled(handled(sample, turn=(360 - how["turn"]) % 360), invert=how.get("invert", False))
    film = check(stored)
    assert film.handling == Handling(**how)
    (warning,) = film.warnings
    assert film.handling.options in warning and "stored the wrong way" in warning
    assert np.allclose(film.handling.of(stored).pixels, sample.pixels, atol=1e-3 * sample.pixels.max())


def test_a_remedy_needs_a_chest_and_far_more_bones():
    assert needed({Handling(): 3.0, Handling(turn=180): CHEST - 0.1}) == Handling()
    assert needed({Handling(): 8.0, Handling(turn=180): 15.0}) == Handling()
    assert needed({Handling(): 3.0, Handling(turn=180): 15.0}) == Handling(turn=180)


def test_few_bones_are_a_warning_and_none_a_refusal(sample, monkeypatch):
    monkeypatch.setattr(admission, "seen_by_handling", lambda film, seen: {Handling(): seen})
    detection = {"boxes": (), "notes": ()}
    monkeypatch.setattr(admission, "detect", lambda film: type("Detection", (), detection))
    with pytest.raises(InputError, match="no thorax"):
        check(sample)
    detection["boxes"] = [Box.of(f"rib_left_{n}", (0, 9 * n, 9, 9 * n + 9), 0.9) for n in range(1, 6)]
    assert NOTHING < bones_seen(detection["boxes"]) < CHEST
    (warning,) = check(sample).warnings
    assert "no frontal chest film" in warning


def test_without_a_detector_films_are_taken_unseen_and_that_is_told(sample, monkeypatch):
    def missing(film):
        raise InputError("no detector is installed")

    monkeypatch.setattr(admission, "detect", missing)
    admitted = admit(sample, method="x2br")
    assert admitted.boxes is None and "not looked at: no detector" in admitted.radiograph.warnings[-1]


# --- the heart --------------------------------------------------------------------------------------------------------


def test_a_mirrored_film_is_told_of(sample, boxes):
    mirrored = handled(sample, mirror=True)
    film = check(mirrored)
    assert film.heart < MIRRORED and "--mirror" in film.warnings[0]
    assert heart_side(sample.pixels, boxes) > -MIRRORED


def test_asymmetry_turns_its_sign_with_the_film(sample, boxes):
    width = sample.pixels.shape[1]
    other = {"left": "right", "right": "left"}
    swapped = []
    for box in boxes:
        side = next((side for side in other if side in box.name), None)
        name = box.name.replace(side, other[side]) if side else box.name
        swapped.append(Box.of(name, (width - 1 - box.x1, box.y0, width - 1 - box.x0, box.y1), box.confidence))
    image = normalise(sample.pixels)
    found, mirrored = asymmetry(image, boxes), asymmetry(image[:, ::-1], swapped)
    assert found.shape == GRID and np.abs(found + mirrored).max() < 0.02 < np.abs(found).max()
    assert asymmetry(image, boxes[:3]) is None


def test_the_mean_is_learned_from_a_folder_of_boxed_films(sample, boxes, tmp_path):
    from X2BRLogic.detection.films import BoxedFilm
    from X2BRLogic.detection.yolo_layout import TRAIN, make_folders, write_film

    make_folders(tmp_path)
    unit = (sample.pixels - sample.pixels.min()) / np.ptp(sample.pixels)
    write_film(tmp_path, TRAIN, "film", BoxedFilm(unit, boxes, sample.geometry))
    assert learn(tmp_path, tmp_path / "mean.json") == 1
    mean = np.array(json.loads((tmp_path / "mean.json").read_text())["asymmetry"])
    assert np.abs(mean - asymmetry(normalise(sample.pixels), boxes)).max() < 0.02
    (tmp_path / "labels").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="no film"):
        learn(tmp_path, tmp_path / "mean.json")


# --- scale ------------------------------------------------------------------------------------------------------------


def test_the_bones_tell_the_spacing_however_the_picture_is_sampled(sample, boxes):
    true = sample.geometry.spacing[0]
    estimate = spacing_from_bones(boxes, sample.geometry)
    assert estimate == pytest.approx(true, rel=0.1)  # a person whom nothing that ships knows
    halved = [replace(box, **{edge: getattr(box, edge) / 2 for edge in ("x0", "y0", "x1", "y1")}) for box in boxes]
    assert spacing_from_bones(halved, sample.geometry) == pytest.approx(2 * estimate)
    assert spacing_from_bones(boxes[:5], sample.geometry) is None


def test_a_spacing_that_nobody_knows_is_taken_from_the_bones_or_told(sample, boxes):
    cut = radiograph_from_array(sample.pixels, "cut", pixel_spacing=None)
    cut = replace(cut, geometry=replace(cut.geometry, spacing=(0.4, 0.4)))
    taken, told = admit(cut, boxes, method="x2b").radiograph, admit(cut, boxes, method="x2b", rescale=False).radiograph
    assert taken.geometry.spacing[0] == pytest.approx(spacing_from_bones(boxes, cut.geometry))
    assert not taken.scale_known and "estimated from vertebrae and ribs" in taken.warnings[-1]
    assert told.geometry == cut.geometry and "not the assumed 0.400" in told.warnings[-1]
    assert admit(told, boxes, method="x2b", rescale=False).radiograph.warnings == told.warnings  # said once


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_refuses_noise_and_says_so_once(tmp_path, capsys):
    Image.fromarray((noise().pixels * 255).astype(np.uint8)).save(tmp_path / "noise.png")
    assert main(["reconstruct", str(tmp_path / "noise.png"), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("x2br: error:") == 1 and "no thorax" in err and not (tmp_path / "out").exists()


def test_boxes_and_folders_do_not_go_with_turning(tmp_path, capsys):
    (tmp_path / "films").mkdir()
    out = ["--out", str(tmp_path / "out"), "--turn", "180"]
    assert main(["reconstruct", str(tmp_path / "films"), *out]) == 2
    assert "one film" in capsys.readouterr().err
    assert main(["reconstruct", str(SAMPLE), "--method", "x2br", "--boxes", "b.json", *out]) == 2
    assert "as it is stored" in capsys.readouterr().err

"""Training films: every box where projected labels have it, whole files in YOLO's layout, the same again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from X2BRLogic.cli import main
from X2BRLogic.dataset.person import draw_patient
from X2BRLogic.dataset.resample import resample
from X2BRLogic.dataset.subject import Subject, read_subject
from X2BRLogic.dataset.training_film import random_geometry
from X2BRLogic.dataset.virtual import warped
from X2BRLogic.detection import Box
from X2BRLogic.detection.artefacts import disturb
from X2BRLogic.detection.batches import FilmBatches
from X2BRLogic.detection.classes import CLASSES, RUNS
from X2BRLogic.detection.films import BoxedFilm, BoxedFilms
from X2BRLogic.detection.image import Letterbox
from X2BRLogic.detection.yolo_layout import label_file, make_folders, picture_file, read_labels, write_film
from X2BRLogic.drr import project_boxes
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.volume_io import write_volume


@pytest.fixture(scope="module")
def person(subjects):
    """A real person in voxels of 3 mm."""
    subject = read_subject(next(path for path in subjects if path.name == "lidc_0001"))
    return Subject(subject.name, *resample(subject.ct, subject.labels, 3.0))


def test_classes_are_the_bones_of_their_groups():
    for group, run in RUNS.items():
        boxes = [Box.of(name, (0, 0, 1, 1)) for name in CLASSES[run]]
        assert {box.group for box in boxes} == {group}
        levels = [box.level for box in boxes]
        assert levels == sorted(levels)
    assert len(CLASSES) == sum(run.stop - run.start for run in RUNS.values()) == len(set(CLASSES))


def test_boxes_are_those_of_the_projected_labels_of_the_warped_volume(person):
    films = BoxedFilms(person, size=256)
    patient = draw_patient(films.person, np.random.default_rng(5))
    _, labels = warped(patient)
    points = patient.deformation.to_patient(films.points)
    for seed in range(2):
        geometry = random_geometry(np.random.default_rng(seed), patient.centre, 256)
        found = {box.name: box for box in films.boxes(geometry, points)}
        truth = {box.name: box for box in project_boxes(labels, geometry) if box.name in CLASSES}
        shared = found.keys() & truth.keys()
        assert len(shared) >= 30
        # A bone at the limit of what is boxed may be so in one way and not in the other.
        for name in found.keys() ^ truth.keys():
            assert (found.get(name) or truth[name]).confidence < 0.35
        off = np.array([found[name].edges - truth[name].edges for name in shared])
        assert np.median(np.abs(off)) < 1.0  # of pixels of 1.6 mm, with voxels of 3 and 2 mm
        assert np.percentile(np.abs(off), 95) < 2.5


def test_a_film_has_the_boxes_of_what_is_in_it(person):
    source = BoxedFilms(person, size=160)
    films = source.films(np.random.default_rng(1), 6)
    again = source.films(np.random.default_rng(1), 6)
    for film, twin in zip(films, again, strict=True):
        assert np.array_equal(film.image, twin.image) and film.boxes == twin.boxes
        assert film.image.dtype == np.float32 and film.image.min() >= 0 and film.image.max() <= 1
        assert film.image.shape == film.geometry.shape
        edges = np.array([box.edges for box in film.boxes])
        assert (edges >= -0.5).all() and (edges.reshape(-1, 2, 2) <= np.array(film.image.shape[::-1]) - 0.5).all()
        middle = {box.name: box.edges.reshape(2, 2).mean(axis=0) for box in film.boxes}
        assert middle["rib_right_6"][0] < middle["vertebra_T6"][0] < middle["rib_left_6"][0]
        assert middle["vertebra_T5"][1] < middle["vertebra_T6"][1] < middle["vertebra_T7"][1]
    assert len({film.image.shape for film in films}) > 1  # some are cut down


def test_disturbed_films_stay_films():
    image = np.random.default_rng(0).random((120, 90)).astype(np.float32)
    results = [disturb(np.random.default_rng(seed), image) for seed in range(40)]
    for result in results:
        assert result.shape == image.shape and result.dtype == np.float32
        assert result.min() >= 0 and result.max() <= 1
    # What is drawn covers little: most of a film is left to look at.
    smooth = np.full((200, 200), 0.4, dtype=np.float32)
    bright = [np.mean(disturb(np.random.default_rng(seed), smooth) > 0.9) for seed in range(40)]
    assert max(bright) < 0.35 and max(bright) > 0


def _film(shape, names):
    rng = np.random.default_rng(0)
    boxes = tuple(Box.of(name, (3 + n, 5 + n, 20 + 2 * n, 30 + n)) for n, name in enumerate(names))
    return BoxedFilm(rng.random(shape).astype(np.float32), boxes, XRayGeometry(shape=shape))


def test_layout_keeps_boxes_and_other_tools_can_read_it(tmp_path):
    names = ["rib_left_1", "rib_right_12", "vertebra_L2"]
    film = _film((80, 64), names)
    make_folders(tmp_path)
    write_film(tmp_path, "train", "one", film)
    with Image.open(picture_file(tmp_path, "train", "one")) as picture:
        assert picture.size == (64, 80) and picture.mode == "L"
    found = read_labels(label_file(tmp_path, "train", "one"), (80, 64))
    assert [box.name for box in found] == names
    assert np.allclose([b.edges for b in found], [b.edges for b in film.boxes], atol=1e-3)
    number, x, y, width, height = label_file(tmp_path, "train", "one").read_text().splitlines()[0].split()
    assert CLASSES[int(number)] == "rib_left_1"
    assert np.allclose(
        [float(x) * 64, float(y) * 80, float(width) * 64, float(height) * 80], [12, 18, 17, 25], atol=1e-3
    )
    yaml = (tmp_path / "data.yaml").read_text()
    assert "train: images/train" in yaml and f"  {len(CLASSES) - 1}: vertebra_L5" in yaml
    label_file(tmp_path, "train", "one").write_text("99 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match="is no list of YOLO boxes"):
        read_labels(label_file(tmp_path, "train", "one"), (80, 64))


def test_letterbox_goes_there_and_back():
    for shape in ((300, 200), (90, 200), (64, 64)):
        square = Letterbox.of(np.random.default_rng(0).random(shape), 128)
        assert square.image.shape == (128, 128) and square.image.dtype == np.uint8
        edges = np.array([[-0.5, -0.5, shape[1] - 0.5, shape[0] - 0.5], [10.0, 12.0, 50.0, 40.0]])
        there = square.of_film(edges)
        assert np.allclose(square.to_film(there), edges)
        assert np.isclose((there[0, 2:] - there[0, :2]).max(), 128)
    film = np.zeros((100, 200), dtype=np.float32)
    film[40:60, 100:120] = 1.0
    square = Letterbox.of(film, 100)
    x0, y0, x1, y1 = square.of_film(np.array([[99.5, 39.5, 119.5, 59.5]]))[0].astype(int)
    assert square.image[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > 200


def test_batches_are_the_same_again_and_move_boxes_with_films(tmp_path):
    make_folders(tmp_path)
    shape = (64, 96)
    image = np.zeros(shape, dtype=np.float32)
    image[20:40, 30:60] = 1.0
    film = BoxedFilm(image, (Box.of("rib_left_3", (29.5, 19.5, 59.5, 39.5)),), XRayGeometry(shape=shape))
    write_film(tmp_path, "train", "one", film)
    settings = {"size": 96, "batch": 4, "count": 5, "seed": 3}
    batches = FilmBatches(tmp_path, "train", varied=True, **settings)
    batch, again = batches[2], FilmBatches(tmp_path, "train", varied=True, **settings)[2]
    assert all(np.array_equal(batch[key], again[key]) for key in batch)
    assert batch["img"].shape == (4, 1, 96, 96) and not np.array_equal(batch["bboxes"], batches[3]["bboxes"])
    for n, (x, y, width, height) in zip(batch["batch_idx"].int(), batch["bboxes"] * 96, strict=True):
        bright = batch["img"][n, 0].numpy() > 0.8
        rows, columns = np.flatnonzero(bright.mean(1) > 0.1), np.flatnonzero(bright.mean(0) > 0.1)
        assert np.allclose([rows[0], rows[-1] + 1], [y - height / 2, y + height / 2], atol=3)
        assert np.allclose([columns[0], columns[-1] + 1], [x - width / 2, x + width / 2], atol=3)
    with pytest.raises(InputError, match="has no films in labels/val; make some with x2br dataset boxes"):
        FilmBatches(tmp_path, "val", varied=False, **settings)


def test_the_command_makes_films_goes_on_and_leaves_a_page(person, tmp_path, capsys):
    people = tmp_path / "people" / person.name
    people.mkdir(parents=True)
    for name, volume in zip(("ct", "bones"), resample(person.ct, person.labels, 5.0), strict=True):
        write_volume(people / f"{name}.nii.gz", volume)
    out = tmp_path / "out"
    arguments = ["dataset", "boxes", str(people.parent), str(out), "--views", "1", "--seed", "2", "--workers", "1"]
    assert main([*arguments, "--count", "1"]) == 0
    first = label_file(out, "train", "patient_000000_0")
    moment = first.stat().st_mtime_ns
    assert main([*arguments, "--count", "2"]) == 0
    assert first.stat().st_mtime_ns == moment
    assert len(list((out / "labels" / "train").glob("*.txt"))) == 2
    page = (out / "review.html").read_text()
    assert page.count("<img") == 2 and "patient_000001_0" in page
    assert "films of 2 virtual patients" in capsys.readouterr().out
    assert main([*arguments[:-4], "--seed", "3", "--count", "2", "--workers", "1"]) == 2
    assert "another seed" in capsys.readouterr().err

"""Detection as users meet it: the command, the weights that ship, and what is said when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from X2BRLogic.cli import main
from X2BRLogic.detection import Box, detect, read_boxes, write_boxes
from X2BRLogic.detection.boxes import on_detector
from X2BRLogic.detection.candidates import overlap
from X2BRLogic.detection.classes import CLASSES
from X2BRLogic.detection.picture import draw_boxes
from X2BRLogic.detection.weights import class_places, default_weights, installed
from X2BRLogic.drr import project_boxes
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.models import resources
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.volume_io import read_labels

SAMPLE = resources() / "SampleData" / "chest_ap.png"


def test_importing_detection_imports_nothing_heavy():
    code = "import sys, X2BRLogic.detection; print([m for m in ('torch', 'onnxruntime', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def found():
    return detect(read_radiograph(SAMPLE))


@pytest.mark.weights
def test_the_sample_film_of_a_person_unknown_to_the_weights(found, subjects):
    """The film is a DRR of the person left out, whose labels are there."""
    folder = next(path for path in subjects if path.name == "cptac_pda_C3N-00249")
    labels = read_labels(folder / "bones.nii.gz")
    projected = project_boxes(labels, read_radiograph(SAMPLE).geometry)
    truth = {box.name: box for box in projected if box.name in CLASSES}
    names = [box.name for box in found.boxes]
    assert len(set(names)) == len(names)
    shared = {
        box.name: overlap(box.edges[None], truth[box.name].edges[None])[0, 0]
        for box in found.boxes
        if box.name in truth
    }
    wanted = [name for name in truth if name.startswith(("rib", "vertebra_T"))]
    right = [name for name in wanted if shared.get(name, 0) >= 0.5]
    assert len(right) >= 0.75 * len(wanted)
    assert found.model == "yolov9t.onnx (onnx)" and found.seconds > 0


@pytest.mark.weights
def test_a_film_is_found_again_larger_brighter_and_inverted_in_scale(found):
    """Twice the pixels, another range of grey: the same boxes."""
    film = read_radiograph(SAMPLE)
    geometry = film.geometry.resized(tuple(2 * n for n in film.geometry.shape))
    from X2BRLogic.radiograph import radiograph_from_array

    pixels = np.kron(film.pixels, np.ones((2, 2))) * 3.0 - 500.0
    larger = detect(radiograph_from_array(pixels, "larger", geometry=geometry))
    before = {box.name: box for box in found.boxes}
    both = [box for box in larger.boxes if box.name in before]
    assert len(both) >= 0.9 * len(before)
    half = np.array([(box.edges + 0.5) / 2 - 0.5 for box in both])
    assert np.median(np.abs(half - [before[box.name].edges for box in both])) < 1.5


@pytest.mark.weights
def test_the_command_writes_boxes_and_a_picture(tmp_path, capsys, found):
    assert main(["detect", str(SAMPLE), "--out", str(tmp_path / "new" / "folder"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    file = tmp_path / "new" / "folder" / "chest_ap.boxes.json"
    assert result["out"]["boxes"] == str(file) and result["model"] == "yolov9t.onnx (onnx)"
    assert sum(result["found"].values()) == len(found.boxes)
    boxes = read_boxes(file)
    assert [box.name for box in boxes] == [box.name for box in found.boxes]
    assert np.allclose([box.edges for box in boxes], [box.edges for box in found.boxes], atol=1e-3)
    stored = json.loads(file.read_text())
    geometry = read_radiograph(SAMPLE).geometry
    x0, y0 = stored["boxes"][0]["box"][:2]
    foot = geometry.isocentre - (geometry.sid - geometry.sod) * geometry.to_source
    place = geometry.pixel_positions(np.array([[x0, y0]]))[0] - foot
    assert np.allclose(
        stored["boxes"][0]["detector_mm"][:2], [place @ geometry.columns, place @ geometry.rows], atol=0.01
    )
    with Image.open(result["out"]["picture"]) as picture:
        colours = np.asarray(picture).reshape(-1, 3).astype(int)
    assert (np.ptp(colours, axis=1) > 60).sum() > 1000  # the film is grey, boxes are not

    assert main(["detect", str(SAMPLE), "--out", str(tmp_path / "one.json")]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "one.json").is_file() and (tmp_path / "one.png").is_file()
    assert "vertebrae" in said and "research use" in said.lower()


@pytest.mark.weights
def test_warm_detection_is_quick(found):
    """0.5 s on two quiet cores is promised; a shared machine gets thrice that."""
    film = read_radiograph(SAMPLE)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        detect(film)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.5


@pytest.mark.weights
def test_installed_weights_are_small_and_have_a_card():
    assert default_weights() in installed()
    assert sum(file.stat().st_size for file in installed()) < 8e6
    card = default_weights().with_suffix(".md").read_text()
    assert "AGPL-3.0" in card and "cptac_pda_C3N-00249" in card


def test_wrong_input_ends_in_one_sentence(tmp_path, capsys):
    def error(*arguments):
        status = main(["detect", *map(str, arguments)])
        said = capsys.readouterr().err.strip().splitlines()
        assert status == 2 and said[-1].startswith("x2br: error: ")
        return said[-1]

    out = tmp_path / "out"
    assert "does not exist" in error(tmp_path / "none.png", "--out", out)
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((100, 100), 7, np.uint8)).save(blank)
    assert "blank" in error(blank, "--out", out) or "one value" in capsys.readouterr().err
    assert "is no frontal film" in error(SAMPLE, "--out", out, "--view", "LAT")
    for name in ("none.onnx", "empty.onnx", "bad.onnx", "bad.pt", "bad.txt"):
        if name != "none.onnx":
            (tmp_path / name).write_bytes(b"" if name == "empty.onnx" else b"this is no model" * 100)
    assert "does not exist" in error(SAMPLE, "--out", out, "--weights", tmp_path / "none.onnx")
    assert "is empty" in error(SAMPLE, "--out", out, "--weights", tmp_path / "empty.onnx")
    assert "is damaged or no ONNX file" in error(SAMPLE, "--out", out, "--weights", tmp_path / "bad.onnx")
    assert "is a pickle, which can run code" in error(SAMPLE, "--out", out, "--weights", tmp_path / "bad.pt")
    assert "no ONNX file" in error(SAMPLE, "--out", out, "--weights", tmp_path / "bad.txt")
    assert "give a folder for the results" in error(SAMPLE, "--out", tmp_path / "bad.txt")
    assert "invalid choice" in error(SAMPLE, "--out", out, "--runtime", "tensorflow")


def test_a_missing_runtime_is_told_and_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    from X2BRLogic.detection import detector

    detector._loaded.cache_clear()
    with pytest.raises(InputError, match=r"onnxruntime is not installed.*pip install onnxruntime"):
        detect(read_radiograph(SAMPLE))
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(InputError, match=r"AGPL-3\.0 and optional: pip install ultralytics"):
        detect(read_radiograph(SAMPLE), runtime="ultralytics")


def test_classes_of_other_files_go_by_their_names(tmp_path):
    assert class_places("{0: 'vertebra_C1', 1: 'rib_left_1'}", tmp_path) == [24, 0]
    assert class_places(["rib_right_12"], tmp_path) == [23]
    for names in ("{0: 'person', 1: 'car'}", "", "__import__('os')", "{1: 'rib_left_1'}"):
        with pytest.raises(InputError, match="finds other things than rib_left_1 to vertebra_L5"):
            class_places(names, tmp_path)


def test_boxes_in_millimetres_and_drawn():
    geometry = XRayGeometry(shape=(100, 80), spacing=(2.0, 3.0))
    box = Box.of("rib_left_4", (39.5, 49.5, 49.5, 59.5))
    assert np.allclose(on_detector(box, geometry), [0.0, 0.0, 30.0, 20.0])
    picture = np.asarray(draw_boxes(np.random.default_rng(0).random((100, 80)), [box]))
    assert picture.shape == (1000, 800, 3)
    assert np.ptp(picture[500, 400].astype(int)) > 60  # the corner of the box, ten times as large
    assert np.ptp(picture[300, 400].astype(int)) == 0


def test_boxes_are_written_with_what_is_known_of_them(tmp_path):
    geometry = XRayGeometry()
    write_boxes([Box.of("vertebra_T4", (1, 2, 3, 4), 0.5)], tmp_path / "b.json", geometry, notes=["none"])
    stored = json.loads((tmp_path / "b.json").read_text())
    assert stored["notes"] == ["none"] and len(stored["boxes"][0]["detector_mm"]) == 4
    (box,) = read_boxes(tmp_path / "b.json")
    assert box.name == "vertebra_T4" and box.level == 4


@pytest.mark.weights
def test_reconstruct_finds_boxes_itself_and_does_without(monkeypatch):
    from X2BRLogic.detection import detector
    from X2BRLogic.pipeline import Reconstructor

    class EnoughError(Exception):
        """What would be done with the boxes is tested elsewhere."""

    def spy(radiograph, coarse, boxes, tell):
        given.append(boxes)
        raise EnoughError

    given = []
    film, reconstructor = read_radiograph(SAMPLE), Reconstructor("x2br")
    with monkeypatch.context() as patched:
        patched.setattr("X2BRLogic.pipeline._completed", spy)
        for boxes in (None, (), [Box.of("rib_left_4", (1, 2, 3, 4))]):
            with pytest.raises(EnoughError):
                reconstructor.reconstruct(film, resolution=32, boxes=boxes)
    assert len(given[0]) > 25 and given[1] == () and [box.name for box in given[2]] == ["rib_left_4"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    detector._loaded.cache_clear()
    done = reconstructor.reconstruct(film, resolution=32)
    detector._loaded.cache_clear()
    assert done.boxes == () and len(done.bones) > 30
    assert any("no boxes were detected: onnxruntime is not installed" in said for said in done.summary["warnings"])

"""X2BR end to end: the shipped weights and template on the sample film, by command, in process and by worker."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from X2BRLogic import anatomy
from X2BRLogic.cli import main
from X2BRLogic.detection import Box, read_boxes, write_boxes
from X2BRLogic.drr import project_boxes
from X2BRLogic.files import folder_written_whole
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.models import resources
from X2BRLogic.pipeline import Reconstructor
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_labels
from X2BRLogic.worker import WorkerReconstructor

RESOLUTION = 64


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The sample film with its geometry, in a folder of its own."""
    folder = tmp_path_factory.mktemp("film")
    for file in (resources() / "SampleData").glob("chest_ap*"):
        shutil.copy(file, folder)
    return folder / "chest_ap.png"


@pytest.fixture(scope="module")
def unboxed(film):
    return Reconstructor("x2br").reconstruct(read_radiograph(film), resolution=RESOLUTION, boxes=())


@pytest.fixture(scope="module")
def boxes(film, unboxed):
    """Boxes of the ribs and vertebrae, as the reconstruction without boxes projects them."""
    geometry = read_radiograph(film).geometry
    found = []
    for name, mesh in unboxed.bones.items():
        if name.startswith(("rib_", "vertebra_T")):
            pixels = geometry.project(mesh.vertices)
            found.append(Box.of(name, [*pixels.min(axis=0), *pixels.max(axis=0)], 0.8))
    return found


def test_without_boxes_bones_are_named_and_it_warns(unboxed):
    assert {f"rib_left_{n}" for n in range(1, 13)} <= set(unboxed.bones)
    assert {f"vertebra_T{n}" for n in range(1, 13)} <= set(unboxed.bones)
    assert unboxed.mesh.is_watertight
    assert any("levels may be off" in warning for warning in unboxed.summary["warnings"])
    assert unboxed.summary["method"] == "x2br" and unboxed.boxes == ()


def test_the_command_writes_every_bone_and_uses_the_boxes_beside_the_film(film, boxes, tmp_path, capsys):
    beside = film.with_name("chest_ap.boxes.json")
    write_boxes(boxes, beside)
    out = tmp_path / "result"
    words = ["reconstruct", str(film), "--method", "x2br", "--resolution", str(RESOLUTION), "--out", str(out), "--json"]
    try:
        assert main(words) == 0
    finally:
        beside.unlink()
    told = capsys.readouterr()
    assert "chest_ap.boxes.json" in told.err
    summary = json.loads((out / "summary.json").read_text())
    skeleton = json.loads((out / "skeleton.json").read_text())["bones"]
    assert set(skeleton) == set(summary["bones"]) == {file.stem for file in (out / "bones").iterdir()}
    assert len(read_boxes(out / "boxes.json")) == summary["x2br_facts"]["boxes"] > 25
    assert summary["reprojection"]["box_iou"] > 0.7

    rib = trimesh.load(out / skeleton["rib_left_5"]["file"], process=False)
    assert rib.is_watertight
    stored = rib.metadata["_ply_raw"]["vertex"]["data"]
    assert 0 < stored["confidence"].min() <= stored["confidence"].max() < 1
    assert skeleton["rib_left_5"]["label"] == 5 and skeleton["rib_left_5"]["snomed_ct"] == "15339008"
    assert skeleton["rib_left_5"]["volume_ml"] == pytest.approx(rib.volume / 1000, abs=0.02)

    labels = read_labels(out / "labels.nrrd")
    assert np.allclose(labels.spacing, 1.5)
    inside = np.count_nonzero(labels.array == 5) * 1.5**3
    assert inside == pytest.approx(rib.volume, rel=0.1)

    assert main(["evaluate", str(out), str(out / "labels.nrrd"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["realism"]
    assert figures["found"] == 1.0 and figures["watertight"] and figures["bone_asd_mm"] < 1.0
    assert figures["penetration_ml"] < 1e-3


def test_results_replace_those_of_an_earlier_run(tmp_path):
    """Also a folder among them, which the system does not replace by itself."""
    for content in ("first", "second"):
        with folder_written_whole(tmp_path / "result") as partial:
            (partial / "bones").mkdir()
            (partial / "bones" / f"{content}.ply").write_text(content)
            (partial / "summary.json").write_text(content)
    assert [path.name for path in (tmp_path / "result" / "bones").iterdir()] == ["second.ply"]
    assert (tmp_path / "result" / "summary.json").read_text() == "second"
    with folder_written_whole(tmp_path / "result", ["bones", "labels.nrrd"]) as partial:
        (partial / "summary.json").write_text("without bones")
    assert [path.name for path in (tmp_path / "result").iterdir()] == ["summary.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_the_worker_gives_the_same_bones(film, boxes, tmp_path):
    """As a process of its own does: in this one, other tests may have changed the number of threads, and with it how
    sums are rounded. Even so two runs may differ by some micrometres."""
    given, out = tmp_path / "given.json", tmp_path / "out"
    write_boxes(boxes, given)
    command = [sys.executable, "-m", "X2BRLogic", "reconstruct", film, "--method", "x2br", "--boxes", given]
    command += ["--resolution", str(RESOLUTION), "--out", out]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=300)
    with WorkerReconstructor("x2br") as worker:
        there = worker.reconstruct(read_radiograph(film), resolution=RESOLUTION, boxes=read_boxes(given))
    assert set(there.bones) == {file.stem for file in (out / "bones").iterdir()}
    for name, mesh in there.bones.items():
        here = trimesh.load(out / "bones" / f"{name}.ply", process=False)
        confidence = here.metadata["_ply_raw"]["vertex"]["data"]["confidence"]
        assert np.allclose(mesh.vertices, here.vertices, rtol=0, atol=0.05), name
        assert np.allclose(mesh.vertex_attributes["confidence"], confidence.ravel(), rtol=0, atol=0.01), name


def test_progress_goes_up_to_the_end(film, unboxed):
    told = []
    Reconstructor("x2br").reconstruct(
        read_radiograph(film), lambda part, stage: told.append((part, stage)), resolution=RESOLUTION
    )
    parts = [part for part, _ in told]
    assert parts == sorted(parts) and parts[-1] == 1.0
    assert sum(stage == "bones" for _, stage in told) > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--boxes", "missing.json", "--method", "x2br"], "does not exist"),
        (["--boxes", "boxes.json"], "--method x2br"),
        (["--method", "x2bq"], "x2br"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(film, tmp_path, capsys, words, message):
    assert main(["reconstruct", str(film), "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_boxes_of_labels_are_where_the_voxels_project():
    array = np.zeros((60, 60, 60), dtype=np.uint8)
    label = anatomy.BY_NAME["vertebra_T6"].label
    array[20:40, 25:35, 22:38] = label
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -60.0
    labels = Volume(array, matrix)
    geometry = XRayGeometry.from_view("AP")
    (box,) = project_boxes(labels, geometry)
    ijk = np.array(np.meshgrid([21.5, 37.5], [24.5, 34.5], [19.5, 39.5])).reshape(3, -1).T
    pixels = geometry.project(labels.to_ras(ijk))
    assert box.name == "vertebra_T6" and box.confidence == 1.0
    assert np.allclose(box.edges, [*pixels.min(axis=0), *pixels.max(axis=0)], atol=1.0)

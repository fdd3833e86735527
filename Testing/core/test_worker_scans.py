"""The worker for CTs: radiographs, figures and data sets by way of a process that starts without PyTorch."""

import numpy as np
import pytest
import trimesh

from X2BRLogic.drr import Detector, ImagingChain, as_radiograph, isocentre, series
from X2BRLogic.drr.chain import Exposure
from X2BRLogic.errors import InputError
from X2BRLogic.evaluation import evaluate, reprojection
from X2BRLogic.outline import outline_segments, overlay
from X2BRLogic.radiograph import Radiograph
from X2BRLogic.surface import labels_to_mesh
from X2BRLogic.volume import Volume
from X2BRLogic.worker import Cancelled, Worker
from X2BRLogic.worker.dataset import BuildDataset
from X2BRLogic.worker.drr import DrrSettings, MakeDrrs
from X2BRLogic.worker.measure import Evaluate, Reproject
from X2BRLogic.worker.scans import MODULE

SMALL = {"size": 96, "pixel_spacing": 4.0}


@pytest.fixture(scope="module")
def worker():
    with Worker(module=MODULE) as worker:
        yield worker


@pytest.fixture(scope="module")
def scan():
    """A body of water with two bones in it: CT and labels."""
    hu = np.full((50, 56, 60), -1000, dtype=np.int16)
    hu[3:47, 8:48, 6:54] = 20
    labels = np.zeros(hu.shape, dtype=np.uint8)
    labels[10:40, 10:15, 26:34] = 25
    labels[20:30, 38:46, 24:36] = 37
    hu[labels > 0] = 700
    matrix = np.diag([-5.0, -5.0, 5.0, 1.0])
    return Volume(hu, matrix), Volume(labels, matrix)


def test_radiographs_are_those_of_this_process(worker, scan):
    ct, labels = scan
    made = worker.submit(MakeDrrs(ct, labels, DrrSettings(angles=(0.0, 10.0), **SMALL))).wait()
    assert [drr.name for drr in made] == ["ap", "ap_+10"]
    pose = series("AP", [10.0])[0]
    geometry = pose.geometry(Detector(1800.0, 1500.0, (96, 96), (4.0, 4.0)), isocentre(ct, labels))
    here = as_radiograph(ImagingChain(ct, Exposure()).line_integrals(geometry))
    np.testing.assert_array_equal(made[1].pixels, here)
    np.testing.assert_allclose(made[1].geometry.source, geometry.source)
    assert {box.name for box in made[1].boxes} == {"sternum", "vertebra_T4"}


def test_bones_alone_and_views_without_labels(worker, scan):
    ct, labels = scan
    (bones,) = worker.submit(MakeDrrs(ct, labels, DrrSettings(bones=True, **SMALL))).wait()
    assert (bones.pixels == 0).mean() > 0.8
    (side,) = worker.submit(MakeDrrs(ct, None, DrrSettings(view="LAT", **SMALL))).wait()
    assert side.boxes == () and side.geometry.view == "LAT"


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"bones": True}, "segmentation"),
        ({"sid": 1000.0}, "SOD"),
        ({"view": "UP"}, "unknown view"),
        ({"size": 9999}, "8192"),
    ],
)
def test_what_makes_no_radiograph_is_told(worker, scan, settings, words):
    with pytest.raises(InputError, match=words):
        worker.submit(MakeDrrs(scan[0], None, DrrSettings(**SMALL | settings))).wait()


def test_figures_and_distances_are_those_of_this_process(worker, scan):
    _ct, labels = scan
    truth = labels_to_mesh(labels, (25, 37))
    moved = truth.copy().apply_translation((4.0, 0.0, 0.0))
    found = worker.submit(Evaluate({"sternum": moved}, labels, ["strict"])).wait()
    assert found.metrics["strict"] == evaluate(moved, truth, "strict")
    distances = found.distances["sternum"]
    assert len(distances) == len(moved.vertices) and 0.0 <= distances.min() < distances.max() <= 4.0 + 1e-3


def test_reprojection_gives_figures_and_a_picture(worker, scan):
    ct, labels = scan
    (drr,) = worker.submit(MakeDrrs(ct, labels, DrrSettings(**SMALL))).wait()
    known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
    film = Radiograph(drr.pixels.astype(np.float32), drr.geometry, known, "film")
    bones = {"sternum": labels_to_mesh(labels, (25,))}
    figures, picture = worker.submit(Reproject(bones, film, drr.boxes)).wait()
    assert figures == reprojection(bones, film, drr.boxes) and figures["boxes"] == 1
    assert picture.startswith(b"\x89PNG")


def test_a_data_set_without_sense_is_refused_and_a_long_one_is_cancelled(worker, tmp_path):
    with pytest.raises(InputError, match="unknown setting"):
        worker.submit(BuildDataset(tmp_path, tmp_path / "out", {"colour": "red"})).wait()
    with pytest.raises(InputError):
        worker.submit(BuildDataset(tmp_path / "nowhere", tmp_path / "out", {})).wait()
    job = worker.submit(BuildDataset(tmp_path, tmp_path / "out", {}))
    job.cancel()
    with pytest.raises((Cancelled, InputError)):
        job.wait(timeout=20)


def test_the_outline_of_a_sphere_is_its_shadow():
    from X2BRLogic.geometry import XRayGeometry

    geometry = XRayGeometry.from_view("AP", shape=(200, 200), spacing=(2.0, 2.0))
    ball = trimesh.creation.icosphere(subdivisions=4, radius=50.0)
    ends = outline_segments(ball, geometry)
    assert ends.shape[1:] == (2, 2)
    radius = np.linalg.norm((ends - geometry.principal_point) * 2.0, axis=-1)
    np.testing.assert_allclose(radius, geometry.sid * np.tan(np.arcsin(50.0 / geometry.sod)), rtol=0.01)
    # the ends meet: every point is that of two segments
    points, counts = np.unique(np.round(ends.reshape(-1, 2), 6), axis=0, return_counts=True)
    assert len(points) > 50 and (counts % 2 == 0).all()


def test_the_overlay_draws_over_the_film_where_the_outline_is():
    from X2BRLogic.geometry import XRayGeometry

    geometry = XRayGeometry.from_view("AP", shape=(200, 200), spacing=(2.0, 2.0))
    pixels = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (200, 1))
    film = Radiograph(pixels, geometry, dict.fromkeys(("sid", "sod", "spacing", "view"), True), "film")
    picture = np.asarray(overlay(film, {"sternum": trimesh.creation.icosphere(subdivisions=4, radius=50.0)}), dtype=int)
    coloured = np.ptp(picture, axis=2) > 20
    radius = np.hypot(*(np.argwhere(coloured) - 99.5).T) * 2.0
    assert coloured.sum() > 100 and np.abs(radius - 60.0).max() < 6.0

"""Virtual patients written to disk and made on the fly: the same films, the same labels, whoever makes them."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from coarse_people import write_coarse
from PIL import Image

from X2BRLogic import anatomy
from X2BRLogic.dataset import rays, torch_rays
from X2BRLogic.dataset.contact_sheet import contact_sheet, measures_of, summary
from X2BRLogic.dataset.continuation import UNKNOWN
from X2BRLogic.dataset.hounsfield import rescanned
from X2BRLogic.dataset.motion.shape_model import ShapeModel
from X2BRLogic.dataset.on_the_fly import NEAR_SURFACE_POINTS, UNIFORM_POINTS, Source
from X2BRLogic.dataset.patient_file import PatientFile, make_patient
from X2BRLogic.dataset.person import SHAPE_MODEL, draw_patient, prepare
from X2BRLogic.dataset.population import build_population
from X2BRLogic.dataset.resample import resample
from X2BRLogic.dataset.subject import Subject, find_subjects, read_subject
from X2BRLogic.dataset.training_film import IMAGE_SIZE, collimate, random_geometry
from X2BRLogic.dataset.truth import labels_at
from X2BRLogic.dataset.virtual import warped
from X2BRLogic.drr import Renderer
from X2BRLogic.errors import InputError
from X2BRLogic.training import loop
from X2BRLogic.training.batches import BatchesOnTheFly, find_patients
from X2BRLogic.training.config import read_config
from X2BRLogic.training.record import LOG
from X2BRLogic.volume import Volume


@pytest.fixture(scope="module")
def people(subjects, tmp_path_factory):
    names = ("lidc_0001", "lidc_0314", "lung_dx_A0126")
    return write_coarse((path for path in subjects if path.name in names), tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def subject(subjects):
    """A real person as on-the-fly training keeps them."""
    whole = read_subject(next(path for path in subjects if path.name == "lidc_0001"))
    return Subject(whole.name, *resample(whole.ct, whole.labels, 2.0))


@pytest.fixture(scope="module")
def patient(subject):
    return draw_patient(prepare(subject), np.random.default_rng(8))


@pytest.fixture(scope="module")
def volumes(patient):
    return warped(patient)


def film(patient):
    geometry = random_geometry(np.random.default_rng(2), patient.centre)
    return geometry, rays.ray_lattice(geometry, patient.deformation, patient.person.ct)


def scanned(patient):
    person = patient.person
    return rescanned(person.ct, person.labels, person.perfusion, patient.tissue).array


# --- both routes --------------------------------------------------------------------------------------------------


def test_rays_through_the_deformation_agree_with_rays_through_the_warped_volume(patient, volumes):
    geometry, lattice = film(patient)
    bent = rays.line_integrals(scanned(patient), lattice, np.ones(lattice.shape, dtype=bool))
    straight = Renderer(volumes[0]).line_integrals(geometry)
    assert np.corrcoef(bent.ravel(), straight.ravel())[0, 1] > 0.9995
    assert bent.sum() == pytest.approx(straight.sum(), rel=0.005)


def test_both_kernels_agree_and_leave_out_what_is_not_exposed(patient):
    _, lattice = film(patient)
    exposed = np.ones(lattice.shape, dtype=bool)
    exposed[:40] = False
    image = rays.line_integrals(scanned(patient), lattice, exposed)
    other = torch_rays.TorchIntegrator(torch.device("cpu"))(scanned(patient), lattice, exposed)
    assert not image[:40].any() and not other[:40].any() and image[40:].max() > 1
    # They differ where a voxel, or only a sum of voxels, is cut off at zero attenuation.
    assert np.abs(image - other).mean() < 0.002 * image.max()


def test_labels_on_the_fly_are_those_of_the_warped_volume(subject, patient, volumes):
    geometry, _ = film(patient)
    truth = Source(subject).truth(np.random.default_rng(5), patient, geometry, 20_000)
    label, _ = labels_at(volumes[1], geometry.ray_cube_to_ras(truth.points))
    occupied, known = np.isin(label, anatomy.THORAX), ~np.isin(label, (anatomy.CARTILAGES, UNKNOWN))
    uniform = round(20_000 * UNIFORM_POINTS / (UNIFORM_POINTS + NEAR_SURFACE_POINTS))
    assert (truth.known == known).mean() > 0.97
    assert (truth.occupied == occupied)[:uniform].mean() > 0.995
    # Most of these points lie at a surface, where a voxel of one grid is half a voxel of the other.
    assert 2 * (truth.occupied & occupied).sum() / (truth.occupied.sum() + occupied.sum()) > 0.87
    assert truth.occupied[:uniform].mean() < 0.1 < truth.occupied[uniform:].mean() < 0.6
    assert not (truth.occupied & ~truth.known).any()


def test_samples_are_determined_by_their_seed(subject):
    source = Source(subject)
    first, again, other = (source.samples(np.random.default_rng(seed), 1, 2048)[1] for seed in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        assert a.image.shape == (IMAGE_SIZE, IMAGE_SIZE) and a.truth.points.shape == (2048, 3)
        assert np.array_equal(a.image, b.image) and np.array_equal(a.truth.points, b.truth.points)
        assert not np.array_equal(a.image, c.image)
    assert not np.array_equal(first[0].image, first[1].image)


# --- films and truth ----------------------------------------------------------------------------------------------


def test_beyond_the_scan_nothing_is_known_and_within_it_bones_are(patient, volumes):
    """A point is known only if the place in the person that it comes from was scanned."""
    _, labels = volumes
    person = patient.person
    rng = np.random.default_rng(0)
    points = patient.centre + rng.uniform(-180, 180, (20_000, 3))
    label, _ = labels_at(labels, points)
    k = person.labels.to_ijk(patient.deformation.to_subject(points))[:, 2]
    scan = np.flatnonzero((person.labels.array != UNKNOWN).any(axis=(1, 2)))
    # A label is that of the nearest voxel's centre, up to 1.7 mm away here and more in a person who was smaller.
    off = 2
    assert (label[(k < scan[0] - off) | (k > scan[-1] + off)] == UNKNOWN).all()
    assert (label[(k > scan[0] + off) & (k < scan[-1] - off)] != UNKNOWN).all()


def test_films_end_where_the_scan_does_or_go_on_by_no_more_than_is_made_up():
    missing = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    missing[:40] = missing[200:] = 100.0
    tops, bottoms = [], []
    for seed in range(200):
        rows = np.flatnonzero(collimate(np.random.default_rng(seed), missing).any(axis=1))
        tops.append(40 - rows[0])
        bottoms.append(rows[-1] - 199)
    for beyond in (tops, bottoms):
        assert 0.4 < np.mean(np.array(beyond) <= 0) < 0.75
        assert 10 < max(beyond) <= 60 / 400 * IMAGE_SIZE + 1


def test_a_written_patient_says_what_it_is(people):
    subject = read_subject(people / "lung_dx_A0126")
    source = Source(subject)
    arrays = make_patient(source, np.random.default_rng(1), views=2)
    record = json.loads(str(arrays["record"]))
    assert record["subject"] == "lung_dx_A0126" and record["determinant"] > 0 and len(record["geometries"]) == 4
    assert [anatomy.BY_NAME[name].label for name in record["cut"]] == arrays["cut"].tolist()
    assert anatomy.BY_NAME["rib_left_12"].label in arrays["cut"]
    assert arrays["points"].shape == (4, UNIFORM_POINTS + NEAR_SURFACE_POINTS, 3)
    again = draw_patient(source.person, np.random.default_rng(1))
    assert again.deformation.determinant == record["determinant"]


def test_a_scan_with_flipped_axes_is_the_same_person(people):
    subject = read_subject(people / "lidc_0001")
    last = np.array(subject.ct.array.shape[::-1]) - 1
    matrix = subject.ct.ijk_to_ras.copy()
    matrix[:3, 3] = subject.ct.to_ras((last * [1, 0, 1])[None])[0]
    matrix[:3, [0, 2]] *= -1
    ct, labels = (Volume(np.ascontiguousarray(v.array[::-1, :, ::-1]), matrix) for v in (subject.ct, subject.labels))
    here, there = prepare(subject), prepare(Subject("flipped", ct, labels))
    assert np.array_equal(here.labels.array, there.labels.array) and here.cut == there.cut
    assert np.abs(here.ct.array.astype(int) - there.ct.array).max() <= 1
    assert np.allclose(here.bones.centroids, there.bones.centroids)


_CHILD = """
import hashlib, sys
from pathlib import Path
import numpy as np
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.dataset.on_the_fly import Source
from X2BRLogic.dataset.patient_file import make_patient
arrays = make_patient(Source(read_subject(Path(sys.argv[1]))), np.random.default_rng((7, 1)), 1)
print(hashlib.sha256(b"".join(arrays[n].tobytes() for n in sorted(arrays))).hexdigest())
"""


def test_another_process_with_other_threads_makes_the_same_patient(people):
    folder = people / "lidc_0001"
    arrays = make_patient(Source(read_subject(folder)), np.random.default_rng((7, 1)), 1)
    here = hashlib.sha256(b"".join(arrays[n].tobytes() for n in sorted(arrays))).hexdigest()
    threads = "1" if (os.cpu_count() or 1) > 1 else "2"
    environment = os.environ | {"NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-c", _CHILD, str(folder)]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


# --- populations --------------------------------------------------------------------------------------------------


def test_a_population_learns_from_all_but_those_left_out(people, tmp_path):
    events = list(build_population(people, tmp_path, count=2, seed=3, views=1, exclude=("lidc_0314",)))
    assert events[-1]["accepted"] == 2, events
    assert ShapeModel.read(tmp_path / SHAPE_MODEL).names == ("lidc_0001", "lung_dx_A0126")
    for name, subject in (("patient_000000.npz", "lidc_0001"), ("patient_000001.npz", "lung_dx_A0126")):
        with np.load(tmp_path / name) as stored:
            record = json.loads(str(stored["record"]))
        assert record["subject"] == subject and 0 < record["learned"] <= 1
        assert PatientFile(tmp_path / name).film(0).image.max() <= 1


def test_without_learning_anybody_can_be_left_out_later(people, tmp_path):
    alone, alike = tmp_path / "alone", tmp_path / "alike"
    assert list(build_population(people, alone, count=3, views=1, learn=False))[-1]["accepted"] == 3
    training, validation = find_patients(alone, 1, 1, exclude=["lidc_0314"])
    assert {PatientFile(path).subject for path in training + validation} == {"lidc_0001", "lung_dx_A0126"}
    alike.mkdir()
    for file in alone.glob("patient_*.npz"):
        (alike / file.name).symlink_to(file)
    (alike / SHAPE_MODEL).touch()
    with pytest.raises(InputError, match="none of these can be left out"):
        find_patients(alike, 1, 1, exclude=["lidc_0314"])
    assert find_patients(alike, 1, 1, exclude=["somebody else"])


def test_the_cells_of_a_film_are_what_its_points_say(people):
    """Labels along the rays and labelled points are found in two ways, and agree but at the borders."""
    _, films = Source(read_subject(people / "lidc_0001")).samples(np.random.default_rng(4), 1, 8000)
    for film in films:
        x, y, z = film.truth.points.T
        cell = np.stack([y + 0.5, 0.5 - z, 0.5 - x], axis=1) * rays.LABEL_CELLS
        found = film.labels[tuple(np.clip(cell.astype(int), 0, np.array(rays.LABEL_CELLS) - 1).T)]
        bone = np.isin(found, anatomy.THORAX)
        uniform = np.arange(len(x)) < 8000 * UNIFORM_POINTS // (UNIFORM_POINTS + NEAR_SURFACE_POINTS)
        sure = film.truth.known & (found != UNKNOWN) & uniform
        assert (bone == film.truth.occupied)[sure].mean() > 0.97
        assert bone[film.truth.occupied & sure].mean() > 0.7


def test_only_subjects_that_exist_can_be_left_out_and_not_all_of_them(people):
    assert [path.name for path in find_subjects(people, ["lidc_0314"])] == ["lidc_0001", "lung_dx_A0126"]
    with pytest.raises(InputError, match="no such subject"):
        find_subjects(people, ["nobody"])
    with pytest.raises(InputError, match="every subject"):
        find_subjects(people, ["lidc_0001", "lidc_0314", "lung_dx_A0126"])


def test_a_contact_sheet_shows_each_patient(people):
    folders = find_subjects(people)[:2]
    page = contact_sheet(folders, 2, 0, None, size=48)
    assert isinstance(page, Image.Image)
    assert np.asarray(page).std() > 20
    rows = list(measures_of(folders, 2, 0, None))
    table = summary(rows)
    assert table["width"]["least"] <= table["width"]["median"] <= table["width"]["most"]
    assert table["determinant"]["least"] > 0 and "accepted" in table["kyphosis"]


# --- training -----------------------------------------------------------------------------------------------------


def test_batches_made_on_the_fly_are_determined_by_their_number(people):
    settings = {"count": 10, "batch": 3, "points": 64, "seed": 1}
    folders = find_subjects(people)[:2]
    batches = BatchesOnTheFly(folders, **settings)
    a, c, b = batches[4], batches[5], batches[4]
    shapes = {name: tuple(part.shape) for name, part in vars(a).items()}
    assert shapes["image"] == shapes["second"] == (3, 1, 224, 224) and shapes["points"] == (3, 64, 3)
    assert shapes["labels"] == (3, *rays.LABEL_CELLS) and shapes["occupied"] == shapes["known"] == (3, 64)
    assert all(torch.equal(part, getattr(b, name)) for name, part in vars(a).items())
    assert not torch.equal(a.image, c.image) and a.image.min() >= 0 and a.image.max() <= 1
    assert not batches.__getstate__()["_sources"]


def test_training_draws_new_patients_when_its_configuration_says_so(people, tmp_path):
    seen = make_patient(Source(read_subject(people / "lung_dx_A0126")), np.random.default_rng(0), views=1)
    np.savez(tmp_path / "patient_0.npz", **seen)
    text = f'data = "{tmp_path}"\nout = "{tmp_path / "run"}"\non_the_fly = "{people}"\n'
    text += 'exclude = ["lidc_0001", "lidc_0314"]\n'
    text += "steps = 2\nbatch = 2\npoints = 64\nvalidation = 1\ncheckpoint_every = 2\n"
    (tmp_path / "c.toml").write_text(text + "[model]\nlatent = 16\nhidden = 8\nblocks = 1\noctaves = 2\n")
    weights = loop.train(read_config(tmp_path / "c.toml"), "cpu")
    assert weights.exists()
    assert len((tmp_path / "run" / LOG).read_text().splitlines()) == 1


def test_a_configuration_names_whom_to_leave_out_in_a_list(tmp_path):
    (tmp_path / "c.toml").write_text('exclude = "lidc_0001"')
    with pytest.raises(InputError, match="list of names"):
        read_config(tmp_path / "c.toml")

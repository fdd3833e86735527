"""Virtual patients and the training loop, on tiny settings."""

import json

import numpy as np
import pytest
import torch

from X2BRLogic import anatomy
from X2BRLogic.dataset import virtual
from X2BRLogic.dataset.subject import find_subjects, read_subject
from X2BRLogic.dataset.training_film import IMAGE_SIZE, random_geometry
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.networks import load_model
from X2BRLogic.training import loop
from X2BRLogic.training.batches import Batches, find_patients, read_patient
from X2BRLogic.training.config import TrainingConfig, read_config
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Two subjects that cost nothing: a body with a spine and a few 'ribs' as blocks, in 6 mm voxels."""
    folder = tmp_path_factory.mktemp("subjects")
    for name, shift in (("a", 0), ("b", 2)):
        hu = np.full((50, 40, 60), -1000, np.int16)
        labels = np.zeros(hu.shape, np.uint8)
        hu[:, 4:36, 8:52] = 40
        hu[5:45, 8:30, 14:46] = -800
        labels[:, 4:9, 27:33] = 40
        for n, k in enumerate(range(8, 40, 8)):
            labels[k + shift : k + shift + 2, 6:30, 12:15] = 1 + n
            labels[k + shift : k + shift + 2, 6:30, 45:48] = 13 + n
        hu[labels > 0] = 500
        m = np.diag([6.0, 6, 6, 1])
        m[:3, 3] = (-177, -117, 300)
        (folder / name).mkdir()
        write_volume(folder / name / "ct.nii.gz", Volume(hu, m))
        write_volume(folder / name / "bones.nii.gz", Volume(labels, m))
    return folder


@pytest.fixture(scope="module")
def patients(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("virtual")
    subjects = [read_subject(path) for path in find_subjects(phantom)]
    for n in range(5):
        arrays = virtual.make_patient(subjects[n % 2], np.random.default_rng((3, n)), views=2)
        np.savez(out / f"patient_{n:06d}.npz", **arrays)
    return out


def config(patients, out, **settings):
    text = f'data = "{patients}"\nout = "{out}"\nbatch = 2\npoints = 256\nvalidation = 2\n'
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    path = out.parent / f"{out.name}.toml"
    path.write_text(text + "[model]\nlatent = 16\nhidden = 8\nblocks = 1\noctaves = 2\n")
    return read_config(path)


def test_a_patients_points_tell_what_its_radiograph_shows(patients):
    """Points marked as bone project onto pixels brighter than the lung beside them."""
    patient = read_patient(patients / "patient_000000.npz")
    assert patient["images"].shape == (2, 224, 224) and patient["points"].shape == (
        2,
        virtual.UNIFORM_POINTS + virtual.NEAR_SURFACE_POINTS,
        3,
    )
    uniform, near = np.split(patient["occupied"], [virtual.UNIFORM_POINTS], axis=1)
    assert uniform.mean() < 0.1 < near.mean() < 0.6
    assert not (patient["occupied"] & ~patient["known"]).any()
    for view in range(2):
        x, _, z = patient["points"][view][patient["occupied"][view]].T
        column, row = ((0.5 - x) * 224).astype(int).clip(0, 223), ((0.5 - z) * 224).astype(int).clip(0, 223)
        image = patient["images"][view]
        assert image[row, column].mean() > image[image > 0].mean()


def test_the_real_subjects_are_read(subjects):
    subject = read_subject(subjects[0])
    assert subject.ct.array.dtype == np.int16 and subject.ct.array.shape == subject.labels.array.shape
    assert set(np.unique(subject.labels.array)) - {0} <= set(anatomy.BY_LABEL)
    assert subjects == find_subjects(subjects[0].parent)


def test_batches_are_determined_by_their_number(patients):
    files, unseen = find_patients(patients, 2)
    assert len(files) == 3 and len(unseen) == 2 and not set(files) & set(unseen)
    settings = {"count": 10, "batch": 2, "points": 64, "seed": 1}
    a, b = Batches(files, **settings)[4], Batches(files, **settings)[4]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[1], Batches(files, **settings)[5][1])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(patients, tmp_path):
    whole = config(patients, tmp_path / "whole", steps=6, checkpoint_every=6)
    loop.train(whole, "cpu")
    loop.train(config(patients, tmp_path / "parts", steps=3, checkpoint_every=3), "cpu")
    resumed = loop.train(config(patients, tmp_path / "parts", steps=6, checkpoint_every=3), "cpu")
    a = load_model(tmp_path / "whole" / "x2b.safetensors").network.state_dict()
    b = load_model(resumed).network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    log = [json.loads(line) for line in (tmp_path / "parts" / loop.LOG).read_text().splitlines()]
    assert [entry["step"] for entry in log] == [3, 6]


def test_training_learns(patients, tmp_path):
    loop.train(config(patients, tmp_path / "run", steps=30, checkpoint_every=10, learning_rate=5e-3), "cpu")
    log = [json.loads(line) for line in (tmp_path / "run" / loop.LOG).read_text().splitlines()]
    assert log[-1]["validation_loss"] < log[0]["validation_loss"]


def test_the_aligned_system_trains_by_the_same_loop(patients, tmp_path):
    text = f'system = "x2b_aligned"\ndata = "{patients}"\nout = "{tmp_path / "run"}"\nsteps = 2\nbatch = 1\n'
    (tmp_path / "c.toml").write_text(text + "validation = 1\ndice = 1.0\n[model]\nwidth = 8\ndepths = 8\n")
    weights = loop.train(read_config(tmp_path / "c.toml"), "cpu")
    assert load_model(weights).metadata["system"] == "x2b_aligned"


def test_dice_loss_is_its_formula():
    logits, occupied = torch.tensor([[100.0, 100.0, -100.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    known = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert float(loop.dice_loss(logits, occupied, known)) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_unknown_points_cost_nothing():
    logits, occupied = torch.tensor([[3.0, -2.0, 50.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    known = torch.tensor([[1.0, 1.0, 0.0]])
    expected = (np.log1p(np.exp(-3.0)) + np.log1p(np.exp(-2.0))) / 2
    assert float(loop.occupancy_loss(logits, occupied, known)) == pytest.approx(expected, rel=1e-5)


def test_the_papers_optimiser_is_the_default():
    assert TrainingConfig().learning_rate == 1e-4 and TrainingConfig().points == 2048
    assert loop.learning_rate(TrainingConfig(), 12345) == 1e-4


def test_shipped_configurations_are_valid():
    from pathlib import Path

    import X2BRLogic
    from X2BRLogic.detection.config import is_detector, read_detector_config

    found = list((Path(X2BRLogic.__file__).parent / "training" / "configs").glob("*.toml"))
    detectors = [path for path in found if is_detector(path)]
    assert [path.stem for path in detectors] == ["yolov9t"] and read_detector_config(detectors[0])
    assert len(found) > 1 and all(read_config(path) for path in found if path not in detectors)


@pytest.mark.parametrize(
    "text, message",
    [
        ("steps = 0", "positive"),
        ("steps = 'many'", "not a int"),
        ("batch = true", "not a int"),
        ("colour = 3", "unknown colour"),
        ("[model]\nwidth = 3", "unknown model.width"),
        ("system = 'x3b'", "unknown system"),
        ("model = 3", "table"),
        ("steps = ", "cannot read"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(path)


def test_a_damaged_checkpoint_is_refused(patients, tmp_path):
    settings = config(patients, tmp_path / "run", steps=1, checkpoint_every=1)
    settings.out.mkdir()
    (settings.out / loop.CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot resume"):
        loop.train(settings, "cpu")


def test_too_few_patients_are_refused(tmp_path):
    with pytest.raises(InputError, match="x2br dataset virtual"):
        find_patients(tmp_path, 4)


def test_the_geometry_of_training_is_the_network_image():
    geometry = random_geometry(np.random.default_rng(0), np.zeros(3))
    pixels = geometry.network_pixels(IMAGE_SIZE)
    columns, rows = np.meshgrid(np.arange(224), np.arange(224))
    assert isinstance(geometry, XRayGeometry)
    assert np.allclose(pixels, np.stack([columns, rows], -1), atol=1e-6)

"""Virtual patients and the training loop, on tiny settings."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from X2BRLogic import anatomy
from X2BRLogic.dataset.on_the_fly import NEAR_SURFACE_POINTS, UNIFORM_POINTS, Source
from X2BRLogic.dataset.patient_file import PatientFile, make_patient
from X2BRLogic.dataset.subject import find_subjects, read_subject
from X2BRLogic.dataset.training_film import IMAGE_SIZE, random_geometry
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.networks import TAU, Batch, load_model
from X2BRLogic.networks.losses import dice_loss, occupancy_loss
from X2BRLogic.training import loop
from X2BRLogic.training.augmentation import augmented
from X2BRLogic.training.batches import Batches, find_patients
from X2BRLogic.training.calibration import Overlap
from X2BRLogic.training.checkpoint import CHECKPOINT
from X2BRLogic.training.config import TrainingConfig, read_config
from X2BRLogic.training.record import LOG
from X2BRLogic.training.schedule import learning_rate
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume

ROOT = Path(__file__).resolve().parents[2]


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
    sources = [Source(read_subject(path)) for path in find_subjects(phantom)]
    for n in range(5):
        arrays = make_patient(sources[n % 2], np.random.default_rng((3, n)), views=1)
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
    patient = PatientFile(patients / "patient_000000.npz")
    assert len(patient) == 2
    for number in range(2):
        film = patient.film(number)
        assert film.image.shape == (224, 224) and film.points.shape == (UNIFORM_POINTS + NEAR_SURFACE_POINTS, 3)
        uniform, near = np.split(film.occupied, [UNIFORM_POINTS])
        assert uniform.mean() < 0.1 < near.mean() < 0.6
        assert not (film.occupied & ~film.known).any()
        x, _, z = film.points[film.occupied].T
        column, row = ((0.5 - x) * 224).astype(int).clip(0, 223), ((0.5 - z) * 224).astype(int).clip(0, 223)
        assert film.image[row, column].mean() > film.image[film.image > 0].mean()


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
    assert all(torch.equal(value, getattr(b, name)) for name, value in vars(a).items())
    assert not torch.equal(a.points, Batches(files, **settings)[5].points)


def command(configured: Path, processes: int = 1) -> subprocess.Popen:
    """`x2br train` of a configuration in processes of its own, with as many threads in all as this one has."""
    arguments = [sys.executable, "-m", "X2BRLogic", "train", str(configured), "--device", "cpu"]
    threads = {"OMP_NUM_THREADS": str(max(torch.get_num_threads() // processes, 1))}
    return subprocess.Popen(
        [*arguments, "--devices", str(processes)], cwd=ROOT, env=os.environ | threads, stderr=subprocess.DEVNULL
    )


def log_of(settings: TrainingConfig) -> list[dict]:
    return [json.loads(line) for line in (settings.out / LOG).read_text().splitlines()]


def test_a_killed_run_ends_where_an_uninterrupted_one_does(patients, tmp_path):
    settings = config(patients, tmp_path / "killed", steps=1000, checkpoint_every=2)
    checkpoint = settings.out / CHECKPOINT
    process = command(tmp_path / "killed.toml")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with open(settings.out / LOG, "a") as log:
        log.write('{"step": 1000, "loss"')  # as if killed amid a line
    steps = 2 + torch.load(checkpoint, weights_only=True)["progress"]["step"]
    resumed = loop.train(replace(settings, steps=steps), "cpu")
    whole = replace(settings, steps=steps, out=tmp_path / "whole")
    a, b = load_model(loop.train(whole, "cpu")), load_model(resumed)
    assert a.metadata["calibration"] == b.metadata["calibration"]
    assert all(torch.equal(value, b.network.state_dict()[name]) for name, value in a.network.state_dict().items())
    assert log_of(settings) == log_of(whole) and [entry["step"] for entry in log_of(whole)] == [*range(2, steps + 1, 2)]


def test_several_processes_share_a_run(patients, tmp_path):
    settings = config(patients, tmp_path / "shared", steps=2, checkpoint_every=1)
    assert command(tmp_path / "shared.toml", processes=2).wait() == 0
    assert [entry["step"] for entry in log_of(settings)] == [1, 2]
    shared = torch.load(settings.out / CHECKPOINT, weights_only=True)["network"]
    # The other process saw other films: what one alone learns from its own is different.
    alone = replace(settings, out=tmp_path / "alone")
    loop.train(alone, "cpu")
    single = torch.load(alone.out / CHECKPOINT, weights_only=True)["network"]
    assert shared.keys() == single.keys() and log_of(settings)[0]["loss"] != log_of(alone)[0]["loss"]
    assert not torch.equal(shared["decoder.out.weight"], single["decoder.out.weight"])


def test_a_run_ends_after_its_minutes(patients, tmp_path):
    timed = config(patients, tmp_path / "run", steps=1000, minutes=1e-4, decay=True)
    weights = loop.train(timed, "cpu")
    reached = load_model(weights).metadata["reached"]
    assert 1 <= reached["steps"] < 10
    assert load_model(loop.train(timed, "cpu")).metadata["reached"] == reached
    assert learning_rate(timed, 7, 0.5) == pytest.approx(timed.learning_rate / 2)
    assert learning_rate(timed, 7, 1.0) == 0


def test_a_run_ends_when_it_no_longer_gets_better_and_keeps_its_best_weights(patients, tmp_path, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.4])
    monkeypatch.setattr(loop, "validate", lambda *_: {"validation_loss": 1.0, "validation_iou": next(scores)})
    settings = config(patients, tmp_path / "run", steps=5, checkpoint_every=1, patience=2)
    reached = load_model(loop.train(settings, "cpu")).metadata["reached"]
    assert reached["steps"] == 4 and reached["best_step"] == 4 and reached["validation_iou"] == 0.3


def test_training_learns(patients, tmp_path):
    settings = config(patients, tmp_path / "run", steps=20, checkpoint_every=10, learning_rate=5e-3)
    loop.train(settings, "cpu")
    assert log_of(settings)[-1]["validation_loss"] < log_of(settings)[0]["validation_loss"]
    assert list((settings.out / "tensorboard").iterdir())


def test_a_loss_that_is_no_number_ends_the_run(patients, tmp_path):
    settings = config(patients, tmp_path / "run", steps=3, checkpoint_every=3, learning_rate=1e38)
    with pytest.raises(InputError, match="lower learning_rate"):
        loop.train(settings, "cpu")
    assert not (settings.out / CHECKPOINT).exists()


def test_training_says_what_to_install(patients, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(InputError, match="pip install lightning-fabric tensorboard"):
        loop.train(config(patients, tmp_path / "run", steps=1), "cpu")


def test_the_aligned_system_trains_by_the_same_loop(patients, tmp_path):
    text = f'system = "x2b_aligned"\ndata = "{patients}"\nout = "{tmp_path / "run"}"\nsteps = 2\nbatch = 1\n'
    (tmp_path / "c.toml").write_text(text + "validation = 1\n[model]\nwidth = 8\ndepths = 8\n")
    weights = loop.train(read_config(tmp_path / "c.toml"), "cpu")
    assert load_model(weights).metadata["system"] == "x2b_aligned"


def test_dice_loss_is_its_formula():
    logits, occupied = torch.tensor([[100.0, 100.0, -100.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    known = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert float(dice_loss(logits, occupied, known)) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_unknown_points_cost_nothing():
    logits, occupied = torch.tensor([[3.0, -2.0, 50.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    known = torch.tensor([[1.0, 1.0, 0.0]])
    expected = (np.log1p(np.exp(-3.0)) + np.log1p(np.exp(-2.0))) / 2
    assert float(occupancy_loss(logits, occupied, known)) == pytest.approx(expected, rel=1e-5)


def test_the_best_offset_is_that_of_brute_force():
    rng = np.random.default_rng(5)
    logits, inside, known = rng.normal(0, 2, 500), rng.random(500) < 0.3, rng.random(500) < 0.8
    logits += 3 * inside
    empty = torch.zeros(0)
    overlap = Overlap()
    for part in np.split(np.arange(500), 2):
        occupied, told = (torch.from_numpy(values[part].astype(np.float32))[None] for values in (inside, known))
        batch = Batch(empty, empty, empty, empty, occupied, told, empty)
        overlap.add(torch.from_numpy(logits[part])[None], batch)
    truth = inside[known]
    found = [(logits[known] + offset > np.log(TAU / (1 - TAU))) for offset in Overlap.OFFSETS]
    dice = [2 * (part & truth).sum() / (part.sum() + truth.sum()) for part in found]
    assert overlap.best() == (pytest.approx(Overlap.OFFSETS[np.argmax(dice)]), pytest.approx(max(dice)))


def test_augmentation_alters_films_and_moves_nothing(patients):
    image = PatientFile(patients / "patient_000000.npz").film(0).image
    altered = [augmented(np.random.default_rng(n), image) for n in range(60)]
    assert all(film.dtype == np.float32 and film.min() >= 0 and film.max() <= 1 for film in altered)
    assert all(not film[~image.any(axis=1)].any() and not film[:, ~image.any(axis=0)].any() for film in altered)
    assert np.array_equal(altered[7], augmented(np.random.default_rng(7), image))
    grey = np.mean([film[image > 0].mean() for film in altered]), np.std([film[image > 0].mean() for film in altered])
    assert abs(grey[0] - image[image > 0].mean()) < 0.1 < 3 * grey[1]
    inner = np.s_[60:160, 60:160]

    def likeness(film, rows, columns):
        return np.corrcoef(np.roll(film, (rows, columns), (0, 1))[inner].ravel(), image[inner].ravel())[0, 1]

    moves = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)]
    assert int(np.argmax([np.mean([likeness(film, *move) for film in altered]) for move in moves])) == 0


def test_a_film_that_is_one_grey_in_places_stays_a_film():
    """Running sums over what is all alike come out a little below nothing."""
    for n in range(300):
        rng = np.random.default_rng(n)
        film = rng.random((64, 64)).astype(np.float32) * np.float32(rng.random())
        film[20:, :60] = 0.0
        assert np.isfinite(augmented(rng, film)).all()


def test_the_papers_optimiser_is_the_default():
    assert TrainingConfig().learning_rate == 1e-4 and TrainingConfig().points == 2048
    assert learning_rate(TrainingConfig(), 12345) == 1e-4


def test_shipped_configurations_are_valid():
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
        ("system = 'x2b2'\nmovement = true", "two films"),
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
    (settings.out / CHECKPOINT).write_bytes(b"not a checkpoint")
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

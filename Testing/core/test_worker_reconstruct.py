"""Reconstruction by way of a worker: the same answer, the same errors, and a host without PyTorch."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from functools import partial

import numpy as np
import pytest
from untrained import save_film, save_untrained

from X2BRLogic.bench import worker as bench
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.fitness import admit
from X2BRLogic.models import resources
from X2BRLogic.pipeline import Reconstructor
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.worker import Cancelled, WorkerReconstructor


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return save_film(tmp_path_factory.mktemp("film") / "film.png")


@pytest.fixture(scope="module")
def radiograph(film):
    return read_radiograph(film)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """Where the workers of this file have their folders; afterwards they have none."""
    place, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(place)
    yield place
    tempfile.tempdir = before
    assert not list(place.iterdir())


@pytest.fixture(scope="module")
def reconstructor(weights, temporary):
    with WorkerReconstructor(device="cpu", weights=weights) as reconstructor:
        yield reconstructor


def pid_of(reconstructor) -> int:
    return reconstructor.worker.facts["pid"]


def test_the_answer_is_the_one_of_this_process(reconstructor, weights, radiograph):
    film = admit(radiograph, method="x2b", rescale=False)
    here = Reconstructor(device="cpu", weights=weights).reconstruct(film.radiograph, resolution=64)
    here.summary["film"] = film.facts
    heard = []
    there = reconstructor.reconstruct(
        radiograph, lambda fraction, stage: heard.append((fraction, stage)), resolution=64
    )
    assert there.radiograph is radiograph and there.bones.keys() == here.bones.keys()
    assert len(there.mesh.faces) == len(here.mesh.faces)
    assert np.allclose(there.mesh.vertices, here.mesh.vertices, atol=1e-3)
    assert np.allclose(there.mesh.vertex_normals, here.mesh.vertex_normals, atol=1e-3)
    timed = ("seconds",)
    assert there.summary.keys() == here.summary.keys()
    assert all(there.summary[key] == here.summary[key] for key in here.summary if key not in timed)
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert {"encode", "surface", "clean"} <= {stage for _, stage in heard}


def test_what_progress_raises_cancels_the_job(reconstructor, radiograph):
    pid = pid_of(reconstructor)

    def stop(fraction, stage):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        reconstructor.reconstruct(radiograph, stop, resolution=64)
    start = time.monotonic()
    reconstructor.reconstruct(radiograph, resolution=64)
    assert pid_of(reconstructor) == pid and time.monotonic() - start < 30


def test_cancelled_at_random_moments(reconstructor, radiograph):
    moments = random.Random(3)
    for _ in range(6):
        job = reconstructor.submit(radiograph, resolution=64)
        time.sleep(moments.uniform(0.0, 0.3))
        start = time.monotonic()
        job.cancel()
        with pytest.raises(Cancelled):
            job.wait()
        assert time.monotonic() - start < 1.0
    assert reconstructor.reconstruct(radiograph, resolution=64).mesh.is_watertight


def test_bad_input_is_the_same_sentence(reconstructor, weights, film, tmp_path):
    lateral = read_radiograph(film, view="LAT")
    with pytest.raises(InputError) as here:
        Reconstructor(device="cpu", weights=weights).reconstruct(lateral)
    with pytest.raises(InputError) as there:
        reconstructor.reconstruct(lateral)
    assert str(there.value) == str(here.value)
    for settings in ({"method": "nonsense"}, {"weights": tmp_path / "missing"}, {"device": "tpu"}):
        with pytest.raises(InputError) as here:
            Reconstructor(**settings)
        with pytest.raises(InputError) as there:
            WorkerReconstructor(**settings, worker=reconstructor.worker).reconstruct(lateral)
        assert str(there.value) == str(here.value)


def test_new_weights_under_the_old_name_are_loaded(weights, radiograph, reconstructor, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights.read_bytes())
    mine = WorkerReconstructor(device="cpu", weights=path, worker=reconstructor.worker)
    before = mine.reconstruct(radiograph, resolution=64).summary["model"]["sha256"]
    save_untrained(path, seed=2)
    assert mine.reconstruct(radiograph, resolution=64).summary["model"]["sha256"] != before


def test_a_film_that_did_not_arrive(reconstructor, radiograph):
    job = reconstructor.submit(radiograph, resolution=64)
    job.wait()
    job.task.write = lambda folder: None
    with pytest.raises(InputError, match="missing or damaged"):
        reconstructor.worker.submit(job.task).wait()


def test_the_bench(weights, temporary, monkeypatch, tmp_path, capsys):
    """Two jobs and one interruption of each kind; the goals are judged and the page says so."""
    monkeypatch.setattr(bench, "WorkerReconstructor", partial(WorkerReconstructor, weights=weights))
    monkeypatch.setattr(bench, "RESOLUTION", 64)
    arguments = [
        "--jobs",
        "2",
        "--interruptions",
        "1",
        "--seed",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert main(["bench", "worker", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [look["jobs"] for look in result["soak"]] == [1, 2] and result["soak"][0]["worker_mib"] > 100
    assert result["cancelled"][0]["state"] == "cancelled" and result["killed"][0]["state"] in ("failed", "done")
    assert result["killed"][0]["same_process"] is False
    assert all(goal["met"] for goal in result["goals"][1:])  # two jobs say nothing of memory
    assert "ended after" in (tmp_path / "out" / "worker.md").read_text()


@pytest.mark.weights
def test_the_shipped_model_in_a_host_without_pytorch(temporary, tmp_path):
    """A script such as a host would write, on the sample radiograph."""
    script = (
        "import sys\n"
        "from X2BRLogic.radiograph import read_radiograph\n"
        "from X2BRLogic.worker import WorkerReconstructor\n"
        "with WorkerReconstructor(device='cpu') as reconstructor:\n"
        f"    reconstruction = reconstructor.reconstruct(read_radiograph({str(resources())!r} + "
        "'/SampleData/chest_ap.png'), resolution=64)\n"
        "low, high = reconstruction.mesh.bounds\n"
        "print(*(high - low), reconstruction.mesh.is_watertight, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    *extent, watertight, torch_loaded = done.stdout.split()
    assert done.returncode == 0 and watertight == "True" and torch_loaded == "False" and not done.stderr
    assert (np.array(extent, float) > (200, 120, 220)).all() and (np.array(extent, float) < (380, 300, 400)).all()

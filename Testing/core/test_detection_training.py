"""A detector trained a few steps: on from where it stopped, exported, and the same in both runtimes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from X2BRLogic.cli import main
from X2BRLogic.detection import Box
from X2BRLogic.detection.classes import CLASSES
from X2BRLogic.detection.config import DetectorConfig, is_detector, read_detector_config
from X2BRLogic.detection.films import BoxedFilm
from X2BRLogic.detection.runtime import load
from X2BRLogic.detection.yolo_layout import make_folders, write_film
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry


def require_ultralytics():
    """Without importing it, which is for `X2BRLogic.detection.architecture` to do."""
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics (AGPL-3.0) is optional and not installed")


SETTINGS = """
system = "yolov9t"
data = "{data}"
out = "{out}"
steps = {steps}
batch = 2
size = 96
small_size = 64
small = 0.5
warmup = 1
validation = 2
checkpoint_every = 2
workers = 0
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The network is so small here that threads, beside another test's, take longer than one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A few films of two bones each."""
    out = tmp_path_factory.mktemp("films")
    make_folders(out)
    rng = np.random.default_rng(0)
    for n in range(4):
        boxes = tuple(
            Box.of(name, (x, y, x + 30, y + 20))
            for name, (x, y) in zip(("rib_left_2", "vertebra_T3"), rng.uniform(0, 50, (2, 2)), strict=True)
        )
        image = rng.random((90, 100)).astype(np.float32)
        write_film(
            out, "val" if n == 3 else "train", f"film_{n}", BoxedFilm(image, boxes, XRayGeometry(shape=(90, 100)))
        )
    return out


def _configuration(folder, films, name, steps):
    file = folder / f"{name}_{steps}.toml"
    file.write_text(SETTINGS.format(data=films.as_posix(), out=(folder / name).as_posix(), steps=steps))
    return file


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory):
    """The folder of a run of four steps."""
    require_ultralytics()
    pytest.importorskip("onnx", reason="onnx writes weights; it is not installed")
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", str(_configuration(folder, films, "whole", 4)), "--device", "cpu"]) == 0
    return folder


def test_training_goes_on_as_if_not_interrupted(trained, films, monkeypatch):
    import torch

    from X2BRLogic.detection import training

    steps = []

    def interrupted(*arguments):
        steps.append(1)
        if len(steps) > 2:
            raise KeyboardInterrupt
        return before(*arguments)

    before = training._average
    config = read_detector_config(_configuration(trained, films, "halves", 4))
    monkeypatch.setattr(training, "_average", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train_detector(config, "cpu")
    monkeypatch.setattr(training, "_average", before)
    assert training.read_checkpoint(config.out / "checkpoint.pt")["step"] == 2
    halves = training.read_checkpoint(training.train_detector(config, "cpu"))
    whole = training.read_checkpoint(trained / "whole" / "checkpoint.pt")
    assert halves["step"] == whole["step"] == 4
    assert all(torch.allclose(halves["average"][key], value, atol=1e-5) for key, value in whole["average"].items())
    assert len((config.out / "log.jsonl").read_text().splitlines()) == 2


def test_a_damaged_checkpoint_is_told(tmp_path):
    from X2BRLogic.detection.training import read_checkpoint

    file = tmp_path / "checkpoint.pt"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"cannot resume from .* delete it to start anew"):
        read_checkpoint(file)


def test_both_runtimes_see_the_same_in_one_file_of_half_the_size(trained):
    file = trained / "whole" / "yolov9t.onnx"
    assert 4e6 < file.stat().st_size < 5e6
    onnx, ultralytics = load("onnx", file), load("ultralytics", file)
    assert onnx.size == ultralytics.size == 96
    image = np.random.default_rng(1).integers(0, 255, (96, 96)).astype(np.uint8)
    (edges, scores), (other_edges, other_scores) = onnx(image), ultralytics(image)
    assert scores.shape == (len(edges), len(CLASSES)) and np.isfinite(edges).all()
    assert np.allclose(edges, other_edges, atol=0.1) and np.allclose(scores, other_scores, atol=1e-4)
    assert 0 <= scores.min() and scores.max() <= 1


def test_a_file_that_fits_not_is_told(trained, tmp_path):
    import onnx

    file = trained / "whole" / "yolov9t.onnx"
    half = tmp_path / "half.onnx"
    half.write_bytes(file.read_bytes()[:100_000])
    for runtime in ("onnx", "ultralytics"):
        with pytest.raises(InputError, match="is damaged or no ONNX file"):
            load(runtime, half)
    with pytest.raises(InputError, match="unknown runtime 'tensorrt'; the runtimes are onnx, ultralytics"):
        load("tensorrt", file)

    model = onnx.load(file)
    del model.graph.initializer[0]
    onnx.save(model, tmp_path / "short.onnx")
    with pytest.raises(InputError, match="its tensors do not fit yolov9t"):
        load("ultralytics", tmp_path / "short.onnx")

    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"names": "{0: 'cat'}"})
    onnx.save(model, tmp_path / "cats.onnx")
    with pytest.raises(InputError, match="finds other things than rib_left_1"):
        load("onnx", tmp_path / "cats.onnx")
    with pytest.raises(InputError, match="was not written by X2BR"):
        load("ultralytics", tmp_path / "cats.onnx")


def test_an_architecture_that_does_not_exist_is_told(films, tmp_path):
    require_ultralytics()
    from X2BRLogic.detection.training import train_detector

    with pytest.raises(InputError, match="ultralytics knows no architecture 'yolov9zz'"):
        train_detector(DetectorConfig(system="yolov9zz", data=films, out=tmp_path / "out"), "cpu")


def test_ultralytics_is_kept_off_the_network(tmp_path):
    """It is imported and built with a socket that cannot be opened and an empty home; other libraries stay whole."""
    require_ultralytics()
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from X2BRLogic.detection.architecture import build\n"
        "import PIL.Image, torch\n"
        "before = PIL.Image.open, torch.save\n"
        "build('yolov9t')\n"
        "assert (PIL.Image.open, torch.save) == before\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("YOLO_")}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.rglob("*") if "ltralytics" in path.name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('system = "yolov9t"\nstepz = 3', "unknown stepz; known are system"),
        ('system = "yolov9t"\nsteps = "many"', "steps = 'many' is no int"),
        ('system = "yolov9t"\nsteps = 0', "must be positive"),
        ('system = "yolov9t"\nsize = 500', "multiples of 32"),
        ('system = "yolov9t"\nsmall = 2', "small lies in 0 to 1"),
        ("system = [", "cannot read the configuration"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_told(tmp_path, text, words):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_detector_config(file)


def test_the_configuration_that_ships_is_a_detectors():
    from pathlib import Path

    import X2BRLogic

    folder = Path(X2BRLogic.__file__).parent / "training" / "configs"
    assert is_detector(folder / "yolov9t.toml") and not is_detector(folder / "x2b.toml")
    assert read_detector_config(folder / "yolov9t.toml").system == "yolov9t"
    assert not is_detector(folder / "none.toml")

"""The command: one JSON object, one line of error, nothing half-written."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
import trimesh
from PIL import Image
from untrained import save_film

from X2BRLogic import models
from X2BRLogic.cli import main
from X2BRLogic.networks import save_model
from X2BRLogic.networks.x2b import X2B, X2BConfig
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def film(tmp_path):
    return save_film(tmp_path / "film.png", shape=(200, 160))


@pytest.fixture
def volume_path(tmp_path):
    path = tmp_path / "volume.nii.gz"
    write_volume(path, Volume(np.random.default_rng(0).integers(-1000, 1500, (20, 30, 30)).astype(np.int16), np.eye(4)))
    return path


BAD_FILMS = {
    "missing": lambda p, film, volume: p / "nothing.png",
    "empty": lambda p, film, volume: _bytes(p / "empty.png", b""),
    "text": lambda p, film, volume: _bytes(p / "text.png", b"not an image, whatever its name says"),
    "truncated": lambda p, film, volume: _bytes(p / "half.png", film.read_bytes()[: film.stat().st_size // 2]),
    "colour": lambda p, film, volume: _picture(
        p / "colour.png", np.random.default_rng(0).integers(0, 255, (99, 99, 3))
    ),
    "black": lambda p, film, volume: _picture(p / "black.png", np.zeros((100, 100))),
    "volume": lambda p, film, volume: volume,
    "NaN": lambda p, film, volume: _slice(p / "nan.nrrd", np.full((1, 100, 100), np.nan, np.float32)),
    "folder without films": lambda p, film, volume: (p / "empty").mkdir() or p / "empty",
}


def _bytes(path, content):
    path.write_bytes(content)
    return path


def _picture(path, array):
    Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def _slice(path, array):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize("name", BAD_FILMS)
def test_a_bad_film_is_one_line_and_nothing_written(tmp_path, film, volume_path, capsys, name):
    status, out, err = run(capsys, "reconstruct", BAD_FILMS[name](tmp_path, film, volume_path), "--out", tmp_path / "o")
    assert status == 2 and out == ""
    assert err.startswith("x2br: error: ") and err.count("\n") == 1 and "Traceback" not in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconstruct"],
        ["reconstruct", "a.png", "--out", "o", "--sid", "-3"],
        ["reconstruct", "a.png", "--out", "o", "--view", "TOP"],
        ["drr", "a.nii", "--out", "o", "--angles", "1,x"],
        ["nonsense"],
        ["evaluate", "a.ply", "b.ply", "--protocol", "other"],
        ["train", "nothing.toml"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_line(capsys, arguments):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and err.startswith("x2br: error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["reconstruct"], ["drr"], ["evaluate"], ["train"], ["models"], ["dataset", "virtual"]]
)
def test_help_has_examples(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0 and "examples:" in capsys.readouterr().out


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Weights of a network that sees bone where the decoder's first frequencies happen to be high."""
    import torch

    torch.manual_seed(1)
    network = X2B(X2BConfig(latent=16, hidden=8, blocks=1, octaves=2))
    torch.nn.init.normal_(network.decoder.out.weight, std=2.0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_model(network, path)
    return path


def test_reconstruct_writes_mesh_summary_and_picture(tmp_path, film, untrained, capsys):
    out_dir = tmp_path / "deep" / "result"
    status, out, err = run(capsys, "reconstruct", film, "--out", out_dir, "--weights", untrained, "--json")
    assert status == 0, err
    result = json.loads(out)
    assert sorted(p.name for p in out_dir.iterdir()) == ["bones.ply", "preview.png", "radiograph.png", "summary.json"]
    assert json.loads((out_dir / "summary.json").read_text())["model"]["sha256"] == result["model"]["sha256"]
    mesh = trimesh.load_mesh(out_dir / "bones.ply")
    assert mesh.is_watertight and len(mesh.faces) == result["faces"]
    assert np.allclose(mesh.bounds, result["bounds_mm"], atol=0.01)
    # Nothing said where this film was taken: assumed, and said so on stderr and in the summary.
    assert result["absolute_scale"] is False and not any(result["known"].values())
    assert result["warnings"] and "x2br: warning:" in err
    assert {"encode", "surface", "clean", "total", "load model"} <= set(result["seconds"])
    picture = Image.open(out_dir / "preview.png")
    assert picture.width == 4 * picture.height


def test_named_bones_are_shown_in_their_colours():
    from X2BRLogic import anatomy
    from X2BRLogic.preview import preview

    names, places = ("rib_left_3", "rib_right_3"), (-40.0, 40.0)
    bones = {name: trimesh.creation.icosphere(radius=20.0) for name in names}
    for bone, x in zip(bones.values(), places, strict=True):
        bone.apply_translation([x, 0.0, 0.0])
    film, whole = np.zeros((50, 50)), trimesh.util.concatenate(list(bones.values()))
    named, plain = (np.asarray(preview(film, whole, 100, shown)).astype(float) for shown in (bones, None))
    front = np.s_[:, 100:200]
    for name, columns in zip(names, (np.s_[50:], np.s_[:50]), strict=True):  # the patient's left is the picture's right
        lit = named[front][:, columns].reshape(-1, 3)
        lit = lit[lit.sum(1) > 300].mean(0)
        colour = np.array(anatomy.BY_NAME[name].colour)
        assert np.corrcoef(lit, colour)[0, 1] > 0.95
    assert np.abs(named - plain)[front].max() > 50 and np.array_equal(named[:, :100], plain[:, :100])


def test_given_geometry_is_known(tmp_path, film, untrained, capsys):
    status, out, _ = run(
        capsys, "reconstruct", film, "--out", tmp_path / "r", "--weights", untrained, "--json",
        "--view", "PA", "--pixel-spacing", "2.0", "--sid", "1800", "--sod", "1600",
    )  # fmt: skip
    result = json.loads(out)
    assert status == 0 and result["absolute_scale"] is True and all(result["known"].values())
    assert result["geometry"]["view"] == "PA" and result["geometry"]["spacing_mm"] == [2.0, 2.0]


def test_a_lateral_film_is_refused(tmp_path, film, untrained, capsys):
    status, _, err = run(capsys, "reconstruct", film, "--out", tmp_path / "r", "--weights", untrained, "--view", "LAT")
    assert status == 2 and "frontal" in err and not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "content", [b"\x80\x04pickle", b"PK\x03\x04 torch", b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"]
)
def test_bad_weights_are_one_line(tmp_path, film, capsys, content):
    weights = _bytes(tmp_path / "bad.safetensors", content)
    status, _, err = run(capsys, "reconstruct", film, "--out", tmp_path / "r", "--weights", weights)
    errors = [line for line in err.splitlines() if not line.startswith("x2br: warning")]
    assert status == 2 and len(errors) == 1 and errors[0].startswith("x2br: error: ")
    assert not (tmp_path / "r").exists()


def test_an_existing_result_survives_a_failure(tmp_path, film, untrained, capsys):
    out_dir = tmp_path / "result"
    run(capsys, "reconstruct", film, "--out", out_dir, "--weights", untrained)
    before = {p.name: p.read_bytes() for p in out_dir.iterdir()}
    bad = _bytes(tmp_path / "text.png", b"text")
    assert run(capsys, "reconstruct", bad, "--out", out_dir, "--weights", untrained)[0] == 2
    assert {p.name: p.read_bytes() for p in out_dir.iterdir()} == before


def test_an_output_that_is_a_file_is_refused(tmp_path, film, untrained, capsys):
    target = _bytes(tmp_path / "taken", b"mine")
    status, _, err = run(capsys, "reconstruct", film, "--out", target, "--weights", untrained)
    assert status == 2 and "is a file" in err and target.read_bytes() == b"mine"


def test_evaluate_in_both_protocols(tmp_path, capsys):
    a, b = tmp_path / "a.ply", tmp_path / "b.stl"
    trimesh.creation.box((100, 80, 60)).export(a)
    trimesh.creation.box((100, 80, 60)).apply_translation((10, 0, 0)).export(b)
    status, out, _ = run(capsys, "evaluate", a, b, "--json")
    result = json.loads(out)
    assert status == 0 and set(result) == {"strict", "paper"}
    assert result["strict"]["iou"] == pytest.approx(90 / 110, abs=0.02) and result["paper"]["iou"] > 0.99
    status, out, _ = run(capsys, "evaluate", a, b, "--protocol", "strict")
    assert status == 0 and "strict" in out and "paper" not in out


def test_models_lists_what_ships(capsys):
    status, out, _ = run(capsys, "models", "--json")
    listed = json.loads(out)["models"]
    assert status == 0 and [m["method"] for m in listed] == sorted(models.installed())


def test_a_fault_of_ours_is_status_1_without_traceback(monkeypatch, capsys):
    monkeypatch.setattr("X2BRLogic.models.installed", lambda: 1 / 0)
    status, out, err = run(capsys, "models")
    assert status == 1 and out == "" and "ZeroDivisionError" in err and "Traceback" not in err and err.count("\n") == 1


def test_stdout_of_a_real_process_is_one_json_object(tmp_path, untrained, film):
    done = subprocess.run(
        [sys.executable, "-m", "X2BRLogic", "reconstruct", str(film), "--out", str(tmp_path / "o"), "--json",
         "--weights", str(untrained), "--resolution", "32"],
        capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "default"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "x2br-summary-1" and done.stdout.count("\n") == 1


@pytest.mark.weights
def test_the_sample_is_reconstructed_with_the_shipped_weights(tmp_path, capsys):
    sample = models.resources() / "SampleData" / "chest_ap.png"
    status, out, err = run(capsys, "reconstruct", sample, "--out", tmp_path / "r", "--json")
    assert status == 0, err
    result = json.loads(out)
    low, high = np.array(result["bounds_mm"])
    # An adult thorax, about the isocentre that the sample's geometry names, and no warning: everything is known.
    assert (np.abs((low + high) / 2 - result["geometry"]["isocentre"]) < 40).all()
    assert (high - low > (200, 120, 220)).all() and (high - low < (380, 300, 400)).all()
    assert result["absolute_scale"] and not result["warnings"] and result["watertight"]

"""The examples of Documentation/scripting.md run as they stand there."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

GUIDE = Path(__file__).resolve().parents[2] / "Documentation" / "scripting.md"
EXAMPLES = dict(re.findall(r"<!-- runs: (.+?) -->\n```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))


@pytest.fixture
def film(tmp_path):
    from PIL import Image

    (tmp_path / "films").mkdir()
    pixels = np.random.default_rng(0).integers(100, 60000, (80, 70)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "films" / "chest.png")
    (tmp_path / "films" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "films" / "chest.png"


def run(example: str, **names) -> None:
    from Testing.Host import loadModule

    loadModule()
    exec(compile(EXAMPLES[example], f"{GUIDE.name}: {example}", "exec"), {"slicer": slicer, **names})


def test_every_example_is_run_here():
    assert set(EXAMPLES) == {"reconstruct", "named bones", "drr", "batch", "data set"}


@pytest.mark.parametrize("example", ["reconstruct", "named bones"])
def test_reconstruct(a_module, film, capsys, example):
    run(example, film=film)
    assert ("chest bones" if example == "reconstruct" else "rib_left_3 0.5") in capsys.readouterr().out


def test_drr_and_evaluation(a_module, a_thorax_ct, capsys):
    run("drr")
    assert "asd_mm" in capsys.readouterr().out


def test_batch(a_module, film, tmp_path, capsys, monkeypatch):
    left = []
    monkeypatch.setattr(sys, "argv", ["batch.py", str(film.parent), str(tmp_path / "out")])
    monkeypatch.setattr(slicer.util, "exit", lambda status=0: left.append(status))
    run("batch")
    told = capsys.readouterr().out
    assert "broken.png: skipped: " in told and "chest.png: done" in told and left == [0]
    (mesh,) = (tmp_path / "out" / "chest" / "ply").iterdir()
    assert mesh.stat().st_size > 10_000
    assert "Not a medical device" in (tmp_path / "out" / "chest.html").read_text(encoding="utf-8")


def test_data_set(a_module, a_thorax_ct, tmp_path, capsys):
    from X2BRSlicerLib.nodes import scans

    from X2BRLogic.volume_io import write_volume

    ct, labels = a_thorax_ct
    (tmp_path / "cts" / "person").mkdir(parents=True)
    write_volume(tmp_path / "cts" / "person" / "ct.nrrd", scans.ctFromVolume(ct))
    write_volume(tmp_path / "cts" / "person" / "bones.nrrd", scans.labelsFromNode(labels))
    run("data set", ctFolder=tmp_path / "cts", outFolder=tmp_path / "out")
    assert "of 1 accepted" in capsys.readouterr().out

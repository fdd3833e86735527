"""A folder of radiographs: a row for each, failures skipped, nothing done twice, and a crash costs one film."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
import torch
import trimesh
from PIL import Image
from untrained import save_film, save_untrained

from X2BRLogic import __version__, batch
from X2BRLogic.batch import Request, find_films, reconstruct_films
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.fan_out import Outcome
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.reconstruction import Reconstruction

RESULTS = ["bones.ply", "preview.png", "radiograph.png", "summary.json"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture
def films(tmp_path):
    """Three films, two of them with one stem, and what a folder holds besides."""
    folder = tmp_path / "films"
    save_film(folder / "one.png", 1)
    save_film(folder / "ward" / "two.png", 2)
    save_film(folder / "ward" / "two.tif", 3)
    (folder / "broken.png").write_bytes((folder / "one.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("of no interest")
    (folder / ".hidden.png").write_bytes(b"x")
    return folder


@pytest.fixture
def run(films, tmp_path, weights, capsys):
    """The command on the films; its status, result, and what it said."""

    def run(*more, out="out"):
        arguments = ["reconstruct", films, "--out", tmp_path / out, "--weights", weights, "--resolution", "64"]
        status = main([str(a) for a in (*arguments, "--device", "cpu", "--json", *more)])
        told, said = capsys.readouterr()
        return status, json.loads(told) if told else None, said

    return run


class Box:
    """A reconstructor to whom everybody is a box, as large as the first byte of its weights says."""

    def __init__(self, method, device, weights):
        self._weights = weights

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def reconstruct(self, radiograph, progress=None, *, resolution=128, boxes=()):
        content = self._weights.read_bytes()
        mesh = trimesh.creation.box((200 + content[-1], 150, 300))
        summary = {
            "x2br": __version__,
            "model": {"sha256": hashlib.sha256(content).hexdigest()},
            "seconds": {"total": 0.5},
            "volume_ml": mesh.volume / 1000,
            "faces": len(mesh.faces),
            "absolute_scale": radiograph.scale_known,
            "warnings": list(radiograph.warnings),
        }
        return Reconstruction(radiograph, mesh, summary=summary)


@pytest.fixture
def quick_pictures(monkeypatch):
    monkeypatch.setattr("X2BRLogic.preview.preview", lambda *_, **__: Image.new("L", (8, 8)))


@pytest.fixture
def boxes(monkeypatch, quick_pictures):
    """No network and no second process: what is tested does not depend on them."""
    monkeypatch.setattr(batch, "WorkerReconstructor", Box)
    monkeypatch.setattr(batch, "helpful_workers", lambda films, device: 1)


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["film"]: row for row in csv.DictReader(stream)}


def status_of(result):
    return {row["film"]: row["status"] for row in result["films"]}


def test_a_table_and_a_folder_for_each_film(run, boxes, tmp_path):
    status, result, said = run()
    assert status == 0 and (result["done"], result["kept"], result["failed"]) == (3, 0, 1)
    rows = table(tmp_path / "out" / "results.csv")
    two = [os.path.join("ward", name) for name in ("two.png", "two.tif")]
    assert list(rows) == ["broken.png", "one.png", *two] and list(rows) == [row["film"] for row in result["films"]]
    assert rows["broken.png"]["status"] == "failed" and "broken.png" in rows["broken.png"]["reason"]
    for name in ("one.png", *two):
        folder = tmp_path / "out" / name
        assert rows[name]["folder"] == str(folder) and sorted(os.listdir(folder)) == RESULTS
        summary = json.loads((folder / "summary.json").read_text())
        assert float(rows[name]["volume_ml"]) == summary["volume_ml"] and rows[name]["reason"] == ""
        assert float(rows[name]["seconds"]) == summary["seconds"]["total"] and "scale" in rows[name]["warnings"]
    # On stderr a line for each film, and how long the rest takes.
    lines = [line for line in said.splitlines() if line.startswith("[")]
    assert (
        len(lines) == 4 and all("about" in line and "left" in line for line in lines[:-1]) and "left" not in lines[-1]
    )


def test_what_was_done_is_kept(run, boxes, films, tmp_path, weights):
    two = [os.path.join("ward", name) for name in ("two.png", "two.tif")]
    assert status_of(run()[1]) == {"broken.png": "failed", "one.png": "done", two[0]: "done", two[1]: "done"}
    rows = table(tmp_path / "out" / "results.csv")

    # The same again: what was done is kept, byte for byte; what failed is tried again.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ply")}
    (films / "broken.png").write_bytes((films / "one.png").read_bytes())
    status, result, _ = run("--workers", "1")
    assert status == 0 and (result["done"], result["kept"], result["failed"]) == (1, 3, 0)
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
    assert rows["one.png"]["volume_ml"] == table(tmp_path / "out" / "results.csv")["broken.png"]["volume_ml"]

    # What decides a result has changed: it is made again.
    save_film(films / "one.png", 9)
    geometry = XRayGeometry.from_view("AP", shape=(100, 80), spacing=(4.0, 4.0))
    (films / "ward" / "two.geometry.json").write_text(json.dumps(geometry.to_dict()))
    assert status_of(run()[1]) == {"broken.png": "kept", "one.png": "done", two[0]: "done", two[1]: "done"}
    (tmp_path / "out" / "one.png" / "bones.ply").unlink()
    (tmp_path / "out" / two[0] / "radiograph.png").unlink()
    (tmp_path / "out" / "broken.png" / "summary.json").write_text("{")
    assert status_of(run()[1]) == {"broken.png": "done", "one.png": "done", two[0]: "done", two[1]: "kept"}
    assert set(status_of(run("--sid", "1700")[1]).values()) == {"done"}
    save_untrained(weights, 2)
    assert set(status_of(run("--sid", "1700")[1]).values()) == {"done"}
    save_untrained(weights, 1)


def test_several_workers_are_asked_for(run, boxes, monkeypatch, tmp_path):
    """As many as there is work for; on a cluster, below, it is seen that they can do it."""
    asked = []

    def fan_out(function, items, **where):
        asked.append((items, where))
        for item in items:
            yield Outcome(item, None, "not today", 0.0)

    monkeypatch.setattr(batch, "fan_out", fan_out)
    assert run("--workers", "9")[0] == 2
    assert asked == [(sorted(table(tmp_path / "out" / "results.csv")), {"workers": 4, "scheduler": None})]
    assert run("--workers", "2", "--scheduler", "tcp://here:1")[0] == 2 and len(asked) == 1


def test_on_a_cluster(run, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        status, result, _ = run("--scheduler", cluster.scheduler_address)
    assert status == 0 and (result["done"], result["failed"], result["workers"]) == (3, 1, None)
    rows = table(tmp_path / "out" / "results.csv")
    assert "broken.png" in rows["broken.png"]["reason"] and int(rows["one.png"]["faces"]) > 1000


def test_as_many_workers_as_help(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    memory = psutil.virtual_memory()._replace(available=10 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert [batch.helpful_workers(films, "cpu") for films in (1, 19, 20, 45, 1000)] == [1, 1, 2, 4, 5]
    monkeypatch.setattr("X2BRLogic.networks.device.choose_device", lambda name: torch.device("cuda"))
    assert batch.helpful_workers(1000, "auto") == 1


def test_only_failures_is_status_2_and_a_table(run, boxes, films, tmp_path):
    for path in [*films.rglob("*.png"), *films.rglob("*.tif")]:
        path.write_bytes(b"nothing")
    status, result, said = run()
    assert status == 2 and result is None and "none of 4 radiograph(s) could be reconstructed" in said.splitlines()[-1]
    assert {row["status"] for row in table(tmp_path / "out" / "results.csv").values()} == {"failed"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no radiograph in"),
        (["--out", "{empty}"], "is the folder of the radiographs"),
        (["--out", "{file}"], "is a file"),
        (["--weights", "{file}"], "damaged or no safetensors"),
        (["--method", "nonsense"], "no model for method"),
    ],
    ids=["no film", "out is in", "out is a file", "bad weights", "no method"],
)
def test_bad_usage_is_told_before_any_work(tmp_path, capsys, arguments, words):
    places = {"empty": tmp_path / "empty", "file": tmp_path / "file"}
    places["empty"].mkdir()
    places["file"].write_text("x")
    if arguments:
        save_film(places["empty"] / "one.png")
    filled = [argument.format(**places) for argument in arguments]
    status = main(["reconstruct", str(places["empty"]), "--out", str(tmp_path / "out"), *filled])
    out, err = capsys.readouterr()
    assert status == 2 and out == "" and words in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_options_for_a_folder_are_refused_for_a_film(tmp_path, capsys):
    status = main(["reconstruct", str(save_film(tmp_path / "one.png")), "--out", str(tmp_path / "o"), "--workers", "2"])
    assert status == 2 and "for a folder" in capsys.readouterr().err


def test_what_counts_as_a_film(tmp_path):
    folder, out = tmp_path / "films", tmp_path / "films" / "out"
    for name in ("b.PNG", "a.jpeg", "sub/c.tiff", "sub/deep/d.nrrd", "e.dcm", "out/x.png", ".trash/y.png", "._f.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in ("IM0001", "DICOMDIR"):
        (folder / name).write_bytes(bytes(128) + b"DICM")
    for name in ("geometry.json", "list.csv", "README"):
        (folder / name).write_text("x")
    for name in ("bones.ply", "preview.png", "radiograph.png", "summary.json"):  # an earlier run wrote there
        (folder / "earlier" / "b.PNG").mkdir(parents=True, exist_ok=True)
        (folder / "earlier" / "b.PNG" / name).write_bytes(b"x")
    expected = ["IM0001", "a.jpeg", "b.PNG", "e.dcm", "sub/c.tiff", "sub/deep/d.nrrd"]
    assert find_films(folder, out) == [name.replace("/", os.sep) for name in expected]
    if hasattr(os, "symlink"):
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "gone.png").symlink_to(folder / "nowhere")
        assert set(find_films(folder, out)) - set(expected) == {"gone.png"}
    shutil.rmtree(folder / "sub")
    with pytest.raises(InputError, match="no radiograph"):
        find_films(folder / "earlier", out)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_crash_costs_one_film(quick_pictures, films, tmp_path, weights):
    """The worker is killed amid its work: every film has its row, and where it cost one the reason is a sentence."""
    names = [save_film(films / f"more_{n}.png", 20 + n).name for n in range(4)]
    rows = []
    for row in reconstruct_films(films, names, tmp_path / "out", Request("x2b", weights, "cpu", 64)):
        if not rows:
            (worker,) = (p for p in psutil.Process().children() if "X2BRLogic.worker" in p.cmdline())
            worker.kill()
        rows.append(row)
    assert sorted(row.film for row in rows) == names
    failed = [row for row in rows if row.status == "failed"]
    assert len(failed) <= 1 and all("the worker was killed" in row.reason for row in failed)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_interrupted_it_has_a_table_and_goes_on(films, tmp_path, weights):
    for n in range(40):  # more than are done before the signal arrives
        save_film(films / f"more_{n}.png", 20 + n)
    command = [sys.executable, "-m", "X2BRLogic", "reconstruct", films, "--out", tmp_path / "out", "--weights", weights]
    command += ["--device", "cpu", "--resolution", "64", "--json", "--workers", "1"]
    process = subprocess.Popen(
        [str(c) for c in command],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell inherit that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if line.startswith("[3/"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and err.splitlines()[-1] == "x2br: interrupted"
    rows = table(tmp_path / "out" / "results.csv")
    finished = [name for name, row in rows.items() if row["status"] == "done"]
    assert 2 <= len(finished) < 43 and not list((tmp_path / "out").glob(".*"))
    kept = [
        row.film
        for row in reconstruct_films(films, finished, tmp_path / "out", Request("x2b_aligned", weights, "cpu", 64))
        if row.status == "kept"
    ]
    assert sorted(kept) == sorted(finished)


def test_a_fault_of_ours_costs_one_film(boxes, films, tmp_path, weights, monkeypatch):
    read = batch.read_radiograph
    monkeypatch.setattr(
        batch, "read_radiograph", lambda path, **kw: 1 / 0 if path.name == "one.png" else read(path, **kw)
    )
    rows = {
        row.film: row
        for row in reconstruct_films(films, ["one.png", "broken.png"], tmp_path / "out", Request("x2b", weights, "cpu"))
    }
    assert rows["one.png"].reason == "ZeroDivisionError: division by zero" and rows["broken.png"].status == "failed"

"""The whole build: what is on disk, going on after an interruption, kill -9, and what the check finds."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import trimesh
from coarse_people import write_coarse
from PIL import Image

from X2BRLogic import anatomy
from X2BRLogic.cli import main
from X2BRLogic.dataset import layout
from X2BRLogic.dataset.build import build
from X2BRLogic.dataset.check import check, check_subject, check_tables
from X2BRLogic.dataset.records import inventory, read_manifest, read_record, subject_names, write_manifest, write_record
from X2BRLogic.dataset.settings import Settings, read_settings
from X2BRLogic.errors import InputError
from X2BRLogic.fan_out import Outcome
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.surface import is_manifold
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_ct, read_labels, write_volume

ROOT = Path(__file__).parents[2]
#: Everything, and small: a second a subject.
SMALL = Settings(spacing=4.0, views=("AP",), angles=(0.0,), size=64, pixel_spacing=7.2, points=2000, near_points=1000)
OPTIONS = "--spacing 4 --views AP --angles 0 --size 64 --pixel-spacing 7.2 --points 2000 --near-points 1000".split()


@pytest.fixture(scope="module")
def person(subjects, tmp_path_factory):
    """A folder with a labelled CT of a real person in voxels of 4 mm."""
    path = next(path for path in subjects if path.name == "lidc_0001")
    return write_coarse([path], tmp_path_factory.mktemp("person")) / path.name


@pytest.fixture
def cts(person, tmp_path):
    """A folder with so many copies of that person."""

    def make(*names):
        for name in names:
            shutil.copytree(person, tmp_path / "cts" / name)
        return tmp_path / "cts"

    return make


@pytest.fixture(scope="module")
def built(person, tmp_path_factory):
    """A data set of an accepted, a rejected and a failed subject; and the events of its making."""
    top = tmp_path_factory.mktemp("built")
    shutil.copytree(person, top / "cts" / "anna")
    shutil.copytree(person, top / "cts" / "berta")
    labels = read_labels(person / "bones.nii.gz")
    shifted = np.where((labels.array >= 1) & (labels.array <= 12), labels.array % 12 + 1, labels.array).astype(np.uint8)
    write_volume(top / "cts" / "berta" / "bones.nii.gz", Volume(shifted, labels.ijk_to_ras))
    (top / "cts" / "clara").mkdir()
    (top / "cts" / "clara" / "ct.nii.gz").write_bytes((person / "ct.nii.gz").read_bytes()[:5000])
    events = list(build(top / "cts", top / "out", SMALL, workers=2))
    return top / "out", events


@pytest.fixture
def no_workers(monkeypatch):
    """Items are worked on in this process, for tests of what has nothing to do with workers."""

    def one_by_one(function, items, **_):
        for item in items:
            try:
                yield Outcome(item, function(item), None, 0.1)
            except InputError as error:
                yield Outcome(item, None, str(error), 0.1)

    monkeypatch.setattr("X2BRLogic.dataset.build.fan_out", one_by_one)
    monkeypatch.setattr("X2BRLogic.dataset.check.fan_out", one_by_one)


def _state(out):
    """When each record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("subjects/*/subject.json")}


# --- what is there ------------------------------------------------------------------------------------------------


def test_a_subject_can_be_opened_with_ordinary_tools(built):
    out, _ = built
    folder = layout.subject_folder(out, "anna")
    record = read_record(folder)
    assert record["status"] == layout.ACCEPTED and record["labels"] == {"method": "given", "notes": []}
    ct, labels = read_ct(folder / layout.CT), read_labels(folder / layout.LABELS)
    assert ct.array.dtype == np.int16 and ct.array.shape == labels.array.shape == tuple(record["grid"]["shape"])
    thorax = trimesh.load_mesh(folder / layout.THORAX, process=False)
    voxels = np.isin(labels.array, anatomy.THORAX).sum() * 4.0**3
    assert is_manifold(thorax) and abs(thorax.volume / voxels - 1) < 0.01
    meshes = {path.stem for path in (folder / layout.MESHES).iterdir()}
    assert {"rib_left_5", "rib_right_5", "sternum", "vertebra_T7"} <= meshes and "scapula_left" not in meshes
    assert meshes == {name for name, bone in record["bones"].items() if bone["mesh"]}
    # lidc_0001 shows ribs 1-12 whole, and ends in C6 and L3.
    assert record["bones"]["vertebra_L3"]["cut"] and not record["bones"]["rib_left_5"]["cut"]

    [view] = record["views"]
    film = read_radiograph(folder / view["image"])
    assert film.geometry.view == "AP" and film.geometry.spacing == (7.2, 7.2)
    assert Image.open(folder / view["image"]).mode == "I;16"
    boxes = json.loads((folder / view["boxes"]).read_text())
    left, right = (boxes["boxes"][f"rib_{side}_6"]["box"] for side in ("left", "right"))
    assert right[2] < left[2] and right[0] < left[0]  # the patient's right is on the image's left
    first, last = boxes["covered_rows"]
    assert 0 <= first < last < 64


def test_the_manifest_lists_every_subject_and_why_not(built):
    out, events = built
    rows = {row["name"]: row for row in read_manifest(out)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "anna": "accepted",
        "berta": "rejected",
        "clara": "failed",
    }
    assert "rib" in rows["berta"]["reasons"] and "ct.nii.gz" in rows["clara"]["reasons"]
    assert (out / rows["anna"]["folder"] / layout.RECORD).is_file()
    assert {p.name for p in layout.subject_folder(out, "berta").iterdir()} == {layout.RECORD, layout.THUMBNAIL}
    assert {p.name for p in layout.subject_folder(out, "clara").iterdir()} == {layout.RECORD}
    assert all(name in (out / layout.PAGE).read_text(encoding="utf-8") for name in rows)

    assert [event["event"] for event in events] == ["start", "item", "item", "item", "end"]
    assert {e["name"]: e["status"] for e in events[1:-1]} == {name: row["status"] for name, row in rows.items()}
    assert events[-1] | {"time": 0} == {
        "event": "end",
        "time": 0,
        "total": 3,
        "accepted": 1,
        "rejected": 1,
        "failed": 1,
    }
    assert not any(event["reasons"] == [] for event in events[1:-1] if event["status"] != "accepted")


# --- going on -----------------------------------------------------------------------------------------------------


def test_nothing_finished_is_repeated(cts, tmp_path, no_workers):
    folder, out = cts("anna"), tmp_path / "out"
    list(build(folder, out, SMALL))
    before = _state(out)
    cts("berta")
    events = list(build(folder, out, SMALL))
    assert [event["name"] for event in events if event["event"] == "item"] == ["berta"]
    assert events[0]["finished"] == 1 and _state(out)["anna"] == before["anna"]

    # New times alone are no new contents; the record learns them, so that it is hashed once.
    made = (layout.subject_folder(out, "anna") / layout.CT).stat().st_mtime_ns
    os.utime(folder / "anna" / "ct.nii.gz", (1, 1))
    assert [e["name"] for e in build(folder, out, SMALL) if e["event"] == "item"] == ["anna"]
    assert (layout.subject_folder(out, "anna") / layout.CT).stat().st_mtime_ns == made
    assert not [e for e in build(folder, out, SMALL) if e["event"] == "item"]

    # New contents are.
    ct = read_ct(folder / "anna" / "ct.nii.gz")
    ct.array[0, 0, 0] += 1
    write_volume(folder / "anna" / "ct.nii.gz", ct)
    list(build(folder, out, SMALL))
    assert (layout.subject_folder(out, "anna") / layout.CT).stat().st_mtime_ns > made
    assert [found for _, found in check(out) if found] == []


def test_other_settings_are_refused_unless_all_is_made_again(cts, tmp_path, no_workers):
    folder, out = cts("anna"), tmp_path / "out"
    list(build(folder, out, SMALL))
    other = Settings(**SMALL.__dict__ | {"points": 3000})
    with pytest.raises(InputError, match=r"other settings \(points 2000, now 3000\).*--rebuild"):
        next(build(folder, out, other))
    list(build(folder, out, other, rebuild=True))
    assert read_settings(out) == other and len(np.load(out / "subjects/anna/occupancy.npz")["points"]) == 3000
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is there and is no data set"):
        next(build(folder, tmp_path / "full", SMALL))


def test_one_build_at_a_time(cts, tmp_path, no_workers):
    folder, out = cts("anna"), tmp_path / "out"
    first = build(folder, out, SMALL)
    next(first)
    with pytest.raises(InputError, match="another process writes to"):
        next(build(folder, out, SMALL))
    first.close()
    assert [event["status"] for event in build(folder, out, SMALL) if event["event"] == "item"] == ["accepted"]


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_nothing(cts, tmp_path):
    """The command, or one of its workers, is killed at random; what was finished stays, and the rest follows."""
    names = [f"person{n}" for n in range(4)]
    folder, out = cts(*names), tmp_path / "out"
    command = [sys.executable, "-m", "X2BRLogic", "dataset", "build", str(folder), str(out), *OPTIONS, "--workers", "2"]
    rng = random.Random(5)
    finished: dict[str, int] = {}
    for kill in (True, True, False):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while kill and len(_state(out)) <= len(finished) and process.poll() is None:  # more must be done each time
            time.sleep(0.02)
        workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        if kill:
            rng.choice(workers).kill()
            time.sleep(rng.uniform(0, 1.5))
            process.kill()
        process.wait()
        psutil.wait_procs(workers, timeout=20)
        now = _state(out)
        assert all(now[name] == moment for name, moment in finished.items()), "what was finished was touched"
        finished = now
    assert process.returncode == 0 and sorted(finished) == names
    assert [problem for name in names for problem in check_subject(out, SMALL, name)] == check_tables(out) == []
    assert not [path for path in (out / layout.SUBJECTS).iterdir() if path.name.startswith(".")]


# --- the check ----------------------------------------------------------------------------------------------------


def test_the_check_finds_what_is_broken(built, tmp_path, capsys):
    out, _ = built
    broken = tmp_path / "broken"

    def told(path, damage, subject="anna"):
        """What the check says after `damage(file)`."""
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(out, broken)
        damage((layout.subject_folder(broken, subject) if subject else broken) / path)
        problems = [f"{name}: {p}" for name in subject_names(broken) for p in check_subject(broken, SMALL, name)]
        return problems + check_tables(broken)

    def edit(change):
        def damage(file):
            record = json.loads(file.read_text())
            change(record)
            file.write_text(json.dumps(record))

        return damage

    def flip(file):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)

    cases = [
        (told("meshes/sternum.ply", Path.unlink), "anna: meshes/sternum.ply is missing"),
        (told("bones.nrrd", flip), "anna: bones.nrrd has changed: its SHA-256 is not the record's"),
        (told("ct.nrrd", lambda f: f.write_bytes(f.read_bytes()[:-9])), "anna: ct.nrrd has"),
        (told("drr/other.png", lambda f: f.write_text("?")), "anna: drr/other.png is not in the record"),
        (told("subject.json", lambda f: f.write_text("{")), "anna: subject.json is missing, damaged or"),
        (told("subject.json", edit(lambda r: r.pop("grid"))), "anna: subject.json lacks grid"),
        (told("subject.json", edit(lambda r: r.update(reasons=[])), "berta"), "berta: it is rejected without a reason"),
        (told("manifest.parquet", Path.unlink, None), "manifest.parquet cannot be read"),
        (told("index.html", Path.unlink, None), "index.html is missing"),
        (told("", shutil.rmtree, "berta"), "berta is in the manifest but has no folder"),
    ]
    for found, expected in cases:
        assert any(expected in line for line in found), (expected, found)

    assert main(["dataset", "check", str(broken), "--workers", "1"]) == 2
    assert "berta is in the manifest but has no folder" in capsys.readouterr().out
    with pytest.raises(InputError, match="is no data set"):
        next(check(tmp_path))


def test_the_check_does_not_trust_hashes_alone(built, tmp_path):
    """Files that agree with their hashes but not with each other."""
    out, _ = built
    assert check_tables(out) == check_subject(out, SMALL, "anna") == []
    broken = tmp_path / "broken"
    shutil.copytree(out, broken)
    folder = layout.subject_folder(broken, "anna")
    mesh = trimesh.load_mesh(folder / layout.THORAX, process=False)
    mesh.invert()
    mesh.export(folder / layout.THORAX)
    bone = trimesh.load_mesh(folder / "meshes/rib_left_5.ply", process=False)
    trimesh.Trimesh(bone.vertices, bone.faces[1:], process=False).export(folder / "meshes/rib_left_5.ply")
    labels = read_labels(folder / layout.LABELS)
    labels.array[labels.array == anatomy.BY_NAME["rib_left_6"].label] = 99
    write_volume(folder / layout.LABELS, labels)
    arrays = dict(np.load(folder / layout.OCCUPANCY))
    np.savez_compressed(folder / layout.OCCUPANCY, **arrays | {"inside": ~arrays["inside"]})

    write_record(folder, read_record(folder) | {"files": inventory(folder)})
    write_manifest(broken)
    problems = check_subject(broken, SMALL, "anna")
    for expected in (
        "bones.nrrd has labels that are no bones: 99",
        "thorax.ply is no closed surface with its faces outward",
        "meshes/rib_left_5.ply is no closed surface",
        "points are not where thorax.ply says",
        "boxes/ap.json: its boxes are not where",
    ):
        assert any(expected in problem for problem in problems), (expected, problems)


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command(cts, tmp_path, capsys, no_workers):
    folder, out, events = cts("anna"), tmp_path / "out", tmp_path / "events.jsonl"
    command = ["dataset", "build", str(folder), str(out), *OPTIONS, "--workers", "1"]
    assert main([*command, "--events", str(events), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["accepted"] == 1 and "1/1 anna accepted" in captured.err
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "item", "end"]
    assert lines[1]["finished"] == lines[1]["total"] == 1 and lines[1]["remaining_seconds"] == 0
    assert main(["dataset", "check", str(out), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dataset": str(out), "subjects": 1, "problems": []}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spacing", "9"], "is not between 0.4 and 5 mm"),
        (["--edge", "10"], "is not between 64 and 1024"),
        (["--views", "AP,UP"], "each view is one of AP, PA, LAT, RLAT"),
        (["--views", "AP,AP"], "a view is given twice"),
        (["--angles", "1,1"], "given twice"),
        (["--sod", "2000"], "SOD (2000 mm) cannot exceed SID"),
        (["--memory", "much"], "'much' is no amount of memory"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:9"], "exclude each other"),
        (["--scheme", "mine"], "there is no scheme 'mine'"),
        (["--events", "/nowhere/events.jsonl"], "cannot write /nowhere/events.jsonl"),
    ],
)
def test_bad_options_end_in_one_line(cts, tmp_path, capsys, options, message):
    assert main(["dataset", "build", str(cts("anna")), str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("x2br: error: ") and "\n" not in error

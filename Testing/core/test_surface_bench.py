"""The benchmark of reconstructions: it measures what it says, and its peers find the same surface."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from analytic_fields import LEVEL, ball, torus

from X2BRLogic.bench.reconstruct import GOAL_TIMES, goals, sample_radiograph
from X2BRLogic.bench.reconstruct_mesh import qualities
from X2BRLogic.bench.reconstruct_peers import classical_mise, dense
from X2BRLogic.cli import main
from X2BRLogic.surface import extract, mise


@pytest.mark.parametrize("field", [ball, torus])
def test_plain_generation_finds_the_same_surface(field):
    everywhere, every = dense(field, 64)
    classical, some = classical_mise(field, 64)
    ours = mise(field, 64)
    assert every == 65**3 and 33**3 < some <= ours.evaluations
    for grid in (classical, ours.grid):
        np.testing.assert_array_equal(grid >= LEVEL, everywhere >= LEVEL)


def test_the_qualities_of_a_known_mesh():
    field = lambda points: LEVEL + 2.0 * (90 - np.linalg.norm(points, axis=1))  # noqa: E731  millimetres
    mesh = extract(mise(lambda cube: field(400 * cube), 64).grid, to_space=lambda cube: 400 * cube)
    found = qualities(mesh, field, LEVEL)
    assert found["faces"] == len(mesh.faces) and found["manifold"]
    assert (found["self_intersections"], found["pieces"], found["genus"]) == (0, 1, 0)
    assert found["distance_mm"] < 0.1 and found["angle_deg"] < 4
    mesh.apply_scale(92 / 90)
    assert qualities(mesh, field, LEVEL)["distance_mm"] == pytest.approx(2, abs=0.1)


def test_goals_are_judged_by_what_was_measured():
    warm = {"method": "a", "device": "cpu", "resolution": 128, "of_dense": 0.13, "whole_rays": False, "median_s": 2.0}
    result = {
        "quick": False,
        "warm": [warm, warm | {"method": "b", "whole_rays": True}, warm | {"device": "cuda", "median_s": 0.1}],
        "cold": [{"method": "a", "resolution": 128, "median_s": 13.0, "peak_bytes": 2**30}],
        "peers": [{"way": way, "times_first": 3.0} for way in ("X2BR", *GOAL_TIMES)],
    }
    met = {goal["goal"]: goal["met"] for goal in goals(result)}
    assert met["a, 128^3, warm: at most 3 s"] and not met["b, 128^3, warm: at most 1 s"]
    assert not met["a, 128^3, warm, evaluations: at most 12 % of the dense grid"]
    assert met["a, 128^3, warm, on cuda: at most 0.15 s"]
    assert not met["a, 128^3, from process start to first mesh: at most 12 s"]
    assert met["a, 128^3, peak memory: at most 2 GiB"]
    assert [goal["met"] for goal in goals(result)][-2:] == [False, True]


@pytest.mark.weights
@pytest.mark.slow
def test_the_command_writes_page_table_and_plot(tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ["bench", "reconstruct", str(sample_radiograph()), "--quick", "--repeats", "1", "--json"]
    assert main([*arguments, "--out", str(out)]) == 0
    result = json.loads(capfd.readouterr().out)
    assert {row["method"] for row in result["warm"]} == {"x2b", "x2b_aligned"}
    assert all(row["self_intersections"] == 0 and row["watertight"] for row in result["warm"])
    assert all(row["median_s"] > 1 and (row["peak_bytes"] or 2**30) > 2**28 for row in result["cold"])
    forms = {row["form"]: row for row in result["decoder"]}
    assert forms["folded"]["difference"] < 1e-4 < 1e-3 < forms["folded, bfloat16"]["difference"]
    assert [step["step"] for step in result["mesh"][0]["steps"]][-1] == "untangled, closed"
    page = (out / "reconstruct.md").read_text()
    for word in (result["machine"]["date"], "core(s)", "--quick", "x2b_aligned", "classical MISE", "bfloat16"):
        assert word in page
    with (out / "reconstruct.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sum(row["measurement"] == "warm" and row["what"] == "seconds" for row in rows) == 2
    if "reconstruct.png" in result["out"]:
        assert (out / "reconstruct.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_arguments_are_told_at_once(tmp_path, capfd):
    (tmp_path / "file").write_text("x")
    for arguments, word in (
        ([str(tmp_path / "none.png")], "does not exist"),
        (["--out", str(tmp_path / "file")], "file"),
    ):
        assert main(["bench", "reconstruct", *arguments]) == 2
        assert word in capfd.readouterr().err

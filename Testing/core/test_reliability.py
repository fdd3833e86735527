"""Expected errors and observed ones."""

import json

import numpy as np
import pytest
import trimesh

from X2BRLogic.cli import main
from X2BRLogic.confidence import ERROR, with_confidence
from X2BRLogic.evaluation.reliability import Reliability, observed

EVERYWHERE = np.array([[-np.inf] * 3, [np.inf] * 3])


def ball(radius: float, error=2.0) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return with_confidence(mesh, np.broadcast_to(error, len(mesh.vertices)))


def test_distance_is_to_the_bone_of_the_same_name():
    truth = {"rib_left_1": ball(20.0), "rib_left_2": ball(60.0)}
    found = dict((name, (inside, off)) for name, inside, off in observed({"rib_left_1": ball(23.0)}, truth, EVERYWHERE))
    inside, off = found["rib_left_1"]
    assert inside.all() and off.mean() == pytest.approx(3.0, abs=0.15)
    assert list(observed({"sternum": ball(20.0)}, truth, EVERYWHERE)) == []


def test_where_the_scan_ends_nothing_is_judged():
    region = np.array([[-np.inf, -np.inf, 0.0], [np.inf, np.inf, np.inf]])
    ((_, inside, off),) = observed({"sternum": ball(60.0)}, {"sternum": ball(61.0)}, region)
    assert 0 < inside.mean() < 0.5 and len(off) == inside.sum()
    assert ball(60.0).vertices[inside][:, 2].min() > 15


def test_bins_tell_an_honest_model_from_one_that_boasts():
    rng = np.random.default_rng(0)
    error = rng.uniform(1.0, 8.0, 40_000)
    off = rng.exponential(error)
    honest = Reliability(error, off, error[:50], off[:50])
    boast = Reliability(error / 3, off, error[:50] / 3, off[:50])
    assert honest.summary()["calibration_error_mm"] < 0.2 < 2.0 < boast.summary()["calibration_error_mm"]
    bins = honest.bins()
    assert sum(row["vertices"] for row in bins) == 40_000 and bins[0]["within_5_mm"] > bins[-1]["within_5_mm"]
    assert honest.summary()["correlation_vertices"] > 0.3


def test_cases_are_put_together():
    cases = [({"sternum": ball(20.0 + off, off)}, {"sternum": ball(20.0)}, EVERYWHERE) for off in (1.0, 4.0)]
    found = Reliability.of(cases)
    assert np.allclose(found.bone_expected, [1.0, 4.0]) and np.allclose(found.bone_distance, [1.0, 4.0], atol=0.2)
    assert cases[0][0]["sternum"].vertex_attributes[ERROR].mean() == pytest.approx(1.0)


def test_a_model_learns_what_it_may_say_of_its_errors(subjects, tmp_path, capsys):
    from untrained import save_slab

    from X2BRLogic.networks import read_header

    (tmp_path / "people").mkdir()
    (tmp_path / "people" / subjects[0].name).symlink_to(subjects[0])
    weights = save_slab(tmp_path / "slab.safetensors")
    assert main(["calibrate", str(weights), str(tmp_path / "people"), "--count", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["expected_error"]
    assert set(told) == {"1", "2", "patients", "seed", "held_out"} and read_header(weights)["expected_error"] == told
    # A slab of rib through the whole film is far from any rib.
    assert told["1"]["error_mm"][0] > 5.0


def test_an_x2b_has_no_errors_to_tell(subjects, tmp_path, capsys):
    from untrained import save_untrained

    assert main(["calibrate", str(save_untrained(tmp_path / "x.safetensors")), str(subjects[0].parent)]) == 2
    assert "names no bones" in capsys.readouterr().err


def test_confidence_needs_a_person_to_leave_out(subjects, tmp_path, capsys):
    assert main(["bench", "confidence", str(subjects[0].parent), "--held-out", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err

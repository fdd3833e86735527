"""The accuracy suite: cases with a truth and the levels it covers, and the shipped model on the person left out."""

import json

import numpy as np
import pytest

from X2BRLogic.cli import main
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.evaluation.suite import mean_row, no_evidence, real_case, scores, virtual_case
from X2BRLogic.pipeline import Reconstructor

HELD_OUT = "cptac_pda_C3N-00249"


@pytest.fixture(scope="module")
def held_out(subjects):
    return read_subject(next(folder for folder in subjects if folder.name == HELD_OUT))


@pytest.fixture(scope="module")
def case(held_out):
    return real_case(held_out)


def test_a_case_sees_its_truth_and_compares_what_the_scan_covers(held_out, case):
    pixels = case.radiograph.geometry.project(case.truth.vertices)
    assert (np.abs(pixels / np.array(case.radiograph.pixels.shape)[::-1] - 0.5) < 0.5).mean() > 0.99
    bottom, top = case.region[:, 2]
    scan = held_out.labels.corners[:, 2]
    assert scan.min() < bottom < case.truth.bounds[0, 2] + 60 and case.truth.bounds[1, 2] - 60 < top < scan.max()
    assert np.isinf(case.region[:, :2]).all()


def test_a_virtual_case_follows_its_seed_and_ends_within_the_scan(held_out):
    one, same = virtual_case(held_out, 5), virtual_case(held_out, 5)
    assert np.array_equal(one.radiograph.pixels, same.radiograph.pixels)
    assert not np.array_equal(one.radiograph.pixels, virtual_case(held_out, 6).radiograph.pixels)
    bottom, top = one.region[:, 2]
    assert one.truth.bounds[0, 2] - 10 < bottom < top < one.truth.bounds[1, 2] + 10 and top - bottom > 150


@pytest.mark.weights
def test_the_shipped_model_sees_more_than_no_evidence_tells(subjects, case):
    """On the real person left out of training. The figures are in the model card; this guards them."""
    rows = {row["protocol"]: row for row in scores(case, Reconstructor("x2b_aligned", "cpu"))}
    other = read_subject(next(folder for folder in subjects if folder.name != HELD_OUT))
    blind = {row["protocol"]: row for row in no_evidence(case, [other])}
    assert rows["strict"]["dice"] > 0.44 and rows["strict"]["asd_mm"] < 9
    assert rows["strict"]["dice"] > 1.5 * blind["strict"]["dice"]
    assert rows["paper"]["iou"] > 0.25


def test_means_leave_out_what_is_missing():
    rows = [
        {"protocol": "strict", "dice": 0.2},
        {"protocol": "strict", "dice": None},
        {"protocol": "strict", "dice": 0.4},
    ]
    assert mean_row("a", rows)["dice"] == pytest.approx(0.3)


def test_an_unknown_person_is_refused(subjects, tmp_path, capsys):
    arguments = ["bench", "accuracy", str(subjects[0].parent), "--held-out", "nobody", "--out", str(tmp_path / "o")]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "nobody" in err and err.count("\n") == 1 and not (tmp_path / "o").exists()


@pytest.mark.weights
def test_the_command_writes_a_table(tmp_path, subjects, capsys):
    people = tmp_path / "people"
    people.mkdir()
    for folder in subjects[:2]:
        (people / folder.name).symlink_to(folder)
    arguments = ["bench", "accuracy", str(people), "--held-out", subjects[1].name, "--virtual", "1"]
    assert main([*arguments, "--methods", "x2b_aligned", "--out", str(tmp_path / "o"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["set"], row["protocol"]) for row in rows} == {
        (s, p) for s in ("real", "virtual") for p in ("strict", "paper")
    }
    assert len((tmp_path / "o" / "accuracy.csv").read_text().splitlines()) == len(rows) + 1

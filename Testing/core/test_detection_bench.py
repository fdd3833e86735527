"""The benchmark's own arithmetic, on boxes whose figures are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.core.thorax_phantom import phantom
from X2BRLogic.bench.detection import judged
from X2BRLogic.bench.detection_report import as_csv, as_markdown
from X2BRLogic.bench.detection_schemes import SCHEMES, by_group, by_level, ordered
from X2BRLogic.bench.detection_scores import Scored, average_precision, scores
from X2BRLogic.cli import main
from X2BRLogic.detection import Box
from X2BRLogic.detection.candidates import Candidates
from X2BRLogic.detection.classes import CLASSES, RUNS


@pytest.fixture(scope="module")
def truth():
    """The ribs and thoracic vertebrae of a phantom."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval scores boxes; it is not installed")
    return [box for box in phantom().boxes if box.name in CLASSES]


def _named(box, name, confidence=0.9):
    return Box.of(name, box.edges, confidence)


def test_the_truth_scores_one(truth):
    figures = scores([Scored(truth, truth)] * 2)
    assert all(row["ap50"] == row["ap50_95"] == pytest.approx(1.0) for row in figures["classes"].values())
    for part, present in (("vertebrae", 12), ("ribs", 24)):
        mine = figures["parts"][part]
        assert (mine["present"], mine["missed"], mine["doubled"], mine["level_accuracy"]) == (present, 0, 0, 1.0)
    assert set(figures["classes"]) == {box.name for box in truth}


def test_what_is_wrong_costs_what_it_should(truth):
    by_name = {box.name: box for box in truth}
    gone = [box for box in truth if box.name != "vertebra_T5"]
    swapped = [box for box in truth if box.name not in ("rib_left_2", "rib_left_7")]
    swapped += [_named(by_name["rib_left_2"], "rib_left_7"), _named(by_name["rib_left_7"], "rib_left_2")]
    doubled = [*truth, Box.of("rib_right_4", by_name["rib_right_3"].edges + 1.0, 0.5)]

    figures = scores([Scored(truth, gone)])
    assert figures["classes"]["vertebra_T5"]["ap50"] == 0.0
    assert figures["parts"]["vertebrae"]["missed"] == 1 and figures["parts"]["ribs"]["missed"] == 0
    assert figures["parts"]["vertebrae"]["ap50"] == pytest.approx(11 / 12)

    figures = scores([Scored(truth, swapped)])
    assert figures["parts"]["ribs"]["level_accuracy"] == pytest.approx(22 / 24)
    assert figures["parts"]["ribs"]["missed"] == 0
    assert figures["classes"]["rib_left_2"]["ap50"] == figures["classes"]["rib_left_7"]["ap50"] == 0.0

    figures = scores([Scored(truth, doubled)])
    assert figures["parts"]["ribs"]["doubled"] == 1
    assert figures["classes"]["rib_right_4"]["ap50"] == pytest.approx(1.0)  # the surer one is right

    # A box of three quarters of the height overlaps by 0.75: found at 0.5 to 0.75, not above.
    edges = by_name["vertebra_T8"].edges * 1.0
    edges[3] -= 0.25 * (edges[3] - edges[1]) - 1e-3
    smaller = [box for box in truth if box.name != "vertebra_T8"] + [Box.of("vertebra_T8", edges, 0.9)]
    row = average_precision([Scored(truth, smaller)])["vertebra_T8"]
    assert row["ap50"] == pytest.approx(1.0) and row["ap50_95"] == pytest.approx(0.6)


def test_nothing_found_scores_nothing(truth):
    figures = scores([Scored(truth, [])])
    assert figures["parts"]["ribs"]["ap50"] == 0.0 and figures["parts"]["ribs"]["missed"] == 24
    assert figures["parts"]["ribs"]["level_accuracy"] is None


def _proposals(truth, wrong=()):
    """What a network that is sure of everything but the `wrong` ones gives."""
    found = {}
    for group, run in RUNS.items():
        mine = [box for box in truth if box.group == group]
        values = np.full((len(mine), run.stop - run.start), 1e-3)
        for row, box in zip(values, mine, strict=True):
            place = CLASSES[run].index(box.name)
            row[place] = 0.8
            if box.name in wrong:
                row[place], row[place + 1] = 0.3, 0.6
        found[group] = Candidates(group, np.array([box.edges for box in mine]), values)
    return found


def test_the_ways_differ_in_what_they_go_by(truth):
    found = _proposals(truth, wrong=("vertebra_T4", "rib_left_6"))
    names = {scheme: sorted(box.name for box in scheme(found, (512, 512))) for scheme in SCHEMES.values()}
    whole = sorted(box.name for box in truth)
    assert names[ordered] == whole
    assert names[by_level] != whole and len(names[by_level]) == len(whole)
    # The whole thorax is there, so counting from the first rib is right, without a look at any level's score.
    assert names[by_group] == whole


def test_real_films_are_judged_by_sense(truth):
    assert judged(tuple(truth)) == {
        "complete": True, "consistent": True, "vertebrae": 12, "ribs_left": 12, "ribs_right": 12
    }  # fmt: skip
    gap = tuple(box for box in truth if box.name != "rib_left_5")
    assert not judged(gap)["complete"] and not judged(gap)["consistent"]
    short = tuple(box for box in truth if box.name != "rib_left_12")
    assert judged(short)["complete"] and judged(short)["consistent"]
    by_name = {box.name: box for box in truth}
    crossed = [box for box in truth if box.name not in ("vertebra_T3", "vertebra_T4")]
    crossed += [_named(by_name["vertebra_T3"], "vertebra_T4"), _named(by_name["vertebra_T4"], "vertebra_T3")]
    assert not judged(tuple(crossed))["consistent"]
    moved = [box for box in truth if not box.name.startswith("rib_left")]
    moved += [Box.of(b.name, b.edges + np.array([0, 90, 0, 90])) for b in truth if b.name.startswith("rib_left")]
    assert not judged(tuple(moved))["consistent"]
    assert judged(())["complete"] is False and judged(())["consistent"] is False


def test_the_page_tells_every_figure(truth):
    schemes = {name: scores([Scored(truth, truth)]) for name in SCHEMES}
    real = [{"film": "a.png", "notes": []} | judged(tuple(truth))]
    result = {
        "machine": {"processor": "one"}, "load_after": 0.1, "held_out": "somebody", "model": "m.onnx (onnx)",
        "seconds": 0.3, "sets": {"virtual patients": schemes, "the person left out": schemes}, "radiographs": real,
    }  # fmt: skip
    page = as_markdown(json.loads(json.dumps(result)))
    assert "The person left out (somebody), 1 films" in page and "| vertebra_T7 | 1.00 | 1.00 | 1.00 | 1.00 |" in page
    assert "one class a level, then the order | ribs | 1.000 | 1.000 | 1.000 | 24.00 | 0.00 | 0.00 |" in page
    assert "| complete | 1 (100%) |" in page
    assert len(as_csv(result).splitlines()) == 1 + 2 * len(SCHEMES) * len(truth)


def test_wrong_usage_is_told(tmp_path, capsys):
    assert main(["bench", "detection", str(tmp_path), "--held-out", "x", "--sheet", "s.png"]) == 2
    assert "give their folder with --radiographs" in capsys.readouterr().err
    assert main(["bench", "detection", str(tmp_path / "none"), "--held-out", "x"]) == 2
    assert "no such folder" in capsys.readouterr().err

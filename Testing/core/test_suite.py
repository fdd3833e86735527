"""The accuracy suite: cases with a truth and the levels it covers, and the shipped model on the person left out."""

import json

import numpy as np
import pytest
from coarse_people import write_coarse

from X2BRLogic.cli import main
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.errors import InputError
from X2BRLogic.evaluation.naming import naming
from X2BRLogic.evaluation.suite import no_evidence, real_case, scores, virtual_case
from X2BRLogic.evaluation.systems import NO_EVIDENCE, Trained, tasks
from X2BRLogic.evaluation.systems_table import markdown, paired_p, ranking, read_rows
from X2BRLogic.pipeline import Reconstructor

HELD_OUT = "cptac_pda_C3N-00249"
_HEAD = "set,name,system,protocol"


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


def test_bones_in_their_places_are_right_and_renamed_ones_are_not(held_out, case):
    from X2BRLogic.evaluation.reliability import true_bones

    truth = true_bones(held_out.labels)
    perfect = naming(truth, held_out.labels, case.region)
    assert min(perfect[f"dice_{group}"] for group in ("ribs", "vertebrae", "sternum", "cartilages")) > 0.8
    assert perfect["ribs_right"] == perfect["vertebrae_right"] == 1.0
    shifted = {name: mesh for name, mesh in truth.items() if not name.startswith("rib_left")}
    for n in range(2, 13):
        shifted[f"rib_left_{n - 1}"] = truth[f"rib_left_{n}"]
    wrong = naming(shifted, held_out.labels, case.region)
    assert wrong["ribs_right"] < 0.6 and wrong["vertebrae_right"] == 1.0
    without = {name: mesh for name, mesh in truth.items() if not name.startswith(("rib", "sternum"))}
    missing = naming(without, held_out.labels, case.region)
    assert missing["ribs_right"] == missing["dice_ribs"] == missing["dice_sternum"] == 0.0


# --- which weights are tested on whom ---------------------------------------------------------------------------------


def header(path, system, exclude, steps=10):
    from untrained import save_untrained

    from X2BRLogic.networks import with_facts

    path.parent.mkdir(parents=True, exist_ok=True)
    save_untrained(path)
    with_facts(path, system=system, training={"exclude": exclude}, reached={"steps": steps})
    return path


def test_weights_meet_only_people_whom_they_never_saw(subjects, tmp_path):
    names = [folder.name for folder in subjects]
    one = header(tmp_path / "a" / "x2b.safetensors", "x2b", [HELD_OUT])
    other = header(tmp_path / "b" / "x2b.safetensors", "x2b", [names[0]])
    everybody = header(tmp_path / "c" / "x2b.safetensors", "x2b", [])
    found = tasks(subjects[0].parent, [one, other, everybody], HELD_OUT, 4, 77)
    people = {task.folder.name: [t.file for t in task.trained] for task in found if task.seed is None}
    assert people == {HELD_OUT: [one], names[0]: [other]}
    virtual = [task for task in found if task.seed is not None]
    assert [task.seed for task in virtual] == [77, 78, 79, 80] and all(task.trained[0].file == one for task in virtual)
    assert HELD_OUT not in {task.folder.name for task in virtual}
    with pytest.raises(InputError, match="nobody to test"):
        tasks(subjects[0].parent, [everybody], HELD_OUT, 4, 77)


def test_weights_that_do_not_say_whom_they_saw_are_refused(tmp_path):
    from untrained import save_untrained

    with pytest.raises(InputError, match="how it was trained"):
        Trained.of(save_untrained(tmp_path / "x.safetensors"))


def rows_of(system, distances, protocol="strict"):
    return [
        {"set": "virtual", "name": f"case {n}", "system": system, "protocol": protocol, "asd_mm": d, "dice": 1 - d / 10}
        for n, d in enumerate(distances)
    ]


def test_the_table_ranks_by_distance_and_tests_neighbours():
    rng = np.random.default_rng(0)
    base = rng.uniform(3, 6, 12)
    rows = rows_of("good", base) + rows_of("bad", base + rng.uniform(0.2, 0.4, 12)) + rows_of(NO_EVIDENCE, base + 5)
    assert ranking(rows) == ["good", "bad", NO_EVIDENCE]
    p, pairs = paired_p(rows, "good", "bad")
    assert pairs == 12 and p < 0.001
    assert paired_p(rows_of("good", base[:4]) + rows_of("bad", base[:4]), "good", "bad") == (None, 4)
    text = markdown([row | {"parameters_m": 1.5, "gflop": 2.0} for row in rows if row["system"] == "good"] + rows[12:])
    assert f"| good | 12 | {(1 - base / 10).mean():.3f} ± {(1 - base / 10).std(ddof=1):.3f} |" in text
    assert "- good before bad: 12 cases, p = 0.0" in text and "| good | 1.50 | 2.0 |" in text


def test_who_met_one_person_is_not_compared_over_five():
    def real(system, people):
        rows = zip(people, rows_of(system, people), strict=True)
        return [row | {"set": "real", "name": f"person {n}"} for n, row in rows]

    rows = real("wide", [1, 2, 3]) + real("narrow", [3]) + real(NO_EVIDENCE, [1, 2, 3])
    one, other = markdown(rows).split("Leave one person out")
    assert "1 case: person 3." in one and "| narrow | 1 |" in one and "| wide | 1 |" in one
    assert "3 cases: " in other and "| wide | 3 |" in other and "narrow" not in other
    assert "Leave one" not in markdown([row for row in rows if row["name"] == "person 3"])


def test_an_unknown_person_is_refused(subjects, tmp_path, capsys):
    header(tmp_path / "w" / "x2b.safetensors", "x2b", [HELD_OUT])
    arguments = ["evaluate", "suite", str(subjects[0].parent), "--weights", str(tmp_path / "w")]
    assert main([*arguments, "--held-out", "nobody", "--out", str(tmp_path / "o")]) == 2
    err = capsys.readouterr().err
    assert "nobody" in err and err.count("\n") == 1 and not (tmp_path / "o").exists()
    assert main([*arguments[:3], "--weights", str(tmp_path / "nothing"), "--held-out", HELD_OUT]) == 2


def test_the_command_writes_a_table_and_keeps_another(tmp_path, subjects, monkeypatch, capsys):
    from untrained import save_slab

    from X2BRLogic.networks import with_facts

    people, left_out = write_coarse(subjects[:2], tmp_path / "people"), subjects[1].name
    (tmp_path / "w").mkdir()
    weights = save_slab(tmp_path / "w" / "slab.safetensors")
    with_facts(weights, training={"exclude": [left_out]}, reached={"steps": 1234})
    name = Trained.of(weights).row
    assert name.startswith("x2b_aligned, ") and name.endswith(", 1,234 steps"), (
        "and between them, that it is a small one"
    )
    arguments = ["evaluate", "suite", str(people), "--weights", str(tmp_path / "w"), "--held-out", left_out]
    arguments += ["--virtual", "1", "--out", str(tmp_path / "o"), "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    systems = {(row["set"], row["system"]) for row in rows}
    one, two = name, f"{name}, two views"
    assert systems == {("real", one), ("real", two), ("real", NO_EVIDENCE), ("virtual", one), ("virtual", two)}
    cost = {row["system"]: row["gflop"] for row in rows if row["system"] != NO_EVIDENCE}
    assert 0 < cost[one] == pytest.approx(cost[two] / 2)
    assert len((tmp_path / "o" / "systems.csv").read_text().splitlines()) == len(rows) + 1
    assert "1,234 steps" in (tmp_path / "o" / "systems.md").read_text() and (tmp_path / "o" / "systems.png").exists()
    # Another run, of another system, keeps what this one found.
    other = [row | {"system": "other"} for row in rows if row["system"] == one]
    monkeypatch.setattr("X2BRLogic.evaluation.systems.rows", lambda jobs, workers: iter([other]))
    assert main([*arguments, "--keep", str(tmp_path / "o" / "systems.csv")]) == 0
    again = read_rows(tmp_path / "o" / "systems.csv")
    assert {row["system"] for row in again} == {one, two, NO_EVIDENCE, "other"}
    assert [row["asd_mm"] for row in again if row["system"] == "other"] == pytest.approx(
        [row["asd_mm"] for row in again if row["system"] == one]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "set,name\nreal\n",
        "\0",
        f"{_HEAD},asd_mm\nreal,a,b,strict,far\n",
        f"{_HEAD}\nreal,a,b,strict,1\n",
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=r"x\.csv"):
        read_rows(tmp_path / "x.csv")

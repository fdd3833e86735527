"""``x2br segment`` and ``x2br bench segmentation``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from segmentation_phantom import labelled, scan

from X2BRLogic import anatomy
from X2BRLogic.bench.segmentation import as_markdown, leave_one_out, scores
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_labels, write_volume


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two phantoms as subjects: the second a little larger and without its last ribs."""
    folder = tmp_path_factory.mktemp("people")
    for name, size, missing in (("one", 1.0, ()), ("two", 1.06, ("rib_left_12", "rib_right_12"))):
        truth = labelled(missing=missing)
        to_ras = np.diag([size, size, size, 1.0]) @ truth.ijk_to_ras
        (folder / name).mkdir()
        write_volume(folder / name / "ct.nii.gz", Volume(scan(truth).array, to_ras))
        write_volume(folder / name / "bones.nii.gz", Volume(truth.array, to_ras))
    return folder


def test_scores_of_a_shifted_naming():
    """All ribs of the left side one number too high: half of the rib voxels, half of the ribs."""
    truth = np.zeros((24, 20, 20), dtype=np.uint8)
    for n, label in enumerate(anatomy.RIBS):
        truth[n] = label
    found = truth.copy()
    left = (truth >= 1) & (truth <= 12)
    found[left] = np.where(truth[left] < 12, truth[left] + 1, 0)
    result = scores(found, truth)
    assert result["dice"]["ribs_right"] == 1.0
    assert result["dice"]["ribs_left"] == 0.0
    assert result["rib_voxels"] == pytest.approx(12 / 23)
    assert result["ribs"] == pytest.approx(12 / 24)
    assert result["dice"]["sternum"] is None


def test_each_person_is_scored_with_the_others_as_atlas(people, tmp_path, capsys, monkeypatch):
    """The naming itself is tested elsewhere and takes its time; here it answers the truth with one rib misnamed."""

    def named(ct, atlas):
        truth = labelled().array.copy()
        truth[truth == anatomy.BY_NAME["rib_left_4"].label] = anatomy.BY_NAME["rib_left_5"].label
        assert len(atlas.ribs) in (22, 24)
        return Volume(truth, ct.ijk_to_ras), ()

    monkeypatch.setattr("X2BRLogic.bench.segmentation.label_by_atlas", named)
    assert (
        main(["bench", "segmentation", str(people), "--atlas", "person", "--out", str(tmp_path / "b"), "--json"]) == 0
    )
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["subject"], row["atlas"]) for row in rows] == [("one", "two"), ("two", "one")]
    assert [row["ribs"] for row in rows] == pytest.approx([23 / 24, 21 / 22])
    assert all(0.9 < row["rib_voxels"] < 1.0 and row["vertebrae"] == 1.0 for row in rows)
    assert "| two | one |" in (tmp_path / "b" / "segmentation.md").read_text()
    assert "two,one,rib_right_4,1.0" in (tmp_path / "b" / "segmentation.csv").read_text()


def test_one_person_cannot_be_left_out(people, tmp_path):
    (tmp_path / "one").symlink_to(people / "one")
    with pytest.raises(InputError, match="two at least"):
        list(leave_one_out(tmp_path))


def test_a_case_that_fails_is_listed():
    row = {"subject": "a", "atlas": "b", "failed": "no spine was found"}
    assert "a by b: no spine was found" in as_markdown([row])


def test_given_labels_are_brought_into_our_form(people, tmp_path, capsys):
    ct, out = people / "one" / "ct.nii.gz", tmp_path / "bones.nrrd"
    assert (
        main(["segment", str(ct), "--labels", str(people / "one" / "bones.nii.gz"), "--out", str(out), "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["method"] == "given labels" and "rib_left_4" in said["bones"] and "sternum" in said["bones"]
    np.testing.assert_array_equal(read_labels(out).array, labelled().array)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "bones.png"], "bones.nii.gz"),
        (["--out", "nowhere/bones.nii.gz"], "folder that exists"),
        (["--out", "bones.nii.gz", "--labels", "none.nii.gz"], "does not exist"),
    ],
)
def test_bad_arguments_are_said_in_one_line(people, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert main(["segment", str(people / "one" / "ct.nii.gz"), *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("x2br: error:") and says in line

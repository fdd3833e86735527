"""Which CTs lie in a folder, and whose labels are whose."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pydicom
import pytest

from X2BRLogic.dataset.sources import find_sources
from X2BRLogic.errors import InputError
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume


@pytest.fixture
def volume(tmp_path):
    """Writes a small volume."""

    def write(path):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, Volume(np.zeros((16, 16, 16), np.int16), np.eye(4)))
        return path

    return write


@pytest.fixture
def slices(shared_data, tmp_path):
    """Copies slices of the DICOM scan into a folder; with a number, as a series of that number."""
    files = sorted((shared_data / "dicom" / "cptac_pda_C3N-00249").glob("*.dcm"))

    def copy(folder, count=20, series=None, modality="CT"):
        folder = tmp_path / folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in files[:count]:
            if series is None:
                shutil.copy(file, folder)
                continue
            data = pydicom.dcmread(file)
            data.SeriesNumber, data.Modality = series, modality
            data.SeriesInstanceUID = f"1.2.826.0.1.{series}"
            data.save_as(folder / f"{series}-{file.name}")
        return folder

    return copy


def test_all_kinds_of_folders(tmp_path, volume, slices):
    volume("in/anna/ct.nii.gz"), volume("in/anna/bones.nrrd"), volume("in/anna/extra.nii.gz")
    volume("in/berta.nrrd"), volume("in/berta_bones.nii.gz")
    volume("in/clara/ct.nii.gz"), volume("in/clara/segmentations/rib_left_1.nii.gz")
    slices("in/dora/study/series"), volume("in/dora/study/series/bones.nii.gz")
    slices("in/scout", count=3)
    volume("in/.hidden/ct.nii.gz")
    (tmp_path / "in" / "notes.txt").write_text("nothing")

    found = {source.name: source for source in find_sources(tmp_path / "in")}
    assert list(found) == ["anna", "berta", "clara", "dora_study_series"]
    assert {name: source.labels and source.labels.name for name, source in found.items()} == {
        "anna": "bones.nrrd",
        "berta": "berta_bones.nii.gz",
        "clara": "segmentations",
        "dora_study_series": "bones.nii.gz",
    }
    assert [source.person for source in found.values()] == ["anna", "berta", "clara", "dora"]
    assert found["dora_study_series"].place == "dora/study/series"
    assert len(found["dora_study_series"].files()) == 20 + 1 + 1  # its labels lie among the slices


def test_a_folder_with_several_series_holds_several_cts(tmp_path, slices):
    folder = slices("in/emma", series=4)
    slices("in/emma", series=7)
    slices("in/emma", series=8, modality="MR")
    slices("in/emma", series=9, count=2)
    found = find_sources(tmp_path / "in")
    assert [source.name for source in found] == ["emma_series4", "emma_series7"]
    assert [source.ct.name.partition("-")[0] for source in found] == ["4", "7"]
    assert find_sources(folder)[0].name == "emma_series4"


def test_a_damaged_slice_does_not_hide_its_series(tmp_path, slices):
    folder = slices("in/frieda")
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:200])
    assert [source.name for source in find_sources(tmp_path / "in")] == ["frieda"]


def test_labels_of_a_folder_come_before_those_beside(tmp_path, volume):
    volume("in/anna/ct.nii.gz"), volume("in/anna/bones.nii.gz"), volume("in/berta.nii.gz"), volume("in/clara.nii.gz")
    volume("labels/anna.seg.nrrd"), volume("labels/berta/bones.nii.gz"), volume("labels/clara/rib_left_1.nii.gz")
    found = {source.name: source.labels for source in find_sources(tmp_path / "in", tmp_path / "labels")}
    assert found == {
        "anna": tmp_path / "labels/anna.seg.nrrd",
        "berta": tmp_path / "labels/berta/bones.nii.gz",
        "clara": tmp_path / "labels/clara",
    }


def test_what_cannot_be_told_apart_is_refused(tmp_path, volume):
    with pytest.raises(InputError, match="is no folder"):
        find_sources(tmp_path / "nowhere")
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="holds no CT"):
        find_sources(tmp_path / "in")
    volume("in/anna.nii.gz")
    volume("labels/gisela.nii.gz")
    with pytest.raises(InputError, match=r"no file in .* belongs to a CT; name the labels as the CTs, such as anna"):
        find_sources(tmp_path / "in", tmp_path / "labels")
    volume("labels/anna.nii.gz"), volume("labels/anna.nrrd")
    with pytest.raises(InputError, match="several labels for anna"):
        find_sources(tmp_path / "in", tmp_path / "labels")
    volume("in/anna/ct.nii.gz")
    with pytest.raises(InputError, match="two CTs would have the name anna"):
        find_sources(tmp_path / "in")


def test_the_stamp_tells_times_and_the_hash_contents(tmp_path, volume):
    path = volume("in/anna.nii.gz")
    [source] = find_sources(tmp_path / "in")
    stamp, contents = source.stamp(), source.sha256()
    os.utime(path, (1, 1))
    assert source.stamp() != stamp and source.sha256() == contents
    path.write_bytes(path.read_bytes() + b"more")
    assert source.sha256() != contents


def test_links_are_followed_once_and_what_cannot_be_read_is_not_dropped(tmp_path, volume, monkeypatch):
    volume("elsewhere/anna/ct.nii.gz"), volume("in/berta.nii.gz")
    (tmp_path / "in" / "anna").symlink_to(tmp_path / "elsewhere" / "anna")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "clara.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    closed = tmp_path / "in" / "dora"
    closed.mkdir()
    listed = os.scandir

    def scandir(path):
        if os.fspath(path) == os.fspath(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    assert [source.name for source in find_sources(tmp_path / "in")] == ["anna", "berta", "clara", "dora"]

"""Collections of the Imaging Data Commons: the real index, and a folder in place of the bucket."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from X2BRLogic.dataset.archive import Bucket, Collection, Index, NoConnectionError, Remote, Series, fetch, plan
from X2BRLogic.dataset.archive.fetch import LICENCES, MANIFEST
from X2BRLogic.dataset.sources import find_sources
from X2BRLogic.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def index() -> Index:
    pytest.importorskip("idc_index_data")
    return Index()


# The shipped index ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LIDC-IDRI", "lidc_idri", "LIDC", " Lidc idri "])
def test_collection_is_found_however_it_is_written(index, name):
    collection = index.collection(name)
    assert collection.name == "lidc_idri"
    assert any("Armato" in citation for citation in collection.citations)
    assert not any("<" in citation for citation in collection.citations)


@pytest.mark.parametrize(
    "name, near", [("LIDC-IDIR", "lidc_idri"), ("nslt", "nlst"), ("lung", "lung_pet_ct_dx"), ("covid_19_ny", "sbu")]
)
def test_unknown_collection_names_the_nearest(index, name, near):
    try:
        assert near in index.collection(name).name  # a unique beginning is a name too
    except InputError as error:
        assert f"no collection {name}" in str(error) and near in str(error)


def test_series_of_lidc_are_as_the_paper_asks(index):
    start = time.perf_counter()
    series = index.series(index.collection("LIDC-IDRI"), 2.5)
    assert time.perf_counter() - start < 20  # under one second on a quiet machine
    subjects = {each.subject for each in series}
    assert 800 < len(subjects) <= 1010  # of 1010, some have thicker slices
    assert all(each.slices * 2.5 >= 250 and each.licence == "CC BY 3.0" and each.megabytes > 0 for each in series)
    assert all(each.url.startswith("s3://idc-open-data") and each.url.endswith("/*") for each in series)
    assert len({each.uid for each in series}) == len(series)


def test_thickness_is_read_where_the_description_tells_it(index):
    series = index.series(index.collection("NLST"), 2.0)
    known = [each for each in series if each.thickness is not None]
    assert len(known) > 0.9 * len(series) > 10_000
    assert all(each.thickness <= 2.0 for each in known)
    assert all(float(each.description.split(",")[6]) == each.thickness for each in known)
    assert not [each for each in series if each.slices < 50]  # scouts are in the collection, and not here


def test_choice_does_not_depend_on_how_many_are_taken(index):
    collection = index.collection("LIDC-IDRI")
    series = index.series(collection, 2.5)
    few, many = (plan(collection, series, subjects=n, per_subject=1, max_thickness=2.5).first for n in (5, 50))
    assert many[:5] == few and len(many) == 50
    assert few == plan(collection, Index().series(collection, 2.5), subjects=5, per_subject=1, max_thickness=2.5).first
    assert [each.subject for each in many] != sorted(each.subject for each in many)


def test_collection_without_a_thorax_is_told(index):
    collection = index.collection("upenn_gbm")
    with pytest.raises(InputError, match="no axial CT series of the thorax"):
        plan(collection, index.series(collection, 2.5), subjects=None, per_subject=1, max_thickness=2.5)


def test_table_of_acquisitions_rules_out_what_is_too_thick(index, tmp_path):
    import pyarrow
    from pyarrow import parquet

    collection = index.collection("LIDC-IDRI")
    some = [each.uid for each in index.series(collection, 2.5)[:3]]
    table = {
        "SeriesInstanceUID": some,
        "SliceThickness": [5.0, 1.25, 2.0],
        "ImageType": ["['ORIGINAL', 'PRIMARY', 'AXIAL']"] * 2 + ["['ORIGINAL', 'PRIMARY', 'LOCALIZER']"],
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "ct_index.parquet")
    found = {each.uid: each.thickness for each in index.series(collection, 2.5, tmp_path / "ct_index.parquet")}
    assert some[0] not in found and some[2] not in found and found[some[1]] == 1.25


# What is done with what comes ----------------------------------------------------------------------------------------


def write_slices(folder: Path, count: int = 110, step: float = 2.5, thickness: float = 2.5, axial: bool = True) -> None:
    """A CT series of tiny slices."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    for n in range(count):
        data = pydicom.Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.{n + 1}"
        data.SeriesInstanceUID, data.Modality, data.ImageType = "1.2", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.SliceThickness, data.PixelSpacing, data.SeriesNumber = thickness, [1, 1], 1
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if axial else [1, 0, 0, 0, 0, -1]
        data.ImagePositionPatient = [0, 0, n * step] if axial else [0, n * step, 0]
        data.Rows = data.Columns = 4
        data.BitsAllocated, data.BitsStored, data.HighBit, data.SamplesPerPixel = 16, 16, 15, 1
        data.PixelRepresentation, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.PixelData = np.full((4, 4), n, dtype=np.int16).tobytes()
        data.save_as(folder / f"{n:04d}.dcm", enforce_file_format=True)


class Shelf:
    """A folder of series in place of the bucket; counts, and breaks when told to."""

    def __init__(self, folder: Path):
        self.folder, self.copied, self.away, self.torn = folder, [], False, set()

    def _source(self, url: str) -> Path:
        if self.away:
            raise NoConnectionError("no connection to the Imaging Data Commons (unplugged); try again")
        return self.folder / url.split("/")[-2]

    def list(self, url):
        files = sorted(self._source(url).glob("*"))
        return [Remote(f.name, f.stat().st_size, hashlib.md5(f.read_bytes()).hexdigest()) for f in files]

    def copy(self, url, folder):
        source = self._source(url)
        self.copied.append(source.name)
        for n, file in enumerate(sorted(source.glob("*"))):
            if source.name in self.torn and n == 50:
                break
            shutil.copy(file, folder)


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    write_slices(folder / "good")
    write_slices(folder / "thick", thickness=5.0)
    write_slices(folder / "short", count=60)
    write_slices(folder / "coronal", axial=False)
    write_slices(folder / "gap", step=4.0)
    return folder


@pytest.fixture
def a_shelf(tmp_path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


COLLECTION = Collection("some_ct", "Some CT", ("Somebody (2020). Some CT.",))


def a_plan(shelf: Shelf, slices: Path, kinds: dict[str, list[str]], per_subject: int = 1):
    """Subjects, each with series of these kinds put on the shelf."""
    series = []
    for subject, each in kinds.items():
        for n, kind in enumerate(each):
            uid = f"{subject}.{n}".replace("/", "-")
            shutil.copytree(slices / kind, shelf.folder / uid)
            url = f"s3://bucket/{uid}/*"
            series.append(Series(subject, "1", uid, 110, 0.1, None, "CC BY 4.0", "10.1/some", url, ""))
    return plan(COLLECTION, series, subjects=None, per_subject=per_subject, max_thickness=2.5)


def manifest(out: Path) -> dict:
    return json.loads((out / MANIFEST).read_text())


def test_what_comes_is_whole_licensed_and_ready_for_build(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"], "../P/2": ["good"]})
    told = []
    came = fetch(wanted, tmp_path / "out", a_shelf, "25", progress=told.append)
    assert came == {"whole": 2, "unsuitable": 0, "incomplete": 0, "subjects": 2, "bytes": came["bytes"]}
    assert len(told) == 2 and "1 of 2" in told[0]
    licences = (tmp_path / "out" / LICENCES).read_text()
    assert (
        "CC BY 4.0: 2 series" in licences and "Somebody (2020)" in licences and "https://doi.org/10.1/some" in licences
    )
    record = manifest(tmp_path / "out")
    assert record["asked"] == {"subjects": 2, "series_per_subject": 1, "slice_thickness_mm": 2.5}
    assert [each["state"] for each in record["series"]] == ["whole", "whole"]
    assert record["came"]["bytes"] == sum(f.stat().st_size for f in (tmp_path / "out").rglob("*.dcm"))
    assert {source.person for source in find_sources(tmp_path / "out")} == {"P1", "_P_2"}
    assert not [path for path in tmp_path.rglob("*.dcm") if not path.is_relative_to(tmp_path / "out")
                and not path.is_relative_to(a_shelf.folder)]  # fmt: skip


@pytest.mark.parametrize(
    "kind, why",
    [("thick", "5 mm thick"), ("short", "covers 148 mm"), ("coronal", "not axial"), ("gap", "4.0 mm apart")],
)
def test_unsuitable_series_is_told_removed_and_replaced_by_the_next(a_shelf, slices, tmp_path, kind, why):
    wanted = a_plan(a_shelf, slices, {"P": [kind, "good", "good"]})
    came = fetch(wanted, tmp_path / "out", a_shelf, "25")
    assert (came["whole"], came["unsuitable"]) == (1, 1)
    record = {each["uid"]: each for each in manifest(tmp_path / "out")["series"]}
    assert why in record["P.0"]["why"] and record["P.1"]["state"] == "whole" and "P.2" not in record
    assert [path.name for path in (tmp_path / "out" / "P").iterdir()] == ["P.1"]
    a_shelf.copied.clear()
    assert fetch(wanted, tmp_path / "out", a_shelf, "25") == came and not a_shelf.copied  # it is not fetched again


def test_whole_series_are_not_fetched_again_and_need_no_connection(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"], "P2": ["good"]})
    came = fetch(wanted, tmp_path / "out", a_shelf, "25")
    a_shelf.away = True
    assert fetch(wanted, tmp_path / "out", a_shelf, "25") == came
    a_shelf.away = False
    next((tmp_path / "out" / "P2" / "P2.0").glob("*")).unlink()
    a_shelf.copied.clear()
    assert fetch(wanted, tmp_path / "out", a_shelf, "25") == came
    assert a_shelf.copied == ["P2.0"]


def test_lost_connection_keeps_what_came_and_goes_on(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"], "P2": ["good"], "P3": ["good"]})

    def unplug(_):
        a_shelf.away = True

    with pytest.raises(NoConnectionError):
        fetch(wanted, tmp_path / "out", a_shelf, "25", progress=unplug)
    assert manifest(tmp_path / "out")["came"]["whole"] == 1
    a_shelf.away = False
    a_shelf.copied.clear()
    assert fetch(wanted, tmp_path / "out", a_shelf, "25")["whole"] == 3
    assert a_shelf.copied == ["P2.0", "P3.0"]


def test_torn_download_never_has_the_series_name_and_is_completed(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"], "P2": ["good"]})
    a_shelf.torn = {"P1.0"}
    came = fetch(wanted, tmp_path / "out", a_shelf, "25")
    assert (came["whole"], came["incomplete"]) == (1, 1)
    assert "60 of 110 files did not come" in manifest(tmp_path / "out")["series"][0]["why"]
    assert [source.person for source in find_sources(tmp_path / "out")] == ["P2"]
    a_shelf.torn = set()
    assert fetch(wanted, tmp_path / "out", a_shelf, "25")["whole"] == 2


def test_damaged_byte_is_found_by_its_checksum(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"]})

    class Flips(Shelf):
        def copy(self, url, folder):
            super().copy(url, folder)
            file = folder / "0007.dcm"
            file.write_bytes(file.read_bytes()[:-1] + b"\xff")

    came = fetch(wanted, tmp_path / "out", Flips(a_shelf.folder), "25")
    assert came["incomplete"] == 1 and not list(tmp_path.glob("out/P1/P1.0"))
    assert "0007.dcm has another MD5" in manifest(tmp_path / "out")["series"][0]["why"]


def test_folder_of_another_collection_and_damaged_record_are_refused(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"]})
    fetch(wanted, tmp_path / "out", a_shelf, "25")
    record = manifest(tmp_path / "out") | {"collection": "other_ct"}
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(InputError, match="holds other_ct"):
        fetch(wanted, tmp_path / "out", a_shelf, "25")
    (tmp_path / "out" / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        fetch(wanted, tmp_path / "out", a_shelf, "25")


def test_full_disk_is_told_before_anything_comes(a_shelf, slices, tmp_path):
    wanted = a_plan(a_shelf, slices, {"P1": ["good"]})
    (large,) = wanted.candidates["P1"]
    wanted.candidates["P1"] = [Series(**{**large.__dict__, "megabytes": 1e12})]
    with pytest.raises(InputError, match="GB free"):
        fetch(wanted, tmp_path / "out", a_shelf, "25")
    assert not a_shelf.copied and not (tmp_path / "out").exists()


# The command, without a network --------------------------------------------------------------------------------------


def run_command(*arguments: str, home: Path) -> tuple[subprocess.CompletedProcess, float]:
    """``x2br dataset fetch`` in a process of its own whose every connection is refused."""
    nowhere = "http://127.0.0.1:9"
    environment = os.environ | {"HTTPS_PROXY": nowhere, "https_proxy": nowhere, "XDG_DATA_HOME": str(home)}
    environment |= {"NO_PROXY": "", "no_proxy": "", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "X2BRLogic", "dataset", "fetch", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    return done, time.perf_counter() - start


def test_command_without_a_network_ends_in_one_clear_line(index, tmp_path):
    done, seconds = run_command("LIDC-IDRI", str(tmp_path / "out"), "--subjects", "2", home=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and not done.stdout
    assert lines[-1].startswith("x2br: error: no connection to the Imaging Data Commons (")
    assert lines[0].startswith("lidc_idri: 2 series of 2 subjects") and "CC BY 3.0" in lines[0]
    assert "Traceback" not in done.stderr and len(lines) <= 3
    assert seconds < 60
    assert not (tmp_path / "out").exists()


def test_dry_run_lists_and_writes_nothing(index, tmp_path):
    arguments = ["NLST", str(tmp_path / "out"), "--subjects", "3", "--series-per-subject", "2", "--dry-run", "--json"]
    done, _ = run_command(*arguments, home=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["subjects"] == 3 and 3 <= len(result["series"]) <= 6
    assert result["megabytes"] == pytest.approx(sum(each["megabytes"] for each in result["series"]), abs=1)
    assert result["licences"].keys() == {"CC BY 4.0"}
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="stands in a shell script for s5cmd")
def test_bucket_reads_what_s5cmd_answers(tmp_path, monkeypatch):
    """The program's own output format, recorded; the program itself is replaced."""
    answers = tmp_path / "s5cmd"
    listed = [
        {"key": "s3://b/f/a.dcm", "etag": '"0123456789abcdef0123456789abcdef"', "type": "file", "size": 526},
        {"key": "s3://b/f/b.dcm", "etag": '"0123456789abcdef0123456789abcdef-2"', "type": "file", "size": 9},
    ]
    text = "\n".join(map(json.dumps, listed))
    answers.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    answers.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    files = Bucket().list("s3://b/f/*")
    assert files == [Remote("a.dcm", 526, "0123456789abcdef0123456789abcdef"), Remote("b.dcm", 9, None)]
    answers.write_text('#!/bin/sh\necho \'{"error":"send request failed: dial tcp: no such host"}\' >&2\nexit 1\n')
    with pytest.raises(NoConnectionError, match=r"\(no such host\)"):
        Bucket().list("s3://b/f/*")

"""What is hostile or unlucky beside the bytes of a file: names, links, bombs, full disks, odd systems, company.

Each class is a row of Documentation/benchmarks/robustness.md.
"""

from __future__ import annotations

import json
import locale
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image, PngImagePlugin
from pydicom import dcmread, uid

from Testing.core.test_broken_files import film, hounsfield, peak_memory, picture, refused, save, zlib_bomb
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.files import folder_written_whole, written_whole
from X2BRLogic.radiograph import read_radiograph

ROOT = Path(__file__).resolve().parents[2]
ON_LINUX = sys.platform == "linux"
GIB = 1 << 30


def drr(ct: Path, out: Path, *more) -> list[str]:
    return ["drr", str(ct), "--out", str(out), "--size", "16", *map(str, more)]


def png(path: Path) -> Path:
    Image.fromarray(picture((80, 72))).save(path)
    return path


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("ct") / "ct.nii.gz", hounsfield((18, 17, 16)))


def command(arguments: list[str], environment: dict | None = None, **how) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "X2BRLogic", *map(str, arguments)],
        cwd=how.pop("cwd", ROOT),
        env=(os.environ if environment is None else environment) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        **how,
    )


class TestDecompressionBombs:
    """A few MB that unpack to gigabytes; more of them are in core/test_broken_files.py."""

    @pytest.fixture(autouse=True)
    def _modest(self):
        if ON_LINUX:
            Path("/proc/self/clear_refs").write_text("5")
            before = peak_memory()
        start = time.process_time()  # others may keep the machine busy
        yield
        assert time.process_time() - start < 30
        assert not ON_LINUX or peak_memory() - before < 2 * GIB

    def test_pixels_of_a_png(self, tmp_path):
        content = bytearray(png(tmp_path / "x.png").read_bytes())
        at = content.index(b"IDAT")
        body = zlib_bomb(4)
        chunk = b"IDAT" + body
        framed = len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        (tmp_path / "x.png").write_bytes(content[: at - 4] + framed + content[-12:])
        assert read_radiograph_or_refuse(tmp_path / "x.png")

    @pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
    def test_words_of_a_png(self, tmp_path, kind):
        words = PngImagePlugin.PngInfo()
        words.add(kind, b"Comment\0\0" + zlib_bomb(2))
        Image.fromarray(picture((80, 72))).save(tmp_path / "x.png", pnginfo=words)
        assert read_radiograph_or_refuse(tmp_path / "x.png")

    def test_a_deflated_dicom(self, tmp_path):
        path = film(tmp_path / "x.dcm", lambda d: d.file_meta.__setattr__("TransferSyntaxUID", _DEFLATED))
        content = path.read_bytes()
        start = 144 + int.from_bytes(content[140:144], "little")
        packer = zlib.compressobj(9, wbits=-15)
        first, again = (packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        path.write_bytes(content[:start] + first + again * 255 + packer.flush())
        with pytest.raises(InputError, match="unpacks to more than 512 MiB"):
            read_radiograph(path)

    def test_an_archive_of_arrays(self, tmp_path):
        from X2BRLogic.template import read_skeleton

        np.savez_compressed(tmp_path / "skel.npz", skel_template_v=np.zeros((10_000, 3)))
        content = (tmp_path / "skel.npz").read_bytes()
        central = content.index(b"PK\1\2") + 24
        (tmp_path / "skel.npz").write_bytes(
            content[:central] + (3 * GIB).to_bytes(4, "little") + content[central + 4 :]
        )
        with pytest.raises(InputError, match="unpacks to 3072 MiB"):
            read_skeleton(tmp_path / "skel.npz")


_DEFLATED = uid.DeflatedExplicitVRLittleEndian


def read_radiograph_or_refuse(path: Path) -> bool:
    try:
        return read_radiograph(path).pixels.shape == (80, 72)
    except InputError:
        return True


class TestPathsThatLeadAway:
    """Names in files that would lead out of their folder."""

    @pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "sub/../../secret.raw"])
    @pytest.mark.parametrize("header", ["ct.mhd", "ct.nrrd"])
    def test_voxels_elsewhere(self, tmp_path, capfd, header, name):
        folder = tmp_path / "in"
        folder.mkdir()
        values = hounsfield((18, 17, 16))
        values.tofile(tmp_path / "secret.raw")
        if header == "ct.mhd":
            save(folder / header, values)
            text = re.sub(
                rb"ElementDataFile = .*", f"ElementDataFile = {name}".encode(), (folder / header).read_bytes()
            )
        else:
            save(folder / header, values)
            head = (folder / header).read_bytes().partition(b"\n\n")[0]
            text = head + f"\ndata file: {name}\n".encode()
        (folder / header).write_bytes(text)
        assert "outside its folder" in refused(drr(folder / header, tmp_path / "out"), tmp_path, capfd)

    @pytest.mark.parametrize(
        "line",
        [
            "ElementDataFile : ../secret.raw",
            "ElementDataFile = LIST\n../secret.raw",
            "ElementDataFile = LIST 3D\n../secret.raw",
            "ElementDataFile = %1$c%1$c/secret.raw 46 46 1",
            "Comment = " + 70_000 * "x" + "\nElementDataFile = ../secret.raw",
            "ElementDataFile = a\0/../../secret.raw",
            f"ElementDataFile = {300 * 'x'}/../../secret.raw",
        ],
        ids=["colon", "list", "list 3D", "pattern", "far down", "null", "long"],
    )
    def test_voxels_elsewhere_by_other_ways_of_a_metaimage(self, tmp_path, capfd, line):
        (tmp_path / "in").mkdir()
        hounsfield((18, 17, 16)).tofile(tmp_path / "secret.raw")
        save(tmp_path / "in" / "ct.mhd", hounsfield((18, 17, 16)))
        header = (tmp_path / "in" / "ct.mhd").read_text().partition("ElementDataFile")[0]
        (tmp_path / "in" / "ct.mhd").write_text(header + line + "\n")
        refused(drr(tmp_path / "in" / "ct.mhd", tmp_path / "out"), tmp_path, capfd)

    @pytest.mark.parametrize(
        "lines",
        [
            "data file: \t../secret.raw\n",
            "datafile: LIST\n../secret.raw\n",
            "data file: LIST 3\n../secret.raw",
            "data file: ../secret%d.raw 1 1 1",
            "".join(f"# {n:060d}\n" for n in range(1500)) + "data file: ../secret.raw\n",
        ],
        ids=["tab", "list", "list 3D", "pattern", "far down"],
    )
    def test_voxels_elsewhere_by_other_ways_of_a_nrrd(self, tmp_path, capfd, lines):
        (tmp_path / "in").mkdir()
        hounsfield((18, 17, 16)).tofile(tmp_path / "secret.raw")
        shutil.copy(tmp_path / "secret.raw", tmp_path / "secret1.raw")
        save(tmp_path / "in" / "ct.nrrd", hounsfield((18, 17, 16)))
        header = (tmp_path / "in" / "ct.nrrd").read_bytes().partition(b"\n\n")[0].decode()
        header = header.replace("encoding: gzip", "encoding: raw")
        (tmp_path / "in" / "ct.nrrd").write_text(f"{header}\n{lines}")
        refused(drr(tmp_path / "in" / "ct.nrrd", tmp_path / "out"), tmp_path, capfd)

    def test_voxels_beside_their_header_are_read(self, tmp_path):
        save(tmp_path / "ct.mhd", hounsfield((18, 17, 16)))
        assert main(drr(tmp_path / "ct.mhd", tmp_path / "out")) == 0

    def test_names_of_bones_and_boxes(self, tmp_path):
        from X2BRLogic.detection import Box, read_boxes
        from X2BRLogic.template import Skeleton

        for name in ("../../x", "/etc/passwd", "rib_left_4/../../x", "con", "rib_left_4\0"):
            with pytest.raises(InputError):
                Skeleton({name: None})
            with pytest.raises(InputError):
                Box.of(name, (0, 0, 1, 1))
            box = {"name": name, "group": name, "level": 1, "box": [0, 0, 1, 1], "confidence": 1}
            (tmp_path / "b.json").write_text(json.dumps({"schema": "x2br-boxes-1", "boxes": [box]}))
            with pytest.raises(InputError):
                read_boxes(tmp_path / "b.json")

    def test_members_of_an_archive(self, tmp_path):
        """Arrays are read from archives, members are never unpacked into files."""
        from X2BRLogic.template import read_skeleton

        (tmp_path / "in").mkdir()
        with zipfile.ZipFile(tmp_path / "in" / "skel.npz", "w") as archive:
            archive.writestr("../escaped.npy", b"\x93NUMPY\x01\x00")
        with pytest.raises(InputError):
            read_skeleton(tmp_path / "in" / "skel.npz")
        assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "skel.npz"]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
class TestSymbolicLinks:
    """Loops, links to nowhere, links out of the folder."""

    def test_an_input_that_is_a_loop(self, tmp_path, capfd):
        (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
        (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
        refused(["reconstruct", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")], tmp_path, capfd)

    def test_an_output_that_is_a_link_to_a_folder(self, ct, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert main(drr(ct, tmp_path / "link")) == 0
        assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["drr_ap.png", "geometry.json"]
        assert (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize("target", ["nowhere", "link"])
    def test_an_output_that_leads_nowhere(self, ct, tmp_path, capfd, target):
        (tmp_path / "link").symlink_to(tmp_path / target)
        refused(drr(ct, tmp_path / "link"), tmp_path, capfd, progress=3)

    def test_a_result_that_is_a_link_is_replaced_and_its_target_kept(self, ct, tmp_path):
        (tmp_path / "mine.png").write_bytes(b"mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "drr_ap.png").symlink_to(tmp_path / "mine.png")
        assert main(drr(ct, tmp_path / "out")) == 0
        assert (tmp_path / "mine.png").read_bytes() == b"mine" and not (tmp_path / "out" / "drr_ap.png").is_symlink()

    def test_a_folder_of_films_with_links_out_of_it(self, tmp_path):
        from X2BRLogic.batch import find_films

        films = tmp_path / "films"
        films.mkdir()
        png(films / "film.png")
        (tmp_path / "elsewhere").mkdir()
        png(tmp_path / "elsewhere" / "other.png")
        (films / "out").symlink_to(tmp_path / "elsewhere")
        (films / "loop").symlink_to(films)
        assert find_films(films, tmp_path / "out") == ["film.png"]


class TestEnormousHeaders:
    """Headers of many megabytes, and of lengths beyond the file."""

    CASES: ClassVar = {
        "nrrd of a million comments": ("x.nrrd", lambda b: b.replace(b"\n", b"\n" + b"# x\n" * 1_000_000, 1)),
        "nrrd of a line of 20 MB": ("x.nrrd", lambda b: b.replace(b"\n", b"\n#" + b"x" * 20_000_000 + b"\n", 1)),
        "mha of a million lines": ("x.mha", lambda b: b"Comment = x\n" * 1_000_000 + b),
        "mha of a line of 20 MB": ("x.mha", lambda b: b"Comment = " + b"x" * 20_000_000 + b"\n" + b),
        "nii whose extension is 2 GB": ("x.nii", lambda b: b[:348] + b"\1\0\0\0\xf0\xff\xff\x7f\0\0\0\0" + b[352:]),
    }

    @pytest.mark.parametrize("case", CASES)
    def test_of_a_scan(self, tmp_path, case):
        from X2BRLogic.volume_io import read_ct

        name, change = self.CASES[case]
        path = save(tmp_path / name, hounsfield((18, 17, 16)))
        path.write_bytes(change(path.read_bytes()))
        start = time.process_time()
        try:
            assert read_ct(path).array.shape == (18, 17, 16)
        except InputError as error:
            assert str(path) in str(error)
        assert time.process_time() - start < 30

    def test_of_labels(self, tmp_path):
        from Testing.fuzz.originals import named_nifti, scan_of_truth, truth
        from X2BRLogic.segmentation import read_bone_labels

        named_nifti(tmp_path / "x.nii", truth(), '<Label Key="1"' * 70_000)
        start = time.process_time()
        read_bone_labels(tmp_path / "x.nii", scan_of_truth())
        assert time.process_time() - start < 30

    @pytest.mark.parametrize("key", ["latent", "hidden", "image_size", "channels"])
    def test_of_an_architecture(self, tmp_path, key):
        """Weights whose header asks for a network of terabytes."""
        from Testing.fuzz.originals import weights
        from X2BRLogic.networks import load_model, read_header, with_facts

        weights(tmp_path)
        file = tmp_path / "x2b.safetensors"
        with_facts(file, architecture=read_header(file)["architecture"] | {key: 10**6})
        with pytest.raises(InputError, match=r"get it again|has no size"):
            load_model(file)

    @pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**11, 2**31])
    def test_of_weights(self, tmp_path, length):
        from X2BRLogic.networks import read_header

        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}" * 50)
        with pytest.raises(InputError, match=r"damaged or no safetensors"):
            read_header(tmp_path / "w.safetensors")

    def test_of_json_and_toml(self, tmp_path, capfd):
        many = ",".join(f'"k{n}": {n}' for n in range(300_000))
        (tmp_path / "film.geometry.json").write_text("{" + many + "}")
        png(tmp_path / "film.png")
        refused(["reconstruct", str(tmp_path / "film.png"), "--out", str(tmp_path / "o")], tmp_path, capfd)
        (tmp_path / "run.toml").write_text("".join(f"k{n} = {n}\n" for n in range(3_000)))
        with pytest.raises(InputError):
            from X2BRLogic.detection.config import read_detector_config

            read_detector_config(tmp_path / "run.toml")


def _write_many(folder: str, mark: str, rounds: int, barrier) -> None:
    barrier.wait()
    for n in range(rounds):
        with folder_written_whole(folder, ("only_a", "only_b")) as partial:
            for name in ("one", "two", "three", f"only_{mark}"):
                (partial / name).write_text(f"{mark} {n}")


class TestTwoAtOnce:
    """Several runs into one folder: it holds one result, whole."""

    def test_results_never_mix(self, tmp_path):
        context = multiprocessing.get_context("fork" if ON_LINUX else "spawn")
        barrier = context.Barrier(3)
        marks = ("a", "b")
        writers = [context.Process(target=_write_many, args=(str(tmp_path / "o"), m, 60, barrier)) for m in marks]
        for writer in writers:
            writer.start()
        barrier.wait()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0]
        found = {path.name: path.read_text() for path in (tmp_path / "o").iterdir()}
        (mark,) = {text[0] for text in found.values()}
        assert set(found) == {"one", "two", "three", f"only_{mark}"} and len(set(found.values())) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["o"]

    def test_two_commands(self, ct, tmp_path):
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "X2BRLogic", *drr(ct, tmp_path / "o", "--sid", sid)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for sid in (1700, 1800)
        ]
        told = [run.communicate(timeout=120)[1].decode() for run in runs]
        assert [run.returncode for run in runs] == [0, 0], told
        assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["drr_ap.png", "geometry.json"]
        listed = json.loads((tmp_path / "o" / "geometry.json").read_text())["images"]
        assert listed["drr_ap.png"]["sid_mm"] in (1700.0, 1800.0)


class TestFullAndReadOnlyDisks:
    """Nothing is left where it cannot be written whole."""

    @pytest.mark.skipif(not ON_LINUX, reason="limits on the size of files are POSIX's")
    @pytest.mark.parametrize("room", [0, 100, 300])
    def test_a_disk_that_fills(self, ct, tmp_path, room):
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            f"sys.dont_write_bytecode = True; from X2BRLogic.cli import main; import X2BRLogic.drr.writing; "
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); sys.exit(main(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *drr(ct, tmp_path / "o", "--raw")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        told = done.stderr.decode()
        assert done.returncode == 2 and told.splitlines()[-1].startswith("x2br: error: cannot write"), told
        assert "Traceback" not in told and not list(tmp_path.iterdir())

    def test_a_small_disk(self, ct, tmp_path):
        small = tmp_path / "small"
        small.mkdir()
        mounted = (
            ON_LINUX
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
            ).returncode
        )
        if not mounted:
            pytest.skip("a small disk can be mounted by root on Linux alone")
        try:
            (small / "filler").write_bytes(bytes(60_000))
            done = command(drr(ct, small / "o", "--raw", "--dicom", "--clahe"))
            told = done.stderr.decode()
            assert done.returncode == 2 and "x2br: error: cannot write" in told and "Traceback" not in told
            assert [path.name for path in small.iterdir()] == ["filler"]
        finally:
            subprocess.run(["umount", str(small)], check=True)

    def test_a_read_only_disk(self, ct, tmp_path):
        place = tmp_path / "fixed"
        place.mkdir()
        mounted = (
            ON_LINUX
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], capture_output=True
            ).returncode
        )
        if not mounted:
            place.chmod(0o500)
            if os.access(place, os.W_OK):
                pytest.skip("nothing is read-only for this user")
        try:
            done = command(drr(ct, place / "o"))
            told = done.stderr.decode().splitlines()
            assert done.returncode == 2 and told[-1].startswith("x2br: error: cannot write"), told
            with pytest.raises(InputError, match="cannot write"), written_whole(place / "x.json") as partial:
                partial.write_text("x")
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=True)


NAMES = {
    "composed": unicodedata.normalize("NFC", "Röntgen é"),
    "decomposed": unicodedata.normalize("NFD", "Röntgen é"),
    "emoji": "🦴🩻 thorax",
    "right to left": "צילום \u202e חזה",
    "newline": "two\nlines",
    "quotes": "a'b\"c;$(x) &",
    "percent": "%s %n {x} {0}",
    "long": "x" * 240,
    "long in UTF-8": "ö" * 120,
    "leading dash": "-rf",
    "dot": "...x",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids most of these names")
class TestNames:
    """Unicode in either form, emoji, right to left, line ends, and names and paths of full length."""

    @pytest.mark.parametrize("name", NAMES)
    def test_in_and_out(self, tmp_path, ct, name):
        folder = tmp_path / NAMES[name]
        folder.mkdir()
        scan = folder / f"{NAMES[name]}.nii.gz"
        scan.write_bytes(ct.read_bytes())
        assert main(drr(scan, folder / NAMES[name])) == 0
        assert sorted(p.name for p in (folder / NAMES[name]).iterdir()) == ["drr_ap.png", "geometry.json"]

    @pytest.mark.parametrize("name", NAMES)
    def test_in_a_message(self, tmp_path, capfd, name):
        broken = tmp_path / f"{NAMES[name]}.png"
        broken.write_bytes(b"no picture")
        refused(["reconstruct", str(broken), "--out", str(tmp_path / "o")], tmp_path, capfd)

    @pytest.mark.parametrize("name", ["x" * 251 + ".ply", "ö" * 125 + ".json", "x" * 255])
    def test_a_name_of_full_length_is_written(self, tmp_path, name):
        with written_whole(tmp_path / name) as partial:
            partial.write_text("x")
        with folder_written_whole(tmp_path / ("y" * 255)) as partial:
            (partial / "x").write_text("x")
        assert len(list(tmp_path.iterdir())) == 2

    def test_names_and_paths_that_are_too_long(self, ct, tmp_path, capfd):
        refused(drr(ct, tmp_path / ("x" * 300)), tmp_path, capfd, progress=3)
        refused(drr(tmp_path / ("x" * 300 + ".nii"), tmp_path / "o"), tmp_path, capfd)
        refused(drr(Path("/".join(["x" * 100] * 60) + ".nii"), tmp_path / "o"), tmp_path, capfd)

    def test_a_path_of_a_thousand_characters(self, ct, tmp_path):
        deep = tmp_path.joinpath(*["y" * 100] * 10)
        deep.mkdir(parents=True)
        (deep / "ct.nii.gz").write_bytes(ct.read_bytes())
        assert main(drr(deep / "ct.nii.gz", deep / "o")) == 0

    def test_a_path_with_a_zero(self, capfd, tmp_path):
        refused(drr(Path("a\0b.nii"), tmp_path / "o"), tmp_path, capfd)
        refused(["reconstruct", "a\0b.png", "--out", str(tmp_path / "o")], tmp_path, capfd)


def german() -> str | None:
    """A locale with a decimal comma, if this system has one."""
    for name in ("de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"):
        try:
            before = locale.setlocale(locale.LC_NUMERIC)
            locale.setlocale(locale.LC_NUMERIC, name)
            locale.setlocale(locale.LC_NUMERIC, before)
            return name
        except locale.Error:
            continue
    return None


class TestSystems:
    """Locales, time zones, closed streams, no home, nowhere to keep compiled kernels."""

    @pytest.fixture
    def decimal_comma(self, tmp_path, monkeypatch):
        name = german()
        if name is None and ON_LINUX:  # systems in containers have none: make one
            made = subprocess.run(
                ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")], capture_output=True
            )
            if made.returncode == 0:
                monkeypatch.setenv("LOCPATH", str(tmp_path))
                name = german()
        if name is None:
            pytest.skip("no locale with a decimal comma here, and none can be made")
        before = locale.setlocale(locale.LC_ALL)
        locale.setlocale(locale.LC_ALL, name)
        yield
        locale.setlocale(locale.LC_ALL, before)

    def test_numbers_with_a_decimal_comma(self, decimal_comma, tmp_path):
        """Qt sets the user's locale for C as well, so it is set inside Slicer."""
        import trimesh

        from X2BRLogic.evaluation.inputs import load_shape
        from X2BRLogic.volume import Volume
        from X2BRLogic.volume_io import read_volume, write_volume

        assert locale.localeconv()["decimal_point"] == ","
        to_ras = np.diag([1.25, 1.5, 2.75, 1.0])
        for name in ("a.nrrd", "a.mha", "a.nii"):
            write_volume(tmp_path / name, Volume(hounsfield((18, 17, 16)), to_ras))
            np.testing.assert_allclose(read_volume(tmp_path / name).ijk_to_ras, to_ras)
        ball = trimesh.creation.icosphere(subdivisions=1, radius=2.5)
        for name in ("a.obj", "a.off", "a.ply"):
            ball.export(tmp_path / name)
            np.testing.assert_allclose(load_shape(tmp_path / name).bounds, ball.bounds, atol=1e-3)

    ENVIRONMENTS: ClassVar = {
        "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        "POSIX, Kiritimati": {"LC_ALL": "POSIX", "TZ": "Pacific/Kiritimati"},
        "Turkish, no such zone": {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr", "TZ": "No/Where"},
        "no locale that exists": {"LC_ALL": "xx_YY.UTF-8", "TZ": ":"},
        "ASCII alone": {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    }

    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_locales_and_time_zones(self, ct, tmp_path, name):
        out = tmp_path / "Ergebnis ö 🦴"
        done = command(drr(ct, out, "--dicom"), os.environ | self.ENVIRONMENTS[name])
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
        assert sorted(p.name for p in out.iterdir()) == ["drr_ap.dcm", "drr_ap.png", "geometry.json"]
        assert dcmread(out / "drr_ap.dcm").PixelData
        if "ASCII" not in name and name != "C":
            return
        broken = command(drr(out / "ö.nii", out), os.environ | self.ENVIRONMENTS[name])
        assert broken.returncode == 2 and broken.stderr.count(b"\n") == 1, broken.stderr

    @pytest.mark.skipif(os.name == "nt", reason="streams are closed by a POSIX shell")
    @pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-", "</dev/null >/dev/full"])
    def test_closed_streams(self, ct, tmp_path, closed):
        words = " ".join(f"'{word}'" for word in [sys.executable, "-m", "X2BRLogic", *drr(ct, tmp_path / "o")])
        done = subprocess.run(["sh", "-c", f"{words} {closed}"], cwd=ROOT, capture_output=True, timeout=120)
        assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr
        assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["drr_ap.png", "geometry.json"]

    def test_no_home_and_nowhere_for_compiled_kernels(self, tmp_path, monkeypatch):
        """Then they are compiled for this process alone."""
        monkeypatch.setattr(os, "access", lambda place, mode: False)
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        from X2BRLogic import kernel_cache

        kernel_cache.ensure()
        kept = Path(os.environ["NUMBA_CACHE_DIR"])
        assert kept.parent == tmp_path and (os.name == "nt" or kept.stat().st_mode & 0o777 == 0o700)

    def test_no_home(self, ct, tmp_path):
        bare = {key: value for key, value in os.environ.items() if key not in ("HOME", "USERPROFILE", "XDG_CACHE_HOME")}
        done = command(drr(ct, tmp_path / "o"), bare)
        assert done.returncode == 0, done.stderr

    def test_a_package_that_cannot_be_written_to(self, ct, tmp_path):
        place = tmp_path / "installed"
        place.mkdir()
        if (
            not ON_LINUX
            or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode
        ):
            pytest.skip("a read-only file system can be mounted by root on Linux alone")
        try:
            copy = ["cp", "-r", str(ROOT / "X2BRLogic"), str(place)]
            subprocess.run(copy, check=True)
            for cache in place.rglob("__pycache__"):
                for file in cache.glob("*.nb*"):
                    file.unlink()
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            bare = os.environ | {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "PYTHONPATH": str(place)}
            done = subprocess.run(
                [sys.executable, "-c", "from X2BRLogic.surface import _winding; print(_winding.__file__)"],
                cwd=tmp_path,
                env=bare,
                capture_output=True,
                timeout=120,
            )
            assert done.returncode == 0 and str(place).encode() in done.stdout, done.stderr
        finally:
            subprocess.run(["umount", str(place)], check=True)


def test_the_scan_of_these_tests_is_read(ct):
    assert sitk.ReadImage(str(ct)).GetSize() == (16, 17, 18)

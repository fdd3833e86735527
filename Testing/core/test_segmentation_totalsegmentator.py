"""TotalSegmentator as a child process: the real package where it is found, and a stand-in program everywhere."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.segmentation import label_bones, totalsegmentator
from X2BRLogic.volume import Volume


@pytest.fixture
def ct() -> Volume:
    """A bar of bone in air, sheared in no way, off the origin."""
    array = np.full((40, 40, 40), -1000, dtype=np.int16)
    array[10:30, 18:24, 10:30] = 400
    to_ras = np.diag([3.0, 3.0, 3.0, 1.0])
    to_ras[:3, 3] = (-40.0, 25.0, 700.0)
    return Volume(array, to_ras)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A Python whose ``totalsegmentator`` package does what the given lines say, with the weights' folders made.

    The lines see ``ct`` and ``out``, the paths it was called with, and ``arguments``.
    """

    def make(lines: str) -> Path:
        package = tmp_path / "packages" / "totalsegmentator" / "bin"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package.parent / "__init__.py").touch()
        head = "import json, sys, time\narguments = sys.argv[1:]\nct, out = arguments[1], arguments[3]\n"
        (package / "TotalSegmentator.py").write_text(head + textwrap.dedent(lines))
        weights = tmp_path / "weights"
        for number in (291, 292, 293, 294, 295, 298):
            (weights / f"Dataset{number}_x").mkdir(parents=True)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
        monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
        monkeypatch.setenv(totalsegmentator.PYTHON_VARIABLE, sys.executable)
        return tmp_path

    return make


def test_its_answer_comes_back_in_our_numbers(stand_in, ct):
    """The task's number 95 is the fourth left rib; the file it reads is the CT it was given."""
    folder = stand_in(
        """
        import SimpleITK as sitk
        image = sitk.ReadImage(ct)
        sitk.WriteImage(sitk.Cast(95 * (image > 100), sitk.sitkUInt8), out)
        open(sys.path[1] + "/../called.json", "w").write(json.dumps(arguments))
        """
    )
    result = label_bones(ct)  # ready, so that auto takes it
    assert result.method == "totalsegmentator"
    np.testing.assert_array_equal(result.labels.array, np.where(ct.array > 100, anatomy.BY_NAME["rib_left_4"].label, 0))
    np.testing.assert_allclose(result.labels.ijk_to_ras, ct.ijk_to_ras)
    called = json.loads((folder / "called.json").read_text())
    subset = called[called.index("--roi_subset") + 1 :]
    assert {"rib_left_1", "rib_right_12", "vertebrae_T1", "sternum", "costal_cartilages"} <= set(subset)
    assert "--ml" in called


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("raise SystemExit('requests.exceptions.ConnectionError: Max retries exceeded with url')", "no network"),
        ("raise SystemExit('CUDA out of memory')", "CUDA out of memory"),
        ("raise SystemExit(0)", "said nothing"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(stand_in, ct, lines, says):
    stand_in(lines)
    with pytest.raises(InputError, match=says) as error:
        label_bones(ct, "totalsegmentator")
    assert "\n" not in str(error.value)


def test_cancel_ends_the_program_and_its_children(stand_in, ct):
    """The child writes a heartbeat from a process of its own; after the cancellation it stops."""
    folder = stand_in(
        """
        import subprocess
        beat = "import time\\nwhile True: open(%r, 'a').write('x'); time.sleep(0.05)" % (sys.path[1] + "/../beat")
        subprocess.Popen([sys.executable, "-c", beat])
        time.sleep(60)
        """
    )

    class CancelledError(Exception):
        pass

    def cancel_when_it_beats(fraction, stage):
        assert 0.0 <= fraction < 1.0 and stage == "TotalSegmentator"
        if (folder / "beat").exists():
            raise CancelledError

    with pytest.raises(CancelledError):
        label_bones(ct, "totalsegmentator", cancel_when_it_beats)
    time.sleep(0.3)
    size = (folder / "beat").stat().st_size
    time.sleep(0.5)
    assert (folder / "beat").stat().st_size == size


def test_auto_needs_the_weights_too(monkeypatch, tmp_path):
    monkeypatch.setenv(totalsegmentator.PYTHON_VARIABLE, sys.executable)
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    assert not totalsegmentator.is_ready()


def test_the_weights_are_looked_for_where_the_package_looks(monkeypatch, tmp_path):
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    monkeypatch.delenv("TOTALSEG_HOME_DIR", raising=False)
    assert totalsegmentator.weights_folder() == Path.home() / ".totalsegmentator" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    assert totalsegmentator.weights_folder() == tmp_path / "nnunet" / "results"


def test_an_interpreter_that_is_none(monkeypatch, ct):
    monkeypatch.setenv(totalsegmentator.PYTHON_VARIABLE, "/nowhere/python")
    with pytest.raises(InputError, match="no program"):
        label_bones(ct, "totalsegmentator")


def test_a_method_that_does_not_exist(ct):
    with pytest.raises(InputError, match="auto, totalsegmentator, atlas"):
        label_bones(ct, "magic")


def real_package() -> str | None:
    """A Python that has the real TotalSegmentator: the named one, or this one."""
    named = os.environ.get(totalsegmentator.PYTHON_VARIABLE)
    if named and shutil.which(named):
        return named
    return sys.executable if importlib.util.find_spec("totalsegmentator") else None


@pytest.mark.slow
@pytest.mark.skipif(real_package() is None, reason="TotalSegmentator is not installed")
def test_the_real_package_runs_up_to_its_download(monkeypatch, tmp_path, ct):
    """With an empty home for its weights and a proxy that does not answer, it must stop at the download, and say so."""
    python = real_package()
    monkeypatch.setenv(totalsegmentator.PYTHON_VARIABLE, python)
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(InputError, match="could not download its weights") as error:
        label_bones(ct, "totalsegmentator")
    assert str(tmp_path) in str(error.value)
    assert time.monotonic() - start < 120.0
    program = "import json; from totalsegmentator.map_to_binary import class_map as m; print(json.dumps(m['total']))"
    tables = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    theirs = {int(number): name for number, name in json.loads(tables.stdout.splitlines()[-1]).items()}
    assert set(totalsegmentator.TOTALSEGMENTATOR_NAMES) <= set(theirs.values())

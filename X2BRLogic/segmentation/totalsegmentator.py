"""TotalSegmentator, run as a program of its own.

The package (Apache-2.0; Wasserthal et al., Radiology: Artificial Intelligence 2023) brings other versions of vtk and
timm than Slicer and X2BR have, so it may live in another Python: ``X2BR_TOTALSEGMENTATOR_PYTHON`` names that
interpreter. Its weights are where it looks for them itself: ``TOTALSEG_WEIGHTS_PATH``, else ``nnunet/results`` under
``TOTALSEG_HOME_DIR``, else under ``~/.totalsegmentator``; what is missing it downloads.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..volume import Volume
from ..volume_io import write_volume
from .reading import read_bone_labels
from .schemes import TOTALSEGMENTATOR_NAMES

PYTHON_VARIABLE = "X2BR_TOTALSEGMENTATOR_PYTHON"
_MODULE = "totalsegmentator.bin.TotalSegmentator"
#: nnU-Net data sets of the task ``total`` at 1.5 mm, and of the 6 mm model that finds the bones first.
_DATASETS = (291, 292, 293, 294, 295, 298)
_INSTALL = (
    "install it with 'pip install TotalSegmentator', in another Python if its packages clash, and name that "
    f"interpreter in {PYTHON_VARIABLE}, or use the method atlas"
)
#: What libraries say when a download fails.
_OFFLINE = ("ConnectionError", "ConnectTimeout", "Max retries exceeded", "NameResolution", "ProxyError", "HTTPError")
_POLL_SECONDS = 0.2
#: A run is reported as going on towards this many seconds: a few minutes with a graphics card, longer without.
_TYPICAL_SECONDS = 300.0


def weights_folder() -> Path:
    """Where TotalSegmentator keeps its weights (its `config.get_weights_dir`)."""
    if "TOTALSEG_WEIGHTS_PATH" in os.environ:
        return Path(os.environ["TOTALSEG_WEIGHTS_PATH"])
    home = os.environ.get("TOTALSEG_HOME_DIR")
    return (Path(home) if home else Path.home() / ".totalsegmentator") / "nnunet" / "results"


def interpreter() -> Path | None:
    """The Python that has TotalSegmentator: the named one, else this one; ``None`` where neither has it.

    Raises:
        InputError: the named interpreter does not exist.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        found = shutil.which(named)
        if not found:
            raise InputError(f"{PYTHON_VARIABLE} names {named}, which is no program; give the path of a Python")
        return Path(found)
    if importlib.util.find_spec("totalsegmentator") is None:
        return None
    # In Slicer the program that runs is Slicer itself; PythonSlicer is its Python.
    return Path(shutil.which("PythonSlicer") or sys.executable)


def is_ready() -> bool:
    """Whether the package is installed and its weights are there, so that nothing need be downloaded."""
    return interpreter() is not None and all(any(weights_folder().glob(f"Dataset{n}_*")) for n in _DATASETS)


def segment(ct: Volume, progress: Callable[[float, str], None] | None = None) -> tuple[Volume, tuple[str, ...]]:
    """Bone labels on the grid of the CT, and notes for the user.

    Ribs, sternum and costal cartilages, vertebrae and the shoulder are all classes of the one task ``total``.

    Raises:
        InputError: the package is not installed, its weights cannot be fetched, or it fails.
    """
    python = interpreter()
    if python is None:
        raise InputError(f"TotalSegmentator is not installed; {_INSTALL}")
    with tempfile.TemporaryDirectory(prefix="x2br_") as folder:
        source, target = Path(folder) / "ct.nii.gz", Path(folder) / "bones.nii.gz"
        write_volume(source, Volume(ct.array.astype(np.int16, copy=False), ct.ijk_to_ras))
        command = [str(python), "-m", _MODULE, "-i", str(source), "-o", str(target), "--ml"]
        command += ["--roi_subset", *TOTALSEGMENTATOR_NAMES]
        said = _run(command, Path(folder) / "log.txt", progress)
        if not target.is_file():
            raise InputError(_why(said))
        return read_bone_labels(target, ct, "totalsegmentator-v2"), ()


def _run(command: list[str], log: Path, progress: Callable[[float, str], None] | None) -> str:
    """Run to the end and return what was printed. An exception in `progress` ends the program and its children."""
    with log.open("wb") as out:
        own_group = {"start_new_session": True} if os.name == "posix" else {}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **own_group)
        start = time.monotonic()
        try:
            while process.poll() is None:
                if progress is not None:
                    spent = time.monotonic() - start
                    progress(spent / (spent + _TYPICAL_SECONDS), "TotalSegmentator")
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    return log.read_text(encoding="utf-8", errors="replace")


def _end(process: subprocess.Popen) -> None:
    """End the program if it still runs, with the workers that it started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    process.wait()


def _why(said: str) -> str:
    """Our one sentence for a run that gave nothing."""
    if "No module named" in said and "totalsegmentator" in said.rsplit("No module named", 1)[1][:40]:
        return f"the Python named in {PYTHON_VARIABLE} has no TotalSegmentator; {_INSTALL}"
    if any(sign in said for sign in _OFFLINE):
        return (
            "TotalSegmentator could not download its weights (no network?); run 'totalseg_download_weights -t total' "
            f"where there is one and copy them to {weights_folder()}, or use the method atlas"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "it said nothing"
    return f"TotalSegmentator failed ({last}); run it by itself on this CT to see why, or use the method atlas"

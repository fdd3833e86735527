"""Where compiled kernels are kept between runs; numba refuses to work where there is no such place."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def ensure() -> None:
    """Before numba is imported: give it a folder for this process where it could not write to any of its own.

    Those are NUMBA_CACHE_DIR, the package's own folder, and the user's caches. A folder that others might have made is
    none: what is in it is run.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    places = (os.environ.get("NUMBA_CACHE_DIR"), Path(__file__).parent, os.environ.get("LOCALAPPDATA") or caches)
    if not any(place and _may_be_written(Path(place)) for place in places):
        folder = tempfile.mkdtemp(prefix="x2br-kernels-")
        os.environ["NUMBA_CACHE_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _may_be_written(folder: Path) -> bool:
    """Whether it can be written to, or made."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)

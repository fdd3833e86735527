"""The private folder through which a host and its worker exchange files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError

PREFIX = "x2br-worker-"
_LOCK = "lock"
#: A folder younger than this may belong to a host that has not locked it yet.
_YOUNG_SECONDS = 60.0
#: A disk without space, a user's quota, a limit on the size of files.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


class PrivateFolder:
    """A temporary folder that only this user can enter, locked for as long as this process lives.

    The lock falls with its owner, however that ends; so folders whose host and worker were both killed are known by it
    and are removed when the next one is made.

    Raises:
        InputError: no folder can be made, because the disk is full or the place for temporary files is not writable.
    """

    def __init__(self):
        remove_stale()
        try:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            # any thread may give it back
            self._lock = FileLock(self.path / _LOCK, thread_local=False)
            self._lock.acquire()
        except OSError as error:
            raise InputError(file_problem(tempfile.gettempdir(), error)) from None

    def remove(self) -> None:
        """Remove the folder and all that is in it. Never raises."""
        self._lock.release(force=True)  # Windows removes no file that is open
        remove(self.path)


def remove(folder: Path) -> None:
    """Remove a private folder, also while its worker may still be writing into it. Never raises."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)


def remove_stale() -> None:
    """Remove this user's private folders whose owners are dead."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if _may_be_stale(folder):
            try:
                with FileLock(folder / _LOCK, timeout=0):
                    pass
            except (Timeout, OSError):
                continue
            remove(folder)


def is_private(folder: Path) -> bool:
    """Whether it is such a folder, and ours: what a worker may remove when its host is gone."""
    return folder.name.startswith(PREFIX) and _is_ours(folder)


def file_problem(place: str | os.PathLike, error: OSError) -> str:
    """Why a file or folder for temporary files is of no use, and what to do."""
    why = error.strerror or " ".join(str(error).split())
    if error.errno in _FULL:
        return f"no room for temporary files in {place} ({why}); free some space there, or set TMPDIR to another folder"
    return f"cannot use {place}: {why}; check the folder for temporary files, or set TMPDIR to another one"


def _may_be_stale(folder: Path) -> bool:
    try:
        return _is_ours(folder) and time.time() - folder.stat().st_mtime > _YOUNG_SECONDS
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """A folder of this user, and no link to one."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()

"""Paths before anything is read from them: is there a file, what kind is it, and writing one whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM = (".dcm", ".dicom", ".ima")
#: Bytes of a file's name in most file systems.
_LONGEST_NAME = 255
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def suffix(path: Path) -> str:
    """The file's suffix in lower case, ``.nii.gz`` as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def stem(path: Path) -> str:
    """The file's name without its suffix, ``.nii.gz`` as one."""
    return path.name[: len(path.name) - len(suffix(path))]


def require_file(path: str | os.PathLike) -> Path:
    """The path of a file that exists and holds something. Raises `InputError` otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give one file")
        if not path.is_file():
            raise InputError(f"{path} does not exist; check the path")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or export it again")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path and your permissions") from None
    return path


def is_dicom(path: Path) -> bool:
    """Whether the file carries the mark of DICOM PS3.10: a 128-byte preamble, then ``DICM``."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def reason(error: Exception) -> str:
    """Why a library failed, for our one line: the last of its lines is the one that says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:120] if lines else type(error).__name__


def shown(value: object) -> str:
    """A value out of a file for our one line, in quotes: not longer than the sentence around it."""
    return cut(repr(value))


def cut(text: str) -> str:
    """A text out of a file for our one line."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_json(path: str | os.PathLike) -> Any:
    """What a JSON file holds. Raises `OSError` where it cannot be read, `ValueError` where it is no JSON."""
    return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """What JSON text says. Raises `ValueError` where it is none, also for what is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` at the end; nothing is left behind on failure.

    Raises `InputError` when the folder is missing or cannot be written to.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist; make it first")
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; check the folder and the free space") from None
    finally:
        with suppress(OSError):  # on a read-only disk even the removal of nothing fails
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: str | os.PathLike, owned: Collection[str] = ()) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes `folder` at the end, at one stroke.

    Where there is such a folder already, the files move into it one by one; of the names in `owned`, those that are not
    written anew go, so that nothing of an earlier result stands beside the new one. On failure nothing is left behind
    and what was in `folder` before stays as it was. Raises `InputError` when it cannot be written to.
    """
    folder = Path(folder)
    temporary = _beside(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder for the results")
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists() or not _became(temporary, folder):
            with _alone_in(folder):
                _move_into(temporary, folder, owned)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; check the folder and the free space") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A name that nobody has, in the same folder. The suffix stays: writers go by it."""
    mark = f".{uuid.uuid4().hex[:8]}"
    whole = f"{mark}.{path.name}"
    name = whole if len(os.fsencode(whole)) <= _LONGEST_NAME else mark + suffix(path)
    return path.parent / name  # with_name refuses "."


def _became(temporary: Path, folder: Path) -> bool:
    """Rename; not where another process has made the folder meanwhile."""
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
        return False
    return True


def _move_into(temporary: Path, folder: Path, owned: Collection[str]) -> None:
    written = sorted(temporary.iterdir())
    outdated = {path.name for path in written if (folder / path.name).is_dir()}  # which nothing can replace
    for name in sorted(outdated.union(owned)):
        if (folder / name).exists():
            os.replace(folder / name, temporary / f"{name}.before")
    for path in written:
        os.replace(path, folder / path.name)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process moves files into the folder, so that two results never mix. Not on Windows."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


@contextmanager
def only_writer(folder: str | os.PathLike) -> Iterator[None]:
    """Keep a folder that exists to this process. The lock ends with the process, however that ends.

    Raises `InputError` where another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process writes to {folder} now; wait until it has ended") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; check the folder") from None
    try:
        yield
    finally:
        lock.release()

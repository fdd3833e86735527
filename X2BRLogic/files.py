"""Paths before anything is read from them: is there a file, what kind is it, and writing one whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM = (".dcm", ".dicom", ".ima")
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


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` at the end; nothing is left behind on failure.

    Raises `InputError` when the folder is missing or cannot be written to.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist; make it first")
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")  # the suffix stays: writers go by it
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; check the folder and the free space") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: str | os.PathLike, owned: Collection[str] = ()) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes `folder` at the end, at one stroke.

    Where there is such a folder already, the files move into it one by one; of the names in `owned`, those that are not
    written anew go, so that nothing of an earlier result stands beside the new one. On failure nothing is left behind
    and what was in `folder` before stays as it was. Raises `InputError` when it cannot be written to.
    """
    folder = Path(folder)
    temporary = folder.parent / f".{uuid.uuid4().hex[:8]}.{folder.name}"  # with_name refuses "."
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder for the results")
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            written = sorted(temporary.iterdir())
            outdated = {path.name for path in written if (folder / path.name).is_dir()}  # which nothing can replace
            for name in sorted(outdated.union(owned)):
                if (folder / name).exists():
                    os.replace(folder / name, temporary / f"{name}.before")
            for path in written:
                os.replace(path, folder / path.name)
        else:
            os.rename(temporary, folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; check the folder and the free space") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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

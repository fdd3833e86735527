"""One case: a damaged file in, and either it is read or it is refused with one sentence. All else is a finding."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from X2BRLogic.errors import InputError

from .readers import Reader

READ, REFUSED, BROKEN = "read", "refused", "broken"
#: No case may take longer, or more memory.
SECONDS, MEMORY = 30.0, 2 << 30
_LONGEST_SENTENCE = 700


@dataclass(frozen=True)
class Outcome:
    """What became of a case: ``read``, ``refused`` or ``broken``; the sentence or what is wrong; time and memory."""

    number: int
    kind: str
    told: str
    seconds: float
    peak: int


class Cases:
    """The cases of one reader, each a function of its number, in a folder of their own."""

    def __init__(self, reader: Reader, folder: Path):
        self._reader = reader
        self._folder = folder / "given"
        self._temporary = folder / "tmp"
        for place in (self._folder, self._temporary):
            place.mkdir(parents=True)
        reader.make(self._folder)
        found = sorted(p for p in self._folder.glob(reader.files) if p.is_file())
        self._files = {p: p.read_bytes() for p in found}
        self._damaged: Path | None = None
        tempfile.tempdir = str(self._temporary)

    def read_whole(self) -> None:
        """The undamaged files must be read; raises where one is not."""
        for path in self._files:
            self._reader.read(path)
        self._there = self._listing()
        self._printed = self._words()

    def run(self, number: int) -> Outcome:
        """Case `number`."""
        rng = random.Random(f"{self._reader.name} {number}")
        path = rng.choice(list(self._files))
        whole = self._files[path]
        return self.judge(number, path, self._reader.damaged(path.name, whole, rng))

    def judge(self, number: int, path: Path, content: bytes) -> Outcome:
        """What the reader makes of `content` in place of the file `path`; all others are whole."""
        if self._damaged not in (None, path):
            self._damaged.write_bytes(self._files[self._damaged])
        self._damaged = path
        path.write_bytes(content)
        start, before = time.perf_counter(), _peak()
        try:
            with warnings.catch_warnings(action="ignore"):  # nobody can act on them
                self._reader.read(path)
            kind, told = READ, ""
        except InputError as error:
            kind, told = REFUSED, " ".join(str(error).split())
            if not told or len(told) > _LONGEST_SENTENCE:
                kind, told = BROKEN, f"a sentence of {len(told)} characters: {told[:200]}"
        except (KeyboardInterrupt, SystemExit) as error:
            kind, told = BROKEN, f"left with {error!r}"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(f.filename).name}:{f.lineno}" for f in place if "X2BRLogic" in f.filename]
            kind, told = (
                BROKEN,
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {' < '.join(ours[::-1])}",
            )
        seconds, grown = time.perf_counter() - start, _peak() - before
        if kind != BROKEN and (left := self._listing() ^ self._there):
            kind, told = BROKEN, f"it left {sorted(str(p.name) for p in left)[:3]}"
            for stray in left - self._there:
                shutil.rmtree(stray, ignore_errors=True) if stray.is_dir() else stray.unlink(missing_ok=True)
        if kind != BROKEN and (printed := self._words() - self._printed) > 0:
            kind, told = BROKEN, f"it printed {printed} bytes on stderr"
        self._printed = self._words()
        if kind != BROKEN and seconds > SECONDS:
            kind, told = BROKEN, f"{seconds:.0f} s"
        if kind != BROKEN and grown > MEMORY:
            kind, told = BROKEN, f"{grown / 2**20:.0f} MiB"
        return Outcome(number, kind, told, seconds, grown)

    def originals(self) -> list[tuple[Path, bytes]]:
        """The whole files."""
        return list(self._files.items())

    @staticmethod
    def _words() -> int:
        """Bytes on stderr so far, where that is a file: the command shows its one line and nothing else."""
        return os.fstat(2).st_size

    def _listing(self) -> set[Path]:
        walks = (os.walk(place) for place in (self._folder, self._temporary))
        return {Path(here, name) for walk in walks for here, folders, files in walk for name in folders + files}


def _peak() -> int:
    """Highest resident memory of this process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

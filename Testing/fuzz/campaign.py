"""Many cases of every reader, in processes that are watched: a crash or a hang is a finding like any other."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .case import BROKEN, SECONDS, Outcome
from .readers import BY_NAME

ROOT = Path(__file__).resolve().parents[2]
#: A case that takes longer ends with its process; a little more than the limit, so that a slow one tells itself.
_PATIENCE = SECONDS + 5.0
_START_SECONDS = 300.0
_ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "MKL_NUM_THREADS")


@dataclass
class Tally:
    """What became of a run of cases of one reader; `seconds` are those of the cases."""

    reader: str
    first: int
    cases: int = 0
    kinds: Counter = field(default_factory=Counter)
    findings: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    peak: int = 0

    @property
    def next(self) -> int:
        return self.first + self.cases

    def add(self, outcome: Outcome) -> None:
        self.cases += 1
        self.kinds[outcome.kind] += 1
        self.seconds += outcome.seconds
        self.slowest = max(self.slowest, outcome.seconds)
        self.peak = max(self.peak, outcome.peak)
        if outcome.kind == BROKEN:
            self.findings.append({"number": outcome.number, "told": outcome.told})

    def to_dict(self) -> dict:
        return vars(self) | {"kinds": dict(self.kinds)}


def run(plan: dict[str, range], deadline: float = float("inf")) -> Iterator[Tally]:
    """The planned cases of each reader, or fewer where time (`time.monotonic`) is up; a tally each, when it is done."""
    tallies = {name: Tally(name, cases.start) for name, cases in plan.items()}
    left = list(plan)
    while left and time.monotonic() < deadline:
        todo = [[name, tallies[name].next, plan[name].stop - tallies[name].next] for name in left]
        for name, outcome in _one_process(todo, deadline):
            if outcome:
                tallies[name].add(outcome)
            else:  # it is done
                left.remove(name)
                yield tallies[name]
        if left and tallies[left[0]].next == plan[left[0]].stop:  # its last case ended the process
            yield tallies[left.pop(0)]
    yield from (tallies[name] for name in left if tallies[name].cases)


def _one_process(todo: list[list], deadline: float) -> Iterator[tuple[str, Outcome | None]]:
    """Outcomes until all is done, time is up, or the process ends before its time: that is the last one's outcome.

    Behind a reader's last case there is none.
    """
    with tempfile.TemporaryDirectory(prefix="x2br-fuzz-") as folder, open(Path(folder, "stderr"), "w+b") as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "Testing.fuzz.child", str(Path(folder, "cases"))],
            cwd=ROOT,
            env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
        )
        try:
            child.stdin.write(json.dumps(todo).encode())
            child.stdin.close()
            lines = _lines(child)
            for name, first, count in todo:
                if next(lines, None) != "ready":
                    child.kill()
                    child.wait()
                    words.seek(0)
                    raise RuntimeError(f"{name}: its whole files are not read: {words.read().decode()[-2000:]}")
                for number in range(first, first + count):
                    line = next(lines, None)
                    if line is None:
                        child.kill()
                        yield name, Outcome(number, BROKEN, _last_words(child.wait(), words), 0.0, 0)
                        return
                    outcome = Outcome(**json.loads(line))
                    yield name, outcome
                    if outcome.told.endswith("MiB") or time.monotonic() > deadline:
                        return  # memory never falls: the next cases get a new process
                yield name, None
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _lines(child: subprocess.Popen) -> Iterator[str]:
    """Of stdout, until it ends or says nothing for too long."""
    waiting, rest, patience = selectors.DefaultSelector(), b"", _START_SECONDS
    waiting.register(child.stdout, selectors.EVENT_READ)
    while waiting.select(patience):
        data = os.read(child.stdout.fileno(), 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        patience = _PATIENCE
        yield from (line.decode() for line in lines)


def _last_words(status: int, words) -> str:
    words.seek(0)
    text = words.read().decode(errors="replace")
    how = f"the process ended with {status}" if status != -9 else f"more than {SECONDS:.0f} s"
    frames = [line.strip() for line in text.splitlines() if line.strip().startswith(("Fatal", "File"))]
    return f"{how}: {' < '.join(frames[:6])[:400] or text[-300:]}"


def share(total: int) -> dict[str, int]:
    """Cases of each reader that make so many together, one at least."""
    whole = sum(reader.share for reader in BY_NAME.values())
    return {name: max(round(total * reader.share / whole), 1) for name, reader in BY_NAME.items()}

"""How long a job will still take, from what its stages took before."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Hashable

_REMEMBERED = 7


class StageTimes:
    """What earlier jobs took, stage by stage; jobs of one key are alike."""

    def __init__(self):
        self._past: dict[Hashable, deque[list[_Stage]]] = {}

    def begin(self, key: Hashable) -> RunningJob:
        """A job starts."""
        return RunningJob(self._past.setdefault(key, deque(maxlen=_REMEMBERED)))


class _Stage:
    def __init__(self, name: str, fraction: float, now: float):
        self.name, self.first, self.last, self.begun, self.seconds = name, fraction, fraction, now, 0.0


class RunningJob:
    """The stages of a job that runs."""

    def __init__(self, past: deque[list[_Stage]]):
        self._past = past
        self._stages: list[_Stage] = []

    def remaining(self, fraction: float, stage: str) -> float | None:
        """Seconds to the end at this progress; ``None`` where no earlier job tells.

        What the stages to come took in the median of earlier jobs, and of this stage the share that its fraction has
        not reached: a slow job is not promised to be done soon because a quick one would be.
        """
        now = time.monotonic()
        if not self._stages or self._stages[-1].name != stage:
            self._close(fraction, now)
            self._stages.append(_Stage(stage, fraction, now))
        if not self._past:
            return None
        names = [earlier.name for earlier in self._past[-1]]
        if stage not in names:
            return None
        known = self._past[-1][names.index(stage)]
        share = (fraction - known.first) / (known.last - known.first) if known.last > known.first else 0.0
        later = sum(self._median(name) for name in names[names.index(stage) + 1 :])
        return later + (1.0 - min(max(share, 0.0), 1.0)) * self._median(stage)

    def done(self) -> None:
        """The job came to its end; the next ones are measured by it."""
        self._close(1.0, time.monotonic())
        if self._stages:
            self._past.append(self._stages)

    def _close(self, fraction: float, now: float) -> None:
        if self._stages:
            self._stages[-1].last = fraction
            self._stages[-1].seconds = now - self._stages[-1].begun

    def _median(self, name: str) -> float:
        return statistics.median(s.seconds for stages in self._past for s in stages if s.name == name)

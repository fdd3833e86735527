"""What happens while many items are worked on, as events: for a terminal, and as JSON lines for programs.

Every event has ``event`` and ``time`` (ISO 8601, UTC). In this order:

``start``   ``total`` items, ``finished`` before, ``left`` to do
``item``    one for each that is worked on now: its ``name``, ``status`` (``accepted``, ``rejected`` or ``failed``),
            ``reasons`` (sentences), ``seconds``; and of the whole ``finished``, ``total``, ``remaining_seconds``
``end``     ``total``, and how many are ``accepted``, ``rejected``, ``failed``
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..errors import InputError
from . import layout

STATUSES = (layout.ACCEPTED, layout.REJECTED, layout.FAILED)


class Course:
    """A run over many items as events. How long it will take is the mean time of an item, times those left, over those
    worked on at a time.

    Args:
        total: items in all.
        left: those to do.
        lanes: items that are worked on at a time; ``None`` where nobody knows, as on a cluster: then the throughput
            since the start counts, which is too slow at first.
    """

    def __init__(self, total: int, left: int, lanes: int | None):
        self._total, self._before, self._lanes = total, total - left, lanes
        self._start = time.monotonic()
        self._seconds: list[float] = []

    def start(self) -> dict:
        """The first event."""
        self._start = time.monotonic()
        return _event("start", total=self._total, finished=self._before, left=self._total - self._before)

    def item(self, name: str, status: str, reasons: list[str], seconds: float) -> dict:
        """One item has come to an end."""
        self._seconds.append(seconds)
        finished = self._before + len(self._seconds)
        return _event(
            "item",
            name=name,
            status=status,
            reasons=reasons,
            seconds=round(seconds, 3),
            finished=finished,
            total=self._total,
            remaining_seconds=round(self._remaining(self._total - finished)),
        )

    def end(self, counts: dict[str, int]) -> dict:
        """The last event. `counts`: of all items, by status."""
        return _event("end", total=self._total, **counts)

    def _remaining(self, left: int) -> float:
        if self._lanes is None:
            return left * (time.monotonic() - self._start) / len(self._seconds)
        lanes = max(1, min(self._lanes, left))
        # Of those that are worked on now, half is done on average.
        ahead = left - 0.5 * min(self._lanes - 1, left)
        return ahead * sum(self._seconds) / len(self._seconds) / lanes


def _event(kind: str, **rest) -> dict:
    return {"event": kind, "time": datetime.now(UTC).isoformat(timespec="milliseconds")} | rest


def recorded(events: Iterable[dict], file: Path | None) -> Iterator[dict]:
    """The events, each also written to `file` as one line of JSON at once. Raises `InputError` if it cannot be."""
    if file is None:
        yield from events
        return
    try:
        with file.open("w", encoding="utf-8", buffering=1) as stream:
            for happened in events:
                stream.write(json.dumps(happened, allow_nan=False) + "\n")
                yield happened
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; check the folder and the free space") from None


def in_words(happened: dict) -> str:
    """An event as a line for people."""
    if happened["event"] == "start":
        before = f", {happened['finished']} done before" if happened["finished"] else ""
        return f"{happened['left']} to do of {happened['total']}{before}"
    if happened["event"] == "end":
        return tally(happened)
    place = f"{happened['finished']}/{happened['total']}"
    why = f": {'; '.join(happened['reasons'])}" if happened["reasons"] else ""
    left = happened["remaining_seconds"]
    rest = f"   about {duration(left)} left" if left else ""
    return f"{place} {happened['name']} {happened['status']} in {duration(happened['seconds'])}{why}{rest}"


def tally(counts: dict) -> str:
    """``5 accepted, 1 rejected``."""
    told = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    return ", ".join(told) or "nothing"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"

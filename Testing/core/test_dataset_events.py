"""What is told while it works: order, counts, and an honest remaining time."""

from __future__ import annotations

import json

import pytest

from X2BRLogic.dataset import events
from X2BRLogic.dataset.events import Course, duration, in_words, recorded
from X2BRLogic.errors import InputError


def test_the_remaining_time_is_right_for_even_items():
    """Two workers, ten items of 30 s each: they end in pairs, after 30 s, 60 s, ..."""
    course = Course(total=12, left=10, lanes=2)
    assert course.start() | {"time": 0} == {"event": "start", "time": 0, "total": 12, "finished": 2, "left": 10}
    told = [course.item(f"n{n}", "accepted", [], 30.0)["remaining_seconds"] for n in range(10)]
    truth = [150 - 30 * (n // 2 + 1) for n in range(10)]
    assert all(abs(a - b) <= 15 for a, b in zip(told, truth, strict=True)), told
    assert told[-1] == 0


def test_on_a_cluster_the_throughput_counts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: clock[0])
    course = Course(total=100, left=100, lanes=None)
    course.start()
    for _ in range(20):  # twenty machines, each a minute
        clock[0] = 60.0
        last = course.item("n", "accepted", [], 60.0)
    assert last["remaining_seconds"] == 240


def test_words():
    course = Course(total=3, left=3, lanes=1)
    assert in_words(course.start()) == "3 to do of 3"
    assert in_words(course.item("anna", "accepted", [], 4.2)) == "1/3 anna accepted in 4 s   about 8 s left"
    told = in_words(course.item("berta", "rejected", ["no ribs", "no spine"], 1.0))
    assert told == "2/3 berta rejected in 1 s: no ribs; no spine   about 3 s left"
    course.item("clara", "failed", ["gone"], 0.0)
    end = course.end({"accepted": 1, "rejected": 1, "failed": 1})
    assert in_words(end) == "1 accepted, 1 rejected, 1 failed"
    assert [duration(s) for s in (0, 59, 150, 12_000)] == ["0 s", "59 s", "2 min", "3 h 20 min"]


def test_each_event_is_a_line_at_once(tmp_path):
    course = Course(total=1, left=1, lanes=1)
    file = tmp_path / "events.jsonl"
    stream = recorded([course.start(), course.item("anna", "failed", ["déjà vu"], 1.0)], file)
    next(stream)
    assert json.loads(file.read_text(encoding="utf-8"))["event"] == "start"
    list(stream)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines[1]["reasons"] == ["déjà vu"] and lines[1]["time"].endswith("+00:00")
    with pytest.raises(InputError, match=r"cannot write .*folder"):
        next(recorded([course.start()], tmp_path / "nowhere" / "events.jsonl"))

"""What host and worker say to each other: one JSON object a line.

Host to worker, on stdin::

    {"do": "run", "job": "1", "kind": "reconstruct", "folder": "/tmp/x2br-worker-.../1", "settings": {...}}
    {"do": "cancel", "job": "1"}

and the end of stdin is the end of the worker. Worker to host, on stdout::

    {"event": "hello", "version": "0.1.0", "pid": 4711}
    {"event": "ready", "device": "cpu"}
    {"event": "accepted", "job": "1"}
    {"event": "progress", "job": "1", "fraction": 0.42, "stage": "surface", "remaining": 1.3}
    {"event": "warning", "job": "1", "message": "..."}
    {"event": "result", "job": "1", "facts": {...}}
    {"event": "error", "job": "1", "cause": "input", "message": "..."}
    {"event": "cancelled", "job": "1"}

Fractions never fall. ``remaining`` is in seconds, null where no earlier job tells. A job ends with one of ``result``,
``error`` and ``cancelled``. The cause of an error is ``input`` (the user can mend it) or ``fault`` (ours); an error of
no job has the job null. Arrays are files in the job's folder (`exchange`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..files import parse_json

#: Longer lines are no messages of this protocol.
LONGEST_LINE = 1 << 20


class WorkerError(RuntimeError):
    """A job failed for no fault of the input: the worker crashed, was killed, or is faulty. One sentence."""


class Cancelled(Exception):  # noqa: N818  it is no error
    """The job was cancelled."""


@dataclass(frozen=True)
class Event:
    """What a host hears of a job.

    Attributes:
        name: ``accepted``, ``progress``, ``warning``; and last ``result``, ``error`` or ``cancelled``.
        fraction: of progress, 0 to 1, never falling.
        stage: of progress, the name of what is being done.
        remaining: of progress, seconds; ``None`` where no earlier job tells.
        message: of a warning or an error, one sentence.
    """

    name: str
    fraction: float = 0.0
    stage: str = ""
    remaining: float | None = None
    message: str = ""


def encode(message: dict) -> bytes:
    """A message as a line. Raises `ValueError` or `TypeError` for what JSON cannot say."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict:
    """A line as a message. Raises `ValueError` where it is none."""
    message = parse_json(line)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def sentence(error: BaseException | str) -> str:
    """An error's text in one line, whatever it is made of."""
    return " ".join(str(error).split()) or type(error).__name__

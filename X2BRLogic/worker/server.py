"""The worker's side: jobs from stdin one after the other, events to stdout, and nothing left when the host is gone."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from .. import __version__
from ..errors import InputError
from .folders import file_problem, is_private, remove
from .process import kill_children
from .protocol import LONGEST_LINE, Cancelled, decode, encode, sentence
from .remaining import RunningJob, StageTimes

#: Between two events of progress in one stage, so that a quick loop does not drown the host.
_PROGRESS_SECONDS = 0.05
_LOOK_FOR_HOST_SECONDS = 1.0


@dataclass(frozen=True)
class JobContext:
    """What a handler is given.

    Attributes:
        folder: the job's own folder: its files come from there and go there.
        settings: as the host sent them, JSON's types.
        progress: to be called often with a fraction 0-1 and the name of the stage; raises `Cancelled`, which the
            handler lets pass.
        warn: to be called with a sentence that the user should see.
    """

    folder: Path
    settings: dict
    progress: Callable[[float, str], None]
    warn: Callable[[str], None]


Handler = Callable[[JobContext], dict]


def serve(kinds: Mapping[str, Handler], prepare: Callable[[], dict]) -> None:
    """Be a worker until stdin closes or the host dies. Does not return.

    Args:
        kinds: name of a kind of job to its handler, which returns JSON-ready facts.
        prepare: loads what every job needs; its facts are told with the event ``ready``.
    """
    try:
        folder, host = sys.argv[1:]
        server = _Server(Path(folder), int(host), kinds)
    except ValueError:
        sys.exit("x2br: error: a worker is started by its host, with a folder and the host's process number")
    server.run(prepare)


class _Server:
    def __init__(self, folder: Path, host: int, kinds: Mapping[str, Handler]):
        self._commands, self._events = _take_stdio()
        self._folder, self._host, self._kinds = folder, host, kinds
        self._writing = threading.Lock()
        self._orders: queue.SimpleQueue[dict] = queue.SimpleQueue()
        #: Names of jobs that are to end.
        self.cancelled: set[str] = set()
        self._times = StageTimes()

    def run(self, prepare: Callable[[], dict]) -> None:
        self.tell("hello", version=__version__, pid=os.getpid())
        for task in (self._watch_host, self._listen):
            threading.Thread(target=task, daemon=True).start()
        try:
            facts = prepare()
        except Exception as error:
            traceback.print_exc()
            self.tell(**_error("fault", f"the worker cannot start: {sentence(error)}"), job=None)
            self._leave(1)
        gc.freeze()  # the libraries stay; without them a collection takes no time
        self.tell("ready", **facts)
        while True:
            self._do(self._orders.get())
            gc.collect()  # a mesh hangs in cycles: its arrays would wait for a collection that may come much later

    # --- one job --------------------------------------------------------------------------------------------------

    def _do(self, order: dict) -> None:
        job = order["job"]
        self.tell("accepted", job=job)
        event = self._outcome(order)
        self.cancelled.discard(job)
        if event["event"] != "result":
            kill_children(os.getpid())  # a job that did not end well may have left some
        self.tell(**event, job=job)

    def _outcome(self, order: dict) -> dict:
        """Run the job; the event that ends it."""
        kind, settings, folder = order["kind"], order["settings"], Path(order["folder"])
        alike = [(name, value) for name, value in sorted(settings.items()) if not isinstance(value, list | dict)]
        times = self._times.begin((kind, *alike))  # lists are input, and of every job their own
        progress = _Progress(self, order["job"], times)
        try:
            event = {
                "event": "result",
                "facts": self._kinds[kind](JobContext(folder, settings, progress, progress.warn)),
            }
            encode(event)
        except Cancelled:
            return {"event": "cancelled"}
        except InputError as error:
            return _error("input", sentence(error))
        except OSError as error:
            return _error("input", file_problem(error.filename or folder, error))
        except MemoryError:
            return _error("input", "there is not enough memory for this job; close other programs and try again")
        except Exception as error:
            traceback.print_exc()
            return _error("fault", f"{type(error).__name__}: {sentence(error)}; this is a fault of X2BR")
        times.done()
        return event

    # --- the host -------------------------------------------------------------------------------------------------

    def tell(self, event: str, **fields) -> None:
        """Write an event, from whatever thread. Raises `ValueError` or `TypeError` for what JSON cannot say."""
        line = encode({"event": event, **fields})
        try:
            with self._writing:
                self._events.write(line)
        except OSError:  # nobody listens any more
            self._leave(0)

    def _listen(self) -> None:
        """Take messages; when there are no more, the host is gone."""
        while line := self._commands.readline(LONGEST_LINE):
            try:
                self._obey(decode(line))
            except Exception as error:  # whatever is in the line
                start = line[:60].decode(errors="replace").strip()
                problem = f"no message for a worker: {start!r} ({type(error).__name__}: {sentence(error)})"
                self.tell(**_error("fault", problem), job=None)
        self._leave(0)

    def _obey(self, message: dict) -> None:
        job = message["job"]
        if not isinstance(job, str):
            raise TypeError("a job's name is text")
        if message["do"] == "cancel":
            self.cancelled.add(job)
            return
        if message["do"] != "run":
            raise ValueError("run and cancel are what a worker can do")
        if message["kind"] not in self._kinds:
            known = ", ".join(self._kinds)
            problem = f"this worker does not know the kind of job {message['kind']!r}; it knows {known}"
        elif not isinstance(message["settings"], dict) or not Path(message["folder"]).is_dir():
            problem = f"job {job} has no settings, or its folder is missing: {message['folder']}"
        else:
            self.cancelled.discard(job)
            self._orders.put(message)
            return
        self.tell(**_error("fault", problem), job=job)

    def _watch_host(self) -> None:
        """A host that died takes its end of our stdin along, unless one of its children still holds that."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._host)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(_LOOK_FOR_HOST_SECONDS)
        self._leave(0)

    def _leave(self, status: int) -> None:
        """End now, from whatever thread, with all children and without a trace."""
        kill_children(os.getpid())
        if is_private(self._folder):
            remove(self._folder)
        os._exit(status)


class _Progress:
    """A job's way to say how far it is, and to hear that it is cancelled."""

    def __init__(self, server: _Server, job: str, times: RunningJob):
        self._server, self._job, self._times = server, job, times
        self._fraction, self._stage, self._told = 0.0, None, 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        if self._job in self._server.cancelled:
            raise Cancelled("the job was cancelled")
        self._fraction = min(max(float(fraction), self._fraction), 1.0)
        remaining = self._times.remaining(self._fraction, stage)
        now = time.monotonic()
        if stage == self._stage and now - self._told < _PROGRESS_SECONDS and self._fraction < 1.0:
            return
        self._stage, self._told = stage, now
        self._server.tell(
            "progress",
            job=self._job,
            fraction=round(self._fraction, 4),
            stage=stage,
            remaining=None if remaining is None else round(remaining, 2),
        )

    def warn(self, message: str) -> None:
        """Tell a sentence that the user should see."""
        self._server.tell("warning", job=self._job, message=message)


def _error(cause: str, message: str) -> dict:
    return {"event": "error", "cause": cause, "message": message}


def _take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """The host's pipes for the protocol alone: what libraries print goes to stderr, and they have nothing to read."""
    commands, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, events

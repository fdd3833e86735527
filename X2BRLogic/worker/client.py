"""The host's side: jobs go to a worker that is started when it is needed, and started anew after a crash."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .. import __version__
from ..errors import InputError
from .folders import file_problem
from .process import WorkerProcess, default_python
from .protocol import Cancelled, Event, WorkerError, sentence

#: A worker that has not given up a cancelled job by then is killed: a second is what the user is promised.
_GRACE_SECONDS = 0.5
_CLOSE_SECONDS = 1.0
_POLL_SECONDS = 0.2
_ENDS = {"result": "done", "error": "failed", "cancelled": "cancelled"}


class Task(Protocol):
    """What a host wants done."""

    #: The name under which the worker knows the handler.
    kind: str
    #: For the handler, JSON's types.
    settings: dict

    def write(self, folder: Path) -> None:
        """Write the handler's input into the job's folder."""

    def read(self, folder: Path, facts: dict) -> Any:
        """The value of a finished job, from its folder and the handler's facts. Called in a thread of the worker's."""


class Job:
    """A task handed in. Every method may be called from any thread; `poll` and `wait` share one row of events."""

    def __init__(self, worker: Worker, name: str, task: Task):
        self.name, self.task = name, task
        self.state = "waiting"
        self._worker = worker
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._cancelling = False
        self._given_again = False
        self._value: Any = None
        self._error: Exception | None = None

    @property
    def finished(self) -> bool:
        """Whether it is ``done``, ``failed`` or ``cancelled``, and not ``waiting`` or ``running``."""
        return self.state in _ENDS.values()

    def poll(self) -> list[Event]:
        """The events since the last call, at once: for a timer of the host's."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        return events

    def wait(self, on_event: Callable[[Event], None] | None = None, timeout: float | None = None) -> Any:
        """Wait for the end; the value.

        `on_event` is called with each event, in this thread; what it raises passes through, and the job goes on.
        Raises as `result`, and `TimeoutError` when `timeout` seconds have passed; the job goes on then, too.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline - time.monotonic())
            try:
                event = self._events.get(timeout=max(left, 0.0))
            except queue.Empty:
                if self.finished and self._events.empty():
                    return self.result()
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"job {self.name} is not finished after {timeout:g} s") from None
                continue
            if on_event:
                on_event(event)
            if event.name in _ENDS:
                return self.result()

    def result(self) -> Any:
        """The value of a finished job.

        Raises:
            InputError: the user can mend it.
            WorkerError: the worker crashed, was killed, or has a fault.
            Cancelled: it was cancelled.
        """
        if not self.finished:
            raise RuntimeError(f"job {self.name} is {self.state}")
        if self._error:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """End the job within a second, its children included. Returns at once; a finished job stays as it is."""
        self._worker._cancel(self)

    def _finish(self, event: Event, value: Any = None, error: Exception | None = None) -> None:
        if self._cancelling:  # also where the result was on its way: the user no longer wants it
            event, value, error = Event("cancelled"), None, Cancelled("the job was cancelled")
        self._value, self._error = value, error
        self.state = _ENDS[event.name]
        self._events.put(event)


class Worker:
    """A worker process: started by the first job (or `start`), kept warm, one job at a time, replaced when it dies.

    Methods may be called from any thread and do not wait for the worker, but for `close`. Nothing is called back: a
    host looks at its jobs with `Job.poll` or `Job.wait`. There may be several, in one host or in many.

    Args:
        python: the interpreter; by default this process's own, inside Slicer its PythonSlicer.
        environment: the worker's, without PYTHONPATH for this package; by default this process's.
        module: what is run with ``-m``, for a package that serves other kinds of jobs (`server.serve`).
    """

    def __init__(
        self,
        python: str | os.PathLike | None = None,
        environment: Mapping[str, str] | None = None,
        module: str = "X2BRLogic.worker",
    ):
        self._python, self._environment, self._module = python, environment, module
        self._lock = threading.RLock()
        self._names = itertools.count(1)
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._process: WorkerProcess | None = None
        self._hello: dict = {}
        self._facts: dict | None = None
        self._problem: str | None = None
        self._last_words = ""
        self._closed = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def facts(self) -> dict | None:
        """Of a ready worker: version, pid, device, and its private folder. ``None`` while there is none."""
        return self._facts

    @property
    def last_words(self) -> str:
        """For a log: the end of what the worker wrote on stderr, or its predecessor where there is none."""
        process = self._process
        return process.last_words if process else self._last_words

    def start(self) -> None:
        """Start the process, so that the first job finds it warm. Raises `InputError` where it cannot be started."""
        with self._lock:
            self._require_open()
            if self._process is None:
                python = os.fspath(self._python) if self._python else default_python()
                environment = os.environ if self._environment is None else self._environment
                self._problem = None
                self._process = WorkerProcess(python, self._module, environment, self._hear, self._bury)

    def submit(self, task: Task) -> Job:
        """Hand in a task; its job. What goes wrong from here on, the job tells."""
        with self._lock:
            self._require_open()
            job = Job(self, str(next(self._names)), task)
            self._waiting.append(job)
            self._next()
        return job

    def close(self) -> None:
        """Cancel every job, end the process and remove its files. Takes a second at most; may be called twice."""
        with self._lock:
            self._closed = True
            for job in list(self._waiting):
                self._cancel(job)
            if self._running:
                self._running._cancelling = True
            process = self._process
        if process:
            process.hang_up()
            if not process.join(_CLOSE_SECONDS):
                process.kill()
                process.join(_CLOSE_SECONDS)

    # --- all of these hold the lock -------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this worker is closed; make a new one")

    def _next(self) -> None:
        """Give the worker its next job if it has none; start one if there is none."""
        while self._waiting and not self._running and not self._closed:
            try:
                self.start()
            except InputError as error:
                self._fail(self._waiting.popleft(), error)
                continue
            if self._facts is None:
                return
            if not self._process.folder.is_dir():  # it has just died, or somebody has cleaned up: a new one then
                self._process.kill()
                return
            self._give(self._waiting.popleft())

    def _give(self, job: Job) -> None:
        folder = self._process.folder / job.name
        try:
            folder.mkdir()
            job.task.write(folder)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                error = InputError(file_problem(self._process.folder, error))
            self._fail(job, error)
            return
        self._running = job
        order = {"kind": job.task.kind, "folder": str(folder), "settings": job.task.settings}
        self._process.send({"do": "run", "job": job.name, **order})

    def _fail(self, job: Job, error: Exception) -> None:
        job._finish(Event("error", message=str(error)), error=error)

    def _cancel(self, job: Job) -> None:
        with self._lock:
            if job.finished or job._cancelling:
                return
            job._cancelling = True
            if job in self._waiting:
                self._waiting.remove(job)
                job._finish(Event("cancelled"))
                return
            process = self._process
            process.send({"do": "cancel", "job": job.name})
            timer = threading.Timer(_GRACE_SECONDS, self._kill_if_running, (job, process))
            timer.daemon = True
            timer.start()

    # --- called in threads of the process's -----------------------------------------------------------------------

    def _kill_if_running(self, job: Job, process: WorkerProcess) -> None:
        if not job.finished:
            process.kill()

    def _hear(self, process: WorkerProcess, message: dict) -> None:
        event, job = message.get("event"), self._running
        with self._lock:
            if event == "hello" and message.get("version") != __version__:
                self._problem = (
                    f"the worker is X2BR {message.get('version')} and its host {__version__}; install the same version"
                )
                process.kill()
            elif event == "hello":
                self._hello = {"version": message["version"], "pid": message["pid"]}
            elif event == "ready":
                told = {key: value for key, value in message.items() if key != "event"}
                self._facts = {**self._hello, "folder": str(process.folder), **told}
                self._next()
            elif event == "error" and self._facts is None:
                self._problem = message["message"]
            elif event == "accepted" and job:
                job.state = "running"
        if job is None or message.get("job") != job.name:
            return
        if event in _ENDS:
            self._end(process, job, message)
        else:
            known = {key: message[key] for key in ("fraction", "stage", "remaining", "message") if key in message}
            job._events.put(Event(event, **known))

    def _end(self, process: WorkerProcess, job: Job, message: dict) -> None:
        folder, value, error = process.folder / job.name, None, None
        if message["event"] == "error":
            error = (InputError if message["cause"] == "input" else WorkerError)(message["message"])
        elif message["event"] == "result" and not job._cancelling:
            try:  # without the lock: a host that polls does not wait for the reading of files
                value = job.task.read(folder, message["facts"])
            except Exception as problem:
                error = WorkerError(f"the worker's result cannot be read: {sentence(problem)}; try again")
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._running = None
            if error:
                self._fail(job, error)
            else:
                job._finish(Event(message["event"]), value)
            self._next()

    def _bury(self, process: WorkerProcess) -> None:
        """The process has ended: its job has failed, or is cancelled; the next one gets a new process."""
        with self._lock:
            self._last_words = process.last_words
            job, self._running = self._running, None
            ready = self._facts is not None
            self._process = self._facts = None
            if job is None and not ready and self._waiting:
                job = self._waiting.popleft()  # the one for which it was started
            if job and job.state == "waiting" and ready and not job._given_again and not job._cancelling:
                job._given_again = True  # it died idle, unnoticed, and never saw this job
                self._waiting.appendleft(job)
            elif job:
                self._fail(job, WorkerError(self._problem or process.how_it_ended()))
            self._next()

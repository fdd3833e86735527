"""A worker's process as its host holds it: the pipes, the private folder, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from ..errors import InputError
from .folders import PrivateFolder
from .protocol import LONGEST_LINE, decode, encode

#: Where the package lies, for the worker's PYTHONPATH: it need not be installed in the worker's Python.
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_KEPT_LINES = 200
_READ_SECONDS = 2.0


def default_python() -> str:
    """The interpreter for workers: this one, or in an application that embeds Python (Slicer) the one beside it.

    Raises `InputError` where there is none.
    """
    running = Path(sys.executable or "")
    if "python" in running.name.lower():
        return str(running)
    name = "PythonSlicer"
    found = shutil.which(name) or shutil.which(name, path=str(running.parent))
    if not found:
        raise InputError("no Python interpreter for the worker was found; give the path of one")
    return found


def kill_children(pid: int) -> None:
    """Kill everything that a process has started, and what that started in turn."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


class WorkerProcess:
    """A started worker.

    Args:
        python: the interpreter.
        module: run with ``-m``.
        environment: of the new process, without what is needed to find this package.
        on_message: called with each message, in a thread of this object.
        on_end: called once, when the process has ended, every message was passed on and the folder is removed.

    Raises:
        InputError: the process cannot be started.
    """

    def __init__(
        self,
        python: str,
        module: str,
        environment: Mapping[str, str],
        on_message: Callable[[WorkerProcess, dict], None],
        on_end: Callable[[WorkerProcess], None],
    ):
        self._folder = PrivateFolder()
        self._on_message, self._on_end = on_message, on_end
        self._stderr: deque[str] = deque(maxlen=_KEPT_LINES)
        paths = [str(_PACKAGE_PARENT), environment.get("PYTHONPATH", "")]
        try:
            self._process = subprocess.Popen(
                [python, "-m", module, str(self.folder), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"},
                # A group of its own: it can be killed with all its children, and Ctrl-C in a terminal is the host's.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
                | getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._folder.remove()
            raise InputError(
                f"cannot start a worker with {python}: {error.strerror}; give a Python interpreter"
            ) from None
        self._readers = [self._thread(self._read_messages), self._thread(self._read_words)]
        self._watcher = self._thread(self._watch)

    @property
    def folder(self) -> Path:
        """The private folder; gone when the process has ended."""
        return self._folder.path

    @property
    def pid(self) -> int:
        """Of the started process."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what the worker and its libraries wrote on stderr."""
        return "\n".join(self._stderr)

    def send(self, message: dict) -> None:
        """Send a message. Nothing is raised where the worker is gone: `on_end` tells."""
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()

    def hang_up(self) -> None:
        """Close the worker's stdin, on which it ends at once, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def kill(self) -> None:
        """Kill the process with all its children."""
        kill_children(self.pid)
        with contextlib.suppress(OSError):
            self._process.kill()
        self._kill_group()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it has come, `on_end` included."""
        self._watcher.join(seconds)
        return not self._watcher.is_alive()

    def how_it_ended(self) -> str:
        """In words, after the end."""
        code = self._process.returncode
        if code == -getattr(signal, "SIGKILL", 9):
            return "the worker was killed, most likely for lack of memory; close other programs and try again"
        if code is not None and code < 0:
            return f"the worker crashed ({signal.strsignal(-code)}); try again, the next job starts a new one"
        return f"the worker ended unexpectedly (exit status {code}); try again, the next job starts a new one"

    def _thread(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"x2br-worker-{self._process.pid}", daemon=True)
        thread.start()
        return thread

    def _read_messages(self) -> None:
        while line := self._process.stdout.readline(LONGEST_LINE):
            try:
                message = decode(line)
            except ValueError:  # a launcher's greeting, before the worker took the pipe for itself
                self._keep(line)
                continue
            self._on_message(self, message)

    def _read_words(self) -> None:
        while line := self._process.stderr.readline(LONGEST_LINE):
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._stderr.append(line.decode(errors="replace").rstrip())

    def _watch(self) -> None:
        self._process.wait()
        self._kill_group()  # the children of a worker that crashed: they would hold the pipes open
        for reader in self._readers:
            reader.join(_READ_SECONDS)
        self._folder.remove()
        self.hang_up()
        self._on_end(self)

    def _kill_group(self) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

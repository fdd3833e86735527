"""A host that talks nonsense to a worker, and asks now and then whether it is still there."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_ANSWER_SECONDS = 30.0
_ECHO = (
    "from X2BRLogic.worker.server import serve; "
    "serve({'echo': lambda job: {'settings': job.settings}}, lambda: {'device': 'none'})"
)


class Talk:
    """A worker that can echo; `say` raises where it does not answer what comes after nonsense."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="x2br-talk-"))  # no name of a worker's: it leaves the folder alone
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ECHO, str(self._folder), str(threading.get_native_id())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process.stdout, self._heard), daemon=True).start()
        self._until(lambda message: message["event"] == "ready")

    @staticmethod
    def _listen(stream, heard: queue.SimpleQueue) -> None:
        for line in stream:
            heard.put(line)
        heard.put(b"")

    def say(self, line: bytes) -> None:
        """A line, then a job: the worker must do the job and nothing else may come over its stdout but messages."""
        self._number += 1
        name = f"sane {self._number}"
        order = {"do": "run", "job": name, "kind": "echo", "folder": str(self._folder), "settings": {"n": self._number}}
        try:
            self._process.stdin.write(line.replace(b"\n", b" ") + b"\n" + json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            done = self._until(lambda message: message.get("job") == name and message["event"] in ("result", "error"))
            if done.get("facts") != {"settings": {"n": self._number}}:
                raise RuntimeError(f"the worker answers a sane job with {done}")
        except Exception:
            self._process.kill()
            self._start()
            raise

    def _until(self, wanted) -> dict:
        while True:
            line = self._heard.get(timeout=_ANSWER_SECONDS)
            if not line:
                raise RuntimeError(f"the worker has ended with {self._process.wait()}")
            message = json.loads(line)
            if wanted(message):
                return message

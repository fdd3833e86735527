"""Libraries that print by themselves are kept off the terminal: a bad file gives one line, ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """What C libraries write to stderr goes nowhere; other threads that want the same wait."""
    with _lock:
        try:
            saved = os.dup(2)
        except OSError:  # a windowed application may have no stderr
            saved = None
        try:
            if saved is not None:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            if saved is not None:
                os.dup2(saved, 2)
                os.close(saved)

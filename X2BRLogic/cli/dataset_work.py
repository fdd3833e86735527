"""What the sub-commands share that work on many subjects: where to work, and how it is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from .arguments import count, say


def add_workers(command) -> None:
    """``--workers``, ``--scheduler`` and ``--memory``."""
    command.add_argument("--workers", type=count, metavar="N", help="processes on this machine; default one a core")
    command.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster instead, such as tcp://10.0.0.1:8786"
    )
    command.add_argument("--memory", default="4 GiB", metavar="SIZE", help="most that a process may take; 4 GiB")


def add_events(command) -> None:
    """``--events``."""
    command.add_argument("--events", type=Path, metavar="FILE", help="write what happens there, a line of JSON each")


def where(options: argparse.Namespace) -> dict:
    """The arguments of `fan_out` that the options give. Raises `InputError` for two places at once."""
    from ..errors import InputError
    from ..fan_out import default_workers

    if options.scheduler and options.workers:
        raise InputError(
            "--workers and --scheduler exclude each other: a cluster has its own workers; give one of them"
        )
    workers = options.workers or default_workers(options.memory)
    return {"workers": workers, "scheduler": options.scheduler, "memory": options.memory}


def follow(events: Iterable[dict], file: Path | None) -> dict:
    """Tell the events on stderr and write them to `file` as they come; returns the last one.

    In a terminal what went well passes on one line, and what did not stays.
    """
    from ..dataset.events import in_words, recorded

    last: dict = {}
    passing = sys.stderr.isatty()
    try:
        for last in recorded(events, file):
            if last["event"] == "end":
                break
            if passing:
                stays = last["event"] == "start" or last["reasons"]
                print(f"\r\x1b[K{in_words(last)}", end="\n" if stays else "", file=sys.stderr, flush=True)
            else:
                say(in_words(last))
    finally:
        if passing:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return last

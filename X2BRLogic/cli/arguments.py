"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import InputError
from ..geometry import VIEWS


def add_command(subparsers, name: str, run: Callable, tell: Callable, summary: str, examples: str):
    """A sub-command with its help, examples and ``--json``.

    `run(options)` does the work and returns a JSON-ready dict; `tell(result)` says it in words. A command that found
    something wrong sets ``status``, a function of the result, as the default of its exit status.
    """
    command = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    command.set_defaults(run=run, tell=tell, status=lambda result: 0)
    return command


def add_geometry(command, *, spacing: float | None, sid: float | None, sod: float | None) -> None:
    """``--view``, ``--pixel-spacing``, ``--sid``, ``--sod`` with the given defaults."""

    def unless(default):
        return f"default {default:g}" if default is not None else "default: what the file says"

    command.add_argument("--view", choices=list(VIEWS), default="AP" if sid else None, help="AP, PA, LAT (left), RLAT")
    command.add_argument(
        "--pixel-spacing", type=positive, default=spacing, metavar="MM", help=f"at the detector; {unless(spacing)}"
    )
    command.add_argument("--sid", type=positive, default=sid, metavar="MM", help=f"source to image; {unless(sid)}")
    command.add_argument("--sod", type=positive, default=sod, metavar="MM", help=f"source to isocentre; {unless(sod)}")


def positive(text: str) -> float:
    """A positive number, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def count(text: str) -> int:
    """A positive whole number, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def numbers(text: str) -> list[float]:
    """Comma-separated numbers, for argparse."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as -10,0,10") from None


def with_lists(words: Iterable[str]) -> list[str]:
    """The words of a command line, ``--angles -10,0,10`` as one: argparse takes such a list for an option."""
    joined: list[str] = []
    for word in words:
        if joined and re.fullmatch("--[^=]+", joined[-1]) and re.fullmatch(r"-[\d.][\d.eE+-]*(,[\d.eE+-]*)+", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def require(path: Path) -> Path:
    """A path that exists. Raises `InputError` otherwise."""
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    return path


def make_folder(out: Path) -> None:
    """Make the folder of the results, if it is not there. Raises `InputError` where that is not possible."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder for the results")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; check the folder and your permissions") from None


def say(message: str) -> None:
    """Progress and warnings, on stderr."""
    print(message, file=sys.stderr, flush=True)

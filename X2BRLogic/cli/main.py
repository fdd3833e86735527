"""Arguments in, exit status out: 0 done, 2 bad input or usage, 1 a fault of ours."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback

from .. import __version__
from ..errors import InputError
from . import (
    bench,
    calibrate,
    dataset,
    detect,
    drr,
    evaluate,
    evaluate_suite,
    export,
    models,
    reconstruct,
    register,
    report,
    segment,
    template,
    train,
)
from .arguments import with_lists

_COMMANDS = (
    drr,
    detect,
    reconstruct,
    report,
    export,
    register,
    segment,
    evaluate,
    evaluate_suite,
    train,
    calibrate,
    dataset,
    models,
    template,
    bench,
)


class _Parser(argparse.ArgumentParser):
    """Usage errors as one line, like every other error; lists of numbers may begin with a minus."""

    def parse_known_args(self, args=None, namespace=None):
        return super().parse_known_args(with_lists(sys.argv[1:] if args is None else args), namespace)

    def error(self, message: str):
        raise InputError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="x2br", description="The bones of the thorax in 3D from one planar radiograph. Research use.")
    top.add_argument("--version", action="version", version=f"x2br {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_to(subparsers)
    return top


@contextlib.contextmanager
def _quiet_libraries():
    """What libraries print on stdout goes to stderr: with --json, stdout holds one object and nothing else."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _one_line(error: Exception | str) -> str:
    """The text in one line, and without what would steer a terminal."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _tell(text: str) -> None:
    """Print on stdout, whatever its encoding; raises `OSError` where there is no room."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status. Never raises for what a user can cause."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:2] == evaluate_suite.NAME.split():  # beside the command `evaluate`, which takes two files
        arguments = [evaluate_suite.NAME, *arguments[2:]]
    try:
        options = parser().parse_args(arguments)
        with _quiet_libraries():
            result = options.run(options)
        _tell(json.dumps(result, allow_nan=False) if options.json else options.tell(result))
        return options.status(result)
    except InputError as error:
        print(f"x2br: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("x2br: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (x2br ... | head); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # names that are too long, rights, disks and memory that are full
        if os.environ.get("X2BR_DEBUG"):
            traceback.print_exc()
        what = "" if error.filename is None else f" {str(error.filename)[:300]}"
        told = _one_line(f"cannot use{what}: {error.strerror or error}; check the path, your rights and the free space")
        print(f"x2br: error: {told}", file=sys.stderr)
        return 2
    except Exception as error:
        if os.environ.get("X2BR_DEBUG"):
            traceback.print_exc()
        print(
            f"x2br: internal error: {type(error).__name__}: {_one_line(error)}; "
            "this is a fault of X2BR, set X2BR_DEBUG=1 for a traceback to report",
            file=sys.stderr,
        )
        return 1

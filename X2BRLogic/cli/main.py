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
from . import bench, dataset, detect, drr, evaluate, models, reconstruct, register, segment, template, train

_COMMANDS = (drr, detect, reconstruct, register, segment, evaluate, train, dataset, models, template, bench)


class _Parser(argparse.ArgumentParser):
    """Usage errors as one line, like every other error."""

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status. Never raises for what a user can cause."""
    try:
        options = parser().parse_args(arguments)
        with _quiet_libraries():
            result = options.run(options)
        print(json.dumps(result, allow_nan=False) if options.json else options.tell(result))
        return options.status(result)
    except InputError as error:
        print(f"x2br: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("x2br: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (x2br ... | head); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("X2BR_DEBUG"):
            traceback.print_exc()
        print(
            f"x2br: internal error: {type(error).__name__}: {' '.join(str(error).split())}; "
            "this is a fault of X2BR, set X2BR_DEBUG=1 for a traceback to report",
            file=sys.stderr,
        )
        return 1

"""``x2br bench 3ddx``: front and back faces of bones, and whole bones from them."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, require, say

_EXAMPLES = """\
  x2br bench 3ddx SUBJECTS --held-out patient_07 --out Documentation/benchmarks
  x2br bench 3ddx SUBJECTS --held-out patient_07 --weights out/compared --virtual 0 --json"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "3ddx", run, tell, "3DDX: one face or two, with and without shape model, and other methods.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--held-out", required=True, metavar="NAME", help="subject of which nothing that ships knows")
    command.add_argument("--weights", type=Path, metavar="DIR", help="further weights of 3DDX, a row each")
    command.add_argument("--virtual", type=int, default=12, metavar="N", help="deformed copies of others; default 12")
    command.add_argument("--seed", type=int, default=2000, help="of the copies; default 2000")
    command.add_argument("--out", type=Path, metavar="DIR", help="write 3ddx.md, 3ddx.csv and 3ddx.png there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if options.virtual < 0:
        raise InputError("--virtual is a number of copies, 0 or more")
    if options.out and options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    variants = require(options.weights) if options.weights else None
    from ..bench.dual_faces import run as measure
    from ..bench.dual_faces_report import write

    result = measure(options.subjects, variants, options.held_out, options.virtual, options.seed, say)
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.dual_faces_report import tables

    return "\n\n".join([tables(result)] + ["\n".join(result["out"].values())] * ("out" in result))

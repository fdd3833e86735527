"""``x2br bench x2br``: named bones beside the coarse mesh."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, say

_EXAMPLES = """\
  x2br bench x2br SUBJECTS --held-out patient_07 --out Documentation/benchmarks
  x2br bench x2br SUBJECTS --held-out patient_07 --virtual 0 --json"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "x2br", run, tell, "X2BR's named bones beside the coarse mesh; GBCPD++, CPD and NDP in it.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--held-out", required=True, metavar="NAME", help="subject of which nothing that ships knows")
    command.add_argument("--virtual", type=int, default=4, metavar="N", help="deformed copies of others; default 4")
    command.add_argument("--seed", type=int, default=1000, help="of copies and disturbed boxes; default 1000")
    command.add_argument("--out", type=Path, metavar="DIR", help="write x2br.md and x2br.csv there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if options.virtual < 0:
        raise InputError("--virtual is a number of copies, 0 or more")
    if options.out and options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    from ..bench.x2br import run as measure
    from ..bench.x2br_report import write

    result = measure(options.subjects, options.held_out, options.virtual, options.seed, say)
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.x2br_report import tables

    return "\n\n".join([tables(result)] + ["\n".join(result["out"].values())] * ("out" in result))

"""``x2br bench fitness``: the check of films before they are reconstructed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, require, say

_EXAMPLES = """\
  x2br bench fitness FILMS --subjects SUBJECTS --held-out patient_07 --out Documentation/benchmarks
  x2br bench fitness FILMS --others hands --others skulls"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "fitness", run, tell, "Chest films against other pictures; films stored the wrong way.", _EXAMPLES
    )
    command.add_argument("films", type=Path, metavar="FILMS", help="frontal chest films; *.csv: file, patient_id, view")
    command.add_argument("--others", type=Path, action="append", default=[], metavar="DIR", help="no chest films")
    command.add_argument("--subjects", type=Path, metavar="DIR", help="CTs: slices, other views, films of known scale")
    command.add_argument("--held-out", default="", metavar="NAME", help="subject of which the detector knows nothing")
    command.add_argument("--virtual", type=int, default=10, metavar="N", help="patients of each subject; default 10")
    command.add_argument("--seed", type=int, default=5000, help="of virtual patients; default 5000")
    command.add_argument("--out", type=Path, metavar="DIR", help="write fitness.md and fitness.csv there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if options.virtual < 0:
        raise InputError("--virtual is a number of patients, 0 or more")
    if options.out and options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    for folder in (options.films, *options.others):
        if not require(folder).is_dir():
            raise InputError(f"{folder} is a file; give a folder of films")
    from ..bench.fitness import run as measure
    from ..bench.fitness_report import write

    result = measure(
        options.films, options.subjects, options.held_out, options.others, options.virtual, options.seed, say
    )
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.fitness_report import tables

    return "\n\n".join([tables(result)] + ["\n".join(result["out"].values())] * ("out" in result))

"""``x2br bench detection``: boxes against projected labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, require, say

_EXAMPLES = """\
  x2br bench detection SUBJECTS --held-out patient_07 --out Documentation/benchmarks
  x2br bench detection SUBJECTS --held-out patient_07 --radiographs films --sheet films.jpg"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "detection", run, tell, "The detector on unseen people and films; ways to number bones.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--held-out", required=True, metavar="NAME", help="subject of which the weights know nothing")
    command.add_argument("--virtual", type=int, default=24, metavar="N", help="virtual patients a set; default 24")
    command.add_argument("--seed", type=int, default=1000, help="of virtual patients; default 1000")
    command.add_argument("--radiographs", type=Path, metavar="DIR", help="real films, of which no truth is known")
    command.add_argument("--sheet", type=Path, metavar="FILE", help="with --radiographs: a picture of all with boxes")
    command.add_argument("--runtime", choices=("onnx", "ultralytics"), default="onnx", help="default onnx")
    command.add_argument("--weights", type=Path, metavar="FILE", help="instead of the installed detector")
    command.add_argument("--out", type=Path, metavar="DIR", help="write detection.md and detection.csv there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if options.virtual < 0:
        raise InputError("--virtual is a number of patients, 0 or more")
    if options.sheet and not options.radiographs:
        raise InputError("--sheet is a picture of real films; give their folder with --radiographs")
    if options.out and options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    from ..bench.detection import run as measure
    from ..bench.detection_report import write, write_sheet

    films = require(options.radiographs) if options.radiographs else None
    result = measure(
        options.subjects, options.held_out, options.virtual, options.seed, options.runtime, options.weights, films, say
    )
    if options.sheet:
        names = [row["film"] for row in result["radiographs"]]
        result["sheet"] = str(write_sheet(films, names, options.runtime, options.weights, options.sheet))
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.detection_report import tables

    files = [*result.get("out", {}).values(), *([result["sheet"]] if "sheet" in result else [])]
    return "\n\n".join([tables(result), *(["\n".join(files)] if files else [])])

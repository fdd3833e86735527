"""``x2br bench confidence``: expected errors beside observed ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, say

_EXAMPLES = """\
  x2br bench confidence SUBJECTS --held-out patient_07 --out Documentation/benchmarks"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "confidence", run, tell, "Are reconstructions as far off as they say? On unseen people.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--held-out", required=True, metavar="NAME", help="the person not trained on")
    command.add_argument("--virtual", type=count, default=12, metavar="N", help="virtual patients; default 12")
    command.add_argument("--seed", type=int, default=2000, help="of the virtual patients; not the calibration's")
    command.add_argument("--out", type=Path, metavar="DIR", help="write confidence.csv, .md and .png there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write table and plot."""
    from ..bench.confidence import run as measure
    from ..bench.confidence import write

    result = measure(options.subjects, options.held_out, options.virtual, options.seed, say)
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.confidence import markdown

    return markdown(result)

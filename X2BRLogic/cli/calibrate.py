"""``x2br calibrate``: what a model may say of its own errors."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, require, say

_EXAMPLES = """\
  x2br calibrate out/x2b_aligned/x2b_aligned.safetensors SUBJECTS"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "calibrate", run, tell, "Learn how far off a model's bones are, from unseen patients.", _EXAMPLES
    )
    command.add_argument("weights", type=Path, metavar="WEIGHTS", help="of x2b_aligned; the file is changed")
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="the people it was trained on")
    command.add_argument("--count", type=count, default=12, metavar="N", help="virtual patients; default 12")
    command.add_argument("--held-out", metavar="NAME", help="a person not trained on, who tells how new people differ")
    command.add_argument("--seed", type=int, default=500, help="of the patients; not one trained or tested with")


def run(options: argparse.Namespace) -> dict:
    """Calibrate, and say what came of it."""
    from ..evaluation.error_calibration import calibrate
    from ..networks import read_header

    weights, subjects = require(options.weights), require(options.subjects)
    for line in calibrate(weights, subjects, options.count, options.seed, options.held_out):
        say(line)
    return {"weights": str(options.weights), "expected_error": read_header(options.weights)["expected_error"]}


def tell(result: dict) -> str:
    """The least and the largest expected error."""
    lines = []
    for views, table in result["expected_error"].items():
        if isinstance(table, dict):
            lines.append(f"{views} film(s): {table['error_mm'][0]:.1f} to {table['error_mm'][-1]:.1f} mm")
    return "\n".join([*lines, result["weights"]])

"""``x2br bench segmentation``: the weight-free bone labels against given ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, say

_EXAMPLES = """\
  x2br bench segmentation SUBJECTS --out Documentation/benchmarks
  x2br bench segmentation SUBJECTS --atlas person --json"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "segmentation", run, tell, "Bone labels without weights, leaving one person out at a time.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument(
        "--atlas",
        choices=("template", "person"),
        default="template",
        help="the mean skeleton of the others (default), or each other person in turn",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="write segmentation.csv and segmentation.md there")


def run(options: argparse.Namespace) -> dict:
    """Label and score every person."""
    from ..bench.segmentation import as_csv, as_markdown, leave_one_out
    from ..files import folder_written_whole

    rows = list(leave_one_out(options.subjects, options.atlas, say))
    if options.out:
        with folder_written_whole(options.out) as partial:
            (partial / "segmentation.csv").write_text(as_csv(rows), encoding="utf-8")
            (partial / "segmentation.md").write_text(_PAGE.format(table=as_markdown(rows)), encoding="utf-8")
    return {"rows": rows}


_PAGE = """\
# Bone labels without weights

Written by `x2br bench segmentation`. Dice is the mean over a group's bones; names count among voxels that are rib
(vertebra) in both, and among bones by the name that most of their voxels carry.

{table}"""


def tell(result: dict) -> str:
    """The table."""
    from ..bench.segmentation import as_markdown

    return as_markdown(result["rows"])

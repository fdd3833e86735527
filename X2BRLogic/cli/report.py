"""``x2br report``: one page about a result, to hand over."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command

_EXAMPLES = """\
  x2br report result                                   # result/report.html
  x2br report result --out thorax.html

The page holds all that it shows and fetches nothing: the radiograph with boxes and outlines, the bones in 3D, measures
with their uncertainty, confidence, geometry, model and warnings."""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "report", run, tell, "Make a report of a result: one HTML page that needs nothing else.", _EXAMPLES
    )
    command.add_argument("result", type=Path, metavar="RESULT_DIR", help="folder that x2br reconstruct has written")
    command.add_argument("--out", type=Path, metavar="FILE", help="default RESULT_DIR/report.html")


def run(options: argparse.Namespace) -> dict:
    """Read the result and write the page; its path and size."""
    from ..reconstruction import NOTICE, REPORT
    from ..report import write_report
    from ..results import read_result

    page = write_report(read_result(options.result), options.out or options.result / REPORT)
    return {"notice": NOTICE, "report": str(page), "bytes": page.stat().st_size}


def tell(result: dict) -> str:
    """The result in words."""
    return f"  {result['report']} ({result['bytes'] / 1e6:.1f} MB)\n{result['notice']}"

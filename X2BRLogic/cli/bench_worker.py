"""``x2br bench worker``: the worker over many jobs, cancelled and killed."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, say

_EXAMPLES = """\
  x2br bench worker --jobs 1000 --out Documentation/benchmarks
  x2br bench worker --jobs 20 --interruptions 2"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "worker", run, tell, "Many jobs through one worker: memory, Cancel, and what stays behind.", _EXAMPLES
    )
    command.add_argument("--jobs", type=count, default=1000, metavar="N", help="default 1000")
    command.add_argument(
        "--interruptions", type=count, default=20, metavar="N", help="jobs to cancel, and to kill; default 20"
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    command.add_argument("--seed", type=int, default=0, help="of the random moments; 0")
    command.add_argument("--out", type=Path, metavar="DIR", help="write worker.md there")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    from ..bench.worker import run as measure
    from ..bench.worker import write

    result = measure(options.jobs, options.interruptions, options.device, options.seed, say)
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The goals and the tables."""
    from ..bench.worker import tables

    return tables(result)

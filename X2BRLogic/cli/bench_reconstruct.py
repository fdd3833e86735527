"""``x2br bench reconstruct``: from a radiograph to a mesh, measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count, require, say

_EXAMPLES = """\
  x2br bench reconstruct --out Documentation/benchmarks
  x2br bench reconstruct film.png --repeats 9
  x2br bench reconstruct --quick --json"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "reconstruct", run, tell, "Seconds, memory and mesh quality of every installed model.", _EXAMPLES
    )
    command.add_argument("radiograph", type=Path, nargs="?", metavar="RADIOGRAPH", help="default: the film that ships")
    command.add_argument("--repeats", type=count, default=5, help="runs of each, in turn; default 5")
    command.add_argument("--out", type=Path, default=Path("benchmarks"), metavar="DIR", help="default benchmarks")
    command.add_argument("--quick", action="store_true", help="a coarse grid, to see that all runs; no figures")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write table and plot."""
    if options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    file = require(options.radiograph) if options.radiograph else None
    from ..bench.reconstruct import run as measure
    from ..bench.reconstruct_report import write

    result = measure(file, options.repeats, options.quick, say)
    return result | {"out": write(result, options.out)}


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.reconstruct_report import cold_table, goals_list, peers_table, warm_table

    parts = [goals_list(result), warm_table(result), cold_table(result), peers_table(result)]
    return "\n\n".join([*filter(None, parts), "\n".join(result["out"].values())])

"""``x2br bench register``: registrations beside the author's program."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, say

_EXAMPLES = """\
  x2br bench register --out Documentation/benchmarks
  x2br bench register --reference ../shared/data/gbcpd_reference --bcpd ~/bcpd/bcpd --out benchmarks
  x2br bench register --quick"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "register", run, tell, "GBCPD and GBCPD++ beside the author's program; CPD and NDP; growth.", _EXAMPLES
    )
    command.add_argument(
        "--reference",
        type=Path,
        default=Path("../shared/data/gbcpd_reference"),
        metavar="DIR",
        help="cases with what the program made of them; default ../shared/data/gbcpd_reference",
    )
    command.add_argument("--bcpd", type=Path, metavar="PATH", help="the program itself, to run beside ours")
    command.add_argument("--out", type=Path, metavar="DIR", help="write register.md, .csv and .png there")
    command.add_argument("--quick", action="store_true", help="two small cases, to see that all runs; no figures")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if not options.reference.is_dir():
        raise InputError(f"{options.reference} is no folder; give --reference the folder of reference cases")
    if options.out and options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    from ..bench.register import run as measure
    from ..bench.register_report import write

    result = measure(options.reference, options.bcpd, options.quick, say)
    return result | ({"out": write(result, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.register_report import growth_table, methods_table, tables

    parts = [tables(result), methods_table(result), growth_table(result)]
    return "\n\n".join(parts + ["\n".join(result["out"].values())] * ("out" in result))

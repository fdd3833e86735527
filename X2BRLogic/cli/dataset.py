"""``x2br dataset``: training data."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .arguments import add_command, count

_EXAMPLES = """\
  x2br dataset virtual SUBJECTS out/virtual --count 1000 --seed 1
  x2br dataset virtual SUBJECTS out/virtual --count 1000 --seed 1 --exclude patient_07"""


def add_to(subparsers) -> None:
    """Add the sub-command and what is under it."""
    group = subparsers.add_parser("dataset", help="Make training data.").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    command = add_command(
        group, "virtual", run, tell, "Deformed copies of labelled CTs, with radiographs and occupancy truth.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; goes on if interrupted")
    command.add_argument("--count", type=count, required=True, help="number of virtual patients")
    command.add_argument("--seed", type=int, default=0, help="the same seed makes the same patients; default 0")
    command.add_argument("--views", type=count, default=4, help="radiographs a patient; default 4")
    command.add_argument("--exclude", nargs="*", default=[], metavar="NAME", help="subjects left out, to be tested on")
    command.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes; default all cores")


def run(options: argparse.Namespace) -> dict:
    """Build what is missing."""
    from tqdm import tqdm

    from ..dataset.virtual import build

    made = build(
        options.subjects,
        options.out,
        count=options.count,
        seed=options.seed,
        views=options.views,
        workers=options.workers,
        exclude=tuple(options.exclude),
    )
    written = sum(1 for _ in tqdm(made, total=options.count, desc="patients", file=sys.stderr))
    return {"out": str(options.out), "patients": options.count, "written": written, "views": options.views}


def tell(result: dict) -> str:
    """The result in words."""
    return f"{result['patients']} virtual patients in {result['out']} ({result['written']} new)"

"""``x2br dataset virtual``: a population from few labelled CTs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count
from .dataset_work import add_events, add_workers, follow, where

_EXAMPLES = """\
  x2br dataset virtual SUBJECTS out/virtual --count 1000 --seed 1
  x2br dataset virtual SUBJECTS out/virtual --count 1000 --seed 1 --exclude patient_07"""


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "virtual", run, tell, "Deformed copies of labelled CTs, with radiographs and occupancy truth.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; goes on if interrupted")
    command.add_argument("--count", type=count, required=True, help="number of virtual patients")
    command.add_argument("--seed", type=int, default=0, help="the same seed makes the same patients; default 0")
    command.add_argument(
        "--views", type=count, default=4, help="frontal films a patient, each with a lateral one; default 4"
    )
    command.add_argument("--exclude", nargs="*", default=[], metavar="NAME", help="subjects left out, to be tested on")
    command.add_argument(
        "--no-learning",
        dest="learn",
        action="store_false",
        help="vary each person at random alone, so that training can leave out any of them later",
    )
    add_workers(command)
    add_events(command)


def run(options: argparse.Namespace) -> dict:
    """Draw the patients that are missing."""
    from ..dataset.population import build_population

    events = build_population(
        options.subjects,
        options.out,
        count=options.count,
        seed=options.seed,
        views=options.views,
        exclude=tuple(options.exclude),
        learn=options.learn,
        **where(options),
    )
    return {"out": str(options.out), "views": options.views} | follow(events, options.events)


def tell(result: dict) -> str:
    """The result in words."""
    failed = f", {result['failed']} failed" if result["failed"] else ""
    return f"{result['accepted']} virtual patients in {result['out']}{failed}"

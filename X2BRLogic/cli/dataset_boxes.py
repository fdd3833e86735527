"""``x2br dataset boxes``: films with the box of every rib and vertebra, in the layout of YOLO."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count
from .dataset_work import add_events, add_workers, follow, where

_EXAMPLES = """\
  x2br dataset boxes SUBJECTS out/boxes --count 300 --seed 1 --exclude patient_07
  x2br train X2BRLogic/training/configs/yolov9t.toml
  yolo train data=out/boxes/data.yaml model=yolov9t.yaml fliplr=0 mosaic=0      (or with ultralytics itself)"""


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "boxes", run, tell, "Films of virtual patients with the box of each rib and vertebra (YOLO).", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; goes on if interrupted")
    command.add_argument("--count", type=count, required=True, help="number of virtual patients")
    command.add_argument("--seed", type=int, default=0, help="the same seed makes the same films; default 0")
    command.add_argument("--views", type=count, default=5, help="films a patient; default 5")
    command.add_argument("--exclude", nargs="*", default=[], metavar="NAME", help="subjects left out, to be tested on")
    add_workers(command)
    add_events(command)


def run(options: argparse.Namespace) -> dict:
    """Make the films that are missing."""
    from ..detection.training_set import build_films

    settings = {"count": options.count, "seed": options.seed, "views": options.views}
    events = build_films(options.subjects, options.out, exclude=tuple(options.exclude), **settings, **where(options))
    return {"out": str(options.out), "views": options.views} | follow(events, options.events)


def tell(result: dict) -> str:
    """The result in words."""
    failed = f", {result['failed']} failed" if result["failed"] else ""
    return f"films of {result['accepted']} virtual patients in {result['out']}{failed}; look at review.html there"

"""``x2br dataset check``: is a data set whole?"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command
from .dataset_work import add_workers, where

_EXAMPLES = """\
  x2br dataset check out/data
  x2br dataset check out/data --workers 8 --json"""


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "check", run, tell, "Look at every file of a data set; exit status 2 if any is broken.", _EXAMPLES
    )
    command.add_argument("dataset", type=Path, metavar="DIR", help="what x2br dataset build or virtual has made")
    add_workers(command)
    command.set_defaults(status=lambda result: 2 if result["problems"] else 0)


def run(options: argparse.Namespace) -> dict:
    """Look at all subjects."""
    from ..dataset.check import check
    from ..dataset.check_population import check_population, is_population

    look = check_population if is_population(options.dataset) else check
    problems, subjects = [], 0
    for name, found in look(options.dataset, **where(options)):
        subjects += name != ""
        problems += [{"subject": name or None, "problem": problem} for problem in found]
    problems.sort(key=lambda problem: problem["subject"] or "")
    return {"dataset": str(options.dataset), "subjects": subjects, "problems": problems}


def tell(result: dict) -> str:
    """A line a problem, and a count."""
    lines = [f"{found['subject'] or 'data set'}: {found['problem']}" for found in result["problems"]]
    broken = len({found["subject"] for found in result["problems"]})
    count = f"{len(lines)} problem(s) in {broken} place(s)" if lines else "nothing is broken"
    return "\n".join([*lines, f"{result['subjects']} subjects in {result['dataset']}: {count}"])

"""``x2br dataset sheet``: a population to be looked at, and its measures."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count

_EXAMPLES = """\
  x2br dataset sheet SUBJECTS sheet.png
  x2br dataset sheet SUBJECTS sheet.png --seed 1 --exclude patient_07 --measured 200"""


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "sheet", run, tell, "A contact sheet of virtual patients, and their measures in a table.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("picture", type=Path, metavar="PICTURE", help="PNG to write")
    command.add_argument("--count", type=count, default=24, help="patients on the sheet; default 24")
    command.add_argument("--measured", type=count, default=24, help="patients in the table; default 24")
    command.add_argument("--seed", type=int, default=0, help="as in x2br dataset virtual: the same patients; default 0")
    command.add_argument("--exclude", nargs="*", default=[], metavar="NAME", help="subjects left out")


def run(options: argparse.Namespace) -> dict:
    """Draw, picture and measure."""
    from ..dataset.contact_sheet import contact_sheet, measures_of, summary
    from ..dataset.person import SHAPE_MODEL, learn_from
    from ..dataset.subject import find_subjects
    from ..files import written_whole

    folders = find_subjects(options.subjects, options.exclude)
    with written_whole(options.picture) as partial:
        model = learn_from(folders, options.picture.with_name(SHAPE_MODEL))
        contact_sheet(folders, options.count, options.seed, model).save(partial, format="PNG", optimize=True)
    rows = list(measures_of(folders, options.measured, options.seed, model))
    return {"picture": str(options.picture), "patients": options.measured, "measures": summary(rows)}


def tell(result: dict) -> str:
    """The result in words."""
    lines = [f"{result['picture']}; {result['patients']} virtual patients: least, median, most (accepted)"]
    for name, cuts in result["measures"].items():
        accepted = "{:g} to {:g}".format(*cuts["accepted"]) if "accepted" in cuts else "above 0"
        lines.append(f"  {name:12s} {cuts['least']:8.2f} {cuts['median']:8.2f} {cuts['most']:8.2f}   ({accepted})")
    return "\n".join(lines)

"""``x2br bench accuracy``: the installed models on people they never saw."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count, say

_EXAMPLES = """\
  x2br bench accuracy SUBJECTS --held-out patient_07 --out Documentation/benchmarks
  x2br bench accuracy SUBJECTS --held-out patient_07 --methods x2b --virtual 20 --json"""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "accuracy", run, tell, "Both protocols on a person left out and on unseen virtual patients.", _EXAMPLES
    )
    command.add_argument("subjects", type=Path, metavar="SUBJECTS", help="folders with ct.* and bones.* volumes")
    command.add_argument("--held-out", nargs="+", required=True, metavar="NAME", help="subjects not trained on")
    command.add_argument("--methods", nargs="+", metavar="NAME", help="installed models; default all")
    command.add_argument("--virtual", type=count, default=8, metavar="N", help="deformed copies; default 8")
    command.add_argument("--seed", type=int, default=1000, help="of the deformed copies; not one trained with")
    command.add_argument("--out", type=Path, metavar="DIR", help="write accuracy.csv and accuracy.md there")


def run(options: argparse.Namespace) -> dict:
    """Reconstruct every case with every method and score it."""
    from ..dataset.subject import find_subjects, read_subject
    from ..evaluation.suite import mean_row, no_evidence, real_case, scores, virtual_case
    from ..files import folder_written_whole
    from ..models import installed
    from ..pipeline import Reconstructor

    subjects = {folder.name: read_subject(folder) for folder in find_subjects(options.subjects)}
    missing = [name for name in options.held_out if name not in subjects]
    if missing:
        raise InputError(f"no such subject in {options.subjects}: {', '.join(missing)}")
    others = [subject for name, subject in subjects.items() if name not in options.held_out]
    if not others:
        raise InputError("every subject is held out; the deformed copies need one that is not")
    methods = [Reconstructor(name) for name in options.methods or installed()]
    rows = []
    for name in options.held_out:
        case = real_case(subjects[name])
        say(f"real: {case.name}")
        rows += [row | {"set": "real"} for method in methods for row in scores(case, method)]
        rows += [row | {"set": "real"} for row in no_evidence(case, others)]
    for n in range(options.virtual):
        case = virtual_case(others[n % len(others)], options.seed + n)
        say(f"virtual {n + 1} of {options.virtual}: {case.name}")
        rows += [row | {"set": "virtual"} for method in methods for row in scores(case, method)]
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        kind = "no evidence" if row["method"].startswith("no evidence") else row["method"]
        groups.setdefault((row["protocol"], row["set"], kind), []).append(row)
    means = [mean_row(f"{kind}, {which}", members) for (_, which, kind), members in groups.items()]
    result = {"rows": rows, "means": sorted(means, key=lambda row: row["protocol"], reverse=True)}
    if options.out:
        with folder_written_whole(options.out) as partial:
            (partial / "accuracy.csv").write_text(_csv(rows), encoding="utf-8")
            (partial / "accuracy.md").write_text(tell(result), encoding="utf-8")
    return result


def _csv(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("voxels", "warnings")))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def tell(result: dict) -> str:
    """The means as a table."""
    from ..evaluation import markdown_table

    return markdown_table(result["means"])

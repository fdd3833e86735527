"""``x2br dataset fetch``: CT collections from the Imaging Data Commons."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, positive, say

_EXAMPLES = """\
  x2br dataset fetch LIDC-IDRI lidc --subjects 20 --dry-run
  x2br dataset fetch NLST nlst --subjects 500 --series-per-subject 4
  x2br dataset fetch Lung-PET-CT-Dx lung --slice-thickness 3"""
_LISTED = 20


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "fetch", run, tell, "Get chest CTs of a public collection; goes on if interrupted.", _EXAMPLES
    )
    command.add_argument("collection", metavar="COLLECTION", help="such as NLST or LIDC-IDRI")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; one a collection")
    command.add_argument("--subjects", type=count, metavar="N", help="people; default all, always in the same order")
    command.add_argument(
        "--slice-thickness", type=positive, default=2.5, metavar="MM", help="most that a slice may measure; default 2.5"
    )
    command.add_argument(
        "--series-per-subject", type=count, default=1, metavar="N", help="most series of one person; default 1"
    )
    command.add_argument(
        "--dry-run", "--list", action="store_true", help="only say what would come, and how large it is"
    )


def run(options: argparse.Namespace) -> dict:
    """Choose from the index, say what comes under which licence, and fetch it."""
    from ..dataset.archive import Bucket, Index, acquisitions, fetch, plan

    index = Index()
    collection = index.collection(options.collection)
    table = acquisitions(index.version)
    chosen = plan(
        collection,
        index.series(collection, options.slice_thickness, table),
        subjects=options.subjects,
        per_subject=options.series_per_subject,
        max_thickness=options.slice_thickness,
    )
    say(
        f"{collection.name}: {len(chosen.first)} series of {len(chosen.candidates)} subjects, "
        f"{chosen.megabytes / 1000:.1f} GB; licence {', '.join(chosen.licences)}"
    )
    unknown = sum(series.thickness is None for series in chosen.first)
    if unknown:
        say(f"the thickness of the slices of {unknown} series is not in the index; it is checked when they have come")
    result = {
        "collection": collection.name,
        "out": str(options.out),
        "index": index.version,
        "licences": chosen.licences,
        "citations": list(collection.citations),
        "subjects": len(chosen.candidates),
        "megabytes": round(chosen.megabytes, 1),
        "series": [
            {"subject": s.subject, "uid": s.uid, "slices": s.slices, "megabytes": round(s.megabytes, 1)}
            for s in chosen.first
        ],
    }
    if options.dry_run:
        return result
    return result | {"came": fetch(chosen, options.out, Bucket(), index.version, progress=say)}


def tell(result: dict) -> str:
    """The result in words."""
    if "came" in result:
        came = result["came"]
        rest = "".join(f", {came[state]} {state}" for state in ("unsuitable", "incomplete") if came[state])
        return (
            f"{came['whole']} series of {came['subjects']} subjects in {result['out']}, {came['bytes'] / 1e9:.1f} GB"
            f"{rest}; licences and citations are in {result['out']}/LICENCES.txt"
        )
    lines = [f"{s['subject']}  {s['uid']}  {s['slices']} slices  {s['megabytes']} MB" for s in result["series"]]
    more = [f"... and {len(lines) - _LISTED} more; all with --json"] if len(lines) > _LISTED else []
    return "\n".join([*lines[:_LISTED], *more])

"""``x2br dataset build``: a folder of CTs to a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, numbers, positive
from .dataset_work import add_events, add_workers, follow, where

_EXAMPLES = """\
  x2br dataset build CTS out/data
  x2br dataset build CTS out/data --labels LABELS --workers 8 --events out/events.jsonl
  x2br dataset build CTS out/paper --spacing 1 --edge 512
  x2br dataset build CTS out/data --scheduler tcp://10.0.0.1:8786    (see Documentation/cluster.md)"""


def add_to(group) -> None:
    """Add the action."""
    command = add_command(
        group, "build", run, tell, "CTs to meshes, occupancy, radiographs, boxes and depth maps.", _EXAMPLES
    )
    command.add_argument("cts", type=Path, metavar="CT_DIR", help="folders with ct.*, volume files, DICOM folders")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; goes on if interrupted")
    command.add_argument("--rebuild", action="store_true", help="work again on what was made with other settings")
    add_workers(command)
    add_events(command)

    bones = command.add_argument_group("labels (default: those beside the CT, else they are made)")
    bones.add_argument("--labels", type=Path, metavar="DIR", help="files or folders named as the CTs")
    bones.add_argument("--scheme", default="auto", help="their numbering: x2br, totalsegmentator-v1 or -v2; auto")
    bones.add_argument(
        "--method", choices=("auto", "atlas", "totalsegmentator"), default="auto", help="how they are made; auto"
    )

    grid = command.add_argument_group("grid and points")
    grid.add_argument("--spacing", type=positive, default=1.5, metavar="MM", help="of the voxels; 1.5")
    grid.add_argument("--edge", type=count, metavar="N", help="N^3 voxels about the scan's centre; default: the scan")
    grid.add_argument("--points", type=count, default=100_000, metavar="N", help="uniform in the unit box; 100000")
    grid.add_argument("--near-points", type=count, default=100_000, metavar="N", help="about the surface; 100000")
    grid.add_argument("--near-mm", type=positive, default=4.0, metavar="MM", help="their spread; 4")
    grid.add_argument("--seed", type=int, default=0, help="of the points; 0")

    films = command.add_argument_group("radiographs (degrees, mm)")
    films.add_argument("--views", default="AP,PA,LAT", metavar="A,B,...", help="of AP, PA, LAT, RLAT; AP,PA,LAT")
    films.add_argument("--angles", type=numbers, default=[-10.0, 0.0, 10.0], metavar="A,B,...", help="a view; -10,0,10")
    films.add_argument("--size", type=count, default=512, metavar="N", help="pixels; 512")
    films.add_argument("--no-clahe", action="store_true", help="leave the pictures' local contrast as it is")
    films.add_argument("--pixel-spacing", type=positive, default=0.9, metavar="MM", help="at the detector; 0.9")
    films.add_argument("--sid", type=positive, default=1800.0, metavar="MM", help="source to image; 1800")
    films.add_argument("--sod", type=positive, default=1500.0, metavar="MM", help="source to isocentre; 1500")


def run(options: argparse.Namespace) -> dict:
    """Build what is missing."""
    from ..dataset.build import build
    from ..dataset.settings import Settings

    settings = Settings(
        spacing=options.spacing,
        edge=options.edge,
        views=tuple(options.views.upper().split(",")),
        angles=tuple(options.angles),
        size=options.size,
        pixel_spacing=options.pixel_spacing,
        sid=options.sid,
        sod=options.sod,
        clahe=not options.no_clahe,
        points=options.points,
        near_points=options.near_points,
        near_mm=options.near_mm,
        method=options.method,
        scheme=options.scheme,
        seed=options.seed,
    )
    events = build(options.cts, options.out, settings, labels=options.labels, rebuild=options.rebuild, **where(options))
    return {"out": str(options.out)} | follow(events, options.events)


def tell(result: dict) -> str:
    """The result in words."""
    from ..dataset import layout
    from ..dataset.events import tally

    return f"{result['total']} subjects in {result['out']}: {tally(result)}; see {Path(result['out']) / layout.PAGE}"

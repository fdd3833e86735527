"""``x2br export``: the bones of a result in files that other programs open."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command

_EXAMPLES = """\
  x2br export result --format stl --out for_printing
  x2br export result --format vtp segnrrd dicomseg --out for_others

stl, ply: one file a bone; obj, vtp: one file with all of them; nrrd, nifti: label maps of 1.5 mm with a legend;
dicomseg: DICOM Segmentation; segnrrd: 3D Slicer's segmentation. All are in the patient's frame, in mm, LPS."""

#: As in `X2BRLogic.export`, whose import `x2br --help` can do without; a test compares them.
FORMATS = ("stl", "ply", "obj", "vtp", "nrrd", "nifti", "dicomseg", "segnrrd")


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "export", run, tell, "Write a result's bones for other programs, with names and colours.", _EXAMPLES
    )
    command.add_argument("result", type=Path, metavar="RESULT_DIR", help="folder that x2br reconstruct has written")
    command.add_argument("--format", nargs="+", choices=FORMATS, required=True, help="one or several")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")


def run(options: argparse.Namespace) -> dict:
    """Read the result and write the files; their paths."""
    from ..export import export
    from ..reconstruction import NOTICE
    from ..results import read_result

    written = export(read_result(options.result), options.out, options.format)
    return {"notice": NOTICE, "written": [str(path) for path in written]}


def tell(result: dict) -> str:
    """The result in words."""
    return "\n".join([*(f"  {path}" for path in result["written"]), result["notice"]])

"""``x2br segment``: bone labels for a CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..files import VOLUMES, suffix
from .arguments import add_command, require, say

_EXAMPLES = """\
  x2br segment chest.nii.gz --out bones.nii.gz
  x2br segment dicom_folder --method atlas --out bones.nrrd
  x2br segment chest.nii.gz --labels totalsegmentator_folder --out bones.nii.gz
  x2br segment chest.nii.gz --labels total.nii.gz --scheme totalsegmentator-v1 --out bones.nii.gz"""

_METHODS = ("auto", "totalsegmentator", "atlas")
_SCHEMES = ("auto", "x2br", "totalsegmentator-v1", "totalsegmentator-v2")


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers,
        "segment",
        run,
        tell,
        "Label the bones of a CT, or bring labels that you have into our form.",
        _EXAMPLES,
    )
    command.add_argument("ct", type=Path, metavar="CT", help="NIfTI, NRRD, MetaImage, or a folder of DICOM slices")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="label map: .nii.gz, .nrrd or .mha")
    command.add_argument(
        "--method",
        choices=_METHODS,
        default="auto",
        help="totalsegmentator where it is installed with its weights, else atlas, which needs none; default auto",
    )
    command.add_argument(
        "--labels", type=Path, help="labels that you have: NIfTI, NRRD, .seg.nrrd, DICOM SEG, or a folder of masks"
    )
    command.add_argument("--scheme", choices=_SCHEMES, default="auto", help="what plain numbers in --labels mean")


def run(options: argparse.Namespace) -> dict:
    """Label and write."""
    import numpy as np

    from .. import anatomy
    from ..segmentation import label_bones, read_bone_labels
    from ..volume_io import read_ct, write_volume

    if suffix(options.out) not in VOLUMES or not options.out.absolute().parent.is_dir():
        raise InputError(f"cannot write {options.out}; give a file like bones.nii.gz in a folder that exists")
    ct = read_ct(require(options.ct))
    if options.labels:
        labels, method, notes = read_bone_labels(require(options.labels), ct, options.scheme), "given labels", ()
    else:
        done = label_bones(ct, options.method, _Stages())
        labels, method, notes = done.labels, done.method, done.notes
    write_volume(options.out, labels)
    present = np.flatnonzero(np.bincount(labels.array.ravel()))
    bones = [anatomy.BY_LABEL[int(label)].name for label in present if label]
    return {"out": str(options.out), "method": method, "bones": bones, "notes": list(notes)}


class _Stages:
    """Says a stage once, when it begins."""

    def __init__(self):
        self.last = ""

    def __call__(self, fraction: float, stage: str) -> None:
        if stage != self.last:
            say(stage)
        self.last = stage


def tell(result: dict) -> str:
    """The result in words."""
    return "\n".join([f"{len(result['bones'])} bones in {result['out']} ({result['method']})", *result["notes"]])

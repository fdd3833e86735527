"""``x2br evaluate``: a reconstruction against the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command

_EXAMPLES = """\
  x2br evaluate result/bones.ply truth.ply
  x2br evaluate result/bones.ply bones.nii.gz --protocol paper --json"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers,
        "evaluate",
        run,
        tell,
        "Measure how well two shapes (meshes in RAS mm, label maps) agree.",
        _EXAMPLES,
    )
    command.add_argument("prediction", type=Path, metavar="PREDICTION", help="mesh or label map")
    command.add_argument("reference", type=Path, metavar="REFERENCE", help="mesh or label map")
    command.add_argument(
        "--protocol",
        choices=("strict", "paper", "both"),
        default="both",
        help="strict: where they are, 1.5 mm voxels; paper: each in its unit box, 32^3 voxels; default both",
    )


def run(options: argparse.Namespace) -> dict:
    """One dict of metrics a protocol."""
    from ..evaluation import evaluate, load_shape

    prediction, reference = load_shape(options.prediction), load_shape(options.reference)
    protocols = ("strict", "paper") if options.protocol == "both" else (options.protocol,)
    return {protocol: evaluate(prediction, reference, protocol) for protocol in protocols}


def tell(result: dict) -> str:
    """The result as a table."""
    from ..evaluation.report import markdown_table

    return markdown_table([{"name": protocol} | metrics for protocol, metrics in result.items()])

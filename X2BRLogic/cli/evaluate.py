"""``x2br evaluate``: a reconstruction against the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command

_EXAMPLES = """\
  x2br evaluate result/bones.ply truth.ply
  x2br evaluate result/bones.ply bones.nii.gz --protocol paper --json
  x2br evaluate result bones.nii.gz                      # named bones, a folder: is it a thorax?
  x2br evaluate result/bones.ply bones.nii.gz --realism  # the same of a mesh without names"""


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
    command.add_argument(
        "prediction", type=Path, metavar="PREDICTION", help="mesh, label map, or folder of named bones"
    )
    command.add_argument("reference", type=Path, metavar="REFERENCE", help="mesh or label map")
    command.add_argument(
        "--protocol",
        choices=("strict", "paper", "both"),
        default="both",
        help="strict: where they are, 1.5 mm voxels; paper: each in its unit box, 32^3 voxels; default both",
    )
    command.add_argument(
        "--realism",
        action="store_true",
        help="wholeness, order, spacing, overlap, and more; REFERENCE names the bones",
    )


def run(options: argparse.Namespace) -> dict:
    """One dict of metrics a protocol, or of a folder the figures of realism."""
    from ..evaluation import evaluate, load_shape

    if options.realism or options.prediction.is_dir():
        return {"realism": _realism(options.prediction, options.reference)}
    prediction, reference = load_shape(options.prediction), load_shape(options.reference)
    protocols = ("strict", "paper") if options.protocol == "both" else (options.protocol,)
    return {protocol: evaluate(prediction, reference, protocol) for protocol in protocols}


def _realism(prediction: Path, reference: Path) -> dict:
    from ..evaluation import load_shape, realism
    from ..evaluation.named import load_bones

    if reference.is_file() and reference.suffix.lower() in (".ply", ".stl", ".obj", ".off"):
        raise InputError(f"{reference} has no names of bones; give a label map, or a folder of named bones")
    truth = load_bones(reference)
    return realism(load_bones(prediction) if prediction.is_dir() else load_shape(prediction), truth)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:.3f}"


def tell(result: dict) -> str:
    """The result as a table."""
    from ..evaluation.report import markdown_table

    if "realism" in result:
        figures = {name: value for name, value in result["realism"].items() if name != "bones"}
        return "\n".join(f"{name:<20} {_word(value)}" for name, value in figures.items())
    return markdown_table([{"name": protocol} | metrics for protocol, metrics in result.items()])

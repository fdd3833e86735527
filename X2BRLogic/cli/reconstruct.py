"""``x2br reconstruct``: a radiograph to the bones of the thorax."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .arguments import add_command, add_geometry, say

_EXAMPLES = """\
  x2br reconstruct Resources/SampleData/chest_ap.png --out result
  x2br reconstruct film.dcm --out result --json
  x2br reconstruct film.png --view PA --pixel-spacing 0.55 --sid 1800 --sod 1550 --out result"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "reconstruct", run, tell, "Reconstruct the bones of the thorax from one radiograph.", _EXAMPLES
    )
    command.add_argument("radiograph", type=Path, metavar="RADIOGRAPH", help="PNG, JPEG, TIFF, DICOM, NRRD, NIfTI, MHA")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument("--method", help="an installed model (x2br models); default x2b_aligned, the best")
    command.add_argument("--weights", type=Path, help="a weights file, instead of an installed model")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    add_geometry(command, spacing=None, sid=None, sod=None)


def run(options: argparse.Namespace) -> dict:
    """Read, reconstruct and write; the summary."""
    from ..radiograph import read_radiograph

    # The input is looked at before the network is loaded: a wrong file is told at once.
    radiograph = read_radiograph(
        options.radiograph, view=options.view, pixel_spacing=options.pixel_spacing, sid=options.sid, sod=options.sod
    )
    for warning in radiograph.warnings:
        say(f"x2br: warning: {warning}")
    from ..models import DEFAULT_METHOD
    from ..pipeline import Reconstructor

    start = time.perf_counter()
    reconstructor = Reconstructor(options.method or DEFAULT_METHOD, options.device, options.weights)
    loading = time.perf_counter() - start
    reconstruction = reconstructor.reconstruct(
        radiograph, progress=lambda fraction, stage: say(f"{fraction:4.0%} {stage}")
    )
    reconstruction.summary["seconds"]["load model"] = round(loading, 4)
    written = reconstruction.save(options.out)
    return reconstruction.summary | {"out": {name: str(path) for name, path in written.items()}}


def tell(result: dict) -> str:
    """The result in words."""
    low, high = result["bounds_mm"]
    extent = " x ".join(f"{b - a:.0f}" for a, b in zip(low, high, strict=True))
    scale = "" if result["absolute_scale"] else " (scale assumed, see the warnings)"
    return (
        f"bones of {extent} mm{scale}, {result['faces']} faces, in {result['seconds']['total']:.1f} s\n"
        + "\n".join(f"  {path}" for path in result["out"].values())
        + f"\n{result['notice']}"
    )

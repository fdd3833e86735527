"""``x2br drr``: radiographs from a CT."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import folder_written_whole
from .arguments import add_command, add_geometry, count, numbers, say

_EXAMPLES = """\
  x2br drr chest.nii.gz --out drrs
  x2br drr dicom_folder --labels bones.nii.gz --view LAT --out drrs
  x2br drr chest.nii.gz --angles=-10,0,10 --size 1024 --pixel-spacing 0.45 --raw --out drrs"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "drr", run, tell, "Make radiographs (DRRs) from a CT by exact ray tracing.", _EXAMPLES
    )
    command.add_argument("ct", type=Path, metavar="CT", help="NIfTI, NRRD, MetaImage, or a folder of DICOM slices")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    command.add_argument("--labels", type=Path, help="bone labels of the CT: aims at the bones of the thorax")
    command.add_argument("--angles", type=numbers, default=[0.0], metavar="A,B,...", help="turns about the body axis")
    command.add_argument("--size", type=count, default=512, help="pixels along an edge; default 512")
    command.add_argument("--raw", action="store_true", help="also write the line integrals as NRRD")
    add_geometry(command, spacing=0.9, sid=1800.0, sod=1500.0)


def run(options: argparse.Namespace) -> dict:
    """Render, and write 16-bit PNG with ``geometry.json``."""
    from ..drr import Renderer, as_radiograph, isocentre
    from ..geometry import XRayGeometry
    from ..volume import Volume
    from ..volume_io import match_grid, read_ct, read_labels, write_volume

    if options.size > 8192:
        raise InputError(f"--size {options.size} is more than 8192 pixels; a detector has fewer")
    start = time.perf_counter()
    ct = read_ct(options.ct)
    labels = match_grid(read_labels(options.labels), ct) if options.labels else None
    centre = isocentre(ct, labels)
    seconds_reading = time.perf_counter() - start
    say(f"read {options.ct.name}: {' x '.join(map(str, ct.array.shape[::-1]))} voxels")

    geometries: dict[str, XRayGeometry] = {}
    for angle in options.angles:
        turned = f"_{angle:+g}" if angle else ""
        geometries[f"drr_{options.view.lower()}{turned}.png"] = XRayGeometry.from_view(
            options.view,
            angle=angle,
            sid=options.sid,
            sod=options.sod,
            shape=(options.size, options.size),
            spacing=(options.pixel_spacing, options.pixel_spacing),
            isocentre=centre,
        )
    renderer = Renderer(ct)
    start = time.perf_counter()
    images = {name: renderer.line_integrals(geometry) for name, geometry in geometries.items()}
    seconds_rendering = time.perf_counter() - start
    if not all(image.any() for image in images.values()):
        raise InputError("the detector misses the patient; use a larger --size or --pixel-spacing")
    with folder_written_whole(options.out) as partial:
        for name, image in images.items():
            Image.fromarray(as_radiograph(image)).save(partial / name)
            if options.raw:
                # As one slice, [k, j, i] = [1, rows, columns], where the detector is.
                write_volume((partial / name).with_suffix(".nrrd"), Volume(image[None], geometries[name].pixel_to_ras))
        placed = {"images": {name: geometry.to_dict() for name, geometry in geometries.items()}}
        if options.raw:
            placed["images"] |= {str(Path(n).with_suffix(".nrrd")): g.to_dict() for n, g in geometries.items()}
        (partial / "geometry.json").write_text(json.dumps(placed, indent=2) + "\n", encoding="utf-8")
    return {
        "out": str(options.out),
        "images": list(images),
        "isocentre_ras_mm": np.round(centre, 3).tolist(),
        "seconds": {"read": round(seconds_reading, 4), "render": round(seconds_rendering, 4)},
    }


def tell(result: dict) -> str:
    """The result in words."""
    return (
        f"{len(result['images'])} radiograph(s) in {result['out']}: {', '.join(result['images'])} "
        f"(rendered in {result['seconds']['render']:.2f} s)"
    )

"""``x2br detect``: the ribs and vertebrae in a radiograph, as boxes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, add_geometry, make_folder, say

_EXAMPLES = """\
  x2br detect Resources/SampleData/chest_ap.png --out result
  x2br detect film.dcm --out film.boxes.json            (x2br reconstruct --method x2br takes it from beside the film)
  x2br detect film.png --out result --runtime onnx --weights mine.onnx

onnxruntime (MIT) runs the detector unless --runtime says ultralytics (AGPL-3.0), which must be installed for that."""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(subparsers, "detect", run, tell, "Find the ribs and vertebrae in a radiograph.", _EXAMPLES)
    command.add_argument(
        "radiograph",
        type=Path,
        metavar="RADIOGRAPH",
        help="frontal chest film: PNG, JPEG, TIFF, DICOM, NRRD, NIfTI, MHA",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR|FILE",
        help="folder for NAME.boxes.json and NAME.boxes.png; or a .json file, and the picture beside it",
    )  # fmt: skip
    command.add_argument("--runtime", choices=("onnx", "ultralytics"), default="onnx", help="default onnx")
    command.add_argument("--weights", type=Path, metavar="FILE", help="instead of the installed detector")
    add_geometry(command, spacing=None, sid=None, sod=None)


def run(options: argparse.Namespace) -> dict:
    """Find, and write boxes and picture."""
    from ..radiograph import read_radiograph

    radiograph = read_radiograph(
        options.radiograph, view=options.view, pixel_spacing=options.pixel_spacing, sid=options.sid, sod=options.sod
    )
    boxes_file = _target(options.out, options.radiograph)
    for warning in radiograph.warnings:
        say(f"x2br: warning: {warning}")
    from ..detection import detect, write_boxes
    from ..detection.picture import draw_boxes
    from ..files import written_whole
    from ..reconstruction import NOTICE

    found = detect(radiograph, runtime=options.runtime, weights=options.weights)
    facts = {
        "notice": NOTICE,
        "input": radiograph.source,
        "model": found.model,
        "absolute_scale": radiograph.scale_known,
        "notes": list(found.notes),
    }
    write_boxes(found.boxes, boxes_file, radiograph.geometry, **facts)
    picture = boxes_file.with_suffix(".png")
    with written_whole(picture) as partial:
        draw_boxes(radiograph.pixels, found.boxes).save(partial)
    groups = [box.group for box in found.boxes]
    return facts | {
        "found": {group: groups.count(group) for group in ("ribs_left", "ribs_right", "vertebrae")},
        "seconds": round(found.seconds, 4),
        "out": {"boxes": str(boxes_file), "picture": str(picture)},
    }


def _target(out: Path, film: Path) -> Path:
    """The file of boxes; its folder is made where a folder was given."""
    from ..files import stem

    if out.suffix.lower() == ".json" and not out.is_dir():
        return out
    make_folder(out)
    return out / f"{stem(film)}.boxes.json"


def tell(result: dict) -> str:
    """The result in words."""
    found = result["found"]
    lines = [
        f"{found['ribs_left']} left ribs, {found['ribs_right']} right ribs, {found['vertebrae']} vertebrae, "
        f"in {result['seconds']:.2f} s with {result['model']}"
    ]
    lines += [f"  note: {note}" for note in result["notes"]]
    return "\n".join([*lines, *(f"  {path}" for path in result["out"].values()), result["notice"]])

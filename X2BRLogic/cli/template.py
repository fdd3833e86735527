"""``x2br template``: the skeleton template."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command, count, require, say

_BUILD = """\
  x2br template build subjects --out template
  x2br template build subjects --exclude patient_7 --exclude patient_9 --out template"""
_SHAPES = """\
  x2br template shapes subjects --out thorax.safetensors
  x2br template shapes subjects --exclude patient_7 --virtual 20 --out thorax.safetensors"""
_SHOW = """\
  x2br template show
  x2br template show my_meshes --picture bones.png
  x2br template show skel_male.pkl --out template"""


def add_to(subparsers) -> None:
    """Add the sub-command and what is under it."""
    group = subparsers.add_parser("template", help="The skeleton template.").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    build = add_command(
        group, "build", _build, _tell_built, "Make a template: the mean skeleton of labelled people.", _BUILD
    )
    build.add_argument("subjects", type=Path, metavar="SUBJECTS", help="a folder for each: ct.nii.gz, bones.nii.gz")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="for template.glb and template.json")
    build.add_argument("--exclude", action="append", default=[], metavar="NAME", help="leave one out; may be repeated")

    shapes = add_command(
        group, "shapes", _shapes, _tell_shapes, "Make a shape model: how labelled people's bones vary.", _SHAPES
    )
    shapes.add_argument("subjects", type=Path, metavar="SUBJECTS", help="a folder for each: ct.nii.gz, bones.nii.gz")
    shapes.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .safetensors file")
    shapes.add_argument("--exclude", action="append", default=[], metavar="NAME", help="leave one out; may be repeated")
    shapes.add_argument("--virtual", type=count, default=12, metavar="N", help="patients made of each; default 12")

    show = add_command(group, "show", _show, _tell_shown, "List the bones of a template, or of one's own.", _SHOW)
    show.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="folder of STL files, template, SKEL model; default: ours"
    )
    show.add_argument("--axes", choices=("RAS", "LPS"), help="of a folder of meshes; default: found from the bones")
    show.add_argument("--out", type=Path, metavar="DIR", help="also write it as template.glb and template.json")
    show.add_argument("--picture", type=Path, metavar="PNG", help="also draw it from the front, the side and the back")


def _build(options: argparse.Namespace) -> dict:
    from ..template import save_skeleton
    from ..template.building import build_template

    skeleton = build_template(require(options.subjects), exclude=options.exclude, say=say)
    save_skeleton(skeleton, options.out)
    return {"out": str(options.out)} | _facts(skeleton)


def _shapes(options: argparse.Namespace) -> dict:
    from ..shape_model.building import learn_cage

    cage = learn_cage(require(options.subjects), exclude=options.exclude, virtual=options.virtual, say=say)
    cage.save(options.out)
    return {"out": str(options.out), "modes": len(cage.whole.modes), **cage.facts}


def _tell_shapes(result: dict) -> str:
    return f"{result['modes']} modes of {result['shapes']} shapes: {result['out']}"


def _show(options: argparse.Namespace) -> dict:
    from ..template import load_template, read_skeleton, save_skeleton

    skeleton = load_template() if options.path is None else read_skeleton(options.path, axes=options.axes)
    for note in skeleton.notes:
        say(note)
    if options.out:
        save_skeleton(skeleton, options.out)
    if options.picture:
        _draw(skeleton.as_mesh(), options.picture)
    return _facts(skeleton)


def _draw(mesh, path: Path) -> None:
    import numpy as np
    from PIL import Image

    from ..files import written_whole
    from ..preview import SIDES, render

    edge = 1.08 * float(mesh.extents.max())
    picture = Image.fromarray(np.concatenate([render(mesh, side, 480, edge) for side in SIDES], axis=1))
    with written_whole(path) as partial:
        picture.save(partial, format="PNG")


def _facts(skeleton) -> dict:
    made = skeleton.facts.get("bones", {})
    return {
        "bones": [
            {
                "name": name,
                "faces": len(mesh.faces),
                "volume_cm3": round(float(mesh.volume) / 1000, 2),
                "made": made.get(name, {}).get("made", "read"),
            }
            for name, mesh in skeleton.bones.items()
        ],
        "joints": len(skeleton.joints),
        "subjects": [str(subject["subject"]) for subject in skeleton.facts.get("subjects", [])],
        "notes": list(skeleton.notes),
    }


def _tell_built(result: dict) -> str:
    return f"{len(result['bones'])} bones of {len(result['subjects'])} people in {result['out']}"


def _tell_shown(result: dict) -> str:
    lines = [f"{b['name']:28} {b['volume_cm3']:7.2f} cm3  {b['made']}" for b in result["bones"]]
    return "\n".join([*lines, f"{len(result['bones'])} bones, {result['joints']} joints"])

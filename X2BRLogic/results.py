"""A folder of results, read back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .files import reason, require_file, shown
from .reconstruction import Reconstruction

if TYPE_CHECKING:
    import trimesh

    from .radiograph import Radiograph

SCHEMA = "x2br-summary-1"
#: More than any summary, less than what fills a memory.
_SUMMARY_BYTES = 2**24


def read_result(folder: str | os.PathLike) -> Reconstruction:
    """The reconstruction that `Reconstruction.save` wrote.

    The film has the 8 bits of ``radiograph.png``; places, names and what each vertex carries are as they were.
    Raises `InputError` where a file is missing or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one that x2br reconstruct has written")
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder} has no summary.json; give a folder that x2br reconstruct has written for one film")
    summary = _summary(folder / "summary.json")
    radiograph, mesh = _radiograph(folder, summary), _mesh(folder / "bones.ply")
    if "bones" not in summary:
        return Reconstruction(radiograph, mesh, summary=summary)
    from .detection import read_boxes

    bones = {name: _mesh(folder / "bones" / f"{_bones_name(name)}.ply") for name in summary["bones"]}
    return Reconstruction(radiograph, mesh, bones, tuple(read_boxes(folder / "boxes.json")), summary)


def _bones_name(name: str) -> str:
    """The name, if it is a bone's; others could lead to files elsewhere."""
    from .template import bone_of

    try:
        bone_of(name)
    except KeyError:
        raise InputError(
            f"the summary names {shown(name)}, which is no bone of the thorax; reconstruct it again"
        ) from None
    return name


def _summary(path: Path) -> dict:
    require_file(path)
    if path.stat().st_size > _SUMMARY_BYTES:
        raise InputError(f"{path} is too large for a summary; reconstruct the film again")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["schema"] != SCHEMA:
            raise InputError(f"{path} has the schema {shown(summary['schema'])}, not {SCHEMA}; reconstruct it again")
        kinds = {"input": str, "method": str, "model": dict, "geometry": dict, "known": dict, "warnings": list}
        odd = [key for key, kind in kinds.items() if not isinstance(summary[key], kind)]
        odd += ["bones"] * (not isinstance(summary.get("bones", {}), dict))
        if odd or not all(isinstance(summary["known"][key], bool) for key in ("sid", "sod", "spacing", "view")):
            raise ValueError(f"{(odd or ['known'])[0]} is not what a summary has there")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({reason(error)}); reconstruct the film again") from None
    return summary


def _radiograph(folder: Path, summary: dict) -> Radiograph:
    from .geometry import XRayGeometry
    from .radiograph import Radiograph, radiograph_from_array, read_radiograph

    geometry = XRayGeometry.from_dict(summary["geometry"])
    pixels = read_radiograph(folder / "radiograph.png").pixels
    if pixels.shape != geometry.shape:
        raise InputError(
            f"{folder / 'radiograph.png'} is not the film that the summary describes; reconstruct it again"
        )
    placed = radiograph_from_array(pixels, summary["input"], geometry=geometry)
    return Radiograph(placed.pixels, geometry, summary["known"], summary["input"], tuple(map(str, summary["warnings"])))


def _mesh(path: Path) -> trimesh.Trimesh:
    """A mesh as it was written, with the numbers of its vertices."""
    import numpy as np
    import trimesh

    require_file(path)
    try:
        mesh = trimesh.load_mesh(path, process=False)
        fields = mesh.metadata.pop("_ply_raw")["vertex"]["data"]
        for name in fields.dtype.names if isinstance(fields, np.ndarray) else fields:
            if name not in ("x", "y", "z"):
                mesh.vertex_attributes[name] = np.ravel(fields[name]).astype(np.float32)
    except Exception as error:  # a parser fails on damage with whatever it stumbles over
        raise InputError(f"{path} is damaged or no mesh ({reason(error)}); reconstruct the film again") from None
    numbers = (mesh.vertices, *mesh.vertex_attributes.values())
    if not len(mesh.faces) or not all(np.isfinite(values).all() for values in numbers):
        raise InputError(f"{path} holds no usable triangles; reconstruct the film again")
    return mesh

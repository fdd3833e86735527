"""A skeleton from a folder with one mesh file a bone."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import trimesh

from .. import anatomy
from ..errors import InputError
from ..files import reason, suffix
from ..surface import drop_specks, make_watertight
from . import parts
from .contact import joints_of
from .orientation import to_ras_mm
from .skeleton import Skeleton

MESHES = (".stl", ".ply", ".obj", ".off")
_LIST = "bones.csv"
_SLIVER_MM3 = 20.0
_PIECES_OF_THE_STERNUM = ("manubrium", "xiphoid")


def read_folder(folder: Path, axes: str | None = None) -> Skeleton:
    """Named meshes as a skeleton; several files of one bone (manubrium and body of the sternum) become one mesh.

    A bone's name is that of its file, or what ``bones.csv`` (columns ``file`` and ``bone``) says. Spellings of other
    programs are understood: ``rib_left_4``, ``left_rib_4``, ``vertebrae_T4``, ``T4``, ``sternum_body``.

    Args:
        folder: STL, PLY, OBJ or OFF files; others are passed over.
        axes: ``RAS`` or ``LPS``; else the ``SPACE=`` mark that Slicer writes into STL files, else what the bones tell.

    Raises:
        InputError: no mesh of a known bone is there, or one cannot be read or encloses nothing.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and suffix(path) in MESHES)
    listed = _listed(folder / _LIST)
    named, unknown = {}, []
    for path in files:
        name = canonical_name(listed.get(path.name, path.stem))
        if name is None:
            unknown.append(path.name)
        else:
            named.setdefault(name, []).append(path)
    if not named:
        raise InputError(
            f"{folder} holds no mesh named after a bone of the thorax; name the files like rib_left_4.stl, "
            "vertebra_T4.stl, sternum.stl"
        )
    meshes = {name: _one_body([_read(path) for path in paths]) for name, paths in named.items()}
    bones = to_ras_mm(meshes, axes or _space(next(iter(named.values()))[0]))
    bones = {name: make_watertight(mesh) for name, mesh in bones.items()}
    notes = (
        (f"{len(unknown)} file(s) that name no bone of the thorax were passed over: {unknown[0]}",) if unknown else ()
    )
    return Skeleton(bones, joints_of(bones), {"source": folder.name}, notes)


def canonical_name(text: str) -> str | None:
    """The name in `parts.NAMES` that a name of another program means; `None` for anything else."""
    words = re.sub(r"[^a-z0-9]+", "_", text.strip().lower()).strip("_")
    if words in _LOWER:
        return _LOWER[words]
    if found := re.fullmatch(r"(?:vertebrae?_)?([ctl]\d{1,2})(?:_vertebra)?", words):
        return _LOWER.get(f"vertebra_{found[1]}")
    if words.split("_")[0] in ("sternum", *_PIECES_OF_THE_STERNUM):
        return "sternum"
    side = next((side for short, side in _SIDES.items() if short in words.split("_")), None)
    number = re.search(r"(\d+)$|_(\d+)_|(?<=rib)(\d+)", words)
    kind = next((kind for kind in ("cartilage", "rib", "clavicle", "scapula", "humerus") if kind in words), None)
    if side is None or kind is None or (kind in ("cartilage", "rib") and number is None):
        return None
    level = next((group for group in number.groups() if group), "") if number else ""
    kind = "costal_cartilage" if kind == "cartilage" else kind
    return _LOWER.get(f"{kind}_{side}_{level}" if kind in ("rib", "costal_cartilage") else f"{kind}_{side}")


_LOWER = {name.lower(): name for name in parts.NAMES}
_SIDES = {"left": anatomy.LEFT, "l": anatomy.LEFT, "right": anatomy.RIGHT, "r": anatomy.RIGHT}


def _listed(path: Path) -> dict[str, str]:
    """Bone by file name from ``bones.csv``, empty without it."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return {row["file"]: row["bone"] for row in csv.DictReader(stream)}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} needs the columns file and bone ({reason(error)}); correct or remove it") from None


def _read(path: Path) -> trimesh.Trimesh:
    try:
        mesh = trimesh.load_mesh(path, process=True)
    except Exception as error:  # a parser fails on damage with whatever it stumbles over
        raise InputError(f"{path} is damaged or no mesh ({reason(error)}); export it again") from None
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces) or not np.isfinite(mesh.vertices).all():
        raise InputError(f"{path} holds no usable triangles; export it again")
    return mesh


def _one_body(meshes: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Several meshes of one bone joined: their union where they are closed, else side by side."""
    if len(meshes) == 1:
        return meshes[0]
    if all(mesh.is_volume for mesh in meshes):  # slivers come where two pieces were fitted to each other
        return drop_specks(trimesh.boolean.union(meshes, engine="manifold"), _SLIVER_MM3)
    return trimesh.util.concatenate(meshes)


def _space(path: Path) -> str | None:
    """``RAS`` or ``LPS`` where an STL file's header says so, as 3D Slicer writes it."""
    with path.open("rb") as stream:
        found = re.search(rb"SPACE=(RAS|LPS)", stream.read(256))
    return found[1].decode() if found else None

"""Surfaces as STL, PLY, OBJ and VTP, in the frame that medical programs expect of such files: LPS, mm.

Each file says so (``SPACE=LPS``, 3D Slicer's mark). STL and PLY hold one bone a file, which carries its name; OBJ and
VTP (`vtp`) hold all bones with their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh

from .. import anatomy
from ..ply import LPS, ply
from ..template import bone_of

#: Name and colour of the one surface of a reconstruction without named bones.
WHOLE = "bones"
_COLOUR = (0.95, 0.87, 0.73)
Meshes = Mapping[str, trimesh.Trimesh]


def write_stl(bones: Meshes, folder: Path) -> None:
    """``stl/NAME.stl``, binary; the colour is where Materialise Magics and VisCAM look for it."""
    (folder / "stl").mkdir()
    for name, mesh in bones.items():
        red, green, blue = colour_of(name)
        content = bytearray(in_lps(mesh).export(file_type="stl"))
        header = f"{name} {LPS} COLOR=".encode() + bytes((red, green, blue, 255))
        content[:80] = header.ljust(80)
        # 5 bits a channel, blue first; the 16th bit: the colour counts (VisCAM), or is the whole object's (Magics)
        packed = 0x8000 | (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3
        triangles = np.frombuffer(content, dtype=np.uint8, offset=84).reshape(-1, 50)
        triangles[:, 48:] = np.array([packed], dtype="<u2").view(np.uint8)
        del triangles  # which holds the buffer
        (folder / "stl" / f"{name}.stl").write_bytes(content)


def write_ply(bones: Meshes, folder: Path) -> None:
    """``ply/NAME.ply``, binary, with colours and what each vertex carries."""
    (folder / "ply").mkdir()
    for name, mesh in bones.items():
        coloured = in_lps(mesh)
        coloured.visual.vertex_colors = [*colour_of(name), 255]
        code = [f"SNOMED CT {_bone(name).code}"] if _bone(name) else []
        (folder / "ply" / f"{name}.ply").write_bytes(ply(coloured, LPS, f"bone {name}", *code))


def write_obj(bones: Meshes, folder: Path) -> None:
    """``bones.obj`` with an object a bone, and ``bones.mtl`` with their colours."""
    materials, first = [], 1
    with (folder / "bones.obj").open("w", encoding="ascii", newline="\n") as stream:
        stream.write(f"# X2BR. {LPS}\nmtllib bones.mtl\n")
        for name, mesh in bones.items():
            stream.write(f"o {name}\nusemtl {name}\n")
            np.savetxt(stream, in_lps(mesh).vertices, fmt="v %.4f %.4f %.4f")
            np.savetxt(stream, mesh.faces + first, fmt="f %d %d %d")
            first += len(mesh.vertices)
            shade = " ".join(f"{part / 255:.4f}" for part in colour_of(name))
            materials.append(f"newmtl {name}\nKd {shade}\nKa 0 0 0\nKs 0 0 0\nd 1\nillum 1\n")
    (folder / "bones.mtl").write_text("\n".join(materials), encoding="ascii")


def colour_of(name: str) -> tuple[int, int, int]:
    """Red, green and blue, 0-255."""
    bone = _bone(name)
    return tuple(round(255 * part) for part in (bone.colour if bone else _COLOUR))


def label_of(name: str) -> int:
    """The bone's label of `anatomy`, 0 for a surface of no one bone."""
    bone = _bone(name)
    return bone.label if bone else 0


def _bone(name: str) -> anatomy.Bone | None:
    return None if name == WHOLE else bone_of(name)


def in_lps(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Half a turn about the superior axis: triangles keep their sense."""
    vertices = np.asarray(mesh.vertices) * (-1.0, -1.0, 1.0)
    return trimesh.Trimesh(vertices, mesh.faces, vertex_attributes=dict(mesh.vertex_attributes), process=False)

"""A mesh as PLY that says in which space it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trimesh

#: 3D Slicer goes by this mark, and takes a file without it for LPS.
RAS, LPS = "SPACE=RAS", "SPACE=LPS"


def ply(mesh: trimesh.Trimesh, *comments: str) -> bytes:
    """Binary PLY with what each vertex carries, and comments in its header.

    Source: G. Turk, The PLY Polygon File Format (1994); vtkMRMLModelStorageNode for the mark of the space.
    """
    start, end = mesh.export(file_type="ply").split(b"\nelement", 1)
    return start + b"".join(f"\ncomment {line}".encode() for line in comments) + b"\nelement" + end

"""Shapes from files: meshes, and label maps turned into meshes."""

from __future__ import annotations

from pathlib import Path

import trimesh

from .. import anatomy
from ..errors import InputError
from .protocol import evaluate

MESH_SUFFIXES = (".ply", ".stl", ".obj", ".off")
LABEL_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def load_shape(path: str | Path) -> trimesh.Trimesh:
    """A shape to evaluate, in RAS mm.

    A mesh is read as it is. 3D Slicer writes meshes in LPS unless told otherwise and says so in the file's header
    (``SPACE=LPS``); such a mesh is turned to RAS. Of a label map, the bones of the thorax (`anatomy.THORAX`) become the
    mesh.

    Raises:
        InputError: the file is missing, of another kind, unreadable, or holds no shape.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a mesh or a label map")
    name = path.name.lower()
    if name.endswith(MESH_SUFFIXES):
        return _read_mesh(path)
    if name.endswith(LABEL_SUFFIXES):
        # Here and not above: evaluating meshes needs neither SimpleITK nor the surface room.
        from ..surface import labels_to_mesh
        from ..volume_io import read_labels

        return labels_to_mesh(read_labels(path), anatomy.THORAX)
    known = ", ".join(MESH_SUFFIXES + LABEL_SUFFIXES)
    raise InputError(f"{path}: neither a mesh nor a label map by its name; give one of {known}")


def evaluate_files(prediction_path: str | Path, reference_path: str | Path, protocol: str = "strict") -> dict:
    """`evaluate` of two files (`load_shape`), with their paths as ``prediction`` and ``reference`` in the result."""
    prediction, reference = load_shape(prediction_path), load_shape(reference_path)
    paths = {"prediction": str(prediction_path), "reference": str(reference_path)}
    return paths | evaluate(prediction, reference, protocol)


def _read_mesh(path: Path) -> trimesh.Trimesh:
    try:
        mesh = trimesh.load_mesh(path)
    except Exception as error:  # each of trimesh's readers fails in its own way on a broken file
        raise InputError(f"{path}: cannot be read as a mesh ({error}); export it anew") from None
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise InputError(f"{path}: holds no triangles; export the surface as a triangle mesh")
    with path.open("rb") as stream:
        if b"SPACE=LPS" in stream.read(1024):
            mesh.vertices = mesh.vertices * [-1, -1, 1]
    return mesh

"""Shapes from files and back, without touching the order of their vertices."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import trimesh

from ..errors import InputError
from ..files import reason, require_file, suffix, written_whole
from .result import Registration

MESHES = (".ply", ".stl", ".obj", ".off")
POINTS = (".txt", ".xyz", ".csv", ".npy")


def read_shape(path: str | os.PathLike) -> trimesh.Trimesh | np.ndarray:
    """A mesh, or points ``(N, 3)`` from a mesh file without faces or a table; RAS mm.

    Vertices keep the file's order; of an STL file, which repeats them for every triangle, equal ones become one.
    A mesh that 3D Slicer marked as LPS is turned to RAS.

    Raises:
        InputError: the file is missing, of another kind, or damaged.
    """
    path = require_file(path)
    kind = suffix(path)
    if kind not in MESHES + POINTS:
        raise InputError(f"{path} is no shape by its name; give one of {', '.join(MESHES + POINTS)}")
    try:
        if kind == ".npy":
            return np.load(path, allow_pickle=False)
        if kind in POINTS:
            return _read_table(path)
        found = trimesh.load(path, process=kind == ".stl", maintain_order=True, skip_materials=True)
    except Exception as error:  # every reader fails in its own way on a damaged file
        raise InputError(f"{path} cannot be read as a shape ({reason(error)}); export it again") from None
    if isinstance(found, trimesh.Scene):
        found = found.to_geometry() if found.geometry else None
    if not isinstance(found, trimesh.Trimesh | trimesh.PointCloud):
        raise InputError(f"{path} holds neither triangles nor points; export the surface as a triangle mesh")
    with path.open("rb") as stream:
        if b"SPACE=LPS" in stream.read(1024):
            found.vertices = found.vertices * [-1, -1, 1]
    return found if isinstance(found, trimesh.Trimesh) and len(found.faces) else np.asarray(found.vertices)


def _read_table(path: Path) -> np.ndarray:
    text = path.read_text(encoding="utf-8")
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def check_output(path: Path, moving: trimesh.Trimesh | np.ndarray) -> None:
    """Whether a deformed `moving` can be written to a file of this name. Raises `InputError` otherwise."""
    kinds = (".ply", ".stl", ".obj", ".off") if isinstance(moving, trimesh.Trimesh) else (".ply", *POINTS)
    if suffix(path) not in kinds:
        raise InputError(f"{path} cannot hold the result by its name; end it with one of {', '.join(kinds)}")


def write_registration(
    path: Path, moving: trimesh.Trimesh | np.ndarray, registration: Registration, summary: dict
) -> Path:
    """Write `moving` with its vertices where the registration put them, and `summary` beside it as JSON.

    A PLY file also holds each vertex's uncertainty, in mm, as ``uncertainty``. Returns the summary's path.
    Raises `InputError` where it cannot be written.
    """
    beside = path.with_suffix(".json")
    kind = suffix(path)
    with written_whole(path) as file, written_whole(beside) as summary_file:
        if kind == ".npy":
            np.save(file, registration.vertices)
        elif kind in POINTS:
            np.savetxt(file, registration.vertices, fmt="%.6f", delimiter="," if kind == ".csv" else " ")
        else:
            _as_geometry(moving, registration).export(file, file_type=kind[1:])
        summary_file.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return beside


def _as_geometry(moving: trimesh.Trimesh | np.ndarray, registration: Registration):
    if not isinstance(moving, trimesh.Trimesh):
        return trimesh.PointCloud(registration.vertices)
    mesh = trimesh.Trimesh(registration.vertices, moving.faces, process=False)
    if np.isfinite(registration.uncertainty).all():
        mesh.vertex_attributes["uncertainty"] = registration.uncertainty.astype(np.float32)
    return mesh

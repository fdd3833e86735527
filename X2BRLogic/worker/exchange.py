"""Values with arrays and meshes in them to files and back: what one process hands another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import trimesh

_ARRAY, _MESH = "x2br-array", "x2br-mesh"


def pack(folder: Path, name: str, value) -> None:
    """Write `value` to ``<name>.json``, and the arrays in it to ``<name>.npz``.

    Args:
        value: JSON's types, and anywhere among them ``numpy.ndarray`` and ``trimesh.Trimesh``; tuples become lists.

    Raises:
        OSError: the files cannot be written.
        TypeError: `value` holds something else.
    """
    arrays: dict[str, np.ndarray] = {}

    def plain(value):
        if isinstance(value, np.ndarray):
            key = f"a{len(arrays)}"
            arrays[key] = value
            return {_ARRAY: key}
        if isinstance(value, trimesh.Trimesh):
            parts = {"vertices": value.vertices, "faces": value.faces, "vertex_normals": value.vertex_normals}
            return {_MESH: plain({key: np.asarray(part) for key, part in parts.items()} | {"of": _attributes(value)})}
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return value

    text = json.dumps(plain(value))
    np.savez(folder / f"{name}.npz", **arrays)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def unpack(folder: Path, name: str):
    """What `pack` wrote: equal to the last bit, meshes with their normals. Runs nothing that is in the files.

    Raises:
        OSError, ValueError, KeyError: the files are missing or damaged.
    """
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        arrays = dict(stored)

    def whole(value: dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]]
        if _MESH in value:
            parts = dict(value[_MESH])
            attributes = parts.pop("of")
            return trimesh.Trimesh(**parts, vertex_attributes=attributes, process=False)
        return value

    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"), object_hook=whole)


def _attributes(mesh: trimesh.Trimesh) -> dict[str, np.ndarray]:
    return {key: np.asarray(values) for key, values in mesh.vertex_attributes.items()}

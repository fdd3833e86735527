"""Values with arrays and meshes in them to files and back: what one process hands another."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import trimesh

from ..errors import InputError
from ..files import reason
from ..geometry import XRayGeometry
from ..radiograph import Radiograph
from ..volume import Volume

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
        Exception: the files are missing or damaged, as `zipfile`, NumPy and `json` have it.
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


def pack_radiograph(folder: Path, radiograph: Radiograph) -> None:
    """Write ``radiograph``. Raises `OSError` where that is not possible."""
    parts = {part.name: getattr(radiograph, part.name) for part in fields(radiograph)}
    pack(folder, "radiograph", parts | {"geometry": radiograph.geometry.to_dict()})


def unpack_radiograph(folder: Path) -> Radiograph:
    """What `pack_radiograph` wrote. Raises `InputError` where it is missing or damaged."""
    try:
        parts = unpack(folder, "radiograph")
        geometry = XRayGeometry.from_dict(parts["geometry"])
        return Radiograph(**parts | {"geometry": geometry, "warnings": tuple(parts["warnings"])})
    except Exception as error:  # damaged archives and JSON fail in many ways
        told = f"the radiograph in {folder} is missing or damaged ({reason(error)}); hand it in again"
        raise InputError(told) from None


def packed_volume(volume: Volume | None) -> dict | None:
    """A volume as `pack` takes it."""
    return volume and {"array": volume.array, "ijk_to_ras": volume.ijk_to_ras}


def unpacked_volume(parts: dict | None) -> Volume | None:
    """The inverse of `packed_volume`."""
    return parts and Volume(**parts)

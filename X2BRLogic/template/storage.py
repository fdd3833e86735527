"""A skeleton on disk: ``template.glb``, which ordinary 3D programs show, and ``template.json``, which says what it is.

The GLB (glTF 2.0) has one named mesh a bone, vertices in RAS mm; the node above them all turns and scales them into
glTF's world (metres, y up, the viewer in front). The JSON holds what a mesh cannot: label, terminology code and
provenance of each bone, and the joints.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import trimesh

from .. import anatomy
from ..errors import InputError
from ..files import folder_written_whole, read_json, reason, require_file, shown
from ..models import resources
from . import parts
from .skeleton import Joint, Skeleton

SCHEMA = "x2br-template-1"
MESHES, TABLE = "template.glb", "template.json"
#: RAS mm to glTF's world: x to the left of the patient, y up, z to the front, metres.
_TO_WORLD = np.array([[-1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, 1e-3, 0, 0], [0, 0, 0, 1]])


def save_skeleton(skeleton: Skeleton, folder: str | os.PathLike) -> Path:
    """Write a skeleton into a folder, whole or not at all. Raises `InputError` where that is not possible."""
    folder = Path(folder)
    with folder_written_whole(folder) as partial:
        (partial / MESHES).write_bytes(_glb(skeleton))
        (partial / TABLE).write_text(json.dumps(_table(skeleton), indent=1) + "\n")
    return folder


def read_stored(folder: str | os.PathLike) -> Skeleton:
    """Read what `save_skeleton` wrote. Raises `InputError` where it is incomplete, damaged or of another kind."""
    folder = Path(folder)
    table_path, mesh_path = require_file(folder / TABLE), require_file(folder / MESHES)
    try:
        table = read_json(table_path)
        if table["schema"] != SCHEMA:
            raise InputError(
                f"{table_path} has the schema {shown(table['schema'])}, not {SCHEMA}; build the template anew"
            )
        listed = {str(entry["name"]): entry for entry in table["bones"]}
        joints = [
            (str(j["kind"]), tuple(map(str, j["parts"])), np.array(j["point"], dtype=np.float64))
            for j in table["joints"]
        ]
        facts = dict(table["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{table_path} is damaged ({reason(error)}); copy it again") from None
    meshes = _meshes(mesh_path)
    if set(meshes) != set(listed):
        odd = sorted(set(meshes) ^ set(listed))[0]
        raise InputError(f"{odd!r} is in one of {MESHES} and {TABLE} only; copy both of {folder} again")
    known = set(listed)
    if any(point.shape != (3,) or len(names) != 2 or not set(names) <= known for _, names, point in joints):
        raise InputError(f"{table_path} has a joint without two known bones and a point; copy it again")
    facts["bones"] = {
        name: {key: entry[key] for key in ("made", "seen") if key in entry} for name, entry in listed.items()
    }
    return Skeleton(meshes, tuple(Joint(*joint) for joint in joints), facts)


@cache
def load_template() -> Skeleton:
    """The template that ships: the mean thorax, RAS mm, the middle of T1 to T12 at the origin, symmetric about x = 0.

    Raises `InputError` where it is missing from the installation.
    """
    return read_stored(resources() / "Template")


def _glb(skeleton: Skeleton) -> bytes:
    scene = trimesh.Scene(base_frame="thorax")
    for name, mesh in skeleton.bones.items():
        bare = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=[*parts.bone_of(name).colour, 1.0], metallicFactor=0.0, roughnessFactor=0.7, name=name
        )
        bare.visual = trimesh.visual.TextureVisuals(material=material)
        scene.add_geometry(bare, node_name=name, geom_name=name, transform=_TO_WORLD)
    return scene.export(file_type="glb", include_normals=False)


def _meshes(path: Path) -> dict[str, trimesh.Trimesh]:
    """Meshes by name, in RAS mm."""
    try:
        scene = trimesh.load_scene(path, file_type="glb", process=False)
        meshes = {
            name: trimesh.Trimesh(np.asarray(mesh.vertices, dtype=np.float64), mesh.faces, process=False)
            for name, mesh in scene.geometry.items()
        }
    except Exception as error:  # trimesh meets damage with whatever its parser stumbles over
        raise InputError(f"{path} is damaged or no GLB ({reason(error)}); copy it again") from None
    if not all(len(mesh.faces) and np.isfinite(mesh.vertices).all() for mesh in meshes.values()):
        raise InputError(f"{path} has an empty or broken mesh; copy it again")
    return meshes


def _table(skeleton: Skeleton) -> dict:
    details = skeleton.facts.get("bones", {})
    return {
        "schema": SCHEMA,
        "coordinates": "RAS, mm",
        "terminology": "SNOMED CT (SCT), as in DICOM PS3.16",
        "facts": {key: value for key, value in skeleton.facts.items() if key != "bones"},
        "bones": [_entry(name, details.get(name, {})) for name in skeleton.bones],
        "joints": [
            {"kind": joint.kind, "parts": list(joint.parts), "point": np.round(joint.point, 3).tolist()}
            for joint in skeleton.joints
        ],
    }


def _entry(name: str, details: dict) -> dict:
    bone, side = parts.bone_of(name), parts.side_of(name)
    entry = {"name": name, "label": bone.label, "code": bone.code, "meaning": bone.meaning}
    if side:
        entry |= {"side": side, "side_code": anatomy.BY_NAME[parts.rib(side, 1)].side_code}
    return entry | details

"""Bones of a thorax told apart by where they lie, for a mesh without names."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from ..anatomy import LEFT, RIGHT
from ..errors import InputError
from ..surface import make_watertight
from . import parts

_SPECK_MM3 = 200.0
#: How far from the middle the centroid of a bone of the midline may lie, mm.
_MIDLINE = 12.0
#: How near to the spine a rib's head comes, mm; cartilage stays in front.
_HEAD = 25.0


def named_pieces(mesh: trimesh.Trimesh) -> tuple[dict[str, trimesh.Trimesh], tuple[str, ...]]:
    """The connected pieces of a thorax, named.

    Pieces of the midline are vertebrae, but for those in front, which make the sternum. A piece that comes near to the
    spine is a rib, counted from the top on each side, any other one of a side is cartilage. The vertebra nearest to
    the heads of the twelfth ribs is T12, from which the others are counted.

    Args:
        mesh: all bones together, RAS mm, upright.

    Returns:
        Bones by name, and sentences on what could not be named.

    Raises:
        InputError: there are not twelve pieces on each side that could be ribs.
    """
    pieces = [p for p in mesh.split(only_watertight=False) if abs(p.volume) > _SPECK_MM3 and len(p.faces) > 20]
    if not pieces:
        raise InputError("the model's thorax has no bone in it; give a complete model")
    middle = float(np.median(np.concatenate([piece.vertices[:, 0] for piece in pieces])))
    centres = np.array([piece.bounds.mean(axis=0) for piece in pieces])
    midline = np.abs(centres[:, 0] - middle) < _MIDLINE
    behind = centres[:, 1] < np.mean([mesh.bounds[0, 1], mesh.bounds[1, 1]])
    spine = [piece for piece, here in zip(pieces, midline & behind, strict=True) if here]
    front = [piece for piece, here in zip(pieces, midline & ~behind, strict=True) if here]
    if not spine:
        raise InputError("the model has no vertebra in the middle of its back; its bones cannot be told apart")

    bones, notes = {}, []
    tree = cKDTree(np.concatenate([piece.vertices for piece in spine]))
    for side, here in ((LEFT, centres[:, 0] < middle), (RIGHT, centres[:, 0] > middle)):
        lateral = [piece for piece, there in zip(pieces, here & ~midline, strict=True) if there]
        ribs = [piece for piece in lateral if tree.query(piece.vertices)[0].min() < _HEAD]
        if len(ribs) != 12:
            raise InputError(
                f"{len(ribs)} separate piece(s) on the {side} reach the spine where twelve ribs are looked for; "
                "the model's ribs are joined or incomplete: give a folder with one mesh a bone instead"
            )
        ribs.sort(key=lambda rib: -rib.vertices[tree.query(rib.vertices)[0].argmin(), 2])
        bones |= {parts.rib(side, level): rib for level, rib in enumerate(ribs, start=1)}
        cartilage = sorted((p for p in lateral if not any(p is rib for rib in ribs)), key=lambda p: -p.bounds[1, 2])
        if len(cartilage) <= 10:
            bones |= {parts.cartilage(side, level): piece for level, piece in enumerate(cartilage, start=1)}
    if front:
        bones["sternum"] = trimesh.util.concatenate(front)
    named = _spine(spine, bones)
    if not named:
        notes.append("The model's spine is one piece or incomplete; its vertebrae are left out.")
    bones = {name: make_watertight(piece) for name, piece in (bones | named).items()}
    return bones, tuple(notes)


def _spine(pieces: list[trimesh.Trimesh], ribs: dict[str, trimesh.Trimesh]) -> dict[str, trimesh.Trimesh]:
    """Vertebrae by name, counted up and down from the one that carries the twelfth ribs."""
    pieces = sorted(pieces, key=lambda piece: -piece.bounds.mean(axis=0)[2])
    reach = [
        sum(cKDTree(piece.vertices).query(ribs[parts.rib(side, 12)].vertices)[0].min() for side in parts.SIDES)
        for piece in pieces
    ]
    first = parts.SPINE.index("vertebra_T12") - int(np.argmin(reach))
    if len(pieces) < 12 or first < 0:
        return {}
    return dict(zip(parts.SPINE[first:], pieces, strict=False))

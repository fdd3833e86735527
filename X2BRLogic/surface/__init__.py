"""Surfaces: from an occupancy field or a label map to closed triangle meshes, and which points lie inside them."""

from .clean import drop_specks, is_manifold, make_watertight, simplify
from .extract import extract, isosurface, logit
from .inside import contains
from .labels import labels_to_mesh, labels_to_meshes
from .mise import MISEResult, mise
from .remesh import remesh

__all__ = [
    "MISEResult",
    "contains",
    "drop_specks",
    "extract",
    "is_manifold",
    "isosurface",
    "labels_to_mesh",
    "labels_to_meshes",
    "logit",
    "make_watertight",
    "mise",
    "remesh",
    "simplify",
]

"""Surfaces: from an occupancy field or a label map to closed triangle meshes, and which points lie inside them."""

from .clean import drop_specks, is_manifold, make_watertight, simplify
from .extract import extract, isosurface, logit
from .inside import among_triangles, contains
from .intersections import self_intersections
from .labels import labels_to_mesh, labels_to_meshes
from .mise import MISEResult, mise
from .named import split_by_name
from .refine import refine, value_and_gradient
from .remesh import remesh
from .untangle import untangle

__all__ = [
    "MISEResult",
    "among_triangles",
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
    "refine",
    "remesh",
    "self_intersections",
    "simplify",
    "split_by_name",
    "untangle",
    "value_and_gradient",
]

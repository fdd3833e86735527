"""Meshes made fit for use: fewer faces, no specks, closed and manifold."""

from __future__ import annotations

import fast_simplification
import manifold3d
import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import InputError
from .extract import enclosed_volume, outward
from .remesh import remesh

REMESHED_FACES = 20_000


def is_manifold(mesh: trimesh.Trimesh) -> bool:
    """Whether the mesh is the closed, oriented boundary of a solid: a 2-manifold without border.

    Every edge has two faces that run along it in opposite directions, the faces around a vertex form one fan, and
    manifold3d accepts it. Vertices are taken as they are indexed; self-intersection is not looked at.
    """
    return (
        len(mesh.faces) > 0
        and mesh.is_watertight
        and mesh.is_winding_consistent
        and not _is_pinched(mesh)
        and _manifold(mesh).status() == manifold3d.Error.NoError
    )


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """About `faces` faces by fast quadric mesh simplification, and still manifold.

    Edge collapses can glue two sheets of a thin bone along an edge; manifold3d takes them apart again. Where that
    fails, twice as many faces are tried, and so on up to the mesh as it was.

    Source: Garland and Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997, in the form of
    Forstmann's Fast-Quadric-Mesh-Simplification.

    Args:
        mesh: a manifold mesh; one that is not (see `make_watertight`) comes back as it is.
        faces: the target.

    Raises:
        InputError: `faces` is less than four.
    """
    if faces < 4:
        raise InputError(f"a closed mesh has at least four faces; {faces} were asked for")
    while faces < len(mesh.faces):
        vertices, triangles = fast_simplification.simplify(mesh.vertices, mesh.faces, target_count=faces)
        simple = trimesh.Trimesh(vertices, triangles, process=False)
        if not is_manifold(simple):
            simple = _parted(simple)
        if is_manifold(simple) and _volume(simple):
            return simple
        faces *= 2
    return mesh


def drop_specks(mesh: trimesh.Trimesh, minimum_volume_mm3: float) -> trimesh.Trimesh:
    """The mesh without its connected pieces, and without its cavities, under a volume in mm^3.

    The largest piece always stays.
    """
    if not len(mesh.faces):
        return mesh
    size = len(mesh.vertices)
    links = coo_array((np.ones(len(mesh.edges), dtype=bool), tuple(mesh.edges.T)), (size, size))
    _, piece_of_vertex = connected_components(links, directed=False)
    piece = piece_of_vertex[mesh.faces[:, 0]]
    # Measured from the mesh's own centre, so that a piece far from the origin loses no digits.
    a, b, c = (mesh.triangles - mesh.bounds.mean(axis=0)).transpose(1, 0, 2)
    volume = np.abs(np.bincount(piece, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6))
    keep = volume >= minimum_volume_mm3
    keep[volume.argmax()] = True
    if keep[np.unique(piece)].all():
        return mesh
    kept = trimesh.Trimesh(mesh.vertices, mesh.faces[keep[piece]], process=False)
    kept.remove_unreferenced_vertices()
    return kept


def make_watertight(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A manifold mesh (see `is_manifold`) with outward faces.

    The mesh itself where it is one; else with vertices welded, holes filled and faces turned; else, as a last
    resort that rounds off fine detail, a new surface through its faces (`remesh`).

    Raises:
        InputError: the mesh is empty, has vertices that are not numbers, or is flat, so that it encloses nothing.
    """
    if not len(mesh.faces):
        raise InputError("the mesh has no faces; check the file")
    if not np.isfinite(mesh.triangles).all():
        raise InputError("the mesh has vertices that are not numbers; export it again")
    if is_manifold(mesh) and _volume(mesh):
        return outward(mesh.copy())
    spread = np.linalg.svd(mesh.triangles.reshape(-1, 3) - mesh.triangles.mean(axis=(0, 1)), compute_uv=False)
    if spread[2] <= 1e-6 * spread[0]:
        raise InputError("the mesh is flat and encloses nothing; export the bone as a closed surface")
    welded = _welded(mesh)
    filled = _filled(welded)
    if is_manifold(filled) and _volume(filled) > 1e-6 * np.prod(filled.extents):
        return filled
    if not welded.is_winding_consistent:
        trimesh.repair.fix_winding(welded)
    return simplify(remesh(welded), max(len(mesh.faces), REMESHED_FACES))


def _volume(mesh: trimesh.Trimesh) -> float:
    return enclosed_volume(mesh.vertices, mesh.faces)


def _manifold(mesh: trimesh.Trimesh) -> manifold3d.Manifold:
    return manifold3d.Manifold(
        manifold3d.Mesh(
            np.ascontiguousarray(mesh.vertices, dtype=np.float32), np.ascontiguousarray(mesh.faces, dtype=np.uint32)
        )
    )


def _is_pinched(mesh: trimesh.Trimesh) -> bool:
    """Whether a closed mesh has a vertex where two fans of faces meet."""
    # Half-edge 3 f + c leaves corner c of face f. Two half-edges from one vertex are neighbours in its fan if one is
    # what follows the other's opposite; the fans are the connected components.
    size = len(mesh.vertices)
    start, end = mesh.edges.T
    opposite = np.empty(len(start), dtype=np.int64)
    opposite[np.argsort(start * size + end)] = np.argsort(end * size + start)
    follows = opposite - opposite % 3 + (opposite + 1) % 3
    links = coo_array((np.ones(len(start), bool), (np.arange(len(start)), follows)), (len(start),) * 2)
    fans = connected_components(links, directed=False, return_labels=False)
    return fans != np.unique(mesh.faces).size


def _parted(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Sheets that share an edge or vertex taken apart, by a hair, so that reading the mesh back does not rejoin them.

    Empty where manifold3d cannot make sense of the mesh.
    """
    parted = _manifold(mesh).to_mesh()
    mesh = trimesh.Trimesh(np.array(parted.vert_properties[:, :3]), np.array(parted.tri_verts), process=False)
    if not len(mesh.faces):
        return mesh
    _, first, count = np.unique(mesh.vertices, axis=0, return_inverse=True, return_counts=True)
    twin = count[first.ravel()] > 1
    if twin.any():
        hair = 1e-3 * float(np.median(mesh.edges_unique_length))
        mesh.vertices[twin] -= hair * mesh.vertex_normals[twin]
    return mesh


def _welded(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Vertices in one place made one; without degenerate and double faces."""
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.update_faces(mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    return mesh


def _filled(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A copy with holes filled, faces outward, and touching sheets apart."""
    mesh = mesh.copy()
    trimesh.repair.fill_holes(mesh, use_fan=True)
    mesh.fix_normals(multibody=True)
    return mesh if is_manifold(mesh) else _parted(mesh)

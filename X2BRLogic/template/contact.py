"""Neighbours that touch but do not run through each other, and the points where they meet."""

from __future__ import annotations

import itertools

import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from ..surface import among_triangles, make_watertight
from . import parts
from .skeleton import Joint

#: Surfaces within so many mm of the smallest distance are where two bones meet.
_PATCH = 1.5
#: Bones further from each other than this cannot come to overlap while they are pushed out of others.
_REACH_MM = 10.0
_ROUNDS = 15
_GAP = 0.05
_NEGLIGIBLE_MM3 = 0.01


def joints_of(bones: dict[str, trimesh.Trimesh]) -> tuple[Joint, ...]:
    """The joints between the bones that are there: of each the middle of the patches nearest to each other."""
    joints = []
    for kind, part, neighbour in parts.articulations():
        if part in bones and neighbour in bones:
            joints.append(Joint(kind, (part, neighbour), _meeting(bones[part], bones[neighbour])))
    return tuple(joints)


def _meeting(a: trimesh.Trimesh, b: trimesh.Trimesh) -> np.ndarray:
    """The point half way between two surfaces where they are nearest."""
    distance, nearest = cKDTree(b.vertices).query(a.vertices)
    near = distance <= distance.min() + _PATCH
    return (a.vertices[near].mean(axis=0) + b.vertices[nearest[near]].mean(axis=0)) / 2


def overlap(a: trimesh.Trimesh, b: trimesh.Trimesh) -> float:
    """The volume that two closed meshes share, mm^3."""
    if not _near(a.bounds, b.bounds):
        return 0.0
    return float((_solid(a) ^ _solid(b)).volume())


def separated(bones: dict[str, trimesh.Trimesh], fixed: frozenset[str] = frozenset()) -> dict[str, trimesh.Trimesh]:
    """The bones without overlap.

    A vertex inside a neighbour moves outward along the neighbour's surface normal, by half of its depth where both
    may move and by all of it where the neighbour is `fixed`, and the surface around comes along. What overlap is left
    between the vertices is cut off the bone that comes later.
    """
    near = {pair: rows for pair, rows in _neighbours(bones).items() if not set(pair) <= fixed}
    bodies = {name: _Body(bones[name]) for name in {name for pair in near for name in pair}}
    active = list(near)
    for _ in range(_ROUNDS):
        moved = set()
        for a, b in active:
            share = 1.0 if {a, b} & fixed else 0.5
            pushes = [bodies[a].push_out_of(bodies[b], near[a, b][0], share) if a not in fixed else None]
            pushes.append(bodies[b].push_out_of(bodies[a], near[a, b][1], share) if b not in fixed else None)
            for name, push in zip((a, b), pushes, strict=True):
                if push is not None:
                    bodies[name].move(push)
                    moved.add(name)
        active = [pair for pair in near if moved & set(pair)]
        if not active:
            break
    apart = {
        name: trimesh.Trimesh(bodies[name].vertices, mesh.faces, process=False) if name in bodies else mesh.copy()
        for name, mesh in bones.items()
    }
    solids = {name: _solid(apart[name]) for name in bodies}
    for a, b in near:
        kept, cut = (b, a) if b in fixed else (a, b)
        if (solids[a] ^ solids[b]).volume() > _NEGLIGIBLE_MM3:
            apart[cut], solids[cut] = _cut(solids[cut], solids[kept])
    return apart


class _Body:
    """A bone whose vertices move and whose faces stay."""

    def __init__(self, mesh: trimesh.Trimesh):
        self.vertices, self.faces = np.array(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
        self._kept_spans = None
        ends = np.concatenate([mesh.edges_unique, mesh.edges_unique[:, ::-1]])
        links = coo_array((np.ones(len(ends)), ends.T), (len(self.vertices),) * 2).tocsr()
        self._mean_of_neighbours = links.multiply(1.0 / np.maximum(links.sum(axis=1), 1.0)[:, None]).tocsr()

    def depth_of(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How points ``(N, 3)`` inside get out: along which normal, how far."""
        triangles = self.vertices[self.faces]
        centres = triangles.mean(axis=1)
        distance, nearest = cKDTree(centres).query(points)
        corners = triangles[nearest]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None]
        depth = np.abs(np.einsum("ij,ij->i", points - centres[nearest], normal))
        return normal, np.minimum(depth, distance)

    def push_out_of(self, other: _Body, rows: np.ndarray, share: float) -> np.ndarray | None:
        """How to move the vertices if those of `rows` are to leave another body; `None` where none is inside."""
        inside = rows[other.holds(self.vertices[rows])]
        if not inside.size:
            return None
        normal, depth = other.depth_of(self.vertices[inside])
        push = np.zeros_like(self.vertices)
        push[inside] = share * (depth + _GAP)[:, None] * normal
        for _ in range(3):  # neighbours come along, the vertices inside go all the way
            spread = self._mean_of_neighbours @ push
            spread[inside] = push[inside]
            push = spread
        return push

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Which of a few points are inside; only the faces above and below them along x are looked at."""
        if not len(points):
            return np.zeros(0, dtype=bool)
        low, high = self._spans()
        met = (low <= points[:, 1:].max(axis=0)) & (high >= points[:, 1:].min(axis=0))
        return among_triangles(self.vertices[self.faces[met[:, 0] & met[:, 1]]], points)

    def move(self, by: np.ndarray) -> None:
        """Move the vertices."""
        self.vertices += by
        self._kept_spans = None

    def _spans(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and greatest y and z of each face."""
        if self._kept_spans is None:
            a, b, c = (self.vertices[self.faces[:, n], 1:] for n in range(3))
            self._kept_spans = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        return self._kept_spans


def _neighbours(bones: dict[str, trimesh.Trimesh]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """The pairs of bones within reach of each other, and the vertices of each that are."""
    trees = {name: cKDTree(mesh.vertices) for name, mesh in bones.items()}
    grown = {name: mesh.bounds + np.array([[-_REACH_MM], [_REACH_MM]]) for name, mesh in bones.items()}
    found = {}
    for a, b in itertools.combinations(bones, 2):
        if _near(grown[a], bones[b].bounds):
            rows = [_within_reach(bones[n].vertices, trees[m], grown[m]) for n, m in ((a, b), (b, a))]
            if rows[0].size:
                found[a, b] = tuple(rows)
    return found


def _within_reach(points: np.ndarray, tree: cKDTree, box: np.ndarray) -> np.ndarray:
    """Which points ``(N, 3)`` lie in a box and near one of a tree."""
    rows = np.flatnonzero(((points > box[0]) & (points < box[1])).all(axis=1))
    return rows[np.isfinite(tree.query(points[rows], distance_upper_bound=_REACH_MM)[0])]


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes ``(2, 3)`` meet."""
    return bool((a[0] < b[1]).all() and (b[0] < a[1]).all())


def _solid(mesh: trimesh.Trimesh):
    from manifold3d import Manifold, Mesh

    return Manifold(Mesh(np.asarray(mesh.vertices, dtype=np.float32), np.asarray(mesh.faces, dtype=np.uint32)))


def _cut(solid, other):
    """The largest piece of a solid that lies outside another, as a mesh and as a solid."""
    piece = max((solid - other).decompose(), key=lambda piece: piece.volume(), default=solid)
    raw = piece.to_mesh()
    mesh = make_watertight(trimesh.Trimesh(raw.vert_properties[:, :3], raw.tri_verts, process=False))
    return mesh, _solid(mesh)

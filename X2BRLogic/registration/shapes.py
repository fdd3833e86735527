"""The two shapes of a registration, looked at before anything is computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..errors import InputError

_LEAST = 4
#: Extent over the largest one under which a shape counts as flat.
_FLAT = 1e-6


@dataclass(frozen=True)
class Shape:
    """A mesh, or a cloud of points.

    Attributes:
        points: ``(N, 3)`` float64.
        faces: ``(F, 3)``; none for a cloud.
        alike: ``(N,)`` for each point the index of one at the very same place: itself, unless it is a repeat.
    """

    points: np.ndarray
    faces: np.ndarray
    alike: np.ndarray

    @property
    def distinct(self) -> int:
        """How many places its points lie at."""
        return int((self.alike == np.arange(len(self.alike))).sum())


def as_shape(given: trimesh.Trimesh | np.ndarray, name: str) -> Shape:
    """A mesh, or points ``(N, 3)``, as a `Shape`. Raises `InputError` for what cannot be registered."""
    if isinstance(given, trimesh.Trimesh | trimesh.PointCloud):
        points, faces = given.vertices, getattr(given, "faces", None)
    else:
        points, faces = given, None
    try:
        points = np.array(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"the {name} shape is no mesh and no array of numbers; give a mesh or points (N, 3)") from None
    if points.size == 0:
        raise InputError(f"the {name} shape is empty; give one with points")
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"the {name} points have the shape {points.shape}; give them as (N, 3)")
    if bad := int((~np.isfinite(points).all(axis=1)).sum()):
        raise InputError(f"{bad} of the {name} shape's {len(points)} points are NaN or infinite; remove them")
    faces = np.empty((0, 3), dtype=np.int64) if faces is None else np.array(faces, dtype=np.int64).reshape(-1, 3)
    if faces.size and not 0 <= faces.min() <= faces.max() < len(points):
        raise InputError(f"a face of the {name} shape names a vertex that is not there; export the mesh again")
    shape = Shape(points, faces, _alike(points))
    if shape.distinct < _LEAST:
        raise InputError(
            f"the {name} shape has {shape.distinct} distinct point(s); a registration needs {_LEAST} or more"
        )
    return shape


def _alike(points: np.ndarray) -> np.ndarray:
    order = np.lexsort(points.T)
    new = np.ones(len(points), dtype=bool)
    new[1:] = (points[order[1:]] != points[order[:-1]]).any(axis=1)
    alike = np.empty(len(points), dtype=np.int64)
    alike[order] = order[new][np.cumsum(new) - 1]
    return alike


def edges_of(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges ``(E, 2)`` of `faces` over `count` vertices, each once, and how many faces meet in each."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    keys, uses = np.unique(ends[:, 0] * count + ends[:, 1], return_counts=True)
    edges = np.stack(np.divmod(keys, count), axis=1)
    real = edges[:, 0] != edges[:, 1]
    return edges[real], uses[real]


def remarks_on_points(shape: Shape, name: str) -> list[str]:
    """Warnings on points that lie in heaps, on a line or in a plane: they tell little of a pose."""
    remarks = []
    if not len(shape.faces) and shape.distinct < len(shape.points) / 2:
        remarks.append(f"only {shape.distinct} of the {name} shape's {len(shape.points)} points are distinct")
    extents = np.linalg.svd(shape.points - shape.points.mean(axis=0), compute_uv=False)
    if extents[2] < _FLAT * extents[0]:
        flat = "on a line" if extents[1] < _FLAT * extents[0] else "in a plane"
        remarks.append(f"the {name} shape's points lie {flat}: turns that leave it as it is are not determined")
    return remarks


def remarks_on_sizes(moving: Shape, fixed: Shape) -> list[str]:
    """A warning where the two are of very different sizes, as with metres against millimetres."""
    ratio = np.linalg.norm(np.ptp(fixed.points, axis=0)) / np.linalg.norm(np.ptp(moving.points, axis=0))
    if 1 / 3 < ratio < 3:
        return []
    return [f"the fixed shape is {ratio:.3g} times as large as the moving one: check that both are in mm"]


def remarks_on_surface(shape: Shape) -> list[str]:
    """Warnings on what geodesics cannot cross or must go around: pieces, holes, vertices without faces."""
    count = len(shape.points)
    edges, uses = edges_of(shape.alike[shape.faces], count)  # the vertices of an unwelded mesh count once
    graph = coo_matrix((np.ones(len(edges), dtype=np.int8), edges.T), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    pieces = np.bincount(label[shape.alike == np.arange(count)])
    remarks = []
    if alone := int((pieces == 1).sum()):
        remarks.append(f"{alone} of the moving mesh's vertices belong to no face: no geodesic reaches them")
    if (parts := int((pieces > 1).sum())) > 1:
        remarks.append(f"the moving mesh has {parts} separate pieces: only the Gaussian kernel couples them")
    if border := int((uses == 1).sum()):
        remarks.append(f"the moving mesh is open along {border} edges: geodesics go around the holes")
    return remarks

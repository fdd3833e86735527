"""Parts that the scans do not show well enough to average: made by construction, and marked as such."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from ...surface import is_manifold, make_watertight
from .. import parts

#: Lengths of the lumbar vertebrae as parts of L1's: width, depth and height (upper end-plate width and depth, posterior
#: body height). Source: Panjabi et al., Human lumbar vertebrae: quantitative three-dimensional anatomy, Spine 1992.
_LUMBAR = {
    2: (42.6 / 41.2, 34.6 / 34.1, 24.3 / 23.8),
    3: (44.1 / 41.2, 35.2 / 34.1, 23.8 / 23.8),
    4: (46.6 / 41.2, 35.5 / 34.1, 24.1 / 23.8),
    5: (47.3 / 41.2, 34.7 / 34.1, 22.9 / 23.8),
}
#: From one lumbar vertebra to the next, L1-L2 to L4-L5: distance as a part of that from T12 to L1 (the bodies hardly
#: grow, the discs thicken), and turn in degrees. Lying down, the lordosis of 37 degrees is nearly all below L4:
#: 627 volunteers, https://pmc.ncbi.nlm.nih.gov/articles/PMC6680033.
_STEPS = ((1.05, 1.0), (1.08, 3.0), (1.10, 5.0), (1.10, 12.0))
#: C7 as parts of T1, width, depth and height: a neighbour that tells where the thorax ends, no more.
_NECK = (0.95, 0.95, 0.9)

#: Where cartilages 1-7 meet the sternum: height along its border, as a part of its length from the bottom. The first
#: is on the manubrium, the second at its joint with the body, the seventh at the joint with the xiphoid process.
_NOTCHES = {1: 0.90, 2: 0.74, 3: 0.61, 4: 0.49, 5: 0.38, 6: 0.29, 7: 0.23}
#: Where cartilages 8-10 meet the one above: part of that one's length from its rib.
_JUNCTIONS = {8: 0.55, 9: 0.5, 10: 0.45}
_AROUND, _ALONG = 12, 24


def neighbours_of_the_thorax(spine: dict[str, trimesh.Trimesh]) -> dict[str, trimesh.Trimesh]:
    """C7 and L2 to L5, made of T1 and L1: scaled by published lengths and set along the curve of the spine.

    Args:
        spine: T1, T2 and L1 at least; RAS mm.
    """
    made = {}
    step = spine["vertebra_T1"].center_mass - spine["vertebra_T2"].center_mass
    up, size = step / np.linalg.norm(step), np.linalg.norm(step)
    made["vertebra_C7"] = _copy_of(spine["vertebra_T1"], _NECK, 0.95 * size * up, degrees=4.0)

    last = spine["vertebra_L1"]
    step = last.center_mass - spine["vertebra_T12"].center_mass
    lean = np.rad2deg(np.arctan2(-step[1], -step[2]))  # backward, of the spine as it goes down
    place, turned = np.zeros(3), 0.0
    for (level, scale), (part, turn) in zip(_LUMBAR.items(), _STEPS, strict=True):
        heading = np.deg2rad(lean + turned + 0.5 * turn)
        place = place + part * np.linalg.norm(step) * np.array([0.0, -np.sin(heading), -np.cos(heading)])
        turned += turn
        made[f"vertebra_L{level}"] = _copy_of(last, scale, place, degrees=-turned)
    return made


def costal_cartilages(bones: dict[str, trimesh.Trimesh]) -> dict[str, trimesh.Trimesh]:
    """Cartilages 1-10 of both sides: tubes swept from the rib's end to the sternum or to the cartilage above.

    A tube begins as wide as the end of its rib, leaves along the rib, and runs as a cubic Hermite curve into the
    notch of the sternum, or into the cartilage above and along it. Their left is made, their right is its image.
    """
    made, lines = {}, {}
    notches = _sternal_notches(bones["sternum"])
    for level in (*parts.TRUE_RIBS, *parts.FALSE_RIBS):
        end, along, frame = _rib_end(bones[parts.rib(parts.LEFT, level)], bones[f"vertebra_T{level}"])
        if level in _NOTCHES:
            target, arrive, thin = notches[level], np.array([1.0, 0.0, 0.12 * (level - 2)]), 0.85
        else:
            above = lines[level - 1]
            n = int(_JUNCTIONS[level] * (len(above) - 1))
            target, thin = above[n] - np.array([0.0, 0.0, 7.0]), 0.55
            arrive = above[n + 1] - above[n]
        arrive = arrive / np.linalg.norm(arrive)
        line = _hermite(end, along, target, arrive)
        lines[level] = line
        made[parts.cartilage(parts.LEFT, level)] = _tube(line, frame, thin)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    for name, mesh in list(made.items()):
        made[parts.mirrored_name(name)] = mesh.copy().apply_transform(flip)
    return made


def _copy_of(mesh: trimesh.Trimesh, scale: tuple, shift: np.ndarray, degrees: float) -> trimesh.Trimesh:
    """A bone scaled along R, A, S about its centroid, turned about R (positive lifts the front), and moved."""
    centre = mesh.center_mass
    turn = trimesh.transformations.rotation_matrix(np.deg2rad(degrees), [1.0, 0.0, 0.0])[:3, :3]
    copy = mesh.copy()
    copy.vertices = (mesh.vertices - centre) * np.array(scale) @ turn.T + centre + shift
    return copy


def _rib_end(rib: trimesh.Trimesh, vertebra: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The front end of a left rib: its centre, the direction in which it leaves, and two half axes of its section.

    The end is the part farthest from the vertebra that carries the rib, along the surface.
    """
    edges = rib.edges_unique
    graph = coo_array((rib.edges_unique_length, tuple(edges.T)), (len(rib.vertices),) * 2)
    head = int(cKDTree(vertebra.vertices).query(rib.vertices)[0].argmin())
    away = dijkstra(graph, directed=False, indices=head)
    tip, before = away > away.max() - 8.0, (away > away.max() - 25.0) & (away < away.max() - 15.0)
    end = rib.vertices[away > away.max() - 3.0].mean(axis=0)
    along = rib.vertices[tip].mean(axis=0) - rib.vertices[before].mean(axis=0)
    along /= np.linalg.norm(along)
    flat = rib.vertices[tip | before]
    flat = flat - flat.mean(axis=0)
    flat = flat - np.outer(flat @ along, along)
    _, spread, axes = np.linalg.svd(flat, full_matrices=False)
    return end, along, axes[:2] * (spread[:2, None] / np.sqrt(len(flat)) * np.sqrt(2.0))


def _sternal_notches(sternum: trimesh.Trimesh) -> dict[int, np.ndarray]:
    """Points on the left border of the sternum."""
    low, high = sternum.bounds[:, 2]
    points = {}
    for level, part in _NOTCHES.items():
        height = low + part * (high - low)
        near = sternum.vertices[np.abs(sternum.vertices[:, 2] - height) < 6.0]
        edge = near[near[:, 0] < np.quantile(near[:, 0], 0.1)].mean(axis=0)
        points[level] = np.array([edge[0] + 1.0, edge[1], height])
    return points


def _hermite(start: np.ndarray, leave: np.ndarray, end: np.ndarray, arrive: np.ndarray) -> np.ndarray:
    """A cubic curve between two points with given unit tangents, ``(_ALONG, 3)``."""
    t = np.linspace(0.0, 1.0, _ALONG)[:, None]
    speed = 1.1 * np.linalg.norm(end - start)
    return (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * speed * leave
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * speed * arrive
    )


def _tube(line: np.ndarray, section: np.ndarray, thin: float) -> trimesh.Trimesh:
    """A closed tube of elliptic section along a line, from half axes `section` (2, 3) to `thin` times as wide."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    rings, (first, second) = [], section
    for n, (point, along) in enumerate(zip(line, tangent, strict=True)):
        axes = []
        for axis in (first, second):  # carried along the line without turning about it
            flat = axis - (axis @ along) * along
            axes.append(flat * np.linalg.norm(axis) / np.linalg.norm(flat))
        first, second = axes
        size = 1.0 + (thin - 1.0) * n / (len(line) - 1)
        rings.append(point + size * (np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second))
    vertices = np.concatenate([*rings, line[[0, -1]]])
    here = np.arange(_AROUND)
    there = (here + 1) % _AROUND
    faces = []
    for ring in range(len(line) - 1):
        a, b = ring * _AROUND, (ring + 1) * _AROUND
        faces += [np.stack([a + here, a + there, b + there], 1), np.stack([a + here, b + there, b + here], 1)]
    last, end = (len(line) - 1) * _AROUND, len(line) * _AROUND
    faces += [np.stack([there, here, np.full(_AROUND, end)], 1)]
    faces += [np.stack([last + here, last + there, np.full(_AROUND, end + 1)], 1)]
    mesh = trimesh.Trimesh(vertices, np.concatenate(faces), process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh if is_manifold(mesh) else make_watertight(mesh)

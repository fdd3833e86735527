"""The rays of a film pushed through a deformation into the scan, so that no volume need be warped.

A ray of the film is a curve in the scanned person. Its places are found exactly on a lattice of every fourth pixel and
every eighth millimetre of depth, as fine as the deformation's own grid, and interpolated in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from ..drr.attenuation import water_attenuation
from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..volume import Volume
from .continuation import UNKNOWN
from .deformation import Deformation

LATTICE_PIXELS = 4
_LATTICE_MM = 8.0
#: Depth over which rays are followed, mm to both sides of the isocentre, where a body may be.
_DEPTH_MM = 184.0
#: Distance between samples along a ray.
SAMPLE_MM = 3.0
#: Below this is air, or lung so thin that a few millimetres of it cannot be seen.
_AIR_HU = -970


@dataclass(frozen=True)
class RayLattice:
    """Places along the rays of a film, ``D`` depths on the rays of ``R`` x ``C`` pixels: those of number ``4 n``.

    Attributes:
        ijk: ``(D, R, C, 3)`` float32 voxel coordinates in the scan; depth is even from back to front.
        depth_mm: distance between the first and the last depth along the central ray.
        path: ``(R, C)`` by how much longer the rays are than the central one.
        body: ``(D, R, C)`` bool, where there is more than air.
        shape: of the film.
    """

    ijk: np.ndarray
    depth_mm: float
    path: np.ndarray
    body: np.ndarray
    shape: tuple[int, int]

    @property
    def within(self) -> tuple[int, int, int, float]:
        """The depths between which all of the body is, and how to sample there.

        Returns:
            First and last depth; number of samples; their distance along the central ray, mm. No sample without body.
        """
        used = np.flatnonzero(self.body.any((1, 2)))
        if not used.size:
            return 0, 0, 0, 0.0
        first, last = max(used[0] - 1, 0), min(used[-1] + 1, len(self.ijk) - 1)
        length = self.depth_mm * (last - first) / (len(self.ijk) - 1)
        count = int(np.ceil(length / SAMPLE_MM)) + 1
        return int(first), int(last), count, length / (count - 1)


def ray_lattice(geometry: XRayGeometry, deformation: Deformation, scan: Volume) -> RayLattice:
    """The lattice of a film of the virtual patient. The film is a network's input image: the face of the cube.

    Args:
        scan: HU of the person.
    """
    ticks = [0.5 - (np.arange(0, n + LATTICE_PIXELS, LATTICE_PIXELS) + 0.5) / n for n in geometry.shape]
    depths = np.linspace(-_DEPTH_MM, _DEPTH_MM, round(2 * _DEPTH_MM / _LATTICE_MM) + 1) / CUBE_EDGE_MM
    y, z, x = np.meshgrid(depths, *ticks, indexing="ij")
    ras = geometry.ray_cube_to_ras(np.stack([x, y, z], axis=-1).reshape(-1, 3))
    ends = ras.reshape(*y.shape, 3)[[0, -1]]
    path = np.linalg.norm(ends[1] - ends[0], axis=-1) / (2 * _DEPTH_MM)
    ijk = scan.to_ijk(deformation.to_subject(ras)).astype(np.float32)
    body = nearest(scan.array, ijk, np.int16(-1000)).reshape(y.shape) > _AIR_HU
    return RayLattice(ijk.reshape(*y.shape, 3), 2 * _DEPTH_MM, path.astype(np.float32), body, geometry.shape)


@njit(parallel=True, cache=True, nogil=True)
def nearest(array, ijk, outside):
    """The values of ``array[k, j, i]`` at voxel coordinates ``(N, 3)``, those of the nearest voxel; else `outside`."""
    nk, nj, ni = array.shape
    out = np.empty(len(ijk), dtype=array.dtype)
    for n in prange(len(ijk)):
        i, j, k = int(np.floor(ijk[n, 0] + 0.5)), int(np.floor(ijk[n, 1] + 0.5)), int(np.floor(ijk[n, 2] + 0.5))
        inside = 0 <= i < ni and 0 <= j < nj and 0 <= k < nk
        out[n] = array[k, j, i] if inside else outside
    return out


def missing(lattice: RayLattice, labels: np.ndarray) -> np.ndarray:
    """How far each pixel's ray runs through tissue whose truth the scan does not tell, mm, the film's shape."""
    found = nearest(labels, lattice.ijk.reshape(-1, 3), np.uint8(0)).reshape(lattice.body.shape)
    unknown = (found == UNKNOWN) & lattice.body
    return to_pixels(unknown.sum(0) * (lattice.depth_mm / (len(unknown) - 1)) * lattice.path, lattice.shape)


#: Cells of the ray cube whose labels are kept of a film: along depth, rows and columns, 3.1 x 3.6 x 3.6 mm.
LABEL_CELLS = (128, 112, 112)


def labels_along(labels: Volume, lattice: RayLattice, cells: tuple[int, int, int] = LABEL_CELLS) -> np.ndarray:
    """The labels at the centres of the ray cube's cells, uint8 of shape `cells`: depth along y, rows, columns.

    Outside the scan there is air beside it, or `UNKNOWN` where its border says so, and `UNKNOWN` above and below.
    """
    return _labels_along(labels.array, lattice.ijk, lattice.depth_mm / CUBE_EDGE_MM, lattice.shape, cells)


@njit(parallel=True, cache=True, nogil=True)
def _labels_along(labels, nodes, reach, shape, cells):
    nk, nj, ni = labels.shape
    depths = nodes.shape[0]
    out = np.zeros(cells, dtype=np.uint8)
    for d in prange(cells[0]):
        place = ((d + 0.5) / cells[0] - 0.5 + reach / 2) / reach * (depths - 1)
        if place < 0 or place > depths - 1:
            continue
        z = min(int(place), depths - 2)
        fz = place - z
        for row in range(cells[1]):
            place = ((row + 0.5) * shape[0] / cells[1] - 0.5) / LATTICE_PIXELS
            r = int(place)
            fr = place - r
            for column in range(cells[2]):
                place = ((column + 0.5) * shape[1] / cells[2] - 0.5) / LATTICE_PIXELS
                c = int(place)
                fc = place - c
                ijk = np.zeros(3)
                for corner in range(8):
                    dz, dr, dc = corner & 1, (corner >> 1) & 1, corner >> 2
                    part = (fz if dz else 1 - fz) * (fr if dr else 1 - fr) * (fc if dc else 1 - fc)
                    for a in range(3):
                        ijk[a] += part * nodes[z + dz, r + dr, c + dc, a]
                i, j, k = int(np.floor(ijk[0] + 0.5)), int(np.floor(ijk[1] + 0.5)), int(np.floor(ijk[2] + 0.5))
                found = labels[min(max(k, 0), nk - 1), min(max(j, 0), nj - 1), min(max(i, 0), ni - 1)]
                if k < 0 or k >= nk:
                    found = np.uint8(UNKNOWN)
                elif (i < 0 or i >= ni or j < 0 or j >= nj) and found != UNKNOWN:
                    found = np.uint8(0)
                out[d, row, column] = found
    return out


def to_pixels(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values ``(R, C)`` on the lattice, linearly interpolated at the film's pixels, float32."""
    places = [np.arange(n) / LATTICE_PIXELS for n in shape]
    for axis, place in enumerate(places):
        low = place.astype(int)
        part = np.expand_dims(place - low, 1 - axis)
        values = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    return values.astype(np.float32)


def line_integrals(ct: np.ndarray, lattice: RayLattice, exposed: np.ndarray) -> np.ndarray:
    """Integrals of linear attenuation along the rays, dimensionless, float32, the film's shape.

    Args:
        ct: the scan, ``(K, J, I)`` int16 HU.
        lattice: `ray_lattice` of the scan's grid.
        exposed: bool, the film's shape: where it is false the result is 0.
    """
    first, last, count, step = lattice.within
    image = np.zeros(lattice.shape, dtype=np.float32)
    if count:
        spans = _spans(lattice.body[first : last + 1])
        _integrate(ct, lattice.ijk[first : last + 1], spans, count, exposed, image)
    return image * to_pixels(lattice.path, lattice.shape) * np.float32(step * water_attenuation() / 1000.0)


def _spans(body: np.ndarray) -> np.ndarray:
    """First and last depth, ``(2, R - 1, C - 1)``, between which a lattice cell's rays may meet the body."""
    depths = len(body)
    hit = body.any(0)
    first = np.where(hit, body.argmax(0) - 1, depths)
    last = np.where(hit, depths - body[::-1].argmax(0), -1)
    around = [np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]]
    return np.stack([np.min([first[s] for s in around], axis=0), np.max([last[s] for s in around], axis=0)])


@njit(parallel=True, cache=True, nogil=True, fastmath=True)
def _integrate(ct, nodes, spans, count, exposed, image):
    """Sums of HU + 1000 at `count` places along each ray; the rays are curves through `nodes`."""
    depths = nodes.shape[0]
    nk, nj, ni = ct.shape
    # Whole numbers and float32 make float64, which would cost a third more.
    one, water, edge = np.float32(1), np.float32(1000), np.float32(LATTICE_PIXELS)
    top = np.float32(ni - 1), np.float32(nj - 1), np.float32(nk - 1)
    stride = np.float32((depths - 1) / (count - 1))
    for row in prange(image.shape[0]):
        curve = np.empty((depths, 3), dtype=np.float32)
        r = row // LATTICE_PIXELS
        fr = np.float32(row % LATTICE_PIXELS) / edge
        for column in range(image.shape[1]):
            if not exposed[row, column]:
                continue
            c = column // LATTICE_PIXELS
            low, high = max(spans[0, r, c], 0), min(spans[1, r, c], depths - 1)
            if high <= low:
                continue
            fc = np.float32(column % LATTICE_PIXELS) / edge
            for d in range(low, high + 1):
                for a in range(3):
                    upper = nodes[d, r, c, a] * (one - fc) + nodes[d, r, c + 1, a] * fc
                    lower = nodes[d, r + 1, c, a] * (one - fc) + nodes[d, r + 1, c + 1, a] * fc
                    curve[d, a] = upper * (one - fr) + lower * fr
            total = np.float32(0)
            for n in range(int(np.ceil(low / stride)), min(int(high / stride), count - 1) + 1):
                place = np.float32(n) * stride
                d = min(int(place), high - 1)
                f = place - np.float32(d)
                x = curve[d, 0] * (one - f) + curve[d + 1, 0] * f
                y = curve[d, 1] * (one - f) + curve[d + 1, 1] * f
                z = curve[d, 2] * (one - f) + curve[d + 1, 2] * f
                if x < 0 or y < 0 or z < 0 or x >= top[0] or y >= top[1] or z >= top[2]:
                    continue
                i, j, k = int(x), int(y), int(z)
                fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
                value = np.float32(0)
                for q in range(2):
                    for p in range(2):
                        left, right = np.float32(ct[k + q, j + p, i]), np.float32(ct[k + q, j + p, i + 1])
                        pair = left + (right - left) * fx
                        value += pair * (fy if p else one - fy) * (fz if q else one - fz)
                total += max(value + water, np.float32(0))
            image[row, column] = total

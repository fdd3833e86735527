"""MISE: evaluate an occupancy field finely only where its surface runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .extract import logit


@dataclass(frozen=True)
class MISEResult:
    """A field sampled over the cube.

    Attributes:
        grid: logits, shape ``(R + 1, R + 1, R + 1)`` float32, indexed [x, y, z]; point (a, b, c) is at
            ``(a, b, c) / R - 0.5``. A point never evaluated has the value of a corner of the coarser cell around it,
            all of which lie on its side of the threshold.
        evaluations: how many points the field was asked for.
        dense: how many a full evaluation would have asked for.
    """

    grid: np.ndarray
    evaluations: int
    dense: int


def mise(
    field: Callable[[np.ndarray], np.ndarray],
    resolution: int = 128,
    start: int = 32,
    tau: float = 0.2,
    batch: int = 65536,
    seeds: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> MISEResult:
    """Multiresolution IsoSurface Extraction of ``field`` over [-0.5, 0.5]^3.

    Begins with `start` cells along each edge; while there are fewer than `resolution`, every active cell (its corners
    not all on one side of the threshold) is split in eight and its new corners evaluated. A new corner that makes
    a neighbour active has that neighbour's corners evaluated too, until nothing changes: a surface seen anywhere on
    the coarse grid is followed to its end and comes out as a dense evaluation gives it.

    A part thinner than a coarse cell that touches none of its points is not seen. Two remedies: a finer `start`,
    which costs eight times the points for each doubling; or `seeds`, points near a surface that something else knows
    of (a detector, the network's own samples), one of them on each part: the finest cells that hold them are
    evaluated as if MISE had come there by itself, and the surface is followed from them.

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 3.3 and figure 2; tau = 0.2 as there.

    Args:
        field: points ``(N, 3)`` float32 to logits ``(N,)``.
        resolution: cells along an edge, `start` times a power of two.
        start: cells along an edge at the coarsest level.
        tau: occupancy probability of the surface.
        batch: most points a call of `field`.
        seeds: points ``(S, 3)`` in the cube; those outside count for the nearest cell.
        progress: called before every call of `field` with the part, 0-1, of the evaluations to be expected that are
            done. It never falls; what it raises ends the extraction.

    Raises:
        InputError: sizes that do not fit each other, or a `tau` outside (0, 1).
        ValueError: the field answers with NaN, infinity or the wrong shape.
    """
    ratio, rest = divmod(resolution, start) if start > 0 else (0, 1)
    if rest or ratio < 1 or ratio & (ratio - 1):
        raise InputError(f"the resolution ({resolution}) must be the start ({start}) times a power of two")
    asked = _Batched(field, batch, progress or (lambda part: None))
    level = _Level(start)
    threshold = np.float32(logit(tau))
    wanted, on_surface = np.arange(level.grid.size), 4 * start**2  # a guess, until it is seen
    while True:
        finer = int(np.log2(resolution // level.cells))
        if not finer and seeds is not None:
            wanted = _distinct([wanted, level.unknown(level.corners(level.cells_with(seeds)))], level.grid.size)
        # A surface has four times the points on a grid of half the spacing.
        asked.expect(wanted.size + on_surface * 4 * (4**finer - 1) // 3)
        # Follow the surface at this level: a cell can become active only through a corner just evaluated, so it has
        # been followed to its end when every corner of every active cell is known.
        while wanted.size:
            level.set(wanted, asked(level.points(wanted)))
            wanted = level.unknown(level.corners(level.active(level.cells_at(wanted), threshold)))
        if not finer:
            return MISEResult(level.grid, asked.evaluations, level.grid.size)
        level, wanted = level.split(threshold)
        on_surface = wanted.size


class _Batched:
    """A field asked in batches; what it was asked for is counted, and told as a part of what is expected."""

    def __init__(self, field, batch: int, progress: Callable[[float], None]):
        self._field, self._batch, self._progress = field, batch, progress
        self.evaluations = self._expected = 0
        self._told = 0.0

    def expect(self, evaluations: int) -> None:
        """That many more are expected from now on."""
        self._expected = max(self.evaluations + evaluations, 1)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        values = np.empty(len(points), dtype=np.float32)
        for begin in range(0, len(points), self._batch):
            part = points[begin : begin + self._batch]
            self._told = max(self._told, min(self.evaluations / self._expected, 1.0))
            self._progress(self._told)
            answer = np.asarray(self._field(part))
            if answer.shape != (len(part),) or not np.isfinite(answer).all():
                raise ValueError(f"the field must answer {len(part)} points with as many finite logits")
            values[begin : begin + len(part)] = answer
            self.evaluations += len(part)
        return values


class _Level:
    """A grid of ``cells + 1`` points along each edge of the cube, some of them known.

    Points are named by their flat index, a cell by that of its lowest corner. Sets of either are sorted arrays.
    """

    def __init__(self, cells: int, grid: np.ndarray | None = None, known: np.ndarray | None = None):
        self.cells = cells
        shape = (cells + 1,) * 3
        self.grid = np.zeros(shape, dtype=np.float32) if grid is None else grid
        self._known = np.zeros(shape, dtype=bool) if known is None else known
        self._strides = np.array([shape[0] ** 2, shape[0], 1])
        self._corners = np.array(list(np.ndindex(2, 2, 2))) @ self._strides

    def points(self, flat: np.ndarray) -> np.ndarray:
        """Where points are, ``(N, 3)`` float32."""
        index = np.stack(np.unravel_index(flat, self.grid.shape), axis=-1)
        return (index / self.cells - 0.5).astype(np.float32)

    def set(self, flat: np.ndarray, values: np.ndarray) -> None:
        """Points become known."""
        self.grid.ravel()[flat] = values
        self._known.ravel()[flat] = True

    def unknown(self, flat: np.ndarray) -> np.ndarray:
        """Those of some points that are not known."""
        return flat[~self._known.ravel()[flat]]

    def corners(self, cells: np.ndarray) -> np.ndarray:
        """The points at the corners of cells."""
        return _distinct([cells + corner for corner in self._corners], self.grid.size)

    def cells_at(self, flat: np.ndarray) -> np.ndarray:
        """The cells that have one of these points as a corner."""
        cells = _distinct([(flat - corner) % self.grid.size for corner in self._corners], self.grid.size)
        # A step over the border of the grid comes out at a point of a far face, which is no cell's lowest corner.
        inside = np.stack(np.unravel_index(cells, self.grid.shape)).max(axis=0) < self.cells
        return cells[inside]

    def cells_with(self, points: np.ndarray) -> np.ndarray:
        """The cells that hold points of the cube."""
        index = np.floor((np.asarray(points, dtype=np.float64) + 0.5) * self.cells)
        return _distinct([np.clip(index, 0, self.cells - 1).astype(np.int64) @ self._strides], self.grid.size)

    def active(self, cells: np.ndarray, threshold: np.float32) -> np.ndarray:
        """Those of some cells whose corners are not all on one side of the threshold."""
        values = self.grid.ravel()
        first = values[cells] >= threshold
        differs = np.zeros(len(cells), dtype=bool)
        for corner in self._corners[1:]:
            differs |= (values[cells + corner] >= threshold) != first
        return cells[differs]

    def split(self, threshold: np.float32) -> tuple[_Level, np.ndarray]:
        """The level of half the spacing, and the unknown points of its cells that lie in active ones of this."""
        every = self.cells_at(np.arange(self.grid.size))
        index = np.stack(np.unravel_index(self.active(every, threshold), self.grid.shape), axis=-1)
        known = np.zeros((2 * self.cells + 1,) * 3, dtype=bool)
        known[::2, ::2, ::2] = self._known
        # Only cells that are not active keep a value copied here, and theirs is on the right side at every corner.
        grid = self.grid.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:-1, :-1, :-1]
        finer = _Level(2 * self.cells, np.ascontiguousarray(grid), known)
        lowest = 2 * index @ finer._strides
        points = np.array(list(np.ndindex(3, 3, 3))) @ finer._strides
        return finer, finer.unknown(_distinct([lowest + point for point in points], finer.grid.size))


def _distinct(parts: list[np.ndarray], size: int) -> np.ndarray:
    """The flat indices in any of the parts, each once, in order."""
    if sum(part.size for part in parts) < size // 50:
        return np.unique(np.concatenate(parts))
    marked = np.zeros(size, dtype=bool)  # for many, sooner than sorting
    for part in parts:
        marked[part] = True
    return np.flatnonzero(marked)

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
            ``(a, b, c) / R - 0.5``. Points never evaluated are interpolated from the coarser level, so that they lie
            on the same side of the threshold as the cell around them.
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
) -> MISEResult:
    """Multiresolution IsoSurface Extraction of ``field`` over [-0.5, 0.5]^3.

    Begins with `start` cells along each edge; while there are fewer than `resolution`, every active cell (its corners
    not all on one side of the threshold) is split in eight and its new corners evaluated. A new corner that makes
    a neighbour active has that neighbour's corners evaluated too, until nothing changes: a surface seen anywhere on
    the coarse grid is followed to its end and comes out as a dense evaluation gives it. A part thinner than a coarse
    cell that touches none of its points is not seen; the remedy is a finer `start`.

    Source: Mescheder et al., Occupancy Networks, CVPR 2019, section 3.3 and figure 2; tau = 0.2 as there.

    Args:
        field: points ``(N, 3)`` float32 to logits ``(N,)``.
        resolution: cells along an edge, `start` times a power of two.
        start: cells along an edge at the coarsest level.
        tau: occupancy probability of the surface.
        batch: most points a call of `field`.

    Raises:
        InputError: sizes that do not fit each other, or a `tau` outside (0, 1).
        ValueError: the field answers with NaN, infinity or the wrong shape.
    """
    ratio, rest = divmod(resolution, start) if start > 0 else (0, 1)
    if rest or ratio < 1 or ratio & (ratio - 1):
        raise InputError(f"the resolution ({resolution}) must be the start ({start}) times a power of two")
    level = np.float32(logit(tau))

    grid = np.zeros((start + 1,) * 3, dtype=np.float32)
    known = np.zeros_like(grid, dtype=bool)
    wanted = np.ones_like(known)
    evaluations = 0
    while True:
        # Follow the surface at this level: a cell can become active only through a corner just evaluated, so it has
        # been followed to its end when every corner of every active cell is known.
        new = np.flatnonzero(wanted & ~known)
        while True:
            grid.ravel()[new] = _evaluate(field, new, grid.shape[0] - 1, batch)
            known.ravel()[new] = True
            evaluations += new.size
            active = _active_cells(grid >= level)
            new = np.flatnonzero(_corners(active) & ~known)
            if not new.size:
                break
        if grid.shape[0] > resolution:
            return MISEResult(grid, evaluations, grid.size)
        known = _known_when_split(known)
        wanted = _points_when_split(active)
        grid = _interpolated_when_split(grid)


def _evaluate(field, flat: np.ndarray, cells: int, batch: int) -> np.ndarray:
    """Logits at grid points given by flat index, in batches."""
    values = np.empty(flat.size, dtype=np.float32)
    for begin in range(0, flat.size, batch):
        part = flat[begin : begin + batch]
        index = np.stack(np.unravel_index(part, (cells + 1,) * 3), axis=-1)
        answer = np.asarray(field((index / cells - 0.5).astype(np.float32)))
        if answer.shape != part.shape or not np.isfinite(answer).all():
            raise ValueError(f"the field must answer {part.size} points with as many finite logits")
        values[begin : begin + batch] = answer
    return values


def _along(axis: int, span: slice) -> tuple[slice, ...]:
    """An index that takes `span` of one axis and all of the others."""
    return tuple(span if a == axis else slice(None) for a in range(3))


def _active_cells(inside: np.ndarray) -> np.ndarray:
    """Cells ``(n, n, n)`` whose eight corners among `inside` ``(n+1, n+1, n+1)`` differ."""
    some, every = inside, inside
    for axis in range(3):
        lower, upper = _along(axis, slice(None, -1)), _along(axis, slice(1, None))
        some, every = some[lower] | some[upper], every[lower] & every[upper]
    return some & ~every


def _corners(cells: np.ndarray) -> np.ndarray:
    """Grid points ``(n+1, ...)`` that are a corner of a marked cell ``(n, ...)``."""
    points = cells
    for axis in range(3):
        pad = [(int(a == axis),) * 2 for a in range(3)]
        padded = np.pad(points, pad)
        points = padded[_along(axis, slice(None, -1))] | padded[_along(axis, slice(1, None))]
    return points


def _points_when_split(cells: np.ndarray) -> np.ndarray:
    """The 27 points ``(2n+1, ...)`` of every marked cell ``(n, ...)`` when it is split in eight."""
    return _corners(cells.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def _known_when_split(known: np.ndarray) -> np.ndarray:
    """`known` on the grid of half the spacing, where the old points are every other one."""
    fine = np.zeros([2 * n - 1 for n in known.shape], dtype=bool)
    fine[::2, ::2, ::2] = known
    return fine


def _interpolated_when_split(grid: np.ndarray) -> np.ndarray:
    """`grid` trilinearly interpolated to half the spacing."""
    for axis in range(3):
        shape = list(grid.shape)
        shape[axis] = 2 * shape[axis] - 1
        fine = np.empty(shape, dtype=grid.dtype)
        fine[_along(axis, slice(None, None, 2))] = grid
        fine[_along(axis, slice(1, None, 2))] = 0.5 * (
            grid[_along(axis, slice(None, -1))] + grid[_along(axis, slice(1, None))]
        )
        grid = fine
    return grid

"""Plain occupancy-network generation, to compare with: no folded decoder, no surface following, no cache-sized pieces.

As in the code of Mescheder et al., Occupancy Networks, CVPR 2019: 100,000 points in a call of the decoder, on a dense
grid or by MISE as in the paper's figure 2. The network, the grid, marching cubes and the machine are the same as ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..networks import TAU
from ..networks.decoder import FoldedDecoder
from ..surface import logit

POINTS_IN_A_CALL = 100_000

Field = Callable[[np.ndarray], np.ndarray]


def unfolded_field(network: nn.Module, image: np.ndarray) -> Field:
    """The network's `decode`, as it was trained."""
    with torch.inference_mode():
        code = network.encode(torch.from_numpy(image)[None, None])

    @torch.inference_mode()
    def field(points: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(points).split(POINTS_IN_A_CALL)
        return torch.cat([network.decode(code, part[None])[0] for part in parts]).numpy()

    return field


def dense(field: Field, resolution: int) -> tuple[np.ndarray, int]:
    """Every point of the grid ``(R + 1, R + 1, R + 1)``, and how many."""
    points = _points(np.arange((resolution + 1) ** 3), resolution)
    return field(points).reshape((resolution + 1,) * 3), len(points)


def classical_mise(field: Field, resolution: int, start: int = 32) -> tuple[np.ndarray, int]:
    """MISE that splits the cells whose corners differ and looks no further; the grid, and how many points it took."""
    grid, evaluations = dense(field, start)
    while len(grid) <= resolution:
        inside = grid >= logit(TAU)
        active = _over_corners(np.logical_or, inside) & ~_over_corners(np.logical_and, inside)
        split = active.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        wanted = _over_corners(np.logical_or, np.pad(split, 1))
        wanted[::2, ::2, ::2] = False
        grid = np.ascontiguousarray(grid.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:-1, :-1, :-1])
        new = np.flatnonzero(wanted)
        grid.ravel()[new] = field(_points(new, len(grid) - 1))
        evaluations += len(new)
    return grid, evaluations


def _over_corners(combine: np.ufunc, values: np.ndarray) -> np.ndarray:
    """The eight corners of every cell ``(n, n, n)`` of a grid ``(n + 1, n + 1, n + 1)`` combined."""
    for _ in range(3):
        values = np.moveaxis(combine(values[:-1], values[1:]), 0, -1)
    return values


def _points(flat: np.ndarray, cells: int) -> np.ndarray:
    index = np.stack(np.unravel_index(flat, (cells + 1,) * 3), axis=-1)
    return (index / cells - 0.5).astype(np.float32)


def in_one_piece(decoder: FoldedDecoder, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The folded decoder's operations with its residual layers in another precision, to time and to compile."""
    blocks = [tuple(tensor.to(dtype) for tensor in block[2:]) for block in decoder.blocks]

    def logits(points: Tensor) -> Tensor:
        phase = (points[:, :, None] * decoder.frequencies).flatten(1)
        features = torch.cat([points, phase.sin(), phase.cos()], dim=1) @ decoder.lift
        for (lower, upper, *_), (dense_in, bias, dense_out) in zip(decoder.blocks, blocks, strict=True):
            change = torch.addmm(bias, features.clamp(lower, upper).to(dtype), dense_in).relu()
            features = features + (change @ dense_out).float()
        lower, upper, weight, bias = decoder.out
        return torch.addmv(bias, features.clamp(lower, upper), weight)

    return logits

"""The rays of `rays` on any device of PyTorch: for a graphics card; on a CPU the compiled kernel there is faster."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..drr.attenuation import water_attenuation
from .rays import LATTICE_PIXELS, RayLattice


def line_integrals(values: Tensor, lattice: RayLattice) -> Tensor:
    """Integrals of linear attenuation along the rays, dimensionless, float32, the film's shape.

    Args:
        values: the scan, ``(K, J, I)`` float32, HU + 1000 and not below 0; its device does the work.
        lattice: `rays.ray_lattice` of the scan's grid.
    """
    first, last, count, step = lattice.within
    if not count:
        return torch.zeros(lattice.shape, device=values.device)
    size = torch.tensor(values.shape[::-1], dtype=torch.float32, device=values.device)
    nodes = torch.from_numpy(lattice.ijk[first : last + 1]).to(values.device, non_blocking=True)
    nodes = (nodes * (2.0 / (size - 1.0)) - 1.0).permute(3, 0, 1, 2)[None]
    places = _upsample(nodes, count, lattice.shape).permute(0, 2, 3, 4, 1)
    found = functional.grid_sample(values[None, None], places, align_corners=True)
    path = torch.from_numpy(lattice.path).to(values.device)[None, None, None]
    scale = _upsample(path, 1, lattice.shape)[0, 0, 0] * (step * water_attenuation() / 1000.0)
    return found[0, 0].sum(0) * scale


def _upsample(values: Tensor, depth: int, shape: tuple[int, int]) -> Tensor:
    """``(1, N, D, R, C)`` on the lattice to ``(1, N, depth, rows, columns)``."""
    whole = [(n - 1) * LATTICE_PIXELS + 1 for n in values.shape[3:]]
    fine = functional.interpolate(values, (depth, *whole), mode="trilinear", align_corners=True)
    return fine[..., : shape[0], : shape[1]]


class TorchIntegrator:
    """`rays.line_integrals` on a device: NumPy in, NumPy out. The scan goes there once for all films of a patient."""

    def __init__(self, device: torch.device):
        self._device = device
        self._scan: np.ndarray | None = None
        self._values: Tensor | None = None

    def __call__(self, ct: np.ndarray, lattice: RayLattice, exposed: np.ndarray) -> np.ndarray:
        if ct is not self._scan:
            self._scan = ct
            self._values = (torch.from_numpy(ct).to(self._device).float() + 1000.0).clamp_(min=0.0)
        return np.where(exposed, line_integrals(self._values, lattice).cpu().numpy(), np.float32(0))

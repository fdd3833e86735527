"""A volume in patient RAS, and the readers and writers that turn files into one.

SimpleITK reads and writes; it speaks LPS, so the change of handedness happens here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class Volume:
    """A sampled scalar field.

    Attributes:
        array: values, shape ``(K, J, I)``.
        ijk_to_ras: 4x4 matrix from voxel index ``(i, j, k)`` (voxel centres at whole numbers) to RAS mm, float64.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray

    def __post_init__(self):
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64)
        if self.array.ndim != 3:
            raise InputError(f"a volume has three dimensions, this one has {self.array.ndim}")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InputError("the volume's geometry is degenerate (spacing or directions); re-export it")
        object.__setattr__(self, "ijk_to_ras", matrix)

    @cached_property
    def ras_to_ijk(self) -> np.ndarray:
        """The inverse of `ijk_to_ras`."""
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel edge lengths along i, j, k in mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @property
    def corners(self) -> np.ndarray:
        """The eight outer corners of the volume (voxel faces, not centres) in RAS mm, shape (8, 3)."""
        size = np.array(self.array.shape[::-1], dtype=np.float64)
        ijk = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in size], indexing="ij")).reshape(3, -1).T
        return self.to_ras(ijk)

    def to_ras(self, ijk: np.ndarray) -> np.ndarray:
        """Voxel indices ``(N, 3)`` as i, j, k to RAS mm ``(N, 3)``."""
        return np.asarray(ijk, dtype=np.float64) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_ijk(self, ras: np.ndarray) -> np.ndarray:
        """RAS mm ``(N, 3)`` to continuous voxel indices ``(N, 3)`` as i, j, k."""
        return np.asarray(ras, dtype=np.float64) @ self.ras_to_ijk[:3, :3].T + self.ras_to_ijk[:3, 3]

    def mask_bounds(self, mask: np.ndarray) -> np.ndarray:
        """RAS box ``[[min], [max]]`` of the voxel centres where `mask` is true. Raises `InputError` if empty."""
        spans = []
        for axis in (2, 1, 0):
            hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            if hit.size == 0:
                raise InputError("nothing to bound: the mask is empty")
            spans.append((hit[0], hit[-1]))
        corners = self.to_ras(np.array(np.meshgrid(*spans, indexing="ij")).reshape(3, -1).T)
        return np.stack([corners.min(0), corners.max(0)])

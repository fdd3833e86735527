"""Normalised coordinates: both shapes about the origin and about 1 across, where the settings' lengths have meaning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """Means ``(3,)`` and scales (mm) that are taken off the fixed and the moving shape."""

    fixed_mean: np.ndarray
    fixed_scale: float
    moving_mean: np.ndarray
    moving_scale: float

    @classmethod
    def of(cls, moving: np.ndarray, fixed: np.ndarray, normalise: str) -> Frame:
        """Each shape's own mean and standard deviation ("e"), or one's for both ("x" fixed, "y" moving), or or none."""
        if normalise == "n":
            return cls(np.zeros(3), 1.0, np.zeros(3), 1.0)
        by_fixed = fixed.mean(axis=0), float(np.sqrt(fixed.var(axis=0).mean()))
        by_moving = moving.mean(axis=0), float(np.sqrt(moving.var(axis=0).mean()))
        return cls(*(by_moving if normalise == "y" else by_fixed), *(by_fixed if normalise == "x" else by_moving))

    def normalised(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both in normalised coordinates."""
        return (moving - self.moving_mean) / self.moving_scale, (fixed - self.fixed_mean) / self.fixed_scale

    def to_mm(self, points: np.ndarray) -> np.ndarray:
        """Points of the fixed shape's normalised space in mm."""
        return points * self.fixed_scale + self.fixed_mean

    def matrix_in_mm(self, linear: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """4x4 from mm to mm of ``x -> linear x + translation`` in normalised coordinates."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.fixed_scale / self.moving_scale * linear
        matrix[:3, 3] = self.fixed_scale * translation + self.fixed_mean - matrix[:3, :3] @ self.moving_mean
        return matrix

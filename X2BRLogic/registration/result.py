"""What a registration gives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Registration:
    """A moving shape laid onto a fixed one. Coordinates and lengths in mm.

    Attributes:
        method: which one.
        vertices: ``(N, 3)`` float64, the moving shape's vertices after registration, in their order.
        correspondences: ``(N, 3)`` float64, where on the target each vertex is expected to belong.
        similarity: 4x4, the part that moves the shape as a whole: x -> s R x + t (affine where that was asked for).
            The rest is non-rigid: ``vertices = similarity(moving + displacement)``.
        sigma: residual standard deviation along one axis.
        history: sigma after each iteration.
        iterations: how many were made.
        reason: why they stopped.
        uncertainty: ``(N,)`` posterior standard deviation of each vertex along one axis; NaN where a method has none.
        stages: wall time by stage, in seconds.
        warnings: sentences on what should be looked at before the result is used.
        seconds: wall time of all of it.
    """

    method: str
    vertices: np.ndarray
    correspondences: np.ndarray
    similarity: np.ndarray
    sigma: float
    history: np.ndarray
    iterations: int
    reason: str
    uncertainty: np.ndarray
    stages: dict[str, float]
    warnings: tuple[str, ...]
    seconds: float = 0.0

    def summary(self) -> dict:
        """Everything but the arrays over vertices, ready for JSON."""
        known = np.isfinite(self.uncertainty)
        return {
            "method": self.method,
            "vertices": len(self.vertices),
            "iterations": self.iterations,
            "reason": self.reason,
            "sigma_mm": float(self.sigma),
            "similarity": self.similarity.tolist(),
            "uncertainty_mean_mm": float(self.uncertainty[known].mean()) if known.any() else None,
            "seconds": round(self.seconds, 4),
            "stages": {name: round(seconds, 4) for name, seconds in self.stages.items()},
            "history_mm": [float(f"{sigma:.6g}") for sigma in self.history],
            "warnings": list(self.warnings),
        }


class Stages(dict):
    """Wall time by stage."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        start = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - start

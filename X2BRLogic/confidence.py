"""How far off a vertex is expected to be, in mm, and how probable it is that it is close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.special import erf

from .errors import InputError
from .surface import value_and_gradient

#: Names of the values that each vertex of a bone carries (`trimesh.Trimesh.vertex_attributes`).
ERROR, CONFIDENCE = "expected_error_mm", "confidence"
#: Confidence is the probability that a vertex is no further off than this.
CLOSE_MM = 5.0
#: Reach over which the steepness of a field is taken, mm: about a sample of the networks'.
_REACH_MM = 3.0


def with_confidence(mesh: trimesh.Trimesh, error_mm: np.ndarray) -> trimesh.Trimesh:
    """The bone with its expected error, taken as a mean absolute one, and the probability of being close."""
    deviation = np.maximum(error_mm, 1e-6) * np.sqrt(np.pi / 2)
    values = {ERROR: error_mm, CONFIDENCE: erf(CLOSE_MM / (deviation * np.sqrt(2)))}
    values = {name: value.astype(np.float32) for name, value in values.items()}
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_attributes=values, process=False)


def steepness(field: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
    """How fast a field of logits rises at points of its surface, RAS mm ``(N, 3)``; per mm, ``(N,)``.

    A network that is unsure where a surface lies spreads its probability over all places where it may be, so the field
    is the flatter there, the further the surface may be off.
    """
    return np.linalg.norm(value_and_gradient(field, points, _REACH_MM)[1], axis=1)


@dataclass(frozen=True)
class Calibration:
    """The mean distance to the true surface, as seen on patients that training did not see, by steepness of the field.

    Attributes:
        steepness: rising, per mm.
        error_mm: never rising; linear in between, constant beyond.
    """

    steepness: tuple[float, ...]
    error_mm: tuple[float, ...]

    @classmethod
    def fitted(cls, steepness: np.ndarray, distance_mm: np.ndarray, bins: int = 16) -> Calibration:
        """From vertices: bins of equally many, and the isotonic regression through their means.

        Source: Barlow et al., Statistical Inference under Order Restrictions (1972): pool adjacent violators.
        """
        from scipy.optimize import isotonic_regression

        order = np.argsort(steepness)
        parts = np.array_split(order, bins)
        middle = np.array([np.median(steepness[part]) for part in parts])
        error = np.array([distance_mm[part].mean() for part in parts])
        falling = isotonic_regression(error, increasing=False).x
        return cls(tuple(np.round(middle, 5).tolist()), tuple(np.round(falling, 3).tolist()))

    @classmethod
    def from_dict(cls, values: dict) -> Calibration:
        """As stored with a model. Raises `InputError` if it is damaged."""
        try:
            found = cls(*(tuple(map(float, values[name])) for name in ("steepness", "error_mm")))
        except (KeyError, TypeError, ValueError):
            raise InputError("the model's calibration of its errors is damaged; get the weights again") from None
        if len(found.steepness) != len(found.error_mm) or not found.steepness or not np.isfinite(found.error_mm).all():
            raise InputError("the model's calibration of its errors is damaged; get the weights again")
        return found

    def grown(self, factor: float) -> Calibration:
        """With all errors multiplied."""
        return Calibration(self.steepness, tuple(round(error * factor, 3) for error in self.error_mm))

    def expected_error_mm(self, steepness: np.ndarray) -> np.ndarray:
        """Of vertices ``(N,)``."""
        return np.interp(steepness, self.steepness, self.error_mm)

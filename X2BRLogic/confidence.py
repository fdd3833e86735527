"""How far off a vertex is expected to be, in mm, and how probable it is that it is close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
#: No field is flatter than this, mm for a change by one.
_FLATTEST_MM = 20.0
#: A bone's usual distance begins with so many patients of whom it is that of any bone.
_PRIOR = 2
#: What goes into a score: the columns of `signs`, and the bone's usual distance.
_COLUMNS = 4
_DAMAGED = "the model's calibration of its errors cannot be read; run x2br calibrate on its weights, or get them again"


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


def signs(steep: np.ndarray, names: np.ndarray) -> np.ndarray:
    """What is seen of a bone's vertices when they may be off, the more of it the further.

    A rib that is taken for its neighbour is off by the space between two ribs, however sharp its edge.

    Args:
        steep: `steepness` at the vertices, ``(N,)``.
        names: log-odds ``(N, K)`` of which bone it is; without a column where there is none to take it for.

    Returns:
        ``(N, 3)``: over how many mm the field changes by one; the probability of another name; its mean over the bone.
    """
    flat = 1.0 / np.maximum(steep, 1.0 / _FLATTEST_MM)
    odds = np.exp(names - names.max(axis=1, keepdims=True, initial=-np.inf))
    other = 1.0 - odds.max(axis=1, initial=0.0) / odds.sum(axis=1) if names.shape[1] else np.zeros(len(names))
    return np.stack([flat, other, np.full(len(other), other.mean() if len(other) else 0.0)], axis=1)


@dataclass(frozen=True)
class Calibration:
    """The mean distance to the true surface, as seen on patients that training did not see.

    Attributes:
        weights: of the columns of `signs` and of the bone's usual distance; their sum is a vertex's score.
        usual_mm: by bone; its mean distance.
        score: rising.
        error_mm: never falling; linear in between, constant beyond.
    """

    weights: tuple[float, ...]
    usual_mm: dict[str, float]
    score: tuple[float, ...]
    error_mm: tuple[float, ...]

    @classmethod
    def fitted(cls, found: Sequence[tuple[str, np.ndarray, np.ndarray]], bins: int = 16) -> Calibration:
        """From bones of several patients: the score by least squares, then its meaning in mm.

        Sources: Lawson & Hanson, Solving Least Squares Problems (1974): no weight below nothing; Barlow et al.,
        Statistical Inference under Order Restrictions (1972): pool adjacent violators, over bins of equally many.

        Args:
            found: name, `signs` and distance in mm of the vertices of each bone.
        """
        from scipy.optimize import isotonic_regression, nnls

        distance = np.concatenate([off for _, _, off in found])
        mean, parts = float(distance.mean()), {}
        for name, _, off in found:
            parts.setdefault(name, [mean] * _PRIOR).append(float(off.mean()))
        usual = {name: round(float(np.mean(means)), 2) for name, means in parts.items()}
        columns = np.concatenate([_columns(seen, usual[name]) for name, seen, _ in found])
        weights = nnls(columns - columns.mean(axis=0), distance - mean)[0]
        weights = tuple(np.round(weights, 4).tolist())
        score = columns @ weights
        groups = np.array_split(np.argsort(score, kind="stable"), bins)
        middle = np.array([np.median(score[group]) for group in groups])
        error = isotonic_regression(np.array([distance[group].mean() for group in groups])).x
        return cls(weights, usual, tuple(np.round(middle, 4).tolist()), tuple(np.round(error, 3).tolist()))

    @classmethod
    def of_model(cls, metadata: dict, films: int) -> Calibration | None:
        """Of a model's header, for so many films; ``None`` where it was not calibrated. Raises as `from_dict`."""
        told = metadata.get("expected_error", {})
        if not isinstance(told, dict):
            raise InputError(_DAMAGED)
        values = told.get(str(films))
        return cls.from_dict(values) if values else None

    @classmethod
    def from_dict(cls, values: dict) -> Calibration:
        """As stored with a model. Raises `InputError` if it is damaged."""
        try:
            lists = [tuple(map(float, values[name])) for name in ("weights", "score", "error_mm")]
            usual = {str(name): float(value) for name, value in values["usual_mm"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InputError(_DAMAGED) from None
        weights, score, error = lists
        numbers = np.array([*weights, *score, *error, *usual.values()])
        fitting = len(weights) == _COLUMNS and len(score) == len(error) > 0
        if not fitting or not np.isfinite(numbers).all() or (np.diff(score) < 0).any():
            raise InputError(_DAMAGED)
        return cls(weights, usual, score, error)

    def grown(self, factor: float) -> Calibration:
        """With all errors multiplied."""
        return replace(self, error_mm=tuple(round(error * factor, 3) for error in self.error_mm))

    def expected_error_mm(self, name: str, seen: np.ndarray) -> np.ndarray:
        """Of a bone's vertices with their `signs`, ``(N,)``."""
        usual = self.usual_mm.get(name, float(np.mean(list(self.usual_mm.values()) or [0.0])))
        return np.interp(_columns(seen, usual) @ self.weights, self.score, self.error_mm)


def _columns(seen: np.ndarray, usual_mm: float) -> np.ndarray:
    return np.column_stack([seen, np.full(len(seen), usual_mm)])

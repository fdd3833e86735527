"""A point distribution model: a mean and the directions in which shapes of corresponding vertices differ.

Source: Cootes et al., Active Shape Models: Their Training and Application (CVIU 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from ..errors import InputError

#: Modes together tell this share of the variance at least, unless there are more than so many.
VARIANCE, MOST_MODES = 0.98, 24
#: A mode with less of the variance than this is rounding.
_NOTHING = 1e-10
_ROUNDS = 10


@dataclass(frozen=True)
class LinearModel:
    """Shapes of N vertices as a mean and M modes.

    Attributes:
        mean: ``(N, 3)`` mm.
        modes: ``(M, N, 3)`` mm, orthogonal, each as long as its standard deviation over the people, the longest first;
            M may be 0.
    """

    mean: np.ndarray
    modes: np.ndarray

    @classmethod
    def learn(cls, samples: np.ndarray, variance: float = VARIANCE, most: int = MOST_MODES) -> LinearModel:
        """Principal components of shapes ``(S, N, 3)`` in one frame (see `aligned`).

        Args:
            variance: share of the variance to keep, in (0, 1].
            most: modes at most.

        Raises:
            InputError: fewer than two shapes, or numbers that are none.
        """
        samples = np.asarray(samples, dtype=np.float64)
        if samples.ndim != 3 or samples.shape[2] != 3 or len(samples) < 2 or not samples.shape[1]:
            raise InputError("a shape model needs two shapes or more, all of as many vertices; give more people")
        if not np.isfinite(samples).all():
            raise InputError("a shape has vertices that are no numbers; leave it out")
        mean = samples.mean(axis=0)
        spread = (samples - mean).reshape(len(samples), -1)
        # The small Gram matrix has the same eigenvalues as the covariance of all coordinates.
        values, vectors = np.linalg.eigh(spread @ spread.T / (len(samples) - 1))
        values, vectors = values[::-1], vectors[:, ::-1]
        size = max(float(np.square(mean - mean.mean(axis=0)).sum()), 1.0)
        values = np.where(values > _NOTHING * size, values, 0.0)[: len(samples) - 1]
        if not values.any():
            return cls(mean, np.zeros((0, *mean.shape)))
        told = np.cumsum(values) / values.sum()
        count = min(int(np.searchsorted(told, variance - 1e-12)) + 1, most, int(np.count_nonzero(values)))
        modes = vectors[:, :count].T @ spread / np.sqrt(len(samples) - 1)
        return cls(mean, modes.reshape(count, *mean.shape))

    @property
    def variances(self) -> np.ndarray:
        """Of each mode, ``(M,)`` mm^2, summed over the vertices."""
        return np.square(self.modes).sum(axis=(1, 2))

    def shape(self, coefficients: np.ndarray) -> np.ndarray:
        """The shape ``(N, 3)`` of up to M coefficients, in standard deviations; missing ones are 0."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        return self.mean + np.tensordot(coefficients, self.modes[: len(coefficients)], axes=1)

    def coefficients(self, shape: np.ndarray) -> np.ndarray:
        """Those ``(M,)`` of the shape nearest to one ``(N, 3)`` in the model's frame."""
        return np.tensordot(self.modes, shape - self.mean, axes=2) / self.variances


def aligned(samples: np.ndarray) -> np.ndarray:
    """Shapes ``(S, N, 3)`` in one frame, by rotation and shift; their sizes stay (generalised Procrustes analysis).

    Orientation is that which they have on average, and the centre of each is the origin. Source: Gower, Psychometrika
    1975.
    """
    samples = samples - samples.mean(axis=1, keepdims=True)
    mean = samples.mean(axis=0)
    for _ in range(_ROUNDS):
        turned = []
        for sample in samples:
            matrix = trimesh.registration.procrustes(sample, mean, reflection=False, scale=False, return_cost=False)
            turned.append(trimesh.transform_points(sample, matrix))
        samples = np.stack(turned)
        mean = samples.mean(axis=0)
    return samples

"""Is a shape model a good one? Compactness, generalisation and specificity.

Source: Davies, Learning Shape: Optimal Models for Analysing Natural Variability (thesis, 2002); Styner et al.,
Evaluation of 3D Correspondence Methods for Model Building (IPMI 2003).
"""

from __future__ import annotations

import numpy as np
import trimesh

from .linear import LinearModel, aligned


def compactness(model: LinearModel) -> list[float]:
    """Share of the kept variance that the first 1, 2, ... modes tell."""
    return (np.cumsum(model.variances) / model.variances.sum()).tolist()


def generalisation(people: list[np.ndarray], most: int) -> list[float]:
    """How far shapes of somebody whom a model does not know are from the nearest that it can make, mm.

    Each person in turn is left out with all that was made of them.

    Args:
        people: of each, shapes ``(S, N, 3)``; the first is the person, others are variants.
        most: modes.

    Returns:
        With 0, 1, ... modes the mean distance of corresponding vertices, over the people.
    """
    errors = []
    for n, (own, *_) in enumerate(people):
        model = LinearModel.learn(aligned(np.concatenate(people[:n] + people[n + 1 :])), variance=1.0, most=most)
        shape = _placed(own, model.mean)
        coefficients = model.coefficients(shape)
        errors.append([_distance(model.shape(coefficients[:count]), shape) for count in range(most + 1)])
    return np.mean(errors, axis=0).tolist()


def specificity(model: LinearModel, samples: np.ndarray, draws: int = 20, seed: int = 0) -> list[float]:
    """How far shapes drawn from the model are from the nearest of the people, mm; with 1, 2, ... modes.

    Args:
        samples: ``(S, N, 3)``, in the model's frame.
    """
    drawn = np.random.default_rng(seed).standard_normal((draws, len(model.modes)))
    return [
        float(np.mean([min(_distance(model.shape(one[:count]), sample) for sample in samples) for one in drawn]))
        for count in range(1, len(model.modes) + 1)
    ]


def _placed(shape: np.ndarray, mean: np.ndarray) -> np.ndarray:
    matrix = trimesh.registration.procrustes(shape, mean, reflection=False, scale=False, return_cost=False)
    return trimesh.transform_points(shape, matrix)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other, axis=1).mean())

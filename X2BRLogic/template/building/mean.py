"""The mean of several people's skeletons, symmetric.

Left and right are two samples of one shape: each person counts twice, as they are and in the mirror, and only the
left ribs and the bones of the midline (a *half*) are averaged; the right ribs are the left ones' image.
"""

from __future__ import annotations

import numpy as np
import trimesh

from .. import parts
from .person import MEASURED, Person

HALF = tuple(name for name in MEASURED if parts.side_of(name) != parts.RIGHT)
#: Bones that nearly every scan of the chest shows whole: the first guess of where a person is.
_ANCHOR = tuple(f"vertebra_T{level}" for level in range(3, 10))
_MIRROR = np.array([-1.0, 1.0, 1.0])
_ROUNDS = 20

Shapes = dict[str, np.ndarray]  # by bone: vertices (N, 3)


def halves(people: list[Person]) -> list[Person]:
    """Each person, and the same in the mirror, in turn."""
    return [half for person in people for half in (person, person.mirrored())]


def procrustes_mean(shapes: list[Shapes], samples: list[Person]) -> tuple[Shapes, list[np.ndarray]]:
    """The mean shape of the samples free of their place, turn and size, and the pose of each: generalised Procrustes.

    The mean has the samples' mean size; a person and their mirror image get mirrored poses, so that the mean is
    symmetric about x = 0. Bones that a sample lacks are left out of its fit and of their mean.
    Source: Gower, Generalized Procrustes analysis, Psychometrika 1975.

    Returns:
        Vertices of a half, and for each sample the 4x4 similarity from the frame of the mean.
    """
    to_mean = [np.eye(4) for _ in samples]
    for n, sample in enumerate(samples):
        to_mean[n][:3, 3] = -np.mean(
            [sample.bones[name].center_mass for name in _ANCHOR if name in sample.bones], axis=0
        )
    mean = _average(shapes, to_mean)
    for _ in range(_ROUNDS):
        for n in range(0, len(samples), 2):
            person, image = shapes[n], shapes[n + 1]
            moving = [person[name] for name in HALF if name in person]
            moving += [image[name] * _MIRROR for name in HALF if name in image]
            fixed = [mean[name] for name in HALF if name in person] + [
                mean[name] * _MIRROR for name in HALF if name in image
            ]
            to_mean[n] = similarity(np.concatenate(moving), np.concatenate(fixed))
        size = np.exp(np.mean([np.log(np.linalg.det(to_mean[n][:3, :3])) / 3 for n in range(0, len(samples), 2)]))
        for n in range(0, len(samples), 2):
            to_mean[n][:3] /= size
            flip = np.diag([*_MIRROR, 1.0])
            to_mean[n + 1] = flip @ to_mean[n] @ flip
        mean = _average(shapes, to_mean)
    return mean, [np.linalg.inv(matrix) for matrix in to_mean]


def similarity(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The 4x4 similarity that takes points ``(N, 3)`` nearest to others in the sense of least squares, without mirror.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, TPAMI 1991.
    """
    return trimesh.registration.procrustes(moving, fixed, reflection=False, return_cost=False)


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points ``(N, 3)`` by a 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _average(shapes: list[Shapes], matrices: list[np.ndarray]) -> Shapes:
    found = {name: [moved(m, s[name]) for s, m in zip(shapes, matrices, strict=True) if name in s] for name in HALF}
    return {name: np.mean(several, axis=0) for name, several in found.items() if several}

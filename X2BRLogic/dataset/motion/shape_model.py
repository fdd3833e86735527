"""How the people of a data set differ, learned from registrations of their bones: a statistical model of affine poses.

Each bone of each person is registered to the same bone of a reference person (iterated closest points, affine); the
logarithms of these transforms, all bones of a person side by side, are one point in a linear space, and principal
components of the points are the ways in which these people differ. Drawing from the model and going from one person's
point to the drawn one is a deformation of that person, in which every bone again has one affine motion.

Sources: Bossa and Olmos, MMBIA (CVPR workshop) 2006, and Boisvert et al., IEEE Trans. Med. Imaging 27, 2008, 557-568,
who do this for brain structures and for the spine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

from ... import anatomy
from ...errors import InputError
from ...files import parse_json, reason, written_whole
from .armature import Armature
from .transforms import apply, exponential, fit_affine, fit_rigid, logarithm, translation

_ITERATIONS = 25
#: A bone may be longer or thicker than the reference's by so much in any direction.
_STRETCH = 1.3
#: A bone that could not be registered moves as those about it do, weighted by this Gaussian, mm.
_NEIGHBOUR_MM = 35.0
_FEWEST_BONES = 6
_CUT_OFF = 1.8

#: No motion from one person to another is larger, mm; nor are numbers that are none.
_FARTHEST = 1e4


@dataclass(frozen=True)
class ShapeModel:
    """Poses of the bones of several people relative to the first.

    Attributes:
        names: of the people, ``P`` of them.
        labels: ``(B,)`` of the bones.
        poses: ``(P, B, 4, 4)`` logarithms of the affine transforms from the first person's bones to each one's, about
            the armatures' centres, mm.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    poses: np.ndarray

    @property
    def modes(self) -> np.ndarray:
        """Principal components ``(P - 1, B, 4, 4)``, each as long as its standard deviation."""
        spread = (self.poses - self.poses.mean(0)).reshape(len(self.names), -1)
        _, sizes, directions = np.linalg.svd(spread, full_matrices=False)
        kept = len(self.names) - 1
        scaled = sizes[:kept, None] / np.sqrt(kept) * directions[:kept]
        return scaled.reshape(kept, *self.poses.shape[1:])

    def draw(self, rng: np.random.Generator, bones: Armature, name: str, share: float) -> np.ndarray:
        """Motions ``(B', 4, 4)`` of a person's bones towards a person drawn from the model.

        Args:
            bones: of the person, whose bones the model may lack: those move with their neighbours.
            name: of the person; one whom the model does not know starts from its mean.
            share: 0 to 1, how far to go.
        """
        modes = self.modes
        weights = np.clip(rng.standard_normal(len(modes)), -_CUT_OFF, _CUT_OFF)
        goal = self.poses.mean(0) + np.tensordot(weights, modes, axes=1)
        own = self.poses[self.names.index(name)] if name in self.names else self.poses.mean(0)
        change = share * logarithm(exponential(goal) @ np.linalg.inv(exponential(own)))
        known = {int(label): change[n] for n, label in enumerate(self.labels)}
        return exponential(_complete(bones, known))

    def save(self, path: Path) -> None:
        """Write to a ``.safetensors`` file, whole or not at all."""
        tensors = {"labels": np.ascontiguousarray(self.labels), "poses": np.ascontiguousarray(self.poses)}
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata={"names": json.dumps(self.names)})

    @classmethod
    def read(cls, path: Path) -> ShapeModel:
        """Read what `save` wrote. Raises `InputError` if it is something else."""
        try:
            with safe_open(path, framework="numpy") as stored:
                names = parse_json(stored.metadata()["names"])
                labels, poses = stored.get_tensor("labels"), stored.get_tensor("poses")
            fitting = len(names) > 1 and poses.shape == (len(names), len(labels), 4, 4)
            if not fitting or not (np.abs(poses) < _FARTHEST).all():
                raise ValueError("its names, bones and motions do not fit each other")
            return cls(tuple(map(str, names)), labels, poses)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no shape model ({reason(error)}); delete it and build again") from None


def learn(people: dict[str, Armature], cut: dict[str, tuple[int, ...]]) -> ShapeModel | None:
    """The model of these people, ``None`` if they are fewer than two or share too few bones.

    Args:
        people: armatures by name.
        cut: labels of the bones that each one's scan cuts: their ends are no shape, so they are not registered.
    """
    names = sorted(people)
    if len(names) < 2:
        return None
    reference = people[names[0]]
    poses = [np.zeros((len(reference.labels), 4, 4))]
    for name in names[1:]:
        registered = _register(reference, people[name], set(cut[names[0]]) | set(cut[name]))
        if len(registered) < _FEWEST_BONES:
            return None
        poses.append(_complete(reference, registered))
    return ShapeModel(tuple(names), reference.labels, np.stack(poses))


def _register(reference: Armature, other: Armature, cut: set[int]) -> dict[int, np.ndarray]:
    """Logarithms of the affine transforms, reference to other, of each bone that both have whole."""
    shared = [int(n) for n in reference.labels if n in other.labels and n not in cut]
    if len(shared) < _FEWEST_BONES:
        return {}
    at, to = ([int(np.flatnonzero(a.labels == n)[0]) for n in shared] for a in (reference, other))
    # How someone lies on the table is not their shape.
    placed = fit_rigid(reference.centroids[at], other.centroids[to])
    back = np.linalg.inv(placed)
    found = {}
    for label, a, b in zip(shared, at, to, strict=True):
        found[label] = logarithm(_closest_affine(reference.points[a], apply(back, other.points[b])))
    return found


def _closest_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Affine iterated closest points, both ways, after Besl and McKay (PAMI 14, 1992, 239-256): 4x4."""
    tree = cKDTree(target)
    matrix = translation(target.mean(0) - source.mean(0))
    for step in range(_ITERATIONS):
        moved = apply(matrix, source)
        forth = tree.query(moved)[1]
        back = cKDTree(moved).query(target)[1]
        a = np.concatenate([source, source[back]])
        b = np.concatenate([target[forth], target])
        # First only turn and shift: the closest points are not yet the right ones for stretching.
        matrix = fit_rigid(a, b) if step < _ITERATIONS // 2 else fit_affine(a, b, stretch=_STRETCH)
    return matrix


def _complete(bones: Armature, known: dict[int, np.ndarray]) -> np.ndarray:
    """Logarithms ``(B, 4, 4)`` for all bones of an armature; one that is not known takes its neighbours' mean."""
    have = [n for n, label in enumerate(bones.labels) if int(label) in known]
    logs = np.array([known[int(bones.labels[n])] for n in have])
    out = np.empty((len(bones.labels), 4, 4))
    for n, label in enumerate(bones.labels):
        if int(label) in known:
            out[n] = known[int(label)]
            continue
        side = anatomy.BY_LABEL[int(label)].side
        gap = np.linalg.norm(bones.centroids[have] - bones.centroids[n], axis=1)
        exponent = -0.5 * (gap / _NEIGHBOUR_MM) ** 2
        across = [side and anatomy.BY_LABEL[int(bones.labels[m])].side not in (None, side) for m in have]
        exponent = np.where(across, exponent - 10.0, exponent)
        weight = np.exp(exponent - exponent.max())
        out[n] = np.tensordot(weight / weight.sum(), logs, axes=1)
    return out

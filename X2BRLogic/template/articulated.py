"""A skeleton that bends as a thorax does, by a few numbers: what a template can be fitted with before registration.

Ribs ride on their vertebrae and swing about them; vertebrae follow the curve of the spine; the sternum follows the
ends of the ribs, and cartilage what it joins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from . import parts
from .skeleton import Skeleton

#: Name, how far people differ (standard deviation), what it is. Lengths in mm, angles in degrees, sizes as logarithms.
#: The spreads are those that a person in the beam shows, not a model's: position and turn are the positioning's,
#: size and form those of adults (a tenth in size, less in proportion), slope that of breathing in and out.
PARAMETERS: tuple[tuple[str, float, str], ...] = (
    ("right", 40.0, "position"),
    ("front", 25.0, "position"),
    ("up", 60.0, "position"),
    ("tilt", 6.0, "turn about the axis to the right"),
    ("roll", 4.0, "turn about the axis to the front"),
    ("turn", 6.0, "turn about the axis upward"),
    ("size", 0.12, "of everything"),
    ("width", 0.07, "beyond the size, right to left"),
    ("depth", 0.10, "beyond the size, front to back"),
    ("flare", 0.08, "width of the lowest ribs beyond the middle's, and of the highest short of it"),
    ("kyphosis", 8.0, "how far the middle of the thoracic spine lies behind its ends"),
    ("scoliosis", 8.0, "how far it lies to the right of its ends"),
    ("scoliosis_s", 5.0, "the same in opposite senses in its upper and lower half"),
    ("spacing", 0.06, "how much larger the lower levels are than the upper"),
    ("slope_left", 7.0, "of the left ribs, front end downward"),
    ("slope_right", 7.0, "of the right ribs"),
    ("slope_lower", 5.0, "of the lowest ribs beyond that of the highest"),
)
NAMES = tuple(name for name, _, _ in PARAMETERS)
SPREAD = np.array([spread for _, spread, _ in PARAMETERS])


@dataclass(frozen=True)
class Carried:
    """Points of a skeleton, and the bones that carry them: a point of cartilage two, any other one.

    Attributes:
        points: in the frame of `ArticulatedSkeleton.centre`, shape (N, 3).
        own, other: which bone of `ArticulatedSkeleton.names`, shape (N,).
        weight: the part of the other, shape (N, 1).
    """

    points: np.ndarray
    own: np.ndarray
    other: np.ndarray
    weight: np.ndarray


class ArticulatedSkeleton:
    """A skeleton, and where its bones go for a vector of `PARAMETERS`. All zero leaves it as it is.

    Attributes:
        skeleton: as given.
        centre: its centre; parameters turn and scale about it.
        names: of its bones.
    """

    def __init__(self, skeleton: Skeleton):
        """Raises `InputError` where there are not at least two thoracic vertebrae, two ribs and the sternum."""
        ribs = [name for name in skeleton.bones if name.startswith("rib_")]
        spine = [name for name in parts.THORACIC if name in skeleton.bones]
        if len(spine) < 2 or len(ribs) < 2 or "sternum" not in skeleton.bones:
            raise InputError("the template lacks ribs, sternum or thoracic vertebrae; give a complete thorax")
        self.skeleton = skeleton
        self.centre = skeleton.centre
        self.names = tuple(skeleton.bones)
        self._index = {name: n for n, name in enumerate(self.names)}
        self._points = {frozenset(joint.parts): joint.point - self.centre for joint in skeleton.joints}
        seats = {name: skeleton.bones[name].center_mass - self.centre for name in spine}
        self._half_height = float(np.ptp([seat[2] for seat in seats.values()])) / 2
        self._seat, self._head = np.zeros((len(self.names), 3)), np.zeros((len(self.names), 3))
        for n, name in enumerate(self.names):
            self._seat[n] = self._head[n] = skeleton.bones[name].center_mass - self.centre
            if name in ribs:
                nearest = min(spine, key=lambda other, rib=name: abs(_level(other) - _level(rib)))
                self._seat[n] = seats[nearest]
                self._head[n] = self._points.get(frozenset((name, nearest)), self._seat[n])
        self._swing = np.array([self._swing_of(name) for name in self.names])
        self._flare = np.array([(_level(name) - 6.5) / 5.5 if name in ribs else 0.0 for name in self.names])
        self._ends = [(self._index[name], self._end_of(name)) for name in ribs if _level(name) in parts.TRUE_RIBS]

    def matrices(self, values: np.ndarray) -> np.ndarray:
        """Where each bone goes: affine, ``(bones, 3, 4)``, from the frame of `centre` to RAS mm."""
        v = dict(zip(NAMES, values, strict=True))
        scale = np.exp(v["size"] + np.array([v["width"], v["depth"], 0.0]))
        seat, head = self._seat * scale, self._head * scale
        turn, shift = _spine_bent(v, self._seat[:, 2] / self._half_height, self._half_height * scale[2])
        # A rib swings about its head, then rides with its vertebra.
        swing = _about_right(-self._swing @ [v["slope_left"], v["slope_right"], v["slope_lower"]])
        linear = turn @ swing
        offset = seat + shift + np.einsum("nij,nj->ni", turn, head - np.einsum("nij,nj->ni", swing, head) - seat)
        wide = np.ones((len(self.names), 1, 3))
        wide[:, 0, 0] = np.exp(v["flare"] * self._flare)
        local = np.concatenate([linear * scale * wide, offset[:, :, None]], axis=2)
        if len(self._ends) > 2:
            local[self._index["sternum"]] = self._sternum(local, scale)
        whole = _rotation(v["tilt"], v["roll"], v["turn"]) @ local
        whole[:, :, 3] += self.centre + np.array([v["right"], v["front"], v["up"]])
        return whole

    def carried(self, clouds: Mapping[str, np.ndarray]) -> Carried:
        """Points of bones, ``(N, 3)`` RAS mm by name, joined in that order."""
        own, other, weight, points = [], [], [], []
        for name, cloud in clouds.items():
            cloud = np.asarray(cloud, dtype=np.float64) - self.centre
            first, second, part = self._carriers(name, cloud)
            own.append(np.full(len(cloud), self._index[first]))
            other.append(np.full(len(cloud), self._index[second]))
            weight.append(part)
            points.append(cloud)
        return Carried(
            np.concatenate(points), np.concatenate(own), np.concatenate(other), np.concatenate(weight)[:, None]
        )

    def move(self, values: np.ndarray, carried: Carried) -> np.ndarray:
        """Where points go, ``(N, 3)`` RAS mm."""
        matrices = self.matrices(values)
        moved = _applied(matrices[carried.own], carried.points)
        shared = np.flatnonzero(carried.weight[:, 0])
        other = _applied(matrices[carried.other[shared]], carried.points[shared])
        moved[shared] += carried.weight[shared] * (other - moved[shared])
        return moved

    def posed(self, values: np.ndarray) -> Skeleton:
        """The skeleton bent."""
        vertices = {name: mesh.vertices for name, mesh in self.skeleton.bones.items()}
        moved = self.move(values, self.carried(vertices))
        stops = np.cumsum([len(cloud) for cloud in vertices.values()])[:-1]
        return self.skeleton.with_vertices(dict(zip(vertices, np.split(moved, stops), strict=True)))

    def _swing_of(self, name: str) -> np.ndarray:
        """How much of ``slope_left``, ``slope_right`` and ``slope_lower`` a bone has."""
        if not name.startswith("rib_"):
            return np.zeros(3)
        left = parts.side_of(name) == parts.LEFT
        return np.array([left, not left, (_level(name) - 1) / 11], dtype=float)

    def _end_of(self, rib: str) -> np.ndarray:
        """The front end of a rib: where its cartilage begins, or else what is farthest from its head."""
        joint = frozenset((rib, parts.cartilage(parts.side_of(rib), _level(rib))))
        cloud = self.skeleton.bones[rib].vertices - self.centre
        farthest = np.linalg.norm(cloud - self._head[self._index[rib]], axis=1).argmax()
        return self._points.get(joint, cloud[farthest])

    def _carriers(self, name: str, cloud: np.ndarray) -> tuple[str, str, np.ndarray]:
        """The two bones that carry points, and the second's part ``(N,)``: for cartilage it grows along its length."""
        if not name.startswith("costal_cartilage"):
            return name, name, np.zeros(len(cloud))
        side, level = parts.side_of(name), _level(name)
        rib, above = parts.rib(side, level), parts.rib(side, level - 1) if level in parts.FALSE_RIBS else "sternum"
        far = parts.cartilage(side, level - 1) if level in parts.FALSE_RIBS else "sternum"
        start, end = (self._points.get(frozenset((name, other))) for other in (rib, far))
        if start is None or end is None or above not in self._index:
            return "sternum", "sternum", np.zeros(len(cloud))
        near, away = (np.linalg.norm(cloud - point, axis=1) for point in (start, end))
        return rib, above, near / (near + away)

    def _sternum(self, local: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The rigid motion nearest to those of the ends of the true ribs, after the scaling."""
        bone = np.array([n for n, _ in self._ends])
        before = np.array([end for _, end in self._ends])
        after = np.einsum("nij,nj->ni", local[bone, :, :3], before) + local[bone, :, 3]
        before = before * scale
        u, _, vt = np.linalg.svd((after - after.mean(axis=0)).T @ (before - before.mean(axis=0)))
        turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
        offset = after.mean(axis=0) - turn @ before.mean(axis=0)
        return np.concatenate([turn * scale, offset[:, None]], axis=1)


def _level(name: str) -> int:
    """The number at the end of the name of a rib, cartilage or thoracic vertebra."""
    return int(re.search(r"\d+$", name)[0])


def _spine_bent(v: dict[str, float], height: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Turn ``(N, 3, 3)`` and shift ``(N, 3)`` of the spine at heights from -1 (T12) to 1 (T1), `half` mm from 0 to 1.

    A parabola and a cubic between the ends of the thoracic spine, straight on beyond them.
    """
    inner = np.clip(height, -1.0, 1.0)
    beyond = height - inner
    arch, arch_slope = inner**2 + 2 * inner * beyond, 2 * inner
    wave, wave_slope = inner**3 - inner + 2 * beyond, 3 * inner**2 - 1
    right = -v["scoliosis"] * arch + v["scoliosis_s"] * wave
    front = v["kyphosis"] * arch
    up = -0.5 * half * v["spacing"] * arch
    lean_right = (-v["scoliosis"] * arch_slope + v["scoliosis_s"] * wave_slope) / half
    lean_front = v["kyphosis"] * arch_slope / half
    turn = _about_front(np.rad2deg(np.arctan(lean_right))) @ _about_right(-np.rad2deg(np.arctan(lean_front)))
    return turn, np.stack([right, front, up], axis=1)


def _applied(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each point ``(N, 3)`` by its own matrix ``(N, 3, 4)``."""
    return np.einsum("nij,nj->ni", matrices[:, :, :3], points) + matrices[:, :, 3]


def _about_right(degrees: np.ndarray) -> np.ndarray:
    """Rotations ``(N, 3, 3)`` about the axis to the right; positive lifts the front."""
    return _stacked(degrees, 1, 2)


def _about_front(degrees: np.ndarray) -> np.ndarray:
    """Rotations ``(N, 3, 3)`` about the axis to the front; positive leans to the right."""
    return _stacked(degrees, 2, 0)


def _stacked(degrees: np.ndarray, first: int, second: int) -> np.ndarray:
    """Rotations from one axis toward another."""
    angle = np.deg2rad(np.atleast_1d(degrees))
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first] = np.sin(angle)
    turn[:, first, second] = -np.sin(angle)
    return turn


def _rotation(tilt: float, roll: float, turn: float) -> np.ndarray:
    """Turns about the axes upward, to the front and to the right, the last first, ``(3, 3)``."""
    return (_stacked(turn, 0, 1) @ _about_front(roll) @ _about_right(tilt))[0]

"""Build and posture: what differs between people, and what it does to each bone.

Spreads are standard deviations over adults, all draws are cut off at 2.2 of them. Rotations are in degrees.
The ribs turn about the necks on which they really turn, and pump-handle and bucket-handle motions are what that does
to their front ends and flanks (Wilson et al., J. Appl. Physiol. 62, 1987, 1872-1877). With age the back rounds, the
ribs come level and the chest deepens together (Gayzik et al., J. Biomech. 41, 2008, 1545-1554), so one draw moves all
three, beside a draw of its own for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ... import anatomy
from .armature import LEVELS, Armature, Rib
from .transforms import about, apply, fit_affine, fit_rigid, rotation, translation

#: Shares of the spine's bend, forwards, sideways and about its axis, in which a rib turns with its vertebra; the rest
#: its joints take up, or the front ends would collide.
_FOLLOW = np.array([0.55, 0.7, 0.8])
_ANCHOR = int(np.flatnonzero(LEVELS == 8)[0])
#: Ribs that reach the sternum by a cartilage of their own.
_TRUE_RIBS = range(1, 8)
#: Ribs within about this of a scapula carry it, mm.
_WALL_MM = 20.0


@dataclass(frozen=True)
class Posture:
    """One person's departures from another.

    Attributes:
        size: ``(3,)`` logarithm of the scale along R, A, S.
        kyphosis, lordosis: more bend of T1 to T12 and of L1 to L5.
        curve: ``(3,)`` scoliosis: largest tilt of a vertebra, wavelength in levels, level of the apex.
        pump: ``(2, 12)`` rise of the front ends of the left and right ribs by turning about their necks.
        bucket: ``(2, 12)`` rise of their flanks by turning about the line from head to front end.
        depth, width: ``(12,)`` logarithm of the cage's scale at each rib, front to back and side to side.
        girdle: ``(2, 3)`` for left and right: the scapula's turn on the chest wall, its way around the trunk, both in
            degrees, and its rise in mm.
        arm: ``(2, 3)`` rotation vector of the left and right humerus.
        girth: scale across of what lies away from bone.
    """

    size: np.ndarray
    kyphosis: float
    lordosis: float
    curve: np.ndarray
    pump: np.ndarray
    bucket: np.ndarray
    depth: np.ndarray
    width: np.ndarray
    girdle: np.ndarray
    arm: np.ndarray
    girth: float


def draw_posture(rng: np.random.Generator, strength: float = 1.0, shoulders: float = 1.0) -> Posture:
    """A random posture; `strength` scales every spread, and 0 changes nothing.

    `shoulders` further scales those of shoulder and arm: a blade that lies on the ribs can slide only so far.
    """

    def normal(spread, shape=()):
        # Truncated, so that no rare draw makes a patient nobody ever met.
        return np.clip(rng.standard_normal(shape), -2.2, 2.2) * np.asarray(spread) * strength

    rank = np.linspace(-1.0, 1.0, 12)
    age = normal(1.0)

    def along_cage(mean, tilt, bow):
        """A quantity that changes smoothly from the first rib to the last."""
        return normal(mean) + normal(tilt) * rank + normal(bow) * (1.0 - 2.0 * rank**2)

    pump = along_cage(3.0, 2.0, 1.0) + 2.5 * age
    return Posture(
        size=normal(0.06) + normal([0.045, 0.045, 0.03], 3),
        kyphosis=float(normal(7.0) + 4.0 * age),
        lordosis=float(normal(8.0)),
        curve=np.array([normal(3.5), rng.uniform(9.0, 18.0), rng.uniform(5.0, 11.0)]),
        pump=np.stack([pump + along_cage(0.7, 0.7, 0.4) for _ in range(2)]),
        bucket=np.stack([along_cage(3.0, 2.0, 1.0)] * 2) + normal(0.7, (2, 1)),
        depth=along_cage(0.035, 0.025, 0.02) + 0.025 * age,
        width=along_cage(0.03, 0.025, 0.02),
        girdle=shoulders * (normal([4.0, 2.0, 4.0], 3) + normal([2.0, 1.0, 2.0], (2, 3))),
        arm=shoulders * normal(4.0, (2, 3)),
        girth=float(np.exp(max(normal(0.04), -0.04))),
    )


def pose(bones: Armature, posture: Posture, earlier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Motions of the bones, and what the trunk does where no bone is near.

    Args:
        bones: of the scan.
        posture: what to do with them.
        earlier: ``(B, 4, 4)`` motions that come first, from the shape model; the identity if none.

    Returns:
        ``(B, 4, 4)``, `earlier` included, and 4x4.
    """
    place = {label: earlier[n] for n, label in enumerate(bones.labels)}
    ribs = {label: _moved(rib, place[label]) for label, rib in bones.ribs.items()}
    spine = _spine_after(bones, place)
    levels = _spine_motion(spine, posture)
    motions = {}
    for label in place:
        bone = anatomy.BY_LABEL[label]
        if bone.group == "vertebrae":
            motions[label] = _at_level(levels, bone.level)
        elif label in ribs:
            side = 0 if bone.side == anatomy.LEFT else 1
            motions[label] = _rib_motion(ribs[label], _at_level(levels, bone.level), posture, side, bone.level)
    sternum = _sternum_motion(ribs, motions)
    motions[anatomy.STERNUM] = sternum
    for side, name in enumerate((anatomy.LEFT, anatomy.RIGHT)):
        motions |= _girdle_motion(bones, place, motions, posture, side, name)
    size = np.diag([*np.exp(posture.size), 1.0])
    return np.stack([size @ motions[label] @ matrix for label, matrix in place.items()]), size @ _mean_scale(earlier)


def _mean_scale(earlier: np.ndarray) -> np.ndarray:
    """What the earlier motions do to the body on the whole: a scale in all directions."""
    determinants = np.linalg.det(earlier[:, :3, :3])
    scale = float(np.exp(np.log(determinants).mean() / 3.0))
    return np.diag([scale, scale, scale, 1.0])


def _moved(rib: Rib, matrix: np.ndarray) -> Rib:
    axis = matrix[:3, :3] @ rib.axis
    return Rib(apply(matrix, rib.head), axis / np.linalg.norm(axis), apply(matrix, rib.tip))


def _spine_after(bones: Armature, place: dict[int, np.ndarray]) -> np.ndarray:
    """Centres of the levels after the earlier motions; a level without a bone follows its nearest neighbour."""
    moving = {anatomy.BY_LABEL[n].level: m for n, m in place.items() if anatomy.BY_LABEL[n].group == "vertebrae"}
    if not moving:
        return bones.spine
    nearest = [min(moving, key=lambda known: abs(known - level)) for level in LEVELS]
    return np.stack([apply(moving[n], c) for n, c in zip(nearest, bones.spine, strict=True)])


def _spine_motion(spine: np.ndarray, posture: Posture) -> np.ndarray:
    """Rigid motions ``(len(LEVELS), 4, 4)``: each vertebra turned a little against the next, joined as before."""
    thoracic = np.clip((LEVELS - 6.5) / 11.0, -0.5, 0.5)  # T1 to T12
    lumbar = np.clip((LEVELS - 12.0) / 5.0, 0.0, 1.0)
    neck = np.clip((1.0 - LEVELS) / 4.0, 0.0, 1.0)
    # What bends forwards in the chest bends back in the neck: people look ahead.
    forward = -posture.kyphosis * (thoracic + 0.4 * neck) + posture.lordosis * lumbar
    tilt, wavelength, apex = posture.curve
    phase = 2.0 * np.pi * (LEVELS - apex) / wavelength
    # Tilt follows the curve's slope; the vertebrae turn most where they are pushed out most.
    lateral, axial = tilt * np.sin(phase), 0.5 * tilt * np.cos(phase)
    turns = [rotation(np.array([-f, b, a])) for f, b, a in zip(forward, lateral, axial, strict=True)]
    centres = spine.copy()
    for step in (-1, 1):
        n = _ANCHOR
        while 0 <= n + step < len(LEVELS):
            between = 0.5 * (turns[n] + turns[n + step])
            centres[n + step] = centres[n] + between @ (spine[n + step] - spine[n])
            n += step
    # A curve moves vertebrae to both sides of where the trunk was, not the trunk.
    shift = (spine - centres)[(LEVELS >= 1) & (LEVELS <= 12)].mean(0)
    return np.stack(
        [translation(to + shift) @ about(np.zeros(3), r) @ translation(-c)
         for r, c, to in zip(turns, spine, centres, strict=True)]
    )  # fmt: skip


def _at_level(levels: np.ndarray, level: int) -> np.ndarray:
    return levels[int(np.flatnonzero(LEVELS == level)[0])]


def _rotation_vector(turn: np.ndarray) -> np.ndarray:
    """The rotation vector, degrees, of a 3x3 rotation of less than 180."""
    vector = 0.5 * np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine = np.linalg.norm(vector)
    angle = np.arctan2(sine, 0.5 * (np.trace(turn) - 1.0))
    return np.rad2deg(vector * (angle / sine if sine > 1e-9 else 1.0))


def _rising(axis: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """The axis, pointing so that a positive turn about it lifts the end of `arm`."""
    return axis if np.cross(axis, arm)[2] >= 0 else -axis


def _rib_motion(rib: Rib, vertebra: np.ndarray, posture: Posture, side: int, level: int) -> np.ndarray:
    """Scaled and turned about its head, which stays on its vertebra."""
    n = level - 1
    chord = rib.tip - rib.head
    pump = rotation(posture.pump[side, n] * _rising(rib.axis, chord))
    # The flank lies outwards of the chord.
    outwards = np.array([-1.0 if side == 0 else 1.0, 0.0, 0.0])
    bucket = rotation(posture.bucket[side, n] * _rising(chord / max(np.linalg.norm(chord), 1e-6), outwards))
    scale = np.diag([np.exp(posture.width[n]), np.exp(posture.depth[n]), 1.0])
    follow = rotation(_FOLLOW * _rotation_vector(vertebra[:3, :3]))
    # A wider cage has its rib heads no further apart: the scale acts about the head, on the vertebra's side.
    matrix = about(np.zeros(3), follow @ pump @ bucket @ scale) @ translation(-rib.head)
    return translation(apply(vertebra, rib.head)) @ matrix


def _sternum_motion(ribs: dict[int, Rib], motions: dict[int, np.ndarray]) -> np.ndarray:
    """Where the front ends of the true ribs take it; with fewer than three of them, it moves as they do on average."""
    true = [label for label in ribs if anatomy.BY_LABEL[label].level in _TRUE_RIBS]
    before = np.array([ribs[label].tip for label in true])
    after = np.array([apply(motions[label], ribs[label].tip) for label in true])
    if len(true) >= 3:
        return fit_rigid(before, after)
    return translation((after - before).mean(0)) if true else np.eye(4)


def _girdle_motion(
    bones: Armature, place: dict, motions: dict, posture: Posture, side: int, name: str
) -> dict[int, np.ndarray]:
    """Clavicle, scapula and humerus of one side: the clavicle hinges on the sternum, the arm on the scapula."""
    own = clavicle, scapula, humerus = [
        anatomy.BY_NAME[f"{b}_{name}"].label for b in ("clavicle", "scapula", "humerus")
    ]
    points = {int(n): apply(place[int(n)], p) for n, p in zip(bones.labels, bones.points, strict=True) if int(n) in own}
    outwards = -1.0 if side == 0 else 1.0
    turn, glide, lift = posture.girdle[side]
    found = {}
    blade = _chest_wall(bones, place, motions, name, points.get(scapula))
    if scapula in points:
        # The blade slides on the wall: it turns about the wall's normal and about the trunk's long axis, and rises.
        middle = points[scapula].mean(0)
        normal = (middle - [0.3 * middle[0], 0.0, middle[2]]) * [1.0, 1.0, 0.0]
        normal *= outwards / max(float(np.linalg.norm(normal)), 1e-6)
        slide = about(middle * [0.3, 0.0, 1.0], rotation(np.array([0.0, 0.0, outwards * glide])))
        blade = blade @ translation(np.array([0.0, 0.0, lift])) @ slide @ about(middle, rotation(turn * normal))
        found[scapula] = blade
    if clavicle in points:
        inner = points[clavicle][np.argsort(np.abs(points[clavicle][:, 0]))]
        ends = np.array([inner[:20].mean(0), inner[-20:].mean(0)])
        goal = np.array([apply(motions[anatomy.STERNUM], ends[0]), apply(blade, ends[1])])
        found[clavicle] = _between(ends, goal)
    if humerus in points:
        socket = points[humerus]
        if scapula in points:
            socket = socket[np.argsort(np.linalg.norm(socket - points[scapula].mean(0), axis=1))[:60]]
        found[humerus] = blade @ about(socket.mean(0), rotation(posture.arm[side]))
    return found


def _chest_wall(bones: Armature, place: dict, motions: dict, name: str, blade: np.ndarray | None) -> np.ndarray:
    """The affine motion of the wall that a scapula lies on: of the ribs of its side, the nearer the more."""
    before, after = [], []
    for n, label in enumerate(int(b) for b in bones.labels):
        if label in bones.ribs and anatomy.BY_LABEL[label].side == name and anatomy.BY_LABEL[label].level <= 9:
            before.append(apply(place[label], bones.points[n]))
            after.append(apply(motions[label], before[-1]))
    if not before:
        return np.eye(4)
    before, after = np.concatenate(before), np.concatenate(after)
    gap = cKDTree(blade).query(before)[0] if blade is not None else np.zeros(len(before))
    return fit_affine(before, after, np.exp(-0.5 * (gap / _WALL_MM) ** 2) + 1e-3)


def _between(ends: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The rigid motion with the least turn that takes the first end to its goal and points at the second."""
    a, b = ends[1] - ends[0], goal[1] - goal[0]
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    angle = np.rad2deg(np.arctan2(sine, a @ b))
    turn = rotation(axis / sine * angle) if sine > 1e-9 else np.eye(3)
    return translation(goal[0]) @ about(np.zeros(3), turn) @ translation(-ends[0])

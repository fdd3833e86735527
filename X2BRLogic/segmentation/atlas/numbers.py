"""Which rib is which: the pieces' order, spacing and shape against the atlas, both sides together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...anatomy import BY_LABEL, BY_NAME, LEFT, RIGHT
from ...errors import InputError
from .ribs import RibPiece
from .skeleton import Atlas
from .spine import Canal

#: Fewer ribs of this length than this are no thorax, mm.
LEAST_RIBS, _LONG_MM = 6, 60.0
#: Sizes of the subject over that of the atlas that are tried.
_SCALES = (0.82, 0.88, 0.94, 1.0, 1.06, 1.12)
#: Shapes are compared over so much of a rib from the section on, every so far, mm.
_COMPARED_MM, _EVERY_MM = 120.0, 10.0
_SHAPE_SD_MM, _GAP_SD_MM, _PAIR_SD_MM, _LENGTH_SD = 9.0, 7.0, 8.0, 0.3
#: How far a chest's shape is from the atlas's, as a share of its size.
_BEND_SD = 0.25
_ROUNDS = 4
#: Cost of one thing being as unlike as can be: beyond it a mismatch says that something is broken, not how much.
_MOST = 9.0
#: Cost of a rib that the scan covers and that was not found, and of a piece that is then no rib, by its length.
_MISSING = 7.0
_UNUSED, _UNUSED_PER_MM = 1.0, 0.08
#: So near the border of the scan a section can be missing without meaning anything, mm.
_EDGE_MM = 8.0
#: Ribs in a row that may be missing above others.
_MOST_SKIPPED = 3


@dataclass(frozen=True)
class _Expected:
    """What the atlas expects of one rib: its line from the section on, every `_EVERY_MM`, and its length, mm."""

    line: np.ndarray
    length: float
    height: float


@dataclass(frozen=True)
class Numbering:
    """Numbered ribs.

    Attributes:
        ribs: pieces by label of `anatomy`; pieces that fit no rib are left out.
        margin: how much more the best numbering costs in which all are one higher or lower; infinite where every
            attempt led back to this one.
    """

    ribs: dict[int, RibPiece]
    margin: float


def number_ribs(pieces: list[RibPiece], canal: Canal, atlas: Atlas) -> Numbering:
    """Find which piece is which rib.

    A dynamic programme runs from rib 1 to rib 12; for each it takes a left and a right piece or none, below those
    taken before, at the least total cost of shape, length, distance to the rib above, difference between the sides,
    ribs missing inside the scan, and pieces left over. The atlas is given the chest's posture first, for every count
    that could be meant.

    Raises:
        InputError: there are fewer ribs than a thorax has, or they rise towards the front.
    """
    sides = {side: [p for p in pieces if p.side == side] for side in (LEFT, RIGHT)}
    slopes = [p.line[-1, 2] - p.line[0, 2] for p in pieces if p.length > _LONG_MM]
    if len(slopes) < LEAST_RIBS:
        raise InputError(f"the CT shows {len(slopes)} ribs, a thorax has more; give a CT of a whole thorax")
    if np.mean(np.array(slopes) > 0) > 0.5:
        raise InputError("the ribs rise towards the front: the CT's orientation is wrong (upside down); correct it")
    first = min((_solve(sides, canal, atlas, _Posture.of_size(s)) for s in _SCALES), key=lambda found: found[0])
    settled = [_settle(first[1], shift, sides, canal, atlas) for shift in (0, -1, 1)]
    cost, named = min(settled, key=lambda found: found[0])
    others = [found[0] for found in settled if _moved(found[1], named)]
    ribs = {BY_NAME[f"rib_{side}_{number}"].label: piece for side, number, piece in named}
    return Numbering(ribs, min(others, default=np.inf) - cost)


def _moved(named: list, reference: list) -> bool:
    """Whether most of the pieces have other numbers than in `reference`."""
    numbers = {id(piece): number for _, number, piece in reference}
    other = [numbers[id(piece)] != number for _, number, piece in named if id(piece) in numbers]
    return bool(other) and np.mean(other) > 0.5


def _settle(named: list, shift: int, sides: dict, canal: Canal, atlas: Atlas) -> tuple[float, list]:
    """Number again in the posture that a numbering, moved by `shift`, suggests, until nothing changes."""
    named = [(side, number + shift, piece) for side, number, piece in named if 1 <= number + shift <= 12]
    best = (np.inf, named)
    for _ in range(_ROUNDS):
        posture = _Posture.of_ribs(best[1], canal, atlas)
        found = _solve(sides, canal, atlas, posture)
        found = found[0] + posture.cost, found[1]
        if found[0] >= best[0] - 1e-6:
            break
        best = found
    return best


def _profile(line: np.ndarray, canal: Canal) -> np.ndarray:
    """Places along a line every `_EVERY_MM`, from the canal, heights from the line's start; ``(M, 3)``."""
    local = canal.beside(line)
    local[:, 2] -= local[0, 2]
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(local, axis=0), axis=1))])
    at = np.arange(0.0, min(run[-1], _COMPARED_MM) + 1e-6, _EVERY_MM)
    places = np.column_stack([np.interp(at, run, local[:, a]) for a in range(3)])
    places[:, 0] = np.abs(places[:, 0])
    return places


@dataclass(frozen=True)
class _Posture:
    """How this chest differs from the atlas's as a whole: size, slope of the ribs, depth; and the spine's length.

    Attributes:
        chest: 3x3 matrix from the atlas's places on a rib (aside, front, up from the section) to the subject's.
        spine: distances along the spine, subject over atlas.
        cost: how far that is from a mere change of size.
    """

    chest: np.ndarray
    spine: float
    cost: float = 0.0

    @classmethod
    def of_size(cls, size: float) -> _Posture:
        return cls(size * np.eye(3), size)

    @classmethod
    def of_ribs(cls, named: list, canal: Canal, atlas: Atlas) -> _Posture:
        """The posture in which numbered pieces fit the atlas best, held near a change of size alone."""
        lines, heights = [], []
        for side, number, piece in named:
            rib = atlas.ribs.get(BY_NAME[f"rib_{side}_{number}"].label)
            if rib is not None:
                lines.append((_profile(rib.line, atlas.canal), _profile(piece.line, canal)))
                heights.append((rib.line[0, 2], piece.line[0, 2]))
        if len(heights) < LEAST_RIBS:
            return cls.of_size(1.0)
        from_atlas, from_subject = (np.array(h) - np.mean(h) for h in zip(*heights, strict=True))
        spine = float(np.clip(from_atlas @ from_subject / (from_atlas @ from_atlas), _SCALES[0], _SCALES[-1]))
        left, right = np.zeros((3, 3)), np.zeros((3, 3))
        for there, here in lines:
            count = min(len(there), len(here))
            weight = 1.0 / (count * _SHAPE_SD_MM**2)
            left += weight * there[:count].T @ there[:count]
            right += weight * there[:count].T @ here[:count]
        held = np.eye(3) / _BEND_SD**2
        chest = np.linalg.solve(left + held, right + spine * held).T
        return cls(chest, spine, float(((chest - spine * np.eye(3)) ** 2).sum() / _BEND_SD**2))


def _expected(atlas: Atlas, posture: _Posture) -> dict[tuple[str, int], _Expected]:
    table = {}
    for label, rib in atlas.ribs.items():
        bone = BY_LABEL[label]
        line = _profile(rib.line, atlas.canal) @ posture.chest.T
        table[bone.side, bone.level] = _Expected(line, rib.length * posture.spine, posture.spine * rib.line[0, 2])
    return table


def _unlike(piece: RibPiece, profile: np.ndarray, expected: _Expected) -> float:
    """Cost of taking a piece for a rib by its shape and length."""
    count = min(len(profile), len(expected.line))
    apart = np.linalg.norm(profile[:count] - expected.line[:count], axis=1)
    shape = np.mean((apart / _SHAPE_SD_MM) ** 2)
    ratio = np.log((piece.length + 20.0) / (expected.length + 20.0)) / _LENGTH_SD
    if ratio < 0 and piece.cut:
        ratio = 0.0
    return min(shape, _MOST) + 0.5 * min(ratio**2, _MOST)


def _gap(table: dict, side: str, upper: int, lower: int) -> float | None:
    """Expected drop from one rib's section to another's on a side, mm."""
    pair = table.get((side, upper)), table.get((side, lower))
    return pair[0].height - pair[1].height if all(pair) else None


class _Side:
    """Costs on one side. A state is ``(piece, skipped)``: the last piece taken and how many ribs were not found since;
    ``(-1, 0)`` before the first one. After `_MOST_SKIPPED` in a row no more are looked for.
    """

    def __init__(self, side: str, pieces: list[RibPiece], canal: Canal, table: dict):
        self.side, self.pieces, self.table = side, pieces, table
        self.states = [(-1, 0)] + [(n, s) for n in range(len(pieces)) for s in range(_MOST_SKIPPED + 1)]
        self.heights = np.array([p.line[0, 2] for p in pieces])
        self.unused = np.concatenate([[0.0], np.cumsum([_UNUSED + _UNUSED_PER_MM * p.length for p in pieces])])
        self.profiles = [_profile(p.line, canal) for p in pieces]
        self.ends = canal.z[0] + _EDGE_MM, canal.z[-1] - _EDGE_MM

    def step(self, number: int) -> np.ndarray:
        """Cost ``(S, S)`` of going from one state to another with rib `number`."""
        cost = np.full((len(self.states),) * 2, np.inf)
        shape = [
            _unlike(p, profile, self.table[self.side, number]) if (self.side, number) in self.table else np.inf
            for p, profile in zip(self.pieces, self.profiles, strict=True)
        ]
        at = {state: index for index, state in enumerate(self.states)}
        for (piece, skipped), row in at.items():
            above = number - 1 - skipped
            if piece < 0:
                cost[row, row] = 0.0
            else:
                cost[row, at[piece, min(skipped + 1, _MOST_SKIPPED)]] = self._missing(number, piece, above)
            if skipped == _MOST_SKIPPED:
                continue
            for taken in range(piece + 1, len(self.pieces)):
                passed = self.unused[taken] - self.unused[piece + 1]
                drop = self._drop(number, piece, above, taken)
                cost[row, at[taken, 0]] = shape[taken] + passed + drop
        return cost

    def end(self) -> np.ndarray:
        """Cost ``(S,)`` of stopping in a state: of the pieces below."""
        cost = np.array([self.unused[-1] - self.unused[piece + 1] for piece, _ in self.states])
        cost[0] += 12 * _MISSING
        return cost

    def _missing(self, number: int, piece: int, above: int) -> float:
        gap = _gap(self.table, self.side, above, number)
        return _MISSING if gap is not None and self.heights[piece] - gap > self.ends[0] else 0.0

    def _drop(self, number: int, piece: int, above: int, taken: int) -> float:
        """How unlike the distance to the piece above is; for the first piece, which ribs the scan should show above."""
        if piece < 0:
            gaps = [_gap(self.table, self.side, other, number) for other in range(1, number)]
            return _MISSING * sum(g is not None and self.heights[taken] + g < self.ends[1] for g in gaps)
        gap = _gap(self.table, self.side, above, number)
        if gap is None:
            return 0.0
        error = (self.heights[piece] - self.heights[taken] - gap) / (_GAP_SD_MM * np.sqrt(number - above))
        return min(error**2, 2 * _MOST)


def _solve(sides: dict, canal: Canal, atlas: Atlas, posture: _Posture) -> tuple[float, list]:
    """The least cost in one posture of the atlas, and ``(side, number, piece)`` for every rib found."""
    table = _expected(atlas, posture)
    left, right = (_Side(side, sides[side], canal, table) for side in (LEFT, RIGHT))
    total = np.full((len(left.states), len(right.states)), np.inf)
    total[0, 0] = 0.0
    choices = []
    for number in range(1, 13):
        # The two sides' steps are independent but for the cost of where they arrive: one minimum after the other.
        via_left = total[:, None, :] + left.step(number)[:, :, None]
        from_left, total = via_left.argmin(axis=0), via_left.min(axis=0)
        via_right = total[:, :, None] + right.step(number)[None, :, :]
        from_right, total = via_right.argmin(axis=1), via_right.min(axis=1)
        total += _uneven(left, right, table, number)
        choices.append((from_left, from_right))
    total += left.end()[:, None] + right.end()[None, :]
    here = np.unravel_index(total.argmin(), total.shape)
    best, named = float(total[here]), []
    for number in range(12, 0, -1):
        for side, state in ((left, left.states[here[0]]), (right, right.states[here[1]])):
            if state[0] >= 0 and state[1] == 0:
                named.append((side.side, number, side.pieces[state[0]]))
        from_left, from_right = choices[number - 1]
        before_right = from_right[here]
        here = from_left[here[0], before_right], before_right
    return best, named


def _uneven(left: _Side, right: _Side, table: dict, number: int) -> np.ndarray:
    """Cost of a left and a right rib of one number at different heights, for all pairs of states just reached."""
    cost = np.zeros((len(left.states), len(right.states)))
    if (LEFT, number) not in table or (RIGHT, number) not in table:
        return cost
    offset = table[LEFT, number].height - table[RIGHT, number].height
    for row, (one, skipped) in enumerate(left.states):
        for column, (other, also) in enumerate(right.states):
            if one >= 0 and other >= 0 and skipped == also == 0:
                uneven = left.heights[one] - right.heights[other] - offset
                cost[row, column] = 0.5 * min((uneven / _PAIR_SD_MM) ** 2, _MOST)
    return cost

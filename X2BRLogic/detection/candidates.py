"""What a network found in a film, thinned out to one candidate for each thing it may have seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import RUNS

#: Scores below this are not looked at.
LEAST_SCORE = 0.02
#: Two boxes of one group that overlap by more are the same bone; by more than the second, if they agree on its level.
_SAME, _SAME_LEVEL = 0.88, 0.8
#: Of a group so many proposals are looked at, and so many candidates kept: the ordering takes their number squared.
_MOST, _KEPT = 400, 80


@dataclass(frozen=True)
class Candidates:
    """Boxes of one group of bones, from the highest score down.

    Attributes:
        group: a key of `RUNS`.
        edges: ``(N, 4)`` left, top, right, bottom.
        scores: ``(N, L)`` for each level of the group, from the neck down.
    """

    group: str
    edges: np.ndarray
    scores: np.ndarray

    @property
    def tops(self) -> np.ndarray:
        """Upper edges, ``(N,)``."""
        return self.edges[:, 1]

    @property
    def heights(self) -> np.ndarray:
        """Where each lies, ``(N,)``: a vertebra's middle; more of a rib's top, for it may be cut off below."""
        part = 0.5 if self.group == "vertebrae" else 0.25
        return (1 - part) * self.edges[:, 1] + part * self.edges[:, 3]


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes ``(N, 4)`` with boxes ``(M, 4)``, ``(N, M)``."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def candidates(edges: np.ndarray, scores: np.ndarray, least: float = LEAST_SCORE) -> dict[str, Candidates]:
    """Candidates by group.

    Args:
        edges: ``(A, 4)`` of everything the network proposes.
        scores: ``(A, classes)``.
        least: score from which a proposal counts.
    """
    return {group: _of_group(group, edges, scores[:, run], least) for group, run in RUNS.items()}


def _of_group(group: str, edges: np.ndarray, scores: np.ndarray, least: float) -> Candidates:
    """Non-maximum suppression, over levels too: what overlaps a better box nearly whole shows the same bone."""
    best = scores.max(axis=1)
    sound = (best >= least) & (edges[:, 2:] > edges[:, :2]).all(axis=1)
    order = np.flatnonzero(sound)
    order = order[np.argsort(-best[order], kind="stable")][:_MOST]
    edges, scores = edges[order], scores[order]
    level = scores.argmax(axis=1)
    shared = overlap(edges, edges)
    same = (shared > _SAME) | ((shared > _SAME_LEVEL) & (level[:, None] == level[None]))
    kept: list[int] = []
    for n in range(len(edges)):
        if not same[n, kept].any():
            kept.append(n)
    kept = kept[:_KEPT]
    return Candidates(group, edges[kept].astype(np.float64), scores[kept].astype(np.float64))

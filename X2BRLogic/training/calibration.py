"""The constant that makes a network's threshold the best one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .. import anatomy
from ..dataset.continuation import UNKNOWN
from ..dataset.on_the_fly import UNIFORM_POINTS
from ..dataset.patient_file import PatientFile
from ..networks import TAU, Batch
from ..networks.device import device_of
from ..surface import logit
from .batches import batch_of

#: Beta of the F-score by which groups of bones, and two films together, get their thresholds.
MISSED = 1.4


class Overlap:
    """Dice of thresholded logits with the truth, for many constants that might be added to the logits."""

    OFFSETS = np.arange(-4.0, 4.01, 0.1)

    def __init__(self):
        self._above = np.zeros((2, len(self.OFFSETS)))  # logits above the threshold: all, and those inside a bone
        self._inside = 0

    def add(self, logits: Tensor, batch: Batch) -> None:
        """Logits ``(B, N)`` at a batch's points; those whose truth is unknown do not count."""
        known = batch.known > 0
        self.add_known(logits[known].float().cpu().numpy(), (batch.occupied[known] > 0).cpu().numpy())

    def add_known(self, values: np.ndarray, inside: np.ndarray) -> None:
        """Logits ``(N,)`` and bool truth of points where it is known."""
        # Logit + offset > level; the larger the offset, the lower the threshold.
        passed = len(self.OFFSETS) - np.searchsorted(logit(TAU) - self.OFFSETS[::-1], values, side="left")
        for row, chosen in enumerate((passed, passed[inside])):
            self._above[row] += np.bincount(chosen, minlength=len(self.OFFSETS) + 1).cumsum()[:-1]
        self._inside += int(inside.sum())

    def best(self, beta: float = 1.0) -> tuple[float, float]:
        """The constant of the best F-beta, and that: with a `beta` of 1 the Dice coefficient.

        Source: van Rijsbergen, Information Retrieval (1979): what is missed counts beta^2 times what is too much.
        """
        weight = beta**2
        score = (1.0 + weight) * self._above[1] / np.maximum(self._above[0] + weight * self._inside, 1)
        best = int(np.argmax(score))
        return round(float(self.OFFSETS[best]), 2), float(score[best])


@torch.no_grad()
def best_offset(network: nn.Module, files: list[Path], lateral: bool = False) -> tuple[float, float]:
    """The constant to add to the logits, and the Dice it gives at the paper's threshold.

    Training sees mostly points near bone, so the probabilities it learns are of that mixture, and cut at `TAU` the
    bones come out too thick. Over uniform points of unseen patients the constant is chosen that gives the best Dice.

    Args:
        files: of virtual patients.
        lateral: over the lateral films, too.
    """
    network.eval()
    overlap = Overlap()
    for path in files:
        patient = PatientFile(path)
        numbers = range(0, len(patient), 1 if lateral else 2)
        films = [_uniform(patient.film(number)) for number in numbers]
        batch = batch_of(films, [number % 2 == 1 for number in numbers]).to(device_of(network))
        overlap.add(network.logits(batch), batch)
    return overlap.best()


@torch.no_grad()
def best_offsets(network: nn.Module, files: list[Path], lateral: bool = False) -> list[float]:
    """For a network that names bones, the constant of each of its groups that gives this group the best F-score.

    A cell counts for the group that it is of, else for the one that it would be of by its name. A rib that is missed
    leaves a hole as wide as the next rib is far; at the best Dice the uncertain ones would be left out altogether.
    """
    from ..networks.x2b_aligned import GROUPS, NAMED

    network.eval()
    group_of = torch.full((256,), -1)
    for number, labels in enumerate(GROUPS):
        group_of[list(labels)] = number
    named = group_of[list(NAMED)]
    overlaps = [Overlap() for _ in GROUPS]
    for path in files:
        patient = PatientFile(path)
        for number in range(0, len(patient), 1 if lateral else 2):
            film = patient.film(number)
            fields = network.encode(torch.from_numpy(film.image)[None, None].to(device_of(network)))
            points, labels = _cells(film.labels)
            told = network.decode(fields, points[None])[0].float().cpu()
            would_be = named[network.named(fields, points)[:, 1:].argmax(dim=1).cpu()]
            group = group_of[labels]
            group = torch.where(group >= 0, group, would_be)
            for place, overlap in enumerate(overlaps):
                mine = group == place
                overlap.add_known(told[mine].numpy(), (group_of[labels[mine]] == place).numpy())
    return [overlap.best(MISSED)[0] for overlap in overlaps]


def _cells(labels: np.ndarray, every: int = 40) -> tuple[Tensor, Tensor]:
    """Ray-cube points of some of a film's cells of known truth without cartilage, and their labels."""
    chosen = np.flatnonzero(~np.isin(labels, (UNKNOWN, anatomy.CARTILAGES)))[::every]
    depth, row, column = (
        (index + 0.5) / size for index, size in zip(np.unravel_index(chosen, labels.shape), labels.shape, strict=True)
    )
    points = np.stack([0.5 - column, depth - 0.5, 0.5 - row], axis=1).astype(np.float32)
    return torch.from_numpy(points), torch.from_numpy(labels.ravel()[chosen].astype(np.int64))


def _uniform(film):
    """The film with its uniform points alone."""
    first = slice(UNIFORM_POINTS)
    return replace(film, points=film.points[first], occupied=film.occupied[first], known=film.known[first])

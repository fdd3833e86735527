"""The template brought to a radiograph: from boxes of detected bones to the pose and form of a skeleton."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from .articulated import NAMES, ArticulatedSkeleton
from .levels import assigned, named
from .projected import EDGE_MM, ProjectedSkeleton
from .skeleton import Skeleton

#: Where and how large comes first, then everything.
_COARSE = [NAMES.index(name) for name in ("right", "up", "size")]
_ALL = list(range(len(NAMES)))
_ROUNDS = 5
#: So many named boxes tell where the thorax is; with fewer the levels of the others are searched up and down.
_TELLING = 3
#: A box with less than this part of its confidence left is set aside.
_ASIDE = 0.1
#: Part of a bone's box that must be in the picture for the bone to be in view.
_IN_VIEW = 0.1
_THORAX = frozenset(anatomy.BY_LABEL[label].name for label in anatomy.THORAX)


@dataclass(frozen=True)
class FittedTemplate:
    """A template that fits a radiograph.

    Attributes:
        skeleton: bent and placed, RAS mm; all bones, also those out of view.
        in_view: names of the bones of which at least a tenth is in the picture.
        boxes: the box that each bone was fitted to; a bone that is not here follows its neighbours.
        residual_px: root mean square distance of those boxes' edges from the projected bones', NaN without a box.
        parameters: by name, see `articulated.PARAMETERS`.
        notes: sentences that the user should see: levels guessed, boxes set aside, bones not detected.
    """

    skeleton: Skeleton
    in_view: tuple[str, ...]
    boxes: dict[str, Box]
    residual_px: float
    parameters: dict[str, float]
    notes: tuple[str, ...]


def fit_template(skeleton: Skeleton, boxes: Sequence[Box], geometry: XRayGeometry) -> FittedTemplate:
    """Bend and place a template so that the projections of its bones fill the boxes of detected ones.

    Least squares over position, turn, size, proportions, the curve of the spine and the slope of the ribs, each held
    by a prior. A box that does not go with the others loses its weight, by Geman and McClure's function in iteratively
    reweighted least squares (Zhang, Parameter estimation techniques, Image and Vision Computing 1997, table 1). What a
    single radiograph does not tell, depth along the beam before all, stays at the prior: the middle of the thorax at
    the isocentre. Without any box that is all there is.

    Args:
        skeleton: the template, upright in RAS mm, anywhere.
        boxes: detected bones; levels may be missing, double or wrong.
        geometry: of the radiograph.

    Raises:
        InputError: the template lacks the bones that carry the others.
    """
    view = ProjectedSkeleton(ArticulatedSkeleton(_at_isocentre(skeleton, geometry)), geometry)
    kept, nameless, notes = named(box for box in boxes if box.name is None or box.name in view.names)
    values, matched = np.zeros(len(NAMES)), dict(kept)
    for stage in range(_ROUNDS):
        if nameless and stage < _ROUNDS - 1:
            expected = dict(zip(view.names, view.edges(values), strict=True))
            loose = stage == 0 and len(kept) < _TELLING
            matched = kept | assigned(nameless, expected, kept, view.mm, loose)
        free = _COARSE if stage == 0 else _ALL
        weights = _trust(view, values, matched, blind=stage == 0)
        values = view.solved(values, free, matched, weights)
    return _result(view, values, kept, matched, len(nameless), notes)


def _at_isocentre(skeleton: Skeleton, geometry: XRayGeometry) -> Skeleton:
    """The middle of the box around the thorax at the isocentre, as a radiograph of the chest is taken."""
    place = np.eye(4)
    place[:3, 3] = geometry.isocentre - skeleton.as_mesh(_THORAX).bounds.mean(axis=0)
    return skeleton.transformed(place)


def _trust(view: ProjectedSkeleton, values: np.ndarray, boxes: dict[str, Box], blind: bool) -> np.ndarray:
    """The weight of each box: its confidence, and unless nothing is known yet, less the worse it fits."""
    confidence = np.array([box.confidence for box in boxes.values()])
    if blind or not boxes:
        return confidence
    off = np.sqrt((view.misfit(values, boxes) ** 2).mean(axis=1))
    usual = 3.0 * max(float(np.median(off)), 0.5 * EDGE_MM)
    return confidence / (1.0 + (off / usual) ** 2) ** 2


def _result(
    view: ProjectedSkeleton, values: np.ndarray, kept: dict, matched: dict[str, Box], nameless: int, notes: list[str]
) -> FittedTemplate:
    weights = _trust(view, values, matched, blind=False)
    aside = [n for n, w in zip(matched, weights, strict=True) if w < _ASIDE * matched[n].confidence]
    used = {name: box for name, box in matched.items() if name not in aside}
    in_view = tuple(name for name, part in view.visible(values).items() if part >= _IN_VIEW)
    guessed = [name for name in used if name not in kept]
    unseen = [name for name in in_view if name in _THORAX and name not in used]
    if nameless:
        notes.append(f"{nameless} box(es) came without a level; {len(guessed)} got one by place: {_listed(guessed)}.")
    if aside:
        notes.append(f"Set aside, because the other boxes put these bones elsewhere: {_listed(aside)}.")
    if not used:
        notes.append("No bone was detected: the template has its mean form and lies at the isocentre.")
    elif unseen:
        notes.append(f"Not detected, and placed by their neighbours: {_listed(unseen)}.")
    misfit = view.misfit(values, used) / view.mm
    residual = float(np.sqrt((misfit**2).mean())) if used else float("nan")
    parameters = {name: float(value) for name, value in zip(NAMES, values, strict=True)}
    return FittedTemplate(view.body.posed(values), in_view, used, residual, parameters, tuple(notes))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

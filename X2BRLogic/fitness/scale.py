"""The pixel spacing of a film that does not say it, from the size of the bones in it.

In adults the distance of vertebrae and the width of the rib cage are within some 7 % of the template's. The edge of the
usual cassette is as good as long as the picture is all of it, and off by any amount where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from ..radiograph import Radiograph

#: Mean error of an estimate, see Documentation/benchmarks/fitness.md.
SPREAD = 0.06
#: Levels whose boxes are the surest: neither hidden by the shoulders nor by the diaphragm.
_SPINE = range(2, 12)
_RIBS = range(4, 10)
_FEWEST_LEVELS, _FEWEST_RIBS = 4, 3


def spacing_from_bones(boxes: Sequence[Box], geometry: XRayGeometry) -> float | None:
    """The pixel spacing, mm, at which the bones have the template's size; ``None`` with too few bones to tell.

    The geometric mean of what the distance of neighbouring vertebrae and the width of the rib cage say.

    Args:
        boxes: of the bones, in pixels of the film.
        geometry: of the film; only view, SID and SOD are used, for the magnification.
    """
    here = _sizes(boxes)
    if here is None:
        return None
    there = _template_sizes(bool(geometry.to_source[1] > 0), geometry.sid, geometry.sod)
    return float(np.exp(np.mean(np.log(np.divide(there, here)))))


def with_spacing_from_bones(radiograph: Radiograph, boxes: Sequence[Box]) -> Radiograph:
    """The film with its pixel spacing from the bones, and a warning that says so; as it is where that is known.

    A film whose bones do not tell is as before, too.
    """
    estimate = None if radiograph.known["spacing"] else spacing_from_bones(boxes, radiograph.geometry)
    if estimate is None:
        return radiograph
    note = (
        f"the pixel spacing is estimated from vertebrae and ribs: {estimate:.3f} mm, which is off by some "
        f"{SPREAD:.0%} as people differ; the edge of a cassette would make it {radiograph.geometry.spacing[0]:.3f} mm"
    )
    geometry = replace(radiograph.geometry, spacing=(estimate, estimate))
    return replace(radiograph, geometry=geometry, warnings=(*radiograph.warnings, note))


def _sizes(boxes: Iterable[Box]) -> tuple[float, float] | None:
    """Distance of neighbouring vertebrae, and width of the rib cage: medians, in the boxes' unit."""
    named = {box.name: box for box in boxes if box.name}
    spine = [(level, named[f"vertebra_T{level}"]) for level in _SPINE if f"vertebra_T{level}" in named]
    pairs = [(named[f"rib_left_{n}"], named[f"rib_right_{n}"]) for n in _RIBS if _both(named, n)]
    if len(spine) < _FEWEST_LEVELS or len(pairs) < _FEWEST_RIBS:
        return None
    levels = np.array([level for level, _ in spine])
    middles = np.array([box.edges.reshape(2, 2).mean(axis=0) for _, box in spine])
    upper, lower = np.triu_indices(len(levels), 1)
    apart = np.linalg.norm(middles[lower] - middles[upper], axis=1) / (levels[lower] - levels[upper])
    widths = [left.x1 - right.x0 for left, right in pairs]
    pitch, width = float(np.median(apart)), float(np.median(widths))
    return (pitch, width) if min(pitch, width) > 0 else None


def _both(named: dict[str, Box], level: int) -> bool:
    return all(f"rib_{side}_{level}" in named for side in (anatomy.LEFT, anatomy.RIGHT))


@lru_cache(maxsize=8)
def _template_sizes(ap: bool, sid: float, sod: float) -> tuple[float, float]:
    """`_sizes` of the template with its middle at the isocentre, mm on the detector."""
    from ..template import load_template

    bones = load_template().bones
    corners = np.concatenate([mesh.bounds for mesh in bones.values()])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    geometry = XRayGeometry.from_view("AP" if ap else "PA", sid=sid, sod=sod, spacing=(1.0, 1.0), isocentre=middle)
    boxes = []
    for name, mesh in bones.items():
        if name in anatomy.BY_NAME and anatomy.BY_NAME[name].label in anatomy.THORAX:
            pixels = geometry.project(mesh.vertices)
            boxes.append(Box.of(name, (*pixels.min(axis=0), *pixels.max(axis=0))))
    return _sizes(boxes)

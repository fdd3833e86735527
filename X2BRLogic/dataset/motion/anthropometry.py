"""Measures of a thorax, and the ranges in which adults' lie.

The angles are those of the curve through the vertebrae's centroids, between the tangents at its ends; they come out a
few degrees below Cobb angles between end plates (on methods: Vrtovec, Pernus and Likar, Eur. Spine J. 18, 2009,
593-607). A scan's bones are measured before and after a deformation in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import ConvexHull

from ... import anatomy
from .armature import LEVELS, Armature

#: Smallest and largest value that a virtual patient may have.
#:
#: kyphosis: T4 to T12, degrees. Normal 20 to 40 or 50 and more with age (Fon, Pitt and Thies, AJR 134, 1980, 979-983;
#:     Bernhardt and Bridwell, Spine 14, 1989, 717-721); some flat and some round backs are let in.
#: cobb: degrees in the coronal plane; scoliosis begins at 10, moderate curves reach 40 (Aebi, Eur. Spine J. 14, 2005).
#: spine: T1 to T12 along the curve, mm; the vertebrae's heights (Panjabi et al., Spine 16, 1991, 888-901) and discs.
#: width, depth: largest breadth of the cage across the ribs, and from the back of the ribs to the front of the sternum.
#: volume: of the convex hull of the cage, litres: the lungs' 4 to 8 (Stocks and Quanjer, Eur. Respir. J. 8, 1995,
#:     492-506), the heart, the chest wall and what of the belly lies within the ribs.
#: haller: inner breadth over the distance from sternum to vertebra at the narrowest level; 2.5 is normal, above 3.25
#:     a funnel chest is operated on (Haller, Kramer and Lietman, J. Pediatr. Surg. 22, 1987, 904-906).
#: slope: of the chord of ribs 5 to 8 below the transverse plane, degrees, averaged (Gayzik et al., J. Biomech. 41,
#:     2008, 1545-1554; Wilson et al., J. Appl. Physiol. 62, 1987, 1872-1877).
RANGES: dict[str, tuple[float, float]] = {
    "kyphosis": (12.0, 60.0),
    "cobb": (0.0, 30.0),
    "spine": (200.0, 320.0),
    "width": (210.0, 350.0),
    "depth": (140.0, 270.0),
    "volume": (4.5, 16.0),
    "haller": (1.5, 3.25),
    "slope": (5.0, 50.0),
}
_SLAB_MM = 8.0
_RIB_MM = 7.0
#: A measure may leave its range by this share of it: a bound is no wall.
_SLACK = 0.02


def measure(bones: Armature, place: Callable[[int, np.ndarray], np.ndarray]) -> dict[str, float]:
    """The measures named in `RANGES` that the bones allow; mm and degrees.

    Args:
        bones: of the scan.
        place: takes the position of a bone in ``bones.labels`` and points ``(N, 3)`` of it, mm about the centre, to
            where they are now; points without a place are passed over.
    """
    placed = {int(label): place(n, bones.points[n]) for n, label in enumerate(bones.labels)}
    points = {label: found[np.isfinite(found).all(axis=1)] for label, found in placed.items()}
    points = {label: found for label, found in points.items() if len(found)}
    return _spine(points) | _cage(points) | _slope(bones, place)


def acceptable(after: dict[str, float], before: dict[str, float]) -> bool:
    """Whether all measures lie in their ranges, or at least no further outside than the scanned person's own."""
    for name, (low, high) in RANGES.items():
        if name in after:
            own, slack = before.get(name, low), _SLACK * (high - low)
            if not min(low, own) - slack <= after[name] <= max(high, own) + slack:
                return False
    return True


def _spine(points: dict[int, np.ndarray]) -> dict[str, float]:
    """Angles and length of the curve through T1 to T12: a quartic, which smooths the centroids of cut vertebrae."""
    levels = [int(n) for n in LEVELS if 1 <= n <= 12 and _vertebra(int(n)) in points]
    if len(levels) < 8 or 4 not in levels:
        return {}
    centres = np.array([points[_vertebra(n)].mean(0) for n in levels])
    smooth = np.stack([np.polyval(np.polyfit(levels, centres[:, a], 4), levels) for a in range(3)], axis=-1)
    tangents = -np.gradient(smooth, np.array(levels, dtype=float), axis=0)
    sagittal = np.rad2deg(np.arctan2(tangents[:, 1], tangents[:, 2]))
    coronal = np.rad2deg(np.arctan2(tangents[:, 0], tangents[:, 2]))
    length = np.linalg.norm(np.diff(smooth, axis=0), axis=1).sum() * 11.0 / (levels[-1] - levels[0])
    kyphosis = sagittal[levels.index(4)] - sagittal[-1]
    return {"kyphosis": float(kyphosis), "cobb": float(np.ptp(coronal)), "spine": float(length)}


def _vertebra(level: int) -> int:
    return next(b.label for b in anatomy.BONES if b.group == "vertebrae" and b.level == level)


def _cage(points: dict[int, np.ndarray]) -> dict[str, float]:
    ribs = [points[n] for n in anatomy.RIBS if n in points]
    spine = [points[n] for n in anatomy.THORACIC_VERTEBRAE if n in points]
    if len(ribs) < 12 or not spine or anatomy.STERNUM not in points:
        return {}
    ribs, spine, sternum = np.concatenate(ribs), np.concatenate(spine), points[anatomy.STERNUM]
    low, high = np.quantile(ribs[:, 0], [0.002, 0.998])
    depth = np.quantile(sternum[:, 1], 0.98) - np.quantile(ribs[:, 1], 0.005)
    ratios = []
    for z in np.arange(sternum[:, 2].min() + _SLAB_MM, sternum[:, 2].max() - _SLAB_MM, _SLAB_MM):
        here, back, front = (p[np.abs(p[:, 2] - z) < _SLAB_MM] for p in (ribs, spine, sternum))
        if len(here) > 20 and len(back) and len(front):
            breadth = np.ptp(here[:, 0]) - 2 * _RIB_MM
            ratios.append(breadth / max(np.quantile(front[:, 1], 0.05) - np.quantile(back[:, 1], 0.98), 1.0))
    # The narrowest level below the inlet, where the cage has not yet reached its breadth.
    lower = ratios[: max(1, len(ratios) // 2)]
    volume = ConvexHull(np.concatenate([ribs, sternum, spine])).volume / 1e6
    found = {"width": float(high - low), "depth": float(depth), "volume": float(volume)}
    return found | ({"haller": float(max(lower))} if lower else {})


def _slope(bones: Armature, place: Callable) -> dict[str, float]:
    angles = []
    for label, rib in bones.ribs.items():
        if anatomy.BY_LABEL[label].level in (5, 6, 7, 8):
            head, tip = place(int(np.flatnonzero(bones.labels == label)[0]), np.stack([rib.head, rib.tip]))
            angles.append(np.rad2deg(np.arctan2(head[2] - tip[2], np.linalg.norm((tip - head)[:2]))))
    return {"slope": float(np.mean(angles))} if angles else {}

"""No bone larger or smaller than people's are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..surface.extract import enclosed_volume
from ..template import Skeleton, bone_of

#: Linear dimensions of vertebrae have standard deviations of 5 to 12 % among adults (Panjabi et al., Spine 16:888,
#: 1991); two and a half of the largest, cubed, about the mean's volume. Ribs and sternum are held to the same.
_LINEAR = 0.30
_RANGE = ((1 - _LINEAR) ** 3, (1 + _LINEAR) ** 3)


def human_volumes(template: Skeleton) -> dict[str, tuple[float, float]]:
    """Least and greatest volume of each bone, mm^3, about those of a template of mean adult size.

    Cartilage is not among them: how much of it is ossified differs too much.
    """
    return {
        name: tuple(abs(float(mesh.volume)) * factor for factor in _RANGE)
        for name, mesh in template.bones.items()
        if bone_of(name).group != "cartilages"
    }


def held(
    skeleton: Skeleton, vertices: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Vertices ``(N, 3)`` by bone, those of volumes out of range scaled about their middle into it, and their names."""
    kept, changed = dict(vertices), []
    for name, (low, high) in ranges.items():
        if name not in kept:
            continue
        points = kept[name]
        volume = max(enclosed_volume(points, np.asarray(skeleton.bones[name].faces)), 1e-9)
        if not low <= volume <= high:
            centre = points.mean(axis=0)
            kept[name] = centre + (points - centre) * np.cbrt(np.clip(volume, low, high) / volume)
            changed.append(name)
    return kept, changed

"""Are the bones in their places, and are they called by their names?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from .. import anatomy
from ..dataset.continuation import UNKNOWN
from ..volume import Volume

#: Groups whose overlap is told, as label numbers.
GROUPS: dict[str, tuple[int, ...]] = {
    "ribs": anatomy.RIBS,
    "vertebrae": anatomy.THORACIC_VERTEBRAE,
    "sternum": (anatomy.STERNUM,),
    "cartilages": (anatomy.CARTILAGES,),
}
#: Groups whose members have numbers.
_NUMBERED = ("ribs", "vertebrae")
#: A bone of which the scan shows less has no number that could be judged, mm^3.
_LEAST_MM3 = 1000.0
#: Further than this from any bone of its group, a place of the truth is missed, mm.
_REACH_MM = 25.0


def naming(bones: Mapping[str, trimesh.Trimesh], labels: Volume, region: np.ndarray) -> dict[str, float | None]:
    """Overlap by group, and the share of ribs and of vertebrae that have the right number.

    ``dice_ribs``, ``dice_vertebrae``, ``dice_sternum``, ``dice_cartilages``
        Over the voxels of the label map that lie in the region and of which the truth is known, where the bones are;
        names within a group do not matter.
    ``ribs_right``, ``vertebrae_right``
        Of the bones of the truth, the share of which most voxels have, as the nearest reconstructed bone of the group
        within 25 mm, the one of their own name. A bone that is missing counts as wrong.

    Args:
        bones: named, closed, RAS mm.
        labels: the truth.
        region: box ``[[min], [max]]`` in RAS mm in which the scan knows it.

    Returns:
        None for a group that the truth does not have.
    """
    from ..template import bone_of, voxelise

    found = voxelise([(bone_of(name).label, mesh) for name, mesh in bones.items()], like=labels).array
    voxels = np.argwhere(((found > 0) | (labels.array > 0)) & (labels.array != UNKNOWN))
    places = labels.to_ras(voxels[:, ::-1])
    sure = ((places > region[0]) & (places < region[1])).all(axis=1)
    (found, truth), places = (array[tuple(voxels[sure].T)] for array in (found, labels.array)), places[sure]
    scores: dict[str, float | None] = {}
    for group, members in GROUPS.items():
        ours, theirs = np.isin(found, members), np.isin(truth, members)
        both = 2.0 * float((ours & theirs).sum())
        scores[f"dice_{group}"] = both / float(ours.sum() + theirs.sum()) if theirs.any() else None
    least = _LEAST_MM3 / abs(np.linalg.det(labels.ijk_to_ras[:3, :3]))
    for group in _NUMBERED:
        scores[f"{group}_right"] = _right(found, truth, places, GROUPS[group], least)
    return scores


def _right(
    found: np.ndarray, truth: np.ndarray, places: np.ndarray, members: tuple[int, ...], least: float
) -> float | None:
    present = [label for label in members if (truth == label).sum() >= least]
    if not present:
        return None
    ours = np.isin(found, members)
    if not ours.any():
        return 0.0
    tree, names = cKDTree(places[ours]), found[ours]
    right = 0
    for label in present:
        distance, nearest = tree.query(places[truth == label], distance_upper_bound=_REACH_MM)
        told = names[nearest[np.isfinite(distance)]]
        right += bool(len(told)) and np.bincount(told).argmax() == label
    return right / len(present)

"""Is a reconstruction as far off as it says? Expected errors of vertices beside those that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import trimesh

from .. import anatomy
from ..confidence import ERROR
from ..surface import labels_to_meshes
from ..volume import Volume
from .nearest import Nearest

#: Vertices so near to where the scan ends are not judged: their counterpart may lie beyond, mm.
_MARGIN_MM = 15.0
#: A bone of the truth that is less than this is no counterpart, mm^3.
_LEAST_MM3 = 500.0


def true_bones(labels: Volume) -> dict[str, trimesh.Trimesh]:
    """Every bone of the thorax and the cartilages in a label map, cut ones too: closed meshes by name, RAS mm."""
    sizes = np.bincount(labels.array.ravel(), minlength=256) * abs(np.linalg.det(labels.ijk_to_ras[:3, :3]))
    found = [label for label in (*anatomy.THORAX, anatomy.CARTILAGES) if sizes[label] >= _LEAST_MM3]
    return {anatomy.BY_LABEL[label].name: mesh for label, mesh in labels_to_meshes(labels, found).items()}


def observed(
    bones: Mapping[str, trimesh.Trimesh], truth: Mapping[str, trimesh.Trimesh], region: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of each bone that the truth has, the vertices well within the region, and their distance to its true surface, mm.

    Args:
        bones, truth: by name, RAS mm.
        region: box ``[[min], [max]]`` in which the scan knows the truth.
    """
    for name, mesh in bones.items():
        if name not in truth:
            continue
        inside = ((mesh.vertices > region[0] + _MARGIN_MM) & (mesh.vertices < region[1] - _MARGIN_MM)).all(axis=1)
        if inside.any():
            vertices = np.asarray(mesh.vertices)[inside]
            match = Nearest.on_surface(truth[name])(vertices)
            yield name, inside, np.linalg.norm(vertices - match.points, axis=1)


@dataclass(frozen=True)
class Reliability:
    """Vertices of many bones: what was expected of them and what was observed, mm, and each bone's means."""

    expected: np.ndarray
    distance: np.ndarray
    bone_expected: np.ndarray
    bone_distance: np.ndarray

    @classmethod
    def of(cls, found: list[tuple[Mapping[str, trimesh.Trimesh], Mapping[str, trimesh.Trimesh], np.ndarray]]):
        """From reconstructed bones, true bones and region, case by case."""
        expected, distance = [], []
        for bones, truth, region in found:
            for name, inside, off in observed(bones, truth, region):
                expected.append(bones[name].vertex_attributes[ERROR][inside])
                distance.append(off)
        means = [np.array([part.mean() for part in parts]) for parts in (expected, distance)]
        return cls(np.concatenate(expected), np.concatenate(distance), *means)

    def bins(self, count: int = 8) -> list[dict]:
        """Bins of equally many vertices by expected error: the means of both, and how many are within 5 mm."""
        rows = []
        for part in np.array_split(np.argsort(self.expected, kind="stable"), count):
            rows.append(
                {
                    "vertices": len(part),
                    "expected_mm": float(self.expected[part].mean()),
                    "observed_mm": float(self.distance[part].mean()),
                    "within_5_mm": float((self.distance[part] <= 5.0).mean()),
                }
            )
        return rows

    def summary(self) -> dict:
        """``calibration_error_mm`` (mean over the bins of expected against observed), correlations, numbers."""
        bins = self.bins()
        gaps = [abs(row["expected_mm"] - row["observed_mm"]) for row in bins]
        return {
            "vertices": len(self.expected),
            "bones": len(self.bone_expected),
            "expected_mm": float(self.expected.mean()),
            "observed_mm": float(self.distance.mean()),
            "calibration_error_mm": float(np.mean(gaps)),
            "correlation_vertices": _rank_correlation(self.expected, self.distance),
            "correlation_bones": _rank_correlation(self.bone_expected, self.bone_distance),
        }


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic) if len(one) > 2 else float("nan")

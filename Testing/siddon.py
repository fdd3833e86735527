"""The textbook's ray tracing, plain and slow, that the tests judge ours by."""

from __future__ import annotations

import numpy as np

from X2BRLogic.volume import Volume


def crossed_voxels(volume: Volume, source, target) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxels that a ray crosses, in order: their values, and where (mm from the source) it enters and leaves each.

    All crossings of all planes, sorted; each piece belongs to the voxel at its middle. float64.
    Source: Siddon, Medical Physics 12(2), 1985.
    """
    a, b = volume.to_ijk(np.stack([source, target])) + 0.5
    size = np.array(volume.array.shape[::-1])
    cuts = [np.array([0.0, 1.0])]
    for axis in range(3):
        if a[axis] != b[axis]:
            cuts.append((np.arange(size[axis] + 1) - a[axis]) / (b[axis] - a[axis]))
    cuts = np.unique(np.clip(np.concatenate(cuts), 0, 1))
    index = np.floor(a + (0.5 * (cuts[1:] + cuts[:-1]))[:, None] * (b - a)).astype(int)
    inside = ((index >= 0) & (index < size)).all(1)
    i, j, k = index[inside].T
    mm = np.linalg.norm(np.asarray(target) - source)
    return volume.array[k, j, i], cuts[:-1][inside] * mm, cuts[1:][inside] * mm

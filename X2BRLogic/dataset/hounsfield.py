"""What a scanner makes of one body: bone density, contrast medium, slice thickness and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy import ndimage

from .. import anatomy
from ..volume import Volume
from .continuation import UNKNOWN

_NOISE_EDGE = 48
#: Above this a voxel that is no labelled bone is a vessel full of contrast medium, a calcification, or metal.
_BRIGHT_HU = 110
_SOFT = (0, 90)
#: Muscle of the chest wall takes up less contrast than what lies deeper than this, mm.
_WALL_MM = 12.0


@dataclass(frozen=True)
class Tissue:
    """How one virtual scan differs from the scan that it is made from.

    Attributes:
        density: factor on what bone has above soft tissue. Trabecular bone of L1 is about 160 HU or more in the healthy
            and 110 or less in most people with osteoporosis (Pickhardt et al., Ann. Intern. Med. 158, 2013, 588-595).
        contrast: HU added to blood and viscera.
        bright: factor on contrast medium and calcification that the scan has already.
        noise: standard deviation in HU.
        slice_mm: thickness of the slices.
        noise_seed: of the noise.
    """

    density: float = 1.0
    contrast: float = 0.0
    bright: float = 1.0
    noise: float = 0.0
    slice_mm: float = 0.0
    noise_seed: int = 0


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """A random scan: half of them with contrast medium, slices of 0.6 to 5 mm."""
    return Tissue(
        density=float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.3)),
        contrast=float(rng.uniform(20.0, 110.0)) if rng.random() < 0.5 else 0.0,
        bright=float(rng.uniform(0.2, 1.1)),
        noise=float(rng.uniform(4.0, 28.0)),
        slice_mm=float(rng.choice([0.6, 1.0, 1.5, 2.5, 3.0, 5.0])),
        noise_seed=int(rng.integers(2**31)),
    )


def perfused(ct: Volume, labels: Volume) -> np.ndarray:
    """How much of given contrast medium shows in each voxel: uint8, 0 to 255, smooth; 255 deep within the trunk.

    Lung is left out, as are bone and the wall of the trunk.
    """
    soft = (ct.array > _SOFT[0]) & (ct.array < _SOFT[1]) & ((labels.array == 0) | (labels.array == UNKNOWN))
    # On a grid of about 4 mm: this is a smooth field.
    step = np.maximum(np.round(4.0 / ct.spacing[::-1]).astype(int), 1)
    coarse = ct.array[:: step[0], :: step[1], :: step[2]]
    body = np.stack([ndimage.binary_fill_holes(s) for s in coarse > -300])
    depth = ndimage.distance_transform_edt(np.pad(body, [(0, 0), (1, 1), (1, 1)]), sampling=ct.spacing[::-1] * step)
    inside = np.clip((depth[:, 1:-1, 1:-1] - 2 * _WALL_MM) / _WALL_MM, 0, 1)
    inside = ndimage.gaussian_filter(inside, 1.0)
    weight = (255 * inside).astype(np.uint8).repeat(step[0], 0).repeat(step[1], 1).repeat(step[2], 2)
    nk, nj, ni = ct.array.shape
    return np.where(soft, weight[:nk, :nj, :ni], 0).astype(np.uint8)


def rescanned(ct: Volume, labels: Volume, perfusion: np.ndarray, tissue: Tissue) -> Volume:
    """The scan as `tissue` would have it. All on one grid whose k axis is the slices'; the result is int16."""
    width = tissue.slice_mm / ct.spacing[2]
    taps = int(np.ceil((width - 1) / 2)) if width > 1 else 0
    # A box as wide as a slice; the outermost voxels count in part.
    weights = np.clip((width - 1) / 2 - np.arange(taps + 1) + 1, 0, 1).astype(np.float32)
    weights = weights / (weights[0] + 2 * weights[1:].sum()) if taps else np.ones(1, dtype=np.float32)
    noise = np.random.default_rng(tissue.noise_seed).standard_normal((_NOISE_EDGE,) * 3, dtype=np.float32)
    # A kernel of reconstruction blurs noise as it blurs everything.
    noise = ndimage.gaussian_filter(noise, 0.7, mode="wrap")
    noise *= tissue.noise / noise.std()
    out = np.empty(ct.array.shape, dtype=np.int16)
    _rescan(
        ct.array, labels.array, perfusion, noise, weights,
        np.float32(tissue.density), np.float32(tissue.contrast), np.float32(tissue.bright), out,
    )  # fmt: skip
    return Volume(out, ct.ijk_to_ras)


@njit(parallel=True, cache=True, nogil=True)
def _rescan(values, names, perfusion, noise, weights, density, contrast, bright, out):
    nk, nj, ni = values.shape
    edge = noise.shape[0]
    soft = np.float32(40.0)
    for k in prange(nk):
        for j in range(nj):
            for i in range(ni):
                value = weights[0] * values[k, j, i]
                for n in range(1, weights.size):
                    value += weights[n] * (np.float32(values[max(k - n, 0), j, i]) + values[min(k + n, nk - 1), j, i])
                label = names[k, j, i]
                # Beyond the scan, where labels end, what is dense is bone.
                if label > 0 and label != anatomy.CARTILAGES:
                    if value > soft:
                        value = soft + density * (value - soft)
                elif value > _BRIGHT_HU:
                    value = _BRIGHT_HU + bright * (value - _BRIGHT_HU)
                value += contrast * perfusion[k, j, i] / np.float32(255.0)
                if value > -950:  # the air around is written as exactly that
                    value += noise[k % edge, j % edge, i % edge]
                out[k, j, i] = int(min(max(np.floor(value + np.float32(0.5)), -1024), 3071))

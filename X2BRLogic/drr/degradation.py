"""What a detector adds to the primary beam: scattered radiation and noise. Both optional, both repeatable."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

MAX_SCATTER = 0.95
#: Distance at the detector over which the scatter from one ray falls to 1/e, mm.
SCATTER_REACH_MM = 50.0
#: Rays that lose less than this are open beam: they say nothing of the patient.
_OPEN = 0.1
#: Read-out noise, photons (standard deviation).
ELECTRONIC_NOISE = 3.0


def add_scatter(line_integrals: np.ndarray, fraction: float, spacing: tuple[float, float]) -> np.ndarray:
    """Line integrals as they look with scatter on the film: a smooth veil that flattens contrast behind thick parts.

    What a ray scatters forward goes with P ln(1/P), P its transmitted share (Ohnesorge et al., "Efficient object
    scatter correction algorithm for third and fourth generation CT scanners", Eur. Radiol. 9, 1999, 563-569): nothing
    in the open beam, little where hardly anything comes through. It spreads as a radial exponential (Love and Kruger,
    "Scatter estimation for a digital radiographic system using convolution filtering", Med. Phys. 14, 1987, 178-185).

    Args:
        line_integrals: of the primary beam, ``(rows, columns)``.
        fraction: scatter's share of the mean signal behind the patient, 0 to 0.95. Chest films have about 0.3 with a
            grid and 0.6 to 0.9 without.
        spacing: pixel pitch in mm, ``(between rows, between columns)``.

    Raises `InputError` for another fraction.
    """
    if not 0.0 <= fraction <= MAX_SCATTER:
        raise InputError(f"scatter fraction {fraction:g} is outside 0 to {MAX_SCATTER:g}")
    shadow = line_integrals > _OPEN
    if fraction == 0.0 or not shadow.any():
        return line_integrals
    primary = np.exp(-line_integrals.astype(np.float64))
    scatter = _spread(primary * line_integrals, spacing)
    scatter *= fraction / (1.0 - fraction) * primary[shadow].mean() / scatter[shadow].mean()
    return -np.log(primary + scatter).astype(np.float32)


def _spread(image: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Convolution with exp(-r / k) / (2 pi k^2), whose transform is (1 + (2 pi k f)^2)^(-3/2); nothing comes from
    beyond the image's edge."""
    padded = [n + int(np.ceil(6 * SCATTER_REACH_MM / s)) for n, s in zip(image.shape, spacing, strict=True)]
    down = np.fft.fftfreq(padded[0], spacing[0])[:, None]
    across = np.fft.rfftfreq(padded[1], spacing[1])[None, :]
    transfer = (1.0 + (2 * np.pi * SCATTER_REACH_MM) ** 2 * (down**2 + across**2)) ** -1.5
    spread = np.fft.irfft2(np.fft.rfft2(image, padded) * transfer, padded)
    return np.maximum(spread[: image.shape[0], : image.shape[1]], 0.0)


def add_noise(
    line_integrals: np.ndarray, photons: float, rng: np.random.Generator, electronic: float = ELECTRONIC_NOISE
) -> np.ndarray:
    """Line integrals as a detector measures them: Poisson quantum noise, and normal noise of its electronics.

    The model of La Riviere, Bian and Vargas, "Penalized-likelihood sinogram restoration for computed tomography",
    IEEE Trans. Med. Imaging 25, 2006, 1022-1036, eq. 1. A pixel that measures less than one photon counts as one.

    Args:
        line_integrals: ``(rows, columns)``.
        photons: a pixel's mean number of photons in the open beam.
        rng: what makes it repeatable.
        electronic: standard deviation of the read-out, in photons.

    Raises `InputError` when `photons` is not between 1 and 1e12.
    """
    if not 1.0 <= photons <= 1e12:
        raise InputError(f"{photons:g} photons a pixel makes no sense; give the open beam's, for instance 100000")
    counts = rng.poisson(photons * np.exp(-line_integrals.astype(np.float64))).astype(np.float64)
    counts += rng.normal(0.0, electronic, counts.shape)
    return -np.log(np.maximum(counts, 1.0) / photons).astype(np.float32)

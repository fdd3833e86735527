"""Films as they are taken, for training: geometry, collimation to what the scan covers, exposure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..radiograph import normalise

IMAGE_SIZE = 224
#: A ray may run so far through tissue that the scan did not cover before its pixel counts as cut off, mm.
_CUT_MM = 20.0
#: Share of the films whose top or bottom edge lies within what the scan covers; the others go on, up to so far, mm.
_COLLIMATED = 0.5
_BEYOND_MM = 60.0


def random_geometry(
    rng: np.random.Generator, centre: np.ndarray, size: int = IMAGE_SIZE, *, lateral: bool = False
) -> XRayGeometry:
    """A film as they are taken: AP, PA or lateral, patient a little turned and off centre, any usual distance.

    Its `size` x `size` pixels are those of a network's input image. `centre`: RAS mm of the thorax.
    """
    views = ("LAT", "RLAT") if lateral else ("AP", "PA")
    sod = rng.uniform(1000.0, 1900.0)
    sid = sod + rng.uniform(150.0, 350.0)
    pixel = CUBE_EDGE_MM * sid / sod / size
    return XRayGeometry.from_view(
        views[0] if rng.random() < 0.6 else views[1],
        angle=rng.normal(0, 5),
        tilt=rng.normal(0, 3),
        roll=rng.normal(0, 2),
        sid=sid,
        sod=sod,
        shape=(size, size),
        spacing=(pixel, pixel),
        isocentre=centre + rng.normal(0, (10, 10, 12)),
    )


def collimate(rng: np.random.Generator, missing_mm: np.ndarray, beyond_mm: float = _BEYOND_MM) -> np.ndarray:
    """The exposed part of a film, bool, the shape of `missing_mm`.

    Above and below, the film ends where the scan does or, where the person was made to go on, somewhat further; and
    half of all films are framed more tightly still.

    Args:
        missing_mm: of each pixel's ray, how far it runs through tissue that the scan did not cover.
        beyond_mm: how far the film goes on at most.
    """
    rows, columns = missing_mm.shape
    exposed = np.ones(missing_mm.shape, dtype=bool)
    covered = np.flatnonzero((missing_mm < _CUT_MM).mean(axis=1) > 0.98)
    top, bottom = (covered[0], covered[-1]) if covered.size > rows // 3 else (0, rows - 1)
    further = np.where(rng.random(2) < _COLLIMATED, 0.0, rng.uniform(0.0, beyond_mm, 2)) * rows / CUBE_EDGE_MM
    exposed[: max(top - int(further[0]), 0)] = False
    exposed[bottom + 1 + int(further[1]) :] = False
    if rng.random() < 0.5:
        top, bottom, left, right = (rng.uniform(0, (0.06, 0.06, 0.1, 0.1)) * [rows, rows, columns, columns]).astype(int)
        exposed[:top] = exposed[rows - bottom :] = False
        exposed[:, :left] = exposed[:, columns - right :] = False
    return exposed


def expose(rng: np.random.Generator, integrals: np.ndarray, exposed: np.ndarray, clahe: bool = True) -> np.ndarray:
    """Line integrals to the network's image: blur, scatter, tone curve and noise vary as they do between machines."""
    finer = len(integrals) / IMAGE_SIZE
    # Where the collimator lets nothing through, nothing scatters.
    image = ndimage.gaussian_filter(np.where(exposed, integrals, np.float32(0)), rng.uniform(0.3, 1.0) * finer)
    # Scatter adds a smooth veil, which flattens contrast where the body is thick.
    veil = ndimage.gaussian_filter(image, 25.0 * finer)
    image = image - rng.uniform(0.0, 0.4) * veil
    low, high = image.min(), image.max()
    image = ((image - low) / max(high - low, 1e-6)) ** rng.uniform(0.7, 1.5)
    image = image + rng.normal(0, rng.uniform(0.0, 0.015), image.shape)
    return normalise(image.astype(np.float32), exposed, clahe)

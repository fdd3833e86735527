"""A network's input from a radiograph. Training and run time both come through here, so both see the same picture."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from skimage.exposure import equalize_adapthist

from ..errors import InputError
from ..geometry import XRayGeometry
from .radiograph import Radiograph

NETWORK_SIZE = 224
#: Percentiles that become 0 and 1: collimator edges, markers and metal lie beyond them.
WINDOW = (1.0, 99.0)


def network_image(radiograph: Radiograph, size: int = NETWORK_SIZE, clahe: bool = True) -> np.ndarray:
    """The radiograph as networks see it: ``(size, size)`` float32 in [0, 1], the face of the canonical cube.

    `resample_to_network`, then `normalise` on the part inside the film. Raises `InputError` where the film misses it.
    """
    image, inside = resample_to_network(radiograph.pixels, radiograph.geometry, size)
    return normalise(image, inside, clahe)


def resample_to_network(pixels: np.ndarray, geometry: XRayGeometry, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample a film at `XRayGeometry.network_pixels`.

    That grid is parallel to the film's, so rows and columns are resampled one after the other, each with a triangle as
    wide as the sampling distance (antialiased bilinear: area-correct when the film is finer than the grid, plain linear
    interpolation when it is coarser).

    Args:
        pixels: shape ``(rows, columns)``, that of `geometry`.

    Returns:
        The image ``(size, size)`` float32, 0 outside the film, and the mask ``(size, size)`` of what is inside.
    """
    if tuple(pixels.shape) != geometry.shape:
        raise InputError(
            f"the image has the shape {tuple(pixels.shape)}, its geometry {geometry.shape}; they must agree"
        )
    grid = geometry.network_pixels(size)
    columns, inside_columns = _weights(grid[0, :, 0], pixels.shape[1])
    rows, inside_rows = _weights(grid[:, 0, 1], pixels.shape[0])
    # the smaller product first
    image = (columns @ (rows @ np.asarray(pixels, dtype=np.float32)).T).T
    return np.ascontiguousarray(image), inside_rows[:, None] & inside_columns[None, :]


def normalise(image: np.ndarray, inside: np.ndarray | None = None, clahe: bool = True) -> np.ndarray:
    """Grey values to [0, 1], float32, the same whatever the film's brightness and contrast.

    The 1st and 99th percentile inside the mask become 0 and 1, values beyond are clipped, and outside the mask is 0.
    With `clahe`, contrast-limited adaptive histogram equalisation follows, as in the paper (Zuiderveld, Graphics Gems
    IV, 1994; scikit-image's tiles of 1/8 edge, clip limit 0.01).

    Raises `InputError` when nothing is inside or the inside is blank.
    """
    image = np.asarray(image, dtype=np.float32)
    inside = np.ones(image.shape, dtype=bool) if inside is None else inside
    values = image[inside]
    if values.size == 0:
        raise InputError("the radiograph does not cover the isocentre; check its geometry (pixel spacing, isocentre)")
    low, high = np.percentile(values, WINDOW)
    if high <= low:  # a few bright pixels on a blank ground
        low, high = values.min(), values.max()
    if high <= low:
        raise InputError("the radiograph is blank where the patient should be; give an exposed image")
    image = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    image[~inside] = 0
    if clahe:
        image = equalize_adapthist(image).astype(np.float32)
        image[~inside] = 0
    return image


def _weights(positions: np.ndarray, n: int) -> tuple[csr_array, np.ndarray]:
    """Weights ``(len(positions), n)`` that sample a line of `n` pixels at evenly spaced positions, and which are on it.

    Each row sums to 1 over the pixels that exist, 0 outside the line (its pixels reach from -0.5 to n - 0.5).
    """
    width = max(1.0, abs(positions[1] - positions[0]))
    inside = (positions >= -0.5) & (positions <= n - 0.5)
    reach = np.arange(-np.ceil(width), np.ceil(width) + 1)
    index = np.round(positions)[:, None] + reach
    weight = np.maximum(0, 1 - np.abs(index - positions[:, None]) / width)
    weight[(index < 0) | (index > n - 1) | ~inside[:, None]] = 0
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    row = np.repeat(np.arange(len(positions)), reach.size)
    keep = weight.ravel() > 0
    entries = weight.ravel()[keep].astype(np.float32), (row[keep], index.ravel()[keep].astype(int))
    return csr_array(entries, shape=(len(positions), n)), inside

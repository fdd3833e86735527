"""Line integrals as pictures."""

from __future__ import annotations

import numpy as np

_TOP_PERCENTILE = 99.9


def as_radiograph(line_integrals: np.ndarray, clahe: bool = False) -> np.ndarray:
    """Line integrals to 16-bit pixels as a radiologist sees them: bone bright, linear in attenuation.

    The range runs from zero attenuation to the image's 99.9th percentile. With `clahe`, contrast-limited adaptive
    histogram equalisation follows, as in the X2BR paper (Zuiderveld, Graphics Gems IV, 1994; scikit-image's tiles of
    1/8 edge, clip limit 0.01); it is monotone only within a tile.

    Returns uint16, the same shape.
    """
    top = max(float(np.percentile(line_integrals, _TOP_PERCENTILE)), 1e-6)
    image = np.clip(line_integrals / top, 0.0, 1.0)
    if clahe:
        from skimage.exposure import equalize_adapthist  # takes a second to import

        image = equalize_adapthist(image)
    return np.round(image * 65535.0).astype(np.uint16)

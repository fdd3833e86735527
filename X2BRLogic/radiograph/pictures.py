"""PNG, JPEG and TIFF, 8 and 16 bit, read with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError
from ..files import reason
from ..quiet import quiet_stderr
from .film import Film, require_size, to_grey

_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def read_picture(path: Path) -> Film:
    """Read a picture as a radiologist looks at it: bone bright. Raises `InputError` for what is no grey picture."""
    try:
        with warnings.catch_warnings(), quiet_stderr():  # libtiff prints
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["PNG", "JPEG", "TIFF"]) as image:
                return _read(path, image)
    except UnidentifiedImageError:
        raise InputError(
            f"{path} is not a PNG, JPEG or TIFF picture, whatever its name says; export it again"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"{path} has absurdly many pixels; scale it down first") from None
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in its decoder
        raise InputError(f"{path} is damaged or truncated ({reason(error)}); copy or export it again") from None


def _read(path: Path, image: Image.Image) -> Film:
    require_size(path.name, image.height, image.width)
    notes = ()
    if getattr(image, "n_frames", 1) > 1 and image.format == "TIFF":
        notes = (f"{path.name} has {image.n_frames} pages; the first is used",)
    if image.mode == "1":
        raise InputError(f"{path} is a bilevel picture (black or white only); give the greyscale original")
    # Pillow undoes "white is zero" for 8 bits, not for 16
    inverted = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    image = ImageOps.exif_transpose(image)
    if image.mode == "LA":
        image = image.convert("L")
    elif image.mode not in ("L", "I", "F") and not image.mode.startswith("I;16"):
        image = image.convert("RGB")
    pixels = to_grey(path.name, np.asarray(image))
    return Film(65535 - pixels if inverted else pixels, warnings=notes)

"""What a file says: the pixels and, where it says so, how they were taken. And the checks that every picture passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

MIN_EDGE = 64
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Film:
    """The content of a radiograph file; ``None`` where the file is silent.

    Attributes:
        pixels: shape ``(rows, columns)``, bone bright.
        spacing: pixel pitch at the detector in mm, ``(between rows, between columns)``.
        sid, sod: source-to-image and source-to-object distance in mm.
        view: a name of `geometry.VIEWS`.
        directions: anatomical directions in which the column and the row index grow, each one of R L A P H F
            (DICOM Patient Orientation, PS3.3 C.7.6.1.1.1).
        warnings: what the user should know.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None = None
    sid: float | None = None
    sod: float | None = None
    view: str | None = None
    directions: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()


def require_size(name: str, rows: int, columns: int) -> None:
    """Refuse what is too small to show ribs, or too large to be a radiograph. Call it before the pixels are read."""
    if min(rows, columns) < MIN_EDGE:
        raise InputError(
            f"{name} has only {columns} x {rows} pixels; give a radiograph of at least {MIN_EDGE} on each edge"
        )
    if rows * columns > MAX_PIXELS:
        raise InputError(
            f"{name} has {columns} x {rows} pixels, more than {MAX_PIXELS // 10**6} million; scale it down first"
        )


def to_grey(name: str, pixels: np.ndarray) -> np.ndarray:
    """``(rows, columns, 3)`` with three equal channels to one channel. Raises `InputError` for a colour picture."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., c].astype(np.float32) for c in range(3))
    scale = max(float(np.abs(pixels).max()), 1.0)
    # JPEG rounds the channels apart by a step or two of 255; a few coloured marks are no colour photograph
    apart = np.maximum(np.abs(red - green), np.abs(green - blue)) > 0.03 * scale
    if apart.mean() > 0.005:
        raise InputError(f"{name} is a colour picture, not a radiograph; give the greyscale original")
    return green


def require_content(name: str, pixels: np.ndarray) -> np.ndarray:
    """The pixels as float32. Raises `InputError` when they are not finite or all the same."""
    if pixels.dtype.kind not in "biuf":
        raise InputError(f"{name} has pixels of type {pixels.dtype}, not numbers; give a greyscale radiograph")
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise InputError(f"{name} has NaN or infinite pixels; export it again without them")
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise InputError(f"{name} is blank: every pixel is {low:g}; give a radiograph with an exposed image")
    return pixels

"""What real films show that DRRs do not: other tone curves, tubes, electrodes, side markers, writing, soft focus."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .. import anatomy

#: Shares of films with tubes, electrodes, a side marker, writing, a pacemaker; and of those out of focus.
_TUBES, _ELECTRODES, _MARKER, _WRITING, _PACEMAKER, _SOFT = 0.4, 0.3, 0.5, 0.2, 0.06, 0.4
#: Share of the side markers that stand dark on a bright plate.
_PLATE = 0.3
_SIZES = (10, 14, 18, 24)
_FONTS = {size: ImageFont.load_default(size) for size in _SIZES}
_WORDS = ("AP", "PA", "LIEGEND", "STEHEND", "SUPINE", "ERECT", "PORTABLE", "BETT", "SEMI", "90 KV", "1,2 mAs")


def disturb(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The film with such things in it.

    Args:
        image: ``(rows, columns)`` in [0, 1], bone bright, patient's right on the left.

    Returns:
        The same shape and range, float32.
    """
    image = _tone(rng, image)
    opacity = foreign_bodies(rng, image.shape)
    image = inscribe(rng, image + opacity * (1.0 - image))
    if rng.random() < _SOFT:
        image = ndimage.gaussian_filter(image, rng.uniform(0.4, 1.6))
    image = image + rng.normal(0, rng.uniform(0.0, 0.02), image.shape)
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def foreign_bodies(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Some tubes, electrodes or a pacemaker, or none: how opaque each pixel is, 0 to 1, float32, of `shape`."""
    layer = Image.new("L", shape[::-1], 0)
    draw = ImageDraw.Draw(layer)
    if rng.random() < _TUBES:
        for _ in range(rng.integers(1, 4)):
            _tube(rng, draw, shape)
    if rng.random() < _ELECTRODES:
        for _ in range(rng.integers(2, 6)):
            _electrode(rng, draw, shape)
    if rng.random() < _PACEMAKER:
        _pacemaker(rng, draw, shape)
    return np.asarray(layer, dtype=np.float32) / 255.0


def inscribe(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The film, or what lies on it, with a side marker and a word written on it, or without."""
    if rng.random() < _MARKER:
        image = _marker(rng, image)
    if rng.random() < _WRITING:
        x, y = rng.random(2) * (0.8, 0.95)
        image = _written(rng, image, str(rng.choice(_WORDS)), (x, y), 1.0)
    return image


def _tone(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A film's response: steep in the middle, flat at both ends."""
    steep = rng.uniform(0.5, 8.0)
    middle = rng.uniform(0.3, 0.6)
    curve = 1.0 / (1.0 + np.exp(-steep * (image - middle)))
    low, high = 1.0 / (1.0 + np.exp(steep * middle)), 1.0 / (1.0 + np.exp(-steep * (1.0 - middle)))
    return (curve - low) / (high - low)


def _tube(rng: np.random.Generator, draw: ImageDraw.ImageDraw, shape: tuple[int, int]) -> None:
    """A catheter or tube: a smooth line through four random places."""
    size = np.array(shape[::-1])
    corners = rng.random((4, 2)) * size
    t = np.linspace(0, 1, 60)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    path = [tuple(point) for point in weights @ corners]
    draw.line(path, fill=int(rng.integers(50, 190)), width=int(rng.integers(1, 6)), joint="curve")


def _electrode(rng: np.random.Generator, draw: ImageDraw.ImageDraw, shape: tuple[int, int]) -> None:
    """A disc with a wire that leaves the picture."""
    x, y = rng.random(2) * shape[::-1]
    radius, grey = rng.uniform(3, 9), int(rng.integers(80, 255))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=grey)
    end = x + rng.normal(0, 0.3) * shape[1], 0.0 if rng.random() < 0.5 else float(shape[0])
    draw.line([(x, y), end], fill=grey // 2, width=int(rng.integers(1, 3)))


def _pacemaker(rng: np.random.Generator, draw: ImageDraw.ImageDraw, shape: tuple[int, int]) -> None:
    x, y = rng.uniform(0.15, 0.85) * shape[1], rng.uniform(0.1, 0.35) * shape[0]
    wide, high = rng.uniform(0.04, 0.07, 2) * max(shape)
    draw.rounded_rectangle((x - wide, y - high, x + wide, y + high), radius=min(wide, high) * 0.7, fill=235)
    lead = [(x, y), ((x + 0.5 * shape[1]) / 2, y - high), (0.5 * shape[1], y + 0.2 * shape[0])]
    draw.line(lead, fill=170, width=2, joint="curve")


def _marker(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """R on the patient's right or L on the left, near an edge; some mirrored, as when the plate lay the wrong way."""
    side = anatomy.RIGHT if rng.random() < 0.5 else anatomy.LEFT
    x = rng.uniform(0.02, 0.15) if side == anatomy.RIGHT else rng.uniform(0.82, 0.94)
    y = rng.uniform(0.02, 0.2) if rng.random() < 0.7 else rng.uniform(0.7, 0.9)
    return _written(rng, image, side[0].upper(), (x, y), rng.uniform(0.7, 1.0), mirrored=rng.random() < 0.1)


def _written(
    rng: np.random.Generator,
    image: np.ndarray,
    text: str,
    place: tuple[float, float],
    opacity: float,
    mirrored: bool = False,
) -> np.ndarray:
    font = _FONTS[int(rng.choice(_SIZES))]
    left, top, right, bottom = font.getbbox(text)
    stamp = Image.new("L", (int(right - left) + 6, int(bottom - top) + 6), 0)
    ImageDraw.Draw(stamp).text((3 - left, 3 - top), text, fill=255, font=font)
    letters = np.asarray(stamp, dtype=np.float32) / 255.0
    letters = letters[:, ::-1] if mirrored else letters
    if rng.random() < _PLATE:
        letters = 1.0 - letters
    y, x = int(place[1] * image.shape[0]), int(place[0] * image.shape[1])
    out = image.copy()
    part = out[y : y + letters.shape[0], x : x + letters.shape[1]]
    weight = opacity * letters[: part.shape[0], : part.shape[1]]
    part += weight * (1.0 - part)
    return out

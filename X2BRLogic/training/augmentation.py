"""What separates real films from DRRs, as random changes of a training image that move nothing in it.

The order is that of a film's making: disease and scatter, foreign bodies, noise, the system's processing (edge
enhancement, equalisation, tone), then blades, masks and patches over it all. Strengths were set by laying altered DRRs
beside public bedside and upright films.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from ..detection.artefacts import foreign_bodies, inscribe

#: Share of the films of which more than the tone is altered; and, of these, shares with each kind of change.
_ALTERED = 0.67
_VEIL, _FOREIGN, _CLIPS, _GRAIN, _DETAIL, _EQUALISED, _BLADES, _PATCHES = 0.35, 0.8, 0.1, 0.5, 0.8, 0.5, 0.25, 0.1
#: Foreign bodies are drawn on a finer film, on which their sizes are given.
_FINER = 2
#: Reach of the detail that is strengthened or weakened, pixels, and by how much: edges, and coarse structure.
_SCALES = (((1, 3), (-0.7, 2.0)), ((5, 25), (-0.4, 1.0)))
_KNOTS = 6


def augmented(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The film as another machine, on another day, might show it.

    Args:
        image: ``(S, S)`` float32 in [0, 1], bone bright, 0 outside the exposed rectangle.

    Returns:
        The same shape, type and range; what was outside stays 0.
    """
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if rows.size < 2 or columns.size < 2:
        return image
    exposed = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    film = image[exposed]
    altered = rng.random() < _ALTERED

    def happens(share: float) -> bool:
        return altered and rng.random() < share

    if happens(_VEIL):
        film = _veiled(rng, film)
    if happens(_FOREIGN):
        film = _with_foreign_bodies(rng, film)
    if happens(_CLIPS):
        film = _with_clips(rng, film)
    if happens(_GRAIN):
        film = _grainy(rng, film)
    if happens(_DETAIL):
        film = _processed(rng, film)
    if happens(_EQUALISED):
        film = _equalised(rng, film)
    film = _toned(rng, film)
    if happens(_BLADES):
        film = _collimated(rng, film)
    if happens(_PATCHES):
        film = _patched(rng, film)
    out = np.zeros_like(image)
    out[exposed] = film
    return out


def _veiled(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """A smooth cloud that brightens or darkens: scatter, effusion, consolidation, an uneven plate."""
    coarse = Image.fromarray(rng.uniform(0.0, 1.0, (4, 4)).astype(np.float32))
    cloud = np.asarray(coarse.resize(film.shape[::-1], Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    strength = rng.uniform(0.1, 0.6)
    return film + strength * cloud * (1.0 - film) if rng.random() < 0.7 else film * (1.0 - 0.6 * strength * cloud)


def _with_foreign_bodies(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Tubes, electrodes with their leads, a pacemaker, a side marker, writing."""
    fine = inscribe(rng, foreign_bodies(rng, tuple(_FINER * n for n in film.shape)))
    rows, columns = film.shape
    opacity = fine.reshape(rows, _FINER, columns, _FINER).mean(axis=(1, 3))
    return film + opacity * (1.0 - film)


def _with_clips(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """A few short bright strokes near each other: surgical clips, sternal wires."""
    film = film.copy()
    centre, spread = rng.uniform(0.1, 0.9, 2) * film.shape, rng.uniform(3, 20)
    for _ in range(rng.integers(2, 10)):
        row, column = np.clip(rng.normal(centre, spread), 0, np.array(film.shape) - 1).astype(int)
        high, wide = rng.integers(1, 4, 2)
        film[row : row + high, column : column + wide] = rng.uniform(0.8, 1.0)
    return film


def _grainy(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Quantum noise, strongest behind what lets least through; some of it correlated, as by a detector's screen."""
    noise = rng.standard_normal(film.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = 2.0 * ndimage.uniform_filter(noise, 3)
    return film + rng.uniform(0.002, 0.018) * (0.4 + film) * noise


def _processed(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Detail stronger or weaker than on the film, at a fine and at a coarse scale: unsharp masking, or soft focus."""
    for reach, amount in _SCALES:
        size = 2 * round(np.exp(rng.uniform(*np.log(reach)))) + 1
        film = film + rng.uniform(*amount) * (film - _blurred(film, size))
    return film


def _equalised(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Each neighbourhood brought towards the same mean and contrast, as by adaptive equalisation."""
    size = 2 * int(rng.integers(7, 25)) + 1
    mean = ndimage.uniform_filter(film, size)
    # The filter sums on the run, and what it has summed of nothing may be a little less.
    deviation = np.sqrt(ndimage.uniform_filter((film - mean) ** 2, size).clip(0.0))
    level = 0.5 + 0.22 * (film - mean) / (deviation + 0.08)
    return film + rng.uniform(0.1, 0.7) * (level - film)


def _blurred(film: np.ndarray, size: int) -> np.ndarray:
    """Twice the mean over a square: a triangle's weight, near enough to a Gaussian's and quick."""
    return ndimage.uniform_filter(ndimage.uniform_filter(film, size), size)


def _toned(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """A random monotone curve through black and white, then brightness and contrast."""
    steps = np.exp(rng.normal(0.0, rng.uniform(0.0, 0.5), _KNOTS))
    curve = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    toned = np.interp(film, np.linspace(0.0, 1.0, _KNOTS + 1), curve)
    toned = toned * rng.uniform(0.85, 1.15) + rng.uniform(-0.06, 0.06)
    return np.clip(toned, 0.0, 1.0).astype(np.float32)


def _collimated(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Straight, slightly slanted edges with black, white or grey beyond."""
    rows, columns = np.indices(film.shape, dtype=np.float32)
    beyond = np.zeros(film.shape, dtype=bool)
    for across, along, size in (
        (rows, columns, film.shape[0]),
        (rows[::-1], columns, film.shape[0]),
        (columns, rows, film.shape[1]),
        (columns[:, ::-1], rows, film.shape[1]),
    ):
        if rng.random() < 0.5:
            beyond |= across < rng.uniform(0.0, 0.12) * size + rng.normal(0.0, 0.05) * along
    return np.where(beyond, np.float32(rng.choice([0.0, 1.0, rng.random()], p=[0.6, 0.2, 0.2])), film)


def _patched(rng: np.random.Generator, film: np.ndarray) -> np.ndarray:
    """Small rectangles of one grey, where names were erased or something opaque lay."""
    film = film.copy()
    for _ in range(rng.integers(1, 4)):
        (row, column), (high, wide) = rng.random(2) * film.shape, rng.uniform(0.03, 0.15, 2) * film.shape
        film[int(row) : int(row + high), int(column) : int(column + wide)] = rng.choice([0.0, 1.0, rng.random()])
    return film

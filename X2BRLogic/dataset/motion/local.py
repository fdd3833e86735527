"""Smooth local variation: a random free-form deformation that cannot fold."""

from __future__ import annotations

import numpy as np

#: Control point spacing and standard deviation of the coefficients, mm: what stays between people of one build.
SCALES_MM = ((90.0, 4.0), (45.0, 1.5))
#: A uniform cubic B-spline map in 3D is injective while its coefficients stay below this share of the spacing
#: (Choi and Lee, Graphical Models 62, 2000, 411-427, theorem 3: 1 / 2.48).
_INJECTIVE = 1.0 / 2.48


def _basis(ticks: np.ndarray, spacing: float) -> np.ndarray:
    """Cubic B-splines ``(len(ticks), controls)`` of control points that surround the ticks."""
    first = np.floor(ticks[0] / spacing) - 1
    count = int(np.floor(ticks[-1] / spacing) - first) + 3
    t = np.abs(ticks[:, None] / spacing - (first + np.arange(count)))
    return np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))


def draw_local(rng: np.random.Generator, nodes: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Where the nodes ``(Z, Y, X, 3)`` of a regular grid go under a random smooth map, the same shape."""
    ticks = nodes[0, 0, :, 0], nodes[0, :, 0, 1], nodes[:, 0, 0, 2]
    moved = nodes
    for spacing, spread in SCALES_MM:
        x, y, z = (_basis(t, spacing) for t in ticks)
        # Derivatives add, so the scales share the bound.
        bound = _INJECTIVE * spacing / len(SCALES_MM)
        coefficients = rng.standard_normal((z.shape[1], y.shape[1], x.shape[1], 3)) * spread * strength
        coefficients = np.clip(coefficients, -0.95 * bound, 0.95 * bound)
        moved = moved + np.einsum("zc,yd,xe,cdea->zyxa", z, y, x, coefficients, optimize=True)
    return moved

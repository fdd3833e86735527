"""A film that was stored turned, mirrored or as a negative, set right before anything looks at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .radiograph import Radiograph

TURNS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Handling:
    """What to do to a stored film, in this order.

    Attributes:
        invert: make dark what is bright: for a negative, on which bone is dark.
        mirror: exchange left and right.
        turn: degrees clockwise, one of `TURNS`.
    """

    turn: int = 0
    mirror: bool = False
    invert: bool = False

    def __post_init__(self):
        if self.turn not in TURNS:
            raise InputError(f"a film is turned by 90, 180 or 270 degrees clockwise, not by {self.turn}")

    def __bool__(self) -> bool:
        return self != Handling()

    @property
    def options(self) -> str:
        """The same as options of ``x2br reconstruct``."""
        turn = [f"--turn {self.turn}"] if self.turn else []
        return " ".join(turn + ["--mirror"] * self.mirror + ["--invert"] * self.invert)

    def of(self, radiograph: Radiograph) -> Radiograph:
        """The film set right. Its geometry is taken to be that of the upright film, the central ray going with it."""
        pixels, geometry = radiograph.pixels, radiograph.geometry
        column, row = geometry.principal_point
        spacing = geometry.spacing
        if self.invert:
            pixels = pixels.max() + pixels.min() - pixels
        if self.mirror:
            pixels, column = pixels[:, ::-1], pixels.shape[1] - 1 - column
        for _ in range(self.turn // 90):
            column, row, spacing = pixels.shape[0] - 1 - row, column, spacing[::-1]
            pixels = np.rot90(pixels, -1)
        geometry = replace(geometry, shape=pixels.shape, spacing=spacing, principal_point=(column, row))
        return replace(radiograph, pixels=np.ascontiguousarray(pixels), geometry=geometry)

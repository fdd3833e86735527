"""What a training step sees."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B films and their truth. Floating-point tensors are float32.

    Attributes:
        image: ``(B, 1, S, S)`` in [0, 1], the film whose ray cube the truth is given in.
        lateral: ``(B,)`` bool: that film is a lateral one, else frontal (AP or PA).
        second: ``(B, 1, S, S)`` in [0, 1], a film of the same patient at right angles to the first: lateral where that
            is frontal, and the reverse.
        points: ``(B, N, 3)`` ray-cube coordinates, part of them uniform, the rest near the bones' surface.
        occupied, known: ``(B, N)``, 0 or 1: inside a bone of the thorax (`anatomy.THORAX`); the truth is known there.
        labels: ``(B, D, R, C)`` uint8: label numbers (`anatomy`) at the centres of the ray cube's cells, depth along y
            from -0.5 to 0.5, rows against z and columns against x, as in the image; `UNKNOWN` where the scan does not
            tell.
    """

    image: Tensor
    lateral: Tensor
    second: Tensor
    points: Tensor
    occupied: Tensor
    known: Tensor
    labels: Tensor

    def to(self, device) -> Batch:
        """The same on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return Batch(**moved)

"""Bone labels for a CT, by whichever method is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError
from ..volume import Volume
from . import totalsegmentator
from .atlas import label_by_atlas

METHODS = ("auto", "totalsegmentator", "atlas")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Segmentation:
    """Labelled bones.

    Attributes:
        labels: uint8 numbers of `anatomy` on the grid of the CT, 0 for everything else.
        method: ``totalsegmentator`` or ``atlas``.
        notes: sentences for the user: what was not found, what to check.
    """

    labels: Volume
    method: str
    notes: tuple[str, ...]


def label_bones(ct: Volume, method: str = "auto", progress: Progress | None = None) -> Segmentation:
    """Find and name the bones of the thorax in a CT.

    Args:
        ct: Hounsfield units, any orientation and spacing.
        method: ``totalsegmentator`` (the package, if it is installed; it fetches its weights once), ``atlas`` (no
            weights), or ``auto``: TotalSegmentator where it is installed with its weights, else the atlas.
        progress: called with a fraction and the stage; may raise to cancel.

    Raises:
        InputError: an unknown method, a package or weights that are not there, or a CT that shows no thorax.
    """
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}; the methods are {', '.join(METHODS)}")
    if method == "auto":
        method = "totalsegmentator" if totalsegmentator.is_ready() else "atlas"
    labels, notes = (totalsegmentator.segment if method == "totalsegmentator" else label_by_atlas)(
        ct, progress=progress
    )
    return Segmentation(labels, method, notes)

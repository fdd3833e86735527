"""The weight-free way from a CT to named bones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import ndimage

from ... import anatomy
from ...errors import InputError
from ...volume import Volume
from ...volume_io import BONE_HU, match_grid
from .grid import SPACING_MM, upright
from .names import name_bones
from .numbers import Numbering, number_ribs
from .ribs import find_ribs
from .skeleton import Atlas, atlas_from_labels
from .spine import find_canal
from .warp import fit_atlas

_SMOOTH_MM = 0.6
#: Less bone than this, mm^3, is no thorax.
_LEAST_BONE_MM3 = 50_000.0
_MARGIN_MM = 20.0
#: Numberings that differ in cost by less than this are both possible.
_CERTAIN = 10.0

Progress = Callable[[float, str], None]


@lru_cache(maxsize=1)
def shipped_atlas() -> Atlas:
    """The atlas made from the skeleton that ships with the package."""
    from ...template import load_template

    return atlas_from_labels(load_template().label_map(SPACING_MM))


def label_by_atlas(
    ct: Volume, atlas: Atlas | None = None, progress: Progress | None = None
) -> tuple[Volume, tuple[str, ...]]:
    """Bone labels on the grid of the CT, and notes for the user.

    Args:
        ct: Hounsfield units, any grid.
        atlas: the labelled skeleton; the shipped one by default.
        progress: called with a fraction and the stage; may raise to cancel.

    Raises:
        InputError: the CT shows no bone, no spine, too few ribs, or is upside down.
    """
    say = progress or (lambda fraction, stage: None)
    say(0.0, "resampling")
    grid = _around_bone(upright(ct, order=1, outside=-1000.0))
    origin = grid.ijk_to_ras[:3, 3]
    hu = ndimage.gaussian_filter(grid.array, _SMOOTH_MM / SPACING_MM, output=np.float32)
    bone = hu > BONE_HU
    say(0.15, "finding the spine")
    canal = find_canal(grid.array, SPACING_MM, origin)
    say(0.2, "finding the ribs")
    pieces = find_ribs(bone, canal, SPACING_MM, origin)
    say(0.35, "numbering the ribs")
    atlas = atlas or shipped_atlas()
    numbering = number_ribs(pieces, canal, atlas)
    ribs = numbering.ribs
    say(0.45, "fitting the atlas")
    places = fit_atlas(atlas, ribs, canal)
    say(0.6, "naming the bones")
    labels = name_bones(hu, bone, origin, ribs, atlas, places)
    say(0.95, "resampling")
    result = match_grid(Volume(labels, grid.ijk_to_ras), ct)
    say(1.0, "done")
    return result, _notes(numbering)


def _around_bone(grid: Volume) -> Volume:
    """The part of the scan that holds its bone, with a margin: air and what was not scanned cost time and memory."""
    bone = grid.array > BONE_HU
    if bone.sum() * SPACING_MM**3 < _LEAST_BONE_MM3:
        raise InputError("the CT shows next to no bone (above 150 HU); give a CT of a thorax in Hounsfield units")
    margin = round(_MARGIN_MM / SPACING_MM)
    (box,) = ndimage.find_objects(bone.astype(np.uint8))
    box = tuple(slice(max(span.start - margin, 0), span.stop + margin) for span in box)
    to_ras = grid.ijk_to_ras.copy()
    to_ras[:3, 3] = grid.to_ras(np.array([[span.start for span in reversed(box)]]))[0]
    return Volume(np.ascontiguousarray(grid.array[box]), to_ras)


def _notes(numbering: Numbering) -> tuple[str, ...]:
    """What the user should look at."""
    notes = []
    if numbering.margin < _CERTAIN:
        notes.append(
            "the count of the ribs is uncertain: all may be one too high or too low; compare with the first rib"
        )
    missing = [anatomy.BY_LABEL[label] for label in anatomy.RIBS if label not in numbering.ribs]
    if missing:
        listed = ", ".join(f"{bone.meaning.lower()} ({bone.side})" for bone in missing)
        notes.append(f"not found as pieces of their own: {listed}")
    return tuple(notes)

"""Boxes of labelled bones in a radiograph, as a perfect detector would give them."""

from __future__ import annotations

import numpy as np

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from ..volume import Volume
from .project import project_labels

#: A bone of which less than this share is in the picture gets no box.
LEAST = 0.25
#: Nor does a vertebra with less than this share of the volume that the vertebrae have in the middle.
_SLIVER = 0.2


def project_boxes(labels: Volume, geometry: XRayGeometry) -> list[Box]:
    """The boxes of the bones that are in the picture; the confidence is how much of the bone is.

    Raises `InputError` where the label map has none of the bones.
    """
    projected = project_labels(labels, geometry).bones
    left_out = slivers(labels)
    return [
        Box.of(anatomy.BY_LABEL[label].name, bone.box, min(bone.visible_fraction, 1.0))
        for label, bone in projected.items()
        if bone.visible_fraction >= LEAST and label not in left_out
    ]


def slivers(labels: Volume) -> frozenset[int]:
    """Labels of the vertebrae of which the scan's end leaves so little that nobody could tell which they are."""
    counts = np.bincount(labels.array.reshape(-1), minlength=256)[list(anatomy.VERTEBRAE)]
    usual = np.median(counts[counts > 0]) if counts.any() else 0
    return frozenset(n for n, count in zip(anatomy.VERTEBRAE, counts, strict=True) if 0 < count < _SLIVER * usual)

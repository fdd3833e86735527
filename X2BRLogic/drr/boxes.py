"""Boxes of labelled bones in a radiograph, as a perfect detector would give them."""

from __future__ import annotations

from .. import anatomy
from ..detection import Box
from ..geometry import XRayGeometry
from ..volume import Volume
from .project import project_labels

#: A bone of which less than this share is in the picture gets no box.
LEAST = 0.25


def project_boxes(labels: Volume, geometry: XRayGeometry) -> list[Box]:
    """The boxes of the bones that are in the picture; the confidence is how much of the bone is.

    Raises `InputError` where the label map has none of the bones.
    """
    return [
        Box.of(anatomy.BY_LABEL[label].name, bone.box, min(bone.visible_fraction, 1.0))
        for label, bone in project_labels(labels, geometry).bones.items()
        if bone.visible_fraction >= LEAST
    ]

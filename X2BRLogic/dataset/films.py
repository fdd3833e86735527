"""The radiographs of a subject and what is known of them: pictures, geometry, boxes, depth maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .. import anatomy
from ..drr import DrrWriter, LabelProjection, Renderer, isocentre, project_labels, remove_couch
from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from . import layout
from .settings import Settings


def write_films(folder: Path, ct: Volume, labels: Volume, settings: Settings) -> list[dict]:
    """Radiographs of the scan as it is, at its own resolution and without the couch, and the bones' projections.

    Returns the record's ``views``.
    """
    for name in (layout.DRR, layout.BOXES, layout.DEPTH):
        (folder / name).mkdir()
    centre = isocentre(ct, labels)
    body = bones_box(labels)
    renderer = Renderer(remove_couch(ct))
    writer = DrrWriter(folder / layout.DRR, clahe=settings.clahe)
    views = []
    for pose in settings.poses():
        geometry = pose.geometry(settings.detector(), centre)
        image = renderer.line_integrals(geometry)
        if not image.any():
            raise InputError(f"the detector of {pose.name} misses the patient; use a larger size or pixel spacing")
        picture = writer.add(pose.name, image, geometry)
        projection = project_labels(labels, geometry)
        view = {
            "name": pose.name,
            "image": f"{layout.DRR}/{picture}",
            "boxes": f"{layout.BOXES}/{pose.name}.json",
            "depth": f"{layout.DEPTH}/{pose.name}.npz",
        }
        boxes = {"image": view["image"], "covered_rows": covered_rows(body, geometry)} | boxes_of(projection)
        (folder / view["boxes"]).write_text(json.dumps(boxes, indent=1) + "\n", encoding="utf-8")
        np.savez_compressed(folder / view["depth"], **depths_of(projection))
        views.append(view)
    writer.finish()
    return views


def boxes_of(projection: LabelProjection) -> dict:
    """``shape``, ``boxes`` (by bone: ``label``, ``box``, ``visible``) and ``missing`` (by bone: why), JSON-ready.

    A box is left, top, right and bottom in pixels, whole numbers being pixel centres (`BoneProjection.box`); visible is
    the share of the bone that the detector sees.
    """
    return {
        "shape": list(projection.geometry.shape),
        "boxes": {
            anatomy.BY_LABEL[label].name: {
                "label": label,
                "box": list(bone.box),
                "visible": round(bone.visible_fraction, 4),
            }
            for label, bone in sorted(projection.bones.items())
        },
        "missing": {anatomy.BY_LABEL[label].name: why for label, why in sorted(projection.missing.items())},
    }


def depths_of(projection: LabelProjection) -> dict[str, np.ndarray]:
    """Front and back of the thorax as whole images, of each bone as the crop in its box.

    ``front`` and ``back`` float32 ``(rows, columns)``, mm from the source along the ray, NaN where no bone is;
    ``BONE_front`` and ``BONE_back`` the crops, and ``BONE_corner`` the row and column of their first pixel.
    """
    front = np.full(projection.geometry.shape, np.nan, dtype=np.float32)
    back = front.copy()
    crops = {}
    for label, bone in sorted(projection.bones.items()):
        name = anatomy.BY_LABEL[label].name
        crops[f"{name}_front"], crops[f"{name}_back"] = bone.front, bone.back
        crops[f"{name}_corner"] = np.array([bone.rows.start, bone.columns.start], dtype=np.int32)
        if label in anatomy.THORAX:
            place = bone.rows, bone.columns
            front[place] = np.fmin(front[place], bone.front)
            back[place] = np.fmax(back[place], bone.back)
    return {"front": front, "back": back} | crops


def bones_box(labels: Volume) -> np.ndarray:
    """RAS corners ``(8, 3)`` of the box around the labelled bones; above and below, the scan's own border."""
    low, high = labels.mask_bounds(labels.array > 0)
    low[2], high[2] = labels.corners[:, 2].min(), labels.corners[:, 2].max()
    return np.array(np.meshgrid(*np.stack([low, high], axis=1), indexing="ij")).reshape(3, -1).T


def covered_rows(box: np.ndarray, geometry: XRayGeometry) -> list[int]:
    """First and last row of the image whose rays leave the box by its sides alone: within, no scan ends above or below.

    Equal to ``[rows, -1]`` or the like where there is none.
    """
    rows = geometry.project(box)[:, 1]
    top = box[:, 2] > box[:, 2].mean()
    first, last = np.ceil(rows[top].max()), np.floor(rows[~top].min())
    return [int(np.clip(first, 0, geometry.shape[0])), int(np.clip(last, -1, geometry.shape[0] - 1))]

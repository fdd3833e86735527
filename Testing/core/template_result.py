"""A reconstruction that needs no network: the template's bones in front of a film that they cast."""

from __future__ import annotations

import numpy as np
import trimesh

from X2BRLogic.detection import Box
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.radiograph import Radiograph
from X2BRLogic.reconstruction import NOTICE, Reconstruction
from X2BRLogic.template import load_template

#: Enough for every measure of the spine, a few ribs, and cartilages, which share one label.
SOME = (
    *(f"vertebra_T{n}" for n in range(1, 13)),
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in (4, 5, 6)),
    *("sternum", "costal_cartilage_left_4", "costal_cartilage_left_5"),
)


def template_result(
    names: tuple[str, ...] | None = SOME, source: str = "film.png", known: bool = True, error: float = 3.0
) -> Reconstruction:
    """Bones of the template (all, where `names` is ``None``), an expected error at each vertex, and boxes of the ribs.

    The film is not square, stands askew to the patient's axes, and its isocentre is not the origin.
    """
    template = load_template()
    shift = np.array([12.0, -20.0, 30.0])
    geometry = XRayGeometry.from_view("PA", angle=6.0, shape=(150, 130), spacing=(3.0, 3.4), isocentre=shift)
    bones = {}
    for name in names or template.bones:
        mesh = template.bones[name]
        # worse towards the front, which one view does not show
        errors = error * (1.0 + 0.002 * (mesh.vertices[:, 1] - mesh.vertices[:, 1].min()))
        carried = {"expected_error_mm": errors.astype(np.float32), "confidence": np.full(len(errors), 0.75, np.float32)}
        bones[name] = trimesh.Trimesh(mesh.vertices + shift, mesh.faces, vertex_attributes=carried, process=False)
    bare = [trimesh.Trimesh(mesh.vertices, mesh.faces, process=False) for mesh in bones.values()]
    columns, rows = np.meshgrid(np.arange(130), np.arange(150))
    pixels = 500.0 + 3.0 * columns + 2.0 * rows + 200.0 * ((columns // 13 + rows // 15) % 2)
    boxes = []
    for name in bones:
        if name.startswith("rib_"):
            seen = geometry.project(bones[name].vertices)
            boxes.append(Box.of(name, [*seen.min(axis=0), *seen.max(axis=0)], 0.83))
    summary = {
        "schema": "x2br-summary-1",
        "x2br": "0.1.0",
        "notice": NOTICE,
        "input": source,
        "method": "x2br",
        "model": {"file": "x2b_aligned.safetensors", "sha256": "0" * 64},
        "geometry": geometry.to_dict(),
        "known": dict.fromkeys(("sid", "sod", "spacing", "view"), known),
        "absolute_scale": known,
        "seconds": {"total": 1.0},
        "warnings": ["Set aside, because the other boxes put it elsewhere: rib_left_7."],
        "bones": {name: {"volume_ml": 1.0} for name in bones},
        "reprojection": {"box_iou": 0.81, "box_edge_mm": 3.9},
    }
    radiograph = Radiograph(pixels.astype(np.float32), geometry, summary["known"], source, tuple(summary["warnings"]))
    return Reconstruction(radiograph, trimesh.util.concatenate(bare), bones, tuple(boxes), summary)


def without_names(result: Reconstruction) -> Reconstruction:
    """The same as a method without named bones would give it."""
    summary = {key: value for key, value in result.summary.items() if key not in ("bones", "reprojection")}
    return Reconstruction(result.radiograph, result.mesh, summary=summary | {"method": "x2b"})

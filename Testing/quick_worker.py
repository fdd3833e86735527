"""``python -m Testing.quick_worker``: a worker that answers at once, in place of the one with the networks.

Spheres stand for bones. The resolution says how it behaves: 64 is quick, 128 takes a minute in small steps, 256 does
not listen to cancel, like a library that is busy.
"""

import time
from dataclasses import asdict

import numpy as np
import trimesh

from X2BRLogic.detection import Box
from X2BRLogic.errors import InputError
from X2BRLogic.worker.exchange import pack, unpack_radiograph
from X2BRLogic.worker.server import serve

BONES = {"rib_left_3": (-60, 40), "rib_right_3": (60, 40), "sternum": (0, 60), "vertebra_T4": (0, -60)}


def load(job):
    return {"method": job.settings["method"], "device": "cpu"}


def sphere(centre, radius=20.0):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(centre)
    return mesh


def reconstruct(job):
    radiograph = unpack_radiograph(job.folder)
    if radiograph.pixels.max() > 9e8:
        raise InputError("the network sees no bone in this film; give another")
    isocentre, method = radiograph.geometry.isocentre, job.settings["method"]
    steps, pause = {64: (5, 0.04), 128: (600, 0.1), 256: (1, 60.0)}[job.settings["resolution"]]
    for step in range(steps):
        job.progress(step / steps, "surface")
        time.sleep(pause)
    mesh, bones = sphere(isocentre, 50.0), {}
    if method == "x2br":
        for name, (right, front) in BONES.items():
            bones[name] = sphere(np.add(isocentre, (right, front, 0.0)))
            height = bones[name].vertices[:, 2]
            sure = (height - height.min()) / (height.max() - height.min())
            bones[name].vertex_attributes |= {"confidence": sure, "expected_error_mm": 10.0 * (1.0 - sure)}
    summary = {"method": method, "seconds": {"total": 0.1}, "device": "cpu", "volume_ml": 524.0, "warnings": []}
    summary |= {"absolute_scale": radiograph.scale_known}
    pack(job.folder, "reconstruction", {"mesh": mesh, "bones": bones, "boxes": [], "summary": summary})
    return {}


def detect(job):
    unpack_radiograph(job.folder)
    boxes = [Box("ribs_left", 3, 20.0, 30.0, 60.0, 50.0, 0.9), Box("vertebrae", 4, 30.0, 10.0, 40.0, 20.0, 0.8)]
    return {"boxes": [asdict(box) for box in boxes], "notes": ["rib 12 was not seen"]}


if __name__ == "__main__":
    serve({"load": load, "reconstruct": reconstruct, "detect": detect}, lambda: {"device": "cpu"})

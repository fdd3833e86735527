"""The kinds of jobs ``evaluate`` and ``reproject``: a reconstruction against a CT's bones, and against its films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..detection import Box

if TYPE_CHECKING:
    import trimesh

    from ..radiograph import Radiograph
    from ..volume import Volume
    from .server import JobContext


@dataclass(frozen=True)
class Agreement:
    """How a reconstruction and the truth agree.

    Attributes:
        metrics: by protocol, as `evaluation.evaluate` gives them.
        distances: by mesh, from each vertex to the truth's surface, mm, float32.
    """

    metrics: dict[str, dict]
    distances: dict[str, np.ndarray]


class Evaluate:
    """The task of measuring meshes (RAS mm) against labelled bones; its value is an `Agreement`."""

    kind = "evaluate"

    def __init__(self, meshes: Mapping[str, trimesh.Trimesh], labels: Volume, protocols: Sequence[str]):
        self._meshes, self._labels = dict(meshes), labels
        self.settings = {"protocols": list(protocols)}

    def write(self, folder: Path) -> None:
        """Meshes and labels into the job's folder."""
        from .exchange import pack, packed_volume

        pack(folder, "shapes", {"meshes": self._meshes, "labels": packed_volume(self._labels)})

    def read(self, folder: Path, facts: dict) -> Agreement:
        """The figures, and the distances from the job's folder."""
        from .exchange import unpack

        return Agreement(facts["metrics"], unpack(folder, "distances"))


class Reproject:
    """The task of laying bones (RAS mm) over a film; its value are figures, and a picture as the bytes of a PNG."""

    kind = "reproject"

    def __init__(self, bones: Mapping[str, trimesh.Trimesh], radiograph: Radiograph, boxes: Sequence[Box]):
        self._bones, self._radiograph = dict(bones), radiograph
        self.settings = {"boxes": [asdict(box) for box in boxes]}

    def write(self, folder: Path) -> None:
        """Bones and film into the job's folder."""
        from .exchange import pack, pack_radiograph

        pack(folder, "bones", self._bones)
        pack_radiograph(folder, self._radiograph)

    def read(self, folder: Path, facts: dict) -> tuple[dict, bytes]:
        """The figures of `evaluation.reprojection`, and the picture."""
        return facts["figures"], (folder / "picture.png").read_bytes()


def evaluate(job: JobContext) -> dict:
    """Handler: ``shapes`` to metrics and ``distances``."""
    import trimesh

    from .. import anatomy
    from ..evaluation import evaluate as measure
    from ..evaluation.nearest import Nearest
    from ..surface import labels_to_mesh
    from .exchange import pack, unpack, unpacked_volume

    job.progress(0.0, "surface of the labels")
    shapes = unpack(job.folder, "shapes")
    truth = labels_to_mesh(unpacked_volume(shapes["labels"]), anatomy.THORAX)
    meshes: dict[str, trimesh.Trimesh] = shapes["meshes"]
    # what the labels leave out is not to be blamed on the reconstruction
    thorax = {anatomy.BY_LABEL[label].name for label in anatomy.THORAX}
    judged = [mesh for name, mesh in meshes.items() if name in thorax] or list(meshes.values())
    whole = trimesh.util.concatenate(judged)
    metrics = {}
    protocols = job.settings["protocols"]
    for number, protocol in enumerate(protocols):
        job.progress(0.2 + 0.6 * number / len(protocols), f"{protocol} protocol")
        metrics[protocol] = measure(whole, truth, protocol)
    job.progress(0.8, "distances")
    surface = Nearest.on_surface(truth)
    distances = {
        name: np.linalg.norm(mesh.vertices - surface(mesh.vertices).points, axis=1).astype(np.float32)
        for name, mesh in meshes.items()
    }
    pack(job.folder, "distances", distances)
    job.progress(1.0, "done")
    return {"metrics": metrics}


def reproject(job: JobContext) -> dict:
    """Handler: ``bones`` and ``radiograph`` to figures and ``picture.png``."""
    from ..evaluation import reprojection
    from ..outline import overlay
    from .exchange import unpack, unpack_radiograph

    job.progress(0.0, "reprojection")
    bones, radiograph = unpack(job.folder, "bones"), unpack_radiograph(job.folder)
    figures = reprojection(bones, radiograph, [Box(**box) for box in job.settings["boxes"]])
    job.progress(0.7, "picture")
    overlay(radiograph, bones).save(job.folder / "picture.png")
    job.progress(1.0, "done")
    return {"figures": figures}

"""What the module does, each as an operation: handed to a worker process, its result shown in the scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from X2BRLogic.errors import InputError

from . import core
from .nodes import bones, boxes, figures, folders, meshes, radiographs, scans

if TYPE_CHECKING:
    from X2BRLogic.detection import Box
    from X2BRLogic.worker import Event, Job, Worker, WorkerReconstructor
    from X2BRLogic.worker.drr import Drr, DrrSettings

#: What the workers run.
_MODULES = {"films": "X2BRLogic.worker", "scans": "X2BRLogic.worker.scans", "dataset": "X2BRLogic.worker.scans"}
_PREVIEW_EDGE = 160


class Operation:
    """A job in a worker process, and how its value is shown in the scene."""

    def __init__(self, job: Job, show: Callable[[Any], Any]):
        self.job, self._show = job, show

    def finish(self) -> Any:
        """Show the finished job's value; what that made. Raises as `Job.result`, and then shows nothing."""
        return self._show(self.job.result())

    def wait(self, progress: Callable[[float, str], None] | None = None) -> Any:
        """Wait for the end and show it. `progress` is called with a fraction and the name of a stage."""

        def listen(event: Event) -> None:
            if progress and event.name == "progress":
                progress(event.fraction, event.stage)

        try:
            self.job.wait(listen)
        finally:
            self.job.cancel()  # where waiting was broken off; a finished job stays as it is
        return self.finish()


class Operations:
    """The module's worker processes, each started when it is first needed, and the operations that run in them.

    Every operation is handed in at once and returns without waiting. What is wrong with the input is raised as
    `InputError`, one sentence, before or by the operation.
    """

    def __init__(self):
        self._workers: dict[str, Worker] = {}
        self._reconstructors: dict[tuple[str, str], WorkerReconstructor] = {}

    def close(self) -> None:
        """End the worker processes, whatever they are doing."""
        workers, self._workers, self._reconstructors = self._workers, {}, {}
        for worker in workers.values():
            worker.close()

    def lastWords(self) -> str:
        """The end of what the workers and their libraries wrote, for the log."""
        return "\n".join(worker.last_words for worker in self._workers.values() if worker.last_words)

    # --- films ----------------------------------------------------------------------------------------------------

    def reconstruct(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        method: str | None = None,
        *,
        view: str | None = None,
        device: str = "auto",
        resolution: int | None = None,
        boxes: Sequence[Box] | None = None,
    ) -> Operation:
        """Bones from a radiograph; see `X2BRSlicerLogic.reconstruct`."""
        radiograph = radiographs.radiographFromVolume(volumeNode, view)
        known = radiographs.boxesOf(volumeNode) if boxes is None else boxes
        settings = {"boxes": list(known)} | ({"resolution": resolution} if resolution else {})
        job = self._reconstructor(method, device).submit(radiograph, **settings)
        return Operation(job, lambda value: bones.showReconstruction(value, _stillThere(volumeNode)))

    def load(self, method: str, device: str) -> Operation:
        """Load a model anew, as a check; the value is its method and device."""
        self._reconstructors.pop((method, device), None)
        return Operation(self._reconstructor(method, device).loading, lambda value: value)

    def detect(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Operation:
        """Boxes of the bones in a radiograph; they are kept with it and drawn."""
        reason = core.whyNoDetection()
        if reason:
            raise InputError(reason)
        from X2BRLogic.worker.films import Detect

        radiograph = radiographs.radiographFromVolume(volumeNode)

        def show(value):
            found, notes = value
            radiographs.placeVolume(_stillThere(volumeNode), radiograph)
            radiographs.setBoxes(volumeNode, found)
            boxes.showBoxes(volumeNode, radiograph.geometry)
            return list(found), list(notes)

        return Operation(self._worker("films").submit(Detect(radiograph)), show)

    # --- scans ----------------------------------------------------------------------------------------------------

    def generateDRRs(
        self, ctNode: slicer.vtkMRMLScalarVolumeNode, labelsNode: slicer.vtkMRMLNode | None, settings: DrrSettings
    ) -> Operation:
        """Radiographs from a CT, as nodes in a folder of their own."""
        from X2BRLogic.worker.drr import MakeDrrs

        labels = labelsNode and scans.labelsFromNode(labelsNode, ctNode)
        task = MakeDrrs(scans.ctFromVolume(ctNode), labels, settings)
        return Operation(self._worker("scans").submit(task), lambda value: _showDrrs(value, _stillThere(ctNode)))

    def previewDRR(
        self, ctNode: slicer.vtkMRMLScalarVolumeNode, labelsNode: slicer.vtkMRMLNode | None, settings: DrrSettings
    ) -> Operation:
        """The same in few pixels and from few voxels; the value is a `Drr`, and the scene stays as it is."""
        from X2BRLogic.worker.drr import MakeDrrs

        ct = scans.coarse(scans.ctFromVolume(ctNode))
        labels = labelsNode and scans.coarse(scans.labelsFromNode(labelsNode, ctNode))
        edge = min(settings.size, _PREVIEW_EDGE)
        few = replace(settings, size=edge, pixel_spacing=settings.pixel_spacing * settings.size / edge, boxes=False)
        return Operation(self._worker("scans").submit(MakeDrrs(ct, labels, few)), lambda value: value[0])

    def buildDataset(
        self, cts: str | Path, out: str | Path, labels: str | Path | None, workers: int | None, settings: dict
    ) -> Operation:
        """A data set from a folder of CTs; see `X2BRSlicerLogic.buildDataset`."""
        from X2BRLogic.worker.dataset import BuildDataset

        task = BuildDataset(Path(cts), Path(out), settings, labels=labels and Path(labels), workers=workers)
        return Operation(self._worker("dataset").submit(task), lambda value: value)

    def evaluate(
        self,
        volumeNode: slicer.vtkMRMLNode,
        labelsNode: slicer.vtkMRMLNode,
        protocols: Sequence[str] = ("strict", "paper"),
    ) -> Operation:
        """The bones from a radiograph against labels of a CT; see `X2BRSlicerLogic.evaluate`."""
        from X2BRLogic.worker.measure import Agreement, Evaluate

        found = bones.requiredMeshes(volumeNode)
        labels = scans.labelsFromNode(labelsNode)

        def show(value: Agreement) -> slicer.vtkMRMLTableNode:
            for model in bones.bonesOf(_stillThere(volumeNode)):
                name = model.GetAttribute(bones.BONE_ATTRIBUTE)
                if name in value.distances:
                    meshes.setPointValues(model, "distance_mm", value.distances[name])
            return figures.showFigures(volumeNode, value.metrics)

        return Operation(self._worker("scans").submit(Evaluate(found, labels, protocols)), show)

    def reproject(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, filmNode: slicer.vtkMRMLScalarVolumeNode | None = None
    ) -> Operation:
        """The bones from a radiograph over it, or over another film of the same person: figures and a picture (PNG)."""
        from X2BRLogic.worker.measure import Reproject

        film = filmNode or volumeNode
        task = Reproject(
            bones.requiredMeshes(volumeNode), radiographs.radiographFromVolume(film), radiographs.boxesOf(film)
        )
        return Operation(self._worker("scans").submit(task), lambda value: value)

    # --- files ----------------------------------------------------------------------------------------------------

    def writeReport(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, path: str | Path) -> Operation:
        """The report on a result as one HTML file; the value is its path."""
        from X2BRLogic.worker.handing_over import WriteReport

        task = WriteReport(bones.reconstructionFrom(volumeNode), Path(path))
        return Operation(self._worker("scans").submit(task), lambda value: value)

    def export(
        self, volumeNode: slicer.vtkMRMLScalarVolumeNode, folder: str | Path, formats: Sequence[str]
    ) -> Operation:
        """The bones as files in a folder; the value is the folder."""
        from X2BRLogic.worker.handing_over import Export

        task = Export(bones.reconstructionFrom(volumeNode), Path(folder), formats)
        return Operation(self._worker("scans").submit(task), lambda value: value)

    # --- workers --------------------------------------------------------------------------------------------------

    def _worker(self, name: str) -> Worker:
        from X2BRLogic.worker import Worker

        if name not in self._workers:
            self._workers[name] = Worker(module=_MODULES[name])
        return self._workers[name]

    def _reconstructor(self, method: str | None, device: str) -> WorkerReconstructor:
        from X2BRLogic.models import DEFAULT_METHOD
        from X2BRLogic.worker import WorkerReconstructor

        key = (method or DEFAULT_METHOD, device)
        if key not in self._reconstructors:
            self._reconstructors[key] = WorkerReconstructor(*key, worker=self._worker("films"))
        return self._reconstructors[key]


def _stillThere(node):
    if not slicer.mrmlScene.IsNodePresent(node):
        raise InputError("what it was made from has been removed from the scene meanwhile; nothing is shown")
    return node


def _showDrrs(made: Sequence[Drr], ctNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    from X2BRLogic.radiograph import Radiograph

    nodes = []
    for drr in made:
        known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
        name = f"{ctNode.GetName()} {drr.name.replace('_', ' ').upper()}"
        radiograph = Radiograph(drr.pixels.astype("float32"), drr.geometry, known, name)
        node = radiographs.volumeFromRadiograph(radiograph, name)
        radiographs.setBoxes(node, drr.boxes)
        nodes.append(node)
    folders.putUnder(nodes, folders.newFolder(f"DRRs of {ctNode.GetName()}"))
    return nodes

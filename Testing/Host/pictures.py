"""The panel's screenshots, each at the end of a real run: ``python -m Testing.Host --pictures FOLDER``."""

from __future__ import annotations

import time
from pathlib import Path

import slicer
from PIL import Image
from PySide6 import QtWidgets

from .window import Window

_WIDEST = 1000
_PATIENCE_S = 300.0


def takePictures(folder: Path, ct: Path | None, labels: Path | None) -> None:
    """Reconstruct the sample film, and with a CT and its labels make radiographs; a picture of every page."""
    folder.mkdir(parents=True, exist_ok=True)
    window = Window()
    window.resize(1500, 940)
    window.show()
    module = window.panel.self()
    reconstruct, check, drr, models = (tab.ui for tab in module.tabs)

    def settle(seconds: float = 0.3) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end or any(tab.course.busy for tab in module.tabs):
            QtWidgets.QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() > end + _PATIENCE_S:
                raise TimeoutError("a job of the panel does not end")

    def take(number: int, name: str) -> None:
        module.ui.tabs.setCurrentIndex(number)
        settle(1.0)
        path = folder / f"{name}.png"
        window.grab().save(str(path))
        shrink(path)

    node = module.logic.loadRadiograph(Path(__file__).resolve().parents[2] / "Resources/SampleData/chest_ap.png")
    module.tabs[0].parameters.radiograph = node
    reconstruct.methodBox.setCurrentText("x2br")
    settle()
    reconstruct.reconstructButton.click()
    settle()
    print(reconstruct.statusLabel.text)
    take(0, "panel")
    reconstruct.colourBox.setCurrentText("by expected error")
    settle()
    take(0, "panel_errors")
    reconstruct.colourBox.setCurrentText("as bones")
    module.ui.tabs.setCurrentIndex(1)
    settle()
    check.reprojectButton.click()
    settle()
    take(1, "panel_check")
    models.selfCheckButton.click()
    settle()
    take(3, "panel_models")
    if ct and labels:
        module.tabs[2].parameters.ct = slicer_volume(ct, "vtkMRMLScalarVolumeNode")
        module.tabs[2].parameters.ctLabels = slicer_volume(labels, "vtkMRMLLabelMapVolumeNode")
        for model in slicer.util.getNodesByClass("vtkMRMLModelNode"):
            model.GetDisplayNode().SetVisibility(False)
        module.ui.tabs.setCurrentIndex(2)
        drr.arrangementBox.setChecked(True)
        drr.angleSlider.value = 15.0
        settle(3.0)
        drr.generateButton.click()
        settle()
        take(2, "panel_drr")
    window.close()


def slicer_volume(path: Path, kind: str):
    """A volume file as a node; Slicer's own readers are not in slicer-core."""
    from X2BRLogic.volume_io import read_ct, read_labels

    volume = (read_labels if kind.endswith("LabelMapVolumeNode") else read_ct)(path)
    name = "CT" if kind.endswith("ScalarVolumeNode") else "Bones"
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, volume.array)
    node.CreateDefaultDisplayNodes()
    return node


def shrink(path: Path) -> None:
    """Make a picture small enough to keep."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)
    picture.quantize(256).save(path, optimize=True)

"""What Slicer learns of films beside the panel: the sample radiograph, and which files are films."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _

from . import core

#: Of files that may be films; Slicer has readers of its own for all of them.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".nrrd")
#: Slicer's readers have 0.5 and more: a film is ours where its geometry says so, else the user may choose.
_SURE, _MAYBE = 0.9, 0.3


def confidence(path: Path) -> float:
    """How sure it is that a file is a film of ours, 0 to 1."""
    if path.suffix.lower() not in SUFFIXES or core.missing():
        return 0.0
    from X2BRLogic.radiograph import geometry_beside

    try:
        geometry, _notes = geometry_beside(path)
    except ValueError:
        geometry = None
    return _SURE if geometry is not None else _MAYBE


def register() -> None:
    """Offer the sample radiograph in the module Sample Data. It ships with X2BR: nothing is downloaded."""
    import SampleData

    path = core.sampleRadiographPath()
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="X2BR",
        sampleName="X2BRChestAP",
        thumbnailFileName=str(Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "X2BRChestAP.png"),
        uris=path.as_uri(),
        fileNames=path.name,
        nodeNames="X2BRChestAP",
        customDownloader=load,
    )


def load(source=None):
    """Put the sample radiograph into the scene, as the module reads it: with its geometry."""
    return slicer.util.getModuleLogic("X2BRSlicer").loadRadiograph(core.sampleRadiographPath())


class FilmReader:
    """Reads films for Slicer (a scripted file reader: the class of the module whose name ends in FileReader)."""

    def __init__(self, parent):
        self.parent = parent

    def description(self):
        return _("Radiograph for X2BR")

    def fileType(self):
        return "X2BRRadiograph"

    def extensions(self):
        return [_("Radiograph for X2BR") + f" (*{suffix})" for suffix in SUFFIXES]

    def canLoadFileConfidence(self, filePath):
        return confidence(Path(filePath))

    def load(self, properties):
        try:
            node = slicer.util.getModuleLogic("X2BRSlicer").loadRadiograph(properties["fileName"])
        except ValueError as error:
            self.parent.userMessages().AddMessage(vtk.vtkCommand.ErrorEvent, str(error))
            return False
        self.parent.loadedNodes = [node.GetID()]
        return True

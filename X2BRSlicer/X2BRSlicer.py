"""X2BR in 3D Slicer: the bones of the thorax in 3D from one radiograph."""

from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from X2BRSlicerLib import core, sample
from X2BRSlicerLib.nodes import radiographs
from X2BRSlicerLib.operations import Operations
from X2BRSlicerLib.parameters import X2BRSlicerParameterNode


class X2BRSlicer(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("X2BR")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Surface Models")]
        self.parent.dependencies = []
        self.parent.contributors = ["X2BR contributors"]
        self.parent.helpText = _(
            "Reconstructs the bones of the thorax in 3D from one radiograph. For research use; not a medical device. "
            'See the <a href="https://github.com/x2br/X2BR">documentation</a>.'
        )
        self.parent.acknowledgementText = _("X2BR is licensed under the Apache License 2.0.")
        slicer.app.connect("startupCompleted()", sample.register)


class X2BRSlicerWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: a page for each thing that the module does."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.tabs = []
        self._parameterNode = None

    def setup(self):
        from X2BRSlicerLib.tabs import TABS

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/X2BRSlicer.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = X2BRSlicerLogic()
        self.tabs = [tab(self.logic) for tab in TABS]
        for tab in self.tabs:
            self.ui.tabs.addTab(tab.widget, tab.title)

        # Changes come in crowds: the pages look once, when the crowd has passed.
        self._refresh = qt.QTimer()
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(0)
        self._refresh.timeout.connect(self.updateTabs)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self.onChanged)
        self.initializeParameterNode()

    def cleanup(self):
        self._refresh.stop()
        self.setParameterNode(None)
        self.removeObservers()
        for tab in self.tabs:
            tab.close()
            tab.dispose()
        if self.logic:
            self.logic.close()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        """The pages stay as they are: work goes on while the user looks at another module."""

    def onSceneStartClose(self, caller, event):
        for tab in self.tabs:
            tab.close()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.radiograph:
            self._parameterNode.radiograph = radiographs.first()

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onChanged)
        self._parameterNode = parameterNode
        for tab in self.tabs:
            tab.setParameters(parameterNode)
        if parameterNode:
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onChanged)

    def onChanged(self, caller=None, event=None):
        self._refresh.start()

    def updateTabs(self):
        if self._parameterNode:
            for tab in self.tabs:
                tab.update()


class X2BRSlicerLogic(ScriptedLoadableModuleLogic):
    """What the module does, for scripts as for the panel: nodes in, nodes out, no GUI needed.

    Every method waits for its end and may be given `progress`, called with a fraction and the name of a stage; what it
    raises ends the work. Work runs in processes of their own, which stay warm until `close`. Wrong input raises
    `X2BRLogic.errors.InputError`, one sentence, and leaves the scene as it was. `operations` has the same without
    waiting.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.operations = Operations()

    def getParameterNode(self):
        return X2BRSlicerParameterNode(super().getParameterNode())

    def close(self):
        """End the worker processes."""
        self.operations.close()

    def loadRadiograph(self, path):
        """Read a radiograph (DICOM CR/DX, PNG, JPEG, TIFF, NRRD) into a volume node on its detector plane.

        What lies beside the file is read too: ``geometry.json``, and ``NAME.boxes.json`` with the boxes of bones.
        """
        from X2BRLogic.detection import boxes_beside, read_boxes
        from X2BRLogic.radiograph import read_radiograph

        path = Path(path)
        radiograph = read_radiograph(path)
        beside = boxes_beside(path)
        boxes = read_boxes(beside) if beside else []
        node = radiographs.volumeFromRadiograph(radiograph, path.stem)
        if boxes:
            radiographs.setBoxes(node, boxes)
        return node

    def detect(self, radiographNode, *, progress=None):
        """Find the bones in a radiograph: a list of boxes in its pixels, and a list of sentences on what is doubtful.

        The boxes are drawn on the film and kept with it; `reconstruct` uses them.
        """
        return self.operations.detect(radiographNode).wait(progress)

    def reconstruct(
        self, radiographNode, method=None, *, view=None, device="auto", resolution=None, boxes=None, progress=None
    ):
        """Reconstruct the bones from a radiograph in the scene; the new model nodes, RAS mm, in a folder of their own.

        They take the place of an earlier result from the same radiograph. `view` (AP or PA) is for a node that does
        not know its own; `resolution` is 64, 128 or 256; `boxes` stand in for those that the node carries.
        """
        operation = self.operations.reconstruct(
            radiographNode, method, view=view, device=device, resolution=resolution, boxes=boxes
        )
        return operation.wait(progress)

    def generateDRRs(self, ctNode, labelsNode=None, *, progress=None, **settings):
        """Radiographs from a CT, as nodes on their detector planes that know their geometry.

        `labelsNode` is a segmentation or label map of the CT's bones: the radiographs aim at them then and carry their
        boxes. `settings` are those of `X2BRLogic.worker.drr.DrrSettings`: `view`, `angles`, `tilt`, `sid`, `sod`,
        `size`, `pixel_spacing`, `clahe`, `bones`.
        """
        from X2BRLogic.worker.drr import DrrSettings

        return self.operations.generateDRRs(ctNode, labelsNode, DrrSettings(**settings)).wait(progress)

    def buildDataset(self, ctFolder, outFolder, *, labels=None, workers=None, progress=None, **settings):
        """Make a data set for training from a folder of CTs, or go on with it; the counts and the page to look at.

        `settings` are those of `X2BRLogic.dataset.settings.Settings`.
        """
        return self.operations.buildDataset(ctFolder, outFolder, labels, workers, settings).wait(progress)

    def evaluate(self, radiographNode, labelsNode, protocols=("strict", "paper"), *, progress=None):
        """Measure the bones reconstructed from a radiograph against the bones of a CT: a table node of figures.

        Every vertex of the models gets its distance from them, ``distance_mm``.
        """
        return self.operations.evaluate(radiographNode, labelsNode, protocols).wait(progress)

    def reproject(self, radiographNode, filmNode=None, *, progress=None):
        """Lay the bones from a radiograph over it, or over another film: figures, and a picture as bytes of a PNG."""
        return self.operations.reproject(radiographNode, filmNode).wait(progress)


class X2BRSlicerFileReader:
    """Lets Slicer's own dialogs, and what is dropped onto its window, read a film with its geometry."""

    def __init__(self, parent):
        self.parent = parent

    def description(self):
        return _("Radiograph for X2BR")

    def fileType(self):
        return "X2BRRadiograph"

    def extensions(self):
        return [_("Radiograph for X2BR") + f" (*{suffix})" for suffix in sample.SUFFIXES]

    def canLoadFileConfidence(self, filePath):
        return sample.confidence(Path(filePath))

    def load(self, properties):
        try:
            node = slicer.util.getModuleLogic("X2BRSlicer").loadRadiograph(properties["fileName"])
        except ValueError as error:
            self.parent.userMessages().AddMessage(vtk.vtkCommand.ErrorEvent, str(error))
            return False
        self.parent.loadedNodes = [node.GetID()]
        return True


class X2BRSlicerTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: a real reconstruction of the sample radiograph."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_ReconstructSample()

    def test_ReconstructSample(self):
        logic = X2BRSlicerLogic()
        try:
            radiographNode = logic.loadRadiograph(core.sampleRadiographPath())
            models = logic.reconstruct(radiographNode, device="cpu", resolution=64)
        finally:
            logic.close()
        self.assertGreater(models[0].GetPolyData().GetNumberOfCells(), 1000)
        self.delayDisplay("Test passed")

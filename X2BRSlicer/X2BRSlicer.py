"""X2BR in 3D Slicer: the bones of the thorax in 3D from one radiograph."""

from pathlib import Path

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
from X2BRSlicerLib import core, scene
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
            "Reconstructs the bones of the thorax in 3D from one radiograph. For research use; not a medical device."
        )
        self.parent.acknowledgementText = _("X2BR is licensed under the Apache License 2.0.")


class X2BRSlicerWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: choose a radiograph, reconstruct."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/X2BRSlicer.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = X2BRSlicerLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.reconstructButton.connect("clicked(bool)", self.onReconstruct)
        self.initializeParameterNode()

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.radiograph:
            self._parameterNode.radiograph = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateReconstructButton)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateReconstructButton)
        self.updateReconstructButton()

    def updateReconstructButton(self, caller=None, event=None):
        reason = self.reasonNotToReconstruct()
        self.ui.reconstructButton.enabled = not reason
        self.ui.reconstructButton.toolTip = reason or _("Reconstruct the bones from the radiograph.")

    def reasonNotToReconstruct(self):
        """Why the button is disabled, in words; empty when nothing is in the way."""
        if not self._parameterNode or not self._parameterNode.radiograph:
            return _("Load and choose a radiograph first.")
        missing = core.missingRequirements(self.resourcePath("requirements.txt"))
        if missing:
            return _("Python packages are missing: {packages}. Install them with slicer.util.pip_install.").format(
                packages=", ".join(missing)
            )
        return ""

    def onReconstruct(self):
        with slicer.util.tryWithErrorDisplay(_("The bones could not be reconstructed."), waitCursor=True):
            self.ui.reconstructButton.enabled = False
            try:
                models = self.logic.reconstruct(self._parameterNode.radiograph, progress=self.showProgress)
                self.ui.statusLabel.text = _("Done: {names}").format(names=", ".join(m.GetName() for m in models))
            except Exception:
                self.ui.statusLabel.text = _("Not reconstructed.")
                raise
            finally:
                self.updateReconstructButton()

    def showProgress(self, fraction, stage):
        self.ui.statusLabel.text = f"{stage} ({fraction:.0%})"
        # Painted at once, without handling events: nothing may be clicked while the scene is being worked on.
        self.ui.statusLabel.repaint()


class X2BRSlicerLogic(ScriptedLoadableModuleLogic):
    """What the module does, for scripts as for the panel; needs no GUI.

    `reconstructorClass` takes the place of `X2BRLogic.pipeline.Reconstructor`.
    """

    def __init__(self, reconstructorClass=None):
        ScriptedLoadableModuleLogic.__init__(self)
        core.addCoreToPath()
        self._reconstructorClass = reconstructorClass

    def getParameterNode(self):
        return X2BRSlicerParameterNode(super().getParameterNode())

    def loadRadiograph(self, path):
        """Read a radiograph (DICOM CR/DX, PNG, TIFF, NRRD) into a volume node on its detector plane."""
        from X2BRLogic.radiograph import read_radiograph

        return scene.volumeFromRadiograph(read_radiograph(path), Path(path).stem)

    def reconstruct(self, radiographNode, method="x2b_aligned", *, view=None, device="auto", progress=None):
        """Reconstruct the bones from a radiograph in the scene.

        `view` (AP or PA) is for a node that does not know its own; `progress` is called with a fraction and the name
        of a stage. Returns the new model nodes, in RAS mm. Raises `X2BRLogic.errors.InputError` for an unsuitable
        radiograph, and then leaves the scene as it was.
        """
        radiograph = scene.radiographFromVolume(radiographNode, view)
        reconstructorClass = self._reconstructorClass
        if reconstructorClass is None:
            with core.withoutTriton():
                from X2BRLogic.pipeline import Reconstructor as reconstructorClass
        reconstruction = reconstructorClass(method=method, device=device).reconstruct(radiograph, progress=progress)
        return scene.showReconstruction(reconstruction, radiographNode)


class X2BRSlicerTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: a real reconstruction of the sample radiograph."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_ReconstructSample()

    def test_ReconstructSample(self):
        logic = X2BRSlicerLogic()
        radiographNode = logic.loadRadiograph(core.sampleRadiographPath())
        models = logic.reconstruct(radiographNode, device="cpu")
        self.assertGreater(models[0].GetPolyData().GetNumberOfCells(), 1000)
        self.delayDisplay("Test passed")

"""X2BR in 3D Slicer: the bones of the thorax in 3D from one radiograph."""

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
from X2BRSlicerLib import core, parameters, sample
from X2BRSlicerLib.nodes import radiographs
from X2BRSlicerLib.scripting import Scripting


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
        # Changes come in crowds: the pages look once, when the crowd has passed.
        self._refresh = qt.QTimer()
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(0)
        self._refresh.timeout.connect(self.updateTabs)

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
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneReady)
        # While a scene is read, its choices name nodes that are not there yet: the pages must not "correct" them.
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneReady)
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
        # Not anew each time: Slicer 5.10 never lets go of a wrapper that a GUI was connected to.
        if self._parameterNode is None:
            self.initializeParameterNode()

    def exit(self):
        """The pages stay as they are: work goes on while the user looks at another module."""

    def onSceneStartClose(self, caller, event):
        for tab in self.tabs:
            tab.close()
        self.setParameterNode(None)

    def onSceneStartImport(self, caller, event):
        self.setParameterNode(None)

    def onSceneReady(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.radiograph:
            self._parameterNode.radiograph = radiographs.first()

    def setParameterNode(self, parameterNode):
        # The node is observed and not its wrapper, which the mixin would keep alive for as long as this widget lives.
        if self._parameterNode:
            self.removeObserver(self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onChanged)
        self._parameterNode = parameterNode
        for tab in self.tabs:
            tab.setParameters(parameterNode)
        if parameterNode:
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onChanged)

    def onChanged(self, caller=None, event=None):
        self._refresh.start()

    def updateTabs(self):
        if self._parameterNode:
            for tab in self.tabs:
                tab.update()


class X2BRSlicerLogic(Scripting, ScriptedLoadableModuleLogic):
    """What the module does, for scripts as for the panel; `Scripting` has it."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        Scripting.__init__(self)

    def getParameterNode(self):
        return parameters.wrapped(super().getParameterNode())


class X2BRSlicerFileReader(sample.FilmReader):
    """Lets Slicer's own dialogs, and what is dropped onto its window, read a film with its geometry."""


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
        ribs = [model for model in models if model.GetName().startswith("rib_")]
        self.assertGreater(len(ribs), 12)
        self.assertGreater(sum(rib.GetPolyData().GetNumberOfCells() for rib in ribs), 1000)
        self.delayDisplay("Test passed")

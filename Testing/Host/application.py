# ruff: noqa: N801  the names are Slicer's
"""Puts the stand-ins where Slicer's Python packages are, and a scene with its logics where Slicer's is."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import types
from pathlib import Path

if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from . import ctk, mrml_widgets, parameter_node, qt, scripted_module, subject_hierarchy

MODULE_FOLDER = Path(__file__).resolve().parents[2] / "X2BRSlicer"


class ModuleParent:
    """qSlicerScriptedLoadableModule, the properties that a module file may set."""

    __slots__ = (
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "helpText",
        "hidden",
        "icon",
        "index",
        "path",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, path: str | Path):
        self.path = str(path)


class qSlicerScriptedLoadableModule(ModuleParent):
    """A loaded module."""

    __slots__ = ("_widget", "name")

    def __init__(self, name: str, path: Path):
        super().__init__(path)
        self.name, self._widget = name, None

    def widgetClass(self):
        return getattr(sys.modules[self.name], f"{self.name}Widget")

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = mrml_widgets.qSlicerScriptedLoadableModuleWidget(self)
            self._widget.build()
        return self._widget


class _ModuleManager(QtCore.QObject):
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self):
        super().__init__()
        self._modules = {}

    def module(self, name):
        return self._modules.get(name)

    def add(self, module):
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)

    def connect(self, signature, function):
        getattr(self, signature.partition("(")[0]).connect(function)

    def disconnect(self, signature, function):
        getattr(self, signature.partition("(")[0]).disconnect(function)


class _Application(QtCore.QObject):
    """qSlicerApplication, as far as `slicer.util` and the module use it."""

    startupCompleted = QtCore.Signal()
    applicationName = "Slicer"

    def __init__(self, logic):
        super().__init__()
        self._logic, self._manager = logic, _ModuleManager()

    def applicationLogic(self):
        return self._logic

    def moduleManager(self):
        return self._manager

    def testingEnabled(self):
        return False

    def topLevelWidgets(self):
        return []

    def pauseRender(self):
        return 0

    def resumeRender(self):
        return 0

    def setOverrideCursor(self, shape):
        QtWidgets.QApplication.setOverrideCursor(shape)

    def restoreOverrideCursor(self):
        QtWidgets.QApplication.restoreOverrideCursor()

    def connect(self, signature, function):
        getattr(self, signature.partition("(")[0]).connect(function)


#: Scenes of before: views and logics may still look at them.
_former: list = []


def tr(text: str) -> str:
    return text


def translate(context: str, text: str) -> str:
    return text


def install() -> slicer.vtkMRMLScene:
    """Make `slicer` complete enough for the module's files, with an empty scene. Returns the scene."""
    global _qtApplication
    _qtApplication = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    _module("slicer.i18n", tr=tr, translate=translate)
    _module(
        "slicer.ScriptedLoadableModule", **{name: getattr(scripted_module, name) for name in scripted_module.__all__}
    )
    _module(
        "slicer.parameterNodeWrapper",
        **{
            name: getattr(parameter_node, name)
            for name in ("Choice", "Decimals", "WithinRange", "parameterNodeWrapper")
        },
    )
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    for kind in (mrml_widgets.qMRMLWidget, mrml_widgets.qMRMLNodeComboBox):
        setattr(slicer, kind.__name__, kind)
        qt.WIDGETS[kind.__name__] = kind
    for kind in (ctk.ctkCollapsibleButton, ctk.ctkSliderWidget, ctk.ctkPathLineEdit):
        qt.WIDGETS[kind.__name__] = kind
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = mrml_widgets.qSlicerScriptedLoadableModuleWidget
    slicer.util.delayDisplay = lambda message, autoCloseMsec=1000, parent=None, **kwargs: logging.info(message)
    if getattr(slicer, "mrmlScene", None) is not None:
        _former.append((slicer.mrmlScene, slicer.app, slicer.modules))
    slicer.mrmlScene = slicer.vtkMRMLScene()
    subject_hierarchy.follow(slicer.mrmlScene)
    slicer.app = _Application(_logic(slicer.mrmlScene))
    slicer.modules = _modules(slicer.mrmlScene, slicer.app.applicationLogic())
    if str(MODULE_FOLDER) not in sys.path:
        sys.path.insert(0, str(MODULE_FOLDER))
    return slicer.mrmlScene


def loadModule(name: str = "X2BRSlicer") -> qSlicerScriptedLoadableModule:
    """What Slicer does with a module when it starts: import it and let it describe itself."""
    file = importlib.import_module(name)
    module = qSlicerScriptedLoadableModule(name, Path(file.__file__))
    getattr(file, name)(module)
    slicer.app.moduleManager().add(module)
    return module


def openPanel(name: str = "X2BRSlicer") -> mrml_widgets.qSlicerScriptedLoadableModuleWidget:
    """What Slicer does when the user opens the module."""
    panel = (slicer.app.moduleManager().module(name) or loadModule(name)).widgetRepresentation()
    panel.enter()
    return panel


def _logic(scene) -> slicer.vtkSlicerApplicationLogic:
    """The application's logic and default nodes (Slicer: qSlicerCoreApplication::setMRMLScene)."""
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return logic


def _modules(scene, applicationLogic) -> types.SimpleNamespace:
    """Slicer's own modules, as far as used: an object with a logic each."""
    modules = types.SimpleNamespace()
    for name, kind in (
        ("cameras", slicer.vtkSlicerCamerasModuleLogic),
        ("colors", slicer.vtkSlicerColorLogic),
        ("segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
        ("subjecthierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic),
        ("markups", slicer.vtkSlicerMarkupsLogic),
    ):
        logic = kind()
        if name != "colors":  # the application has made the colours; Slicer's files of colours are not in slicer-core
            logic.SetMRMLApplicationLogic(applicationLogic)
            logic.SetMRMLScene(scene)
            applicationLogic.SetModuleLogic(name.title(), logic)
        setattr(modules, name, types.SimpleNamespace(logic=lambda logic=logic: logic))
    return modules


def _module(name: str, **contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    setattr(slicer, name.rpartition(".")[2], module)

# ruff: noqa: N801  the names are Slicer's
"""The widgets of Slicer's that know the scene."""

from __future__ import annotations

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .pythonqt import styled

_Widget = styled(QtWidgets.QWidget)


class qMRMLWidget(_Widget):
    """A widget with a scene, which it passes on."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


def _flag(name: str) -> Property:
    def write(self, value):
        self._flags[name] = value

    return Property(bool, lambda self: self._flags[name], write)


class qMRMLNodeComboBox(_Widget):
    """A choice among the nodes of some types, kept up with the scene."""

    currentNodeChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self.setFocusProxy(self._combo)
        self._scene, self._tags, self._current = None, [], None
        self._types, self._none = [], False
        self._flags = {"addEnabled": True, "removeEnabled": True, "showChildNodeTypes": True}
        self._combo.activated.connect(lambda index: self.setCurrentNode(self._nodes()[index]))

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
            self._tags = [scene.AddObserver(event, lambda *_: self._refill()) for event in events]
        self._refill()

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        if node is not None and node not in self._nodes():
            node = None
        changed = node is not self._current
        self._current = node
        self._refill()
        if changed:
            self.currentNodeChanged.emit(node)

    def _nodes(self):
        found = [None] if self._none else []
        if self._scene is None:
            return found
        for number in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(number)
            known = any(
                node.IsA(kind) if self._flags["showChildNodeTypes"] else node.GetClassName() == kind
                for kind in self._types
            )
            if known and not node.GetHideFromEditors():
                found.append(node)
        return found

    def _refill(self):
        nodes = self._nodes()
        if self._current not in nodes:
            lost, self._current = self._current, None if self._none or not nodes else nodes[0]
            if lost is not self._current:
                self.currentNodeChanged.emit(self._current)
        self._combo.blockSignals(True)
        self._combo.clear()
        for node in nodes:
            self._combo.addItem("None" if node is None else node.GetName())
        self._combo.setCurrentIndex(nodes.index(self._current) if self._current in nodes else -1)
        self._combo.blockSignals(False)

    def _setTypes(self, types):
        self._types = list(types)
        self._refill()

    def _setNone(self, enabled):
        self._none = enabled
        self._refill()

    nodeTypes = Property("QStringList", lambda self: self._types, _setTypes)
    noneEnabled = Property(bool, lambda self: self._none, _setNone)
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    showChildNodeTypes = _flag("showChildNodeTypes")


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The page of a module, into which its widget class builds."""

    def __init__(self, module):
        super().__init__()
        self._module, self._self, self._entered = module, None, False
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)

    @property
    def isEntered(self):
        return self._entered

    def self(self):
        return self._self

    def build(self):
        """What Slicer does when a module is opened for the first time."""
        self._self = self._module.widgetClass()(self)
        setattr(slicer.modules, f"{self._module.name}Widget", self._self)
        self._self.setup()

    def enter(self):
        """The user opens the module."""
        self._entered = True
        self._self.enter()

    def exit(self):
        """The user opens another module."""
        self._entered = False
        self._self.exit()

    def reload(self):
        """The end of `slicer.util.reloadScriptedModule`."""
        self.build()
        if self._entered:
            self._self.enter()

# ruff: noqa: N801  the names are CTK's
"""The module `ctk`: the widgets that the panel uses."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .pythonqt import Style
from .qt import QMessageBox, styled

_Widget = styled(QtWidgets.QWidget)


class ctkCollapsibleButton(_Widget):
    """A title over contents that it hides when it is clicked."""

    contentsCollapsed = Signal(bool)
    _TITLE = 26

    def __init__(self, parent=None):
        super().__init__(parent)
        self._button = QtWidgets.QToolButton(self)
        self._button.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        self._button.setArrowType(QtCore.Qt.DownArrow)
        self._button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._button.setFocusPolicy(QtCore.Qt.StrongFocus)
        self._button.clicked.connect(lambda: self._collapse(not self._collapsed))
        self._collapsed = False
        self.setContentsMargins(4, self._TITLE + 4, 4, 4)

    def _collapse(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._button.setArrowType(QtCore.Qt.RightArrow if collapsed else QtCore.Qt.DownArrow)
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if child is not self._button:
                child.setVisible(not collapsed)
        self.setMaximumHeight(self._TITLE if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def resizeEvent(self, event):
        self._button.setGeometry(0, 0, event.size().width(), self._TITLE)

    def _setText(self, text):
        self._button.setText(text)

    text = Property(str, lambda self: self._button.text(), _setText)
    collapsed = Property(bool, lambda self: self._collapsed, _collapse)


def _setter(name: str):
    def write(self, value):
        getattr(self._spinBox, name)(value)
        self._arrange()

    return write


class ctkSliderWidget(_Widget):
    """A slider and a spin box that say the same."""

    valueChanged = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._spinBox = QtWidgets.QDoubleSpinBox(self)
        self._spinBox.setMaximumWidth(90)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spinBox)
        self.setFocusProxy(self._slider)
        self._slider.valueChanged.connect(lambda step: self._spinBox.setValue(self._minimum() + step * self._step()))
        self._spinBox.valueChanged.connect(self._changed)
        self._arrange()

    def _minimum(self):
        return self._spinBox.minimum()

    def _step(self):
        return self._spinBox.singleStep()

    def _arrange(self):
        self._slider.blockSignals(True)
        self._slider.setRange(0, round((self._spinBox.maximum() - self._minimum()) / self._step()))
        self._slider.setValue(round((self._spinBox.value() - self._minimum()) / self._step()))
        self._slider.blockSignals(False)

    def _changed(self, value):
        self._arrange()
        self.valueChanged.emit(value)

    value = Property(float, lambda self: self._spinBox.value(), _setter("setValue"))
    minimum = Property(float, lambda self: self._spinBox.minimum(), _setter("setMinimum"))
    maximum = Property(float, lambda self: self._spinBox.maximum(), _setter("setMaximum"))
    singleStep = Property(float, lambda self: self._spinBox.singleStep(), _setter("setSingleStep"))
    decimals = Property(int, lambda self: self._spinBox.decimals(), _setter("setDecimals"))
    suffix = Property(str, lambda self: self._spinBox.suffix(), _setter("setSuffix"))


class ctkPathLineEdit(_Widget):
    """A path and a button that opens a dialog for it."""

    currentPathChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._edit = QtWidgets.QLineEdit(self)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("…")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit)
        layout.addWidget(self._button)
        self.setFocusProxy(self._edit)
        self._edit.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    def browse(self):
        path = QtWidgets.QFileDialog.getExistingDirectory(self)
        if path:
            self._edit.setText(path)

    def _setPath(self, path):
        self._edit.setText(path)

    currentPath = Property(str, lambda self: self._edit.text(), _setPath)


class ctkMessageBox(Style, QMessageBox):
    """A question to the user."""

    text = property(lambda self: QMessageBox.text(self), lambda self, value: self.setText(value))
    icon = property(lambda self: QMessageBox.icon(self), lambda self, value: self.setIcon(value))
    windowTitle = property(lambda self: QMessageBox.windowTitle(self), lambda self, value: self.setWindowTitle(value))
    detailedText = property(lambda self: "", lambda self, value: self.setDetailedText(value))
    standardButtons = property(
        lambda self: QMessageBox.standardButtons(self), lambda self, value: self.setStandardButtons(value)
    )

    def exec_(self):
        return QtWidgets.QDialog.exec(self)

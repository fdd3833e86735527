"""The module `qt`: what the panel and `slicer.util` use of it."""

from __future__ import annotations

from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .pythonqt import Style, styled

Qt = QtCore.Qt
QBuffer, QFile, QIODevice, QSettings = QtCore.QBuffer, QtCore.QFile, QtCore.QIODevice, QtCore.QSettings
QTimer = styled(QtCore.QTimer)
QCursor, QIcon, QPixmap = QtGui.QCursor, QtGui.QIcon, QtGui.QPixmap
QUrl, QDesktopServices = QtCore.QUrl, QtGui.QDesktopServices
QApplication = QtWidgets.QApplication
QMessageBox = QtWidgets.QMessageBox
QFormLayout, QGridLayout, QHBoxLayout, QVBoxLayout = (
    QtWidgets.QFormLayout,
    QtWidgets.QGridLayout,
    QtWidgets.QHBoxLayout,
    QtWidgets.QVBoxLayout,
)
#: Classes that a .ui file may name; the application adds those of CTK and Slicer.
WIDGETS: dict[str, type] = {
    name: styled(getattr(QtWidgets, name))
    for name in (
        "QWidget",
        "QCheckBox",
        "QComboBox",
        "QDoubleSpinBox",
        "QLabel",
        "QLineEdit",
        "QProgressBar",
        "QPushButton",
        "QSpinBox",
        "QTabWidget",
        "QTextBrowser",
        "QToolButton",
    )
}
globals().update(WIDGETS)


class QFileDialog:
    """PythonQt gives the path alone."""

    @staticmethod
    def getOpenFileName(parent=None, caption="", folder="", filters=""):
        return QtWidgets.QFileDialog.getOpenFileName(parent, caption, folder, filters)[0]

    @staticmethod
    def getSaveFileName(parent=None, caption="", folder="", filters=""):
        return QtWidgets.QFileDialog.getSaveFileName(parent, caption, folder, filters)[0]

    @staticmethod
    def getExistingDirectory(parent=None, caption="", folder=""):
        return QtWidgets.QFileDialog.getExistingDirectory(parent, caption, folder)


class QUiLoader(QtUiTools.QUiLoader):
    """Makes the widgets of this module, and of no other class."""

    def createWidget(self, className, parent=None, name=""):
        if className not in WIDGETS:
            raise RuntimeError(f"{name}: {className} is no widget that Slicer has, or that the test host knows")
        widget = WIDGETS[className](parent)
        widget.setObjectName(name)
        return widget

    def load(self, file, parent=None):
        tree = ElementTree.fromstring(bytes(file.readAll()))
        connections = tree.find("connections")
        wires = [] if connections is None else [[end.text for end in wire] for wire in connections]
        if connections is not None:
            tree.remove(connections)  # PySide6 has no type vtkMRMLScene*
        for widget in tree.iter("widget"):
            for setting in widget.findall("property"):
                if (setting.findtext("set") or "").startswith("ctk"):  # enumerations of CTK's
                    widget.remove(setting)
        buffer = QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QIODevice.ReadOnly)
        Style.loading = True
        try:
            widget = super().load(buffer, parent)
        finally:
            Style.loading = False
        for sender, signal, receiver, slot in wires:
            ends = [
                widget if widget.objectName == end else widget.findChild(QtWidgets.QWidget, end)
                for end in (sender, receiver)
            ]
            getattr(ends[0], signal.partition("(")[0]).connect(getattr(ends[1], slot.partition("(")[0]))
        return widget

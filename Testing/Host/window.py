"""A window with the panel beside a 3D view and a slice view, as Slicer lays them out."""

from __future__ import annotations

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from .application import openPanel
from .views import SliceView, ThreeDView

_PANEL_WIDTH = 400
_REDRAW_MS = 40
_BUTTONS = {QtCore.Qt.LeftButton: "Left", QtCore.Qt.MiddleButton: "Middle", QtCore.Qt.RightButton: "Right"}


class ViewWidget(QtWidgets.QLabel):
    """Shows a view's picture, and hands it the mouse."""

    def __init__(self, view, name: str):
        super().__init__()
        self.setMinimumSize(200, 200)
        self.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Ignored)
        self.setObjectName(name)
        self._view, self._stale = view, True
        view.changed = self.refresh
        self._timer = QtCore.QTimer()
        self._timer.timeout.connect(self._redraw)
        self._timer.start(_REDRAW_MS)

    def refresh(self, *_):
        """Redraw soon."""
        self._stale = True

    def resizeEvent(self, event):
        self._view.resize(event.size().width(), event.size().height())
        self.refresh()

    def mousePressEvent(self, event):
        self._tell(event, f"{_BUTTONS.get(event.button(), 'Left')}ButtonPressEvent")

    def mouseReleaseEvent(self, event):
        self._tell(event, f"{_BUTTONS.get(event.button(), 'Left')}ButtonReleaseEvent")

    def mouseMoveEvent(self, event):
        self._tell(event, "MouseMoveEvent")

    def wheelEvent(self, event):
        self._tell(event, "MouseWheelForwardEvent" if event.angleDelta().y() > 0 else "MouseWheelBackwardEvent")

    def _tell(self, event, name: str):
        place = event.position()
        interactor = self._view.interactor
        interactor.SetEventInformationFlipY(int(place.x()), int(place.y()), 0, 0, chr(0), 0, None)
        interactor.InvokeEvent(name)
        self.refresh()

    def _redraw(self):
        if self._stale and self.isVisible():
            self._stale = False
            self.setPixmap(QtGui.QPixmap.fromImage(image(self._view.picture())))


class Window(QtWidgets.QMainWindow):
    """The panel on the left, the views on the right."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("X2BR")
        self.threeD, self.film = ThreeDView(), SliceView()
        self.panel = openPanel()
        scroll = QtWidgets.QScrollArea()
        scroll.setWidget(self.panel)
        scroll.setWidgetResizable(True)
        scroll.setFixedWidth(_PANEL_WIDTH + 20)
        scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        views = QtWidgets.QSplitter()
        views.addWidget(ViewWidget(self.threeD, "3D"))
        views.addWidget(ViewWidget(self.film, "film"))
        middle = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(scroll)
        row.addWidget(views, 1)
        self.setCentralWidget(middle)
        self.resize(1400, 900)

    def closeEvent(self, event):
        self.panel.self().cleanup()
        super().closeEvent(event)


def image(picture) -> QtGui.QImage:
    """A picture ``(rows, columns, 3)`` uint8 for Qt."""
    rows, columns, _channels = picture.shape
    return QtGui.QImage(picture.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


def picture_of(widget: QtWidgets.QWidget) -> np.ndarray:
    """A widget as it is painted, ``(rows, columns, 3)`` uint8."""
    painted = widget.grab().toImage().convertToFormat(QtGui.QImage.Format_RGB888)
    rows, columns, step = painted.height(), painted.width(), painted.bytesPerLine()
    lines = np.frombuffer(painted.constBits(), np.uint8).reshape(rows, step)[:, : 3 * columns]
    return lines.reshape(rows, columns, 3).copy()


def goDark(application: QtWidgets.QApplication) -> None:
    """Slicer's dark theme: Qt's Fusion style in its colours (Slicer: qSlicerStyle)."""
    application.setStyle("Fusion")
    palette = QtGui.QPalette()
    ground, base, ink, off = (QtGui.QColor(*rgb) for rgb in ((50,) * 3, (35,) * 3, (245,) * 3, (128,) * 3))
    for role in ("Window", "Button", "AlternateBase", "ToolTipBase"):
        palette.setColor(getattr(QtGui.QPalette, role), ground)
    palette.setColor(QtGui.QPalette.Base, base)
    for role in ("WindowText", "ButtonText", "Text", "ToolTipText", "BrightText"):
        palette.setColor(getattr(QtGui.QPalette, role), ink)
        palette.setColor(QtGui.QPalette.Disabled, getattr(QtGui.QPalette, role), off)
    palette.setColor(QtGui.QPalette.Link, QtGui.QColor(100, 170, 255))
    palette.setColor(QtGui.QPalette.Highlight, QtGui.QColor(42, 130, 218))
    palette.setColor(QtGui.QPalette.HighlightedText, ink)
    application.setPalette(palette)

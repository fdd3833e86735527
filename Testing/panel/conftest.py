"""The panel, opened as Slicer opens it, and hands that click on it."""

import json
import os
import time

import numpy as np
import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"  # also where a screen is at hand

pytest.importorskip("slicer", reason="the panel tests need slicer-core: pip install 'x2br[slicer]'")
pytest.importorskip("PySide6", reason="the panel tests need PySide6: pip install 'x2br[slicer]'")

from PySide6 import QtCore, QtTest, QtWidgets

from Testing.host_fixtures import *  # noqa: F403


class User:
    """Looks at the panel and uses mouse and keyboard, as people do."""

    def __init__(self, panel):
        self.panel = panel
        panel.resize(400, 900)
        panel.show()
        self.see()

    @property
    def module(self):
        """The widget class's instance; another one after a reload."""
        return self.panel.self()

    @property
    def reconstruct(self):
        """The widgets of the first page, and so on."""
        return self.module.tabs[0].ui

    @property
    def check(self):
        return self.module.tabs[1].ui

    @property
    def drr(self):
        return self.module.tabs[2].ui

    @property
    def models(self):
        return self.module.tabs[3].ui

    @property
    def parameters(self):
        return self.module.tabs[0].parameters

    def turn_to(self, number: int) -> None:
        """Turn to a page."""
        self.module.ui.tabs.setCurrentIndex(number)
        self.see()

    def see(self, seconds: float = 0.0) -> None:
        """Let the panel do what it does."""
        end = time.monotonic() + seconds
        while True:
            QtWidgets.QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait(self, until, seconds: float = 30.0) -> None:
        """Wait for something to be so; the panel stays alive meanwhile."""
        end = time.monotonic() + seconds
        while not until():
            self.see()
            assert time.monotonic() < end, f"waited {seconds} s in vain; the panel says: {self.status}"
            time.sleep(0.005)
        self.see()

    @property
    def status(self) -> list[str]:
        return [tab.ui.statusLabel.text for tab in self.module.tabs]

    def click(self, widget) -> None:
        """Press and release the left button in the middle of a widget that can be seen and used."""
        assert widget.isVisible(), f"{widget.objectName} cannot be seen"
        assert widget.isEnabled(), f"{widget.objectName} is off: {widget.toolTip}"
        place = QtCore.QPoint(10, widget.height // 2)
        QtTest.QTest.mouseClick(widget, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, place)
        self.see()

    def choose(self, box, text: str) -> None:
        """Choose an entry by typing its beginning, as one may in any combo box."""
        box.setFocus()
        number = box.findText(text)
        assert number >= 0, f"{text} is not in {box.objectName}"
        key = QtCore.Qt.Key_Home
        QtTest.QTest.keyClick(box, key)
        for _ in range(number):
            QtTest.QTest.keyClick(box, QtCore.Qt.Key_Down)
        self.see(0.02)

    def type(self, box, text: str) -> None:
        """Replace a number and leave the field."""
        box.setFocus()
        box.selectAll()
        QtTest.QTest.keyClicks(box, text)
        QtTest.QTest.keyClick(box, QtCore.Qt.Key_Return)
        self.see(0.02)

    def idle(self) -> bool:
        return not any(tab.course.busy for tab in self.module.tabs)


@pytest.fixture
def a_panel(a_module, monkeypatch):
    """The panel, which finds no detector: a run with it has boxes, and tests for that bring it back."""
    from X2BRSlicerLib import core

    from Testing.Host import openPanel

    monkeypatch.setattr(core, "whyNoDetection", lambda: "no detector is installed")
    user = User(openPanel())
    yield user
    user.module.cleanup()
    user.panel.hide()
    user.panel.deleteLater()
    user.see()


@pytest.fixture
def film(tmp_path, an_oblique_geometry):
    """A film on disk whose geometry is known: AP, 70 x 80 pixels."""
    from PIL import Image

    from X2BRLogic.geometry import XRayGeometry

    geometry = XRayGeometry.from_view("AP", shape=(80, 70), spacing=(5.0, 5.0), sid=1700.0, sod=1400.0)
    pixels = np.random.default_rng(0).integers(100, 60000, (80, 70)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "chest.png")
    (tmp_path / "chest.geometry.json").write_text(json.dumps(geometry.to_dict()))
    return tmp_path / "chest.png"


@pytest.fixture
def dialog(monkeypatch):
    """What the user picks in the dialog for files."""
    import qt

    picked = []
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *a: str(picked.pop(0)) if picked else "")
    return picked


@pytest.fixture
def an_opened_film(a_panel, film, dialog):
    """The panel with a film in it."""
    dialog.append(film)
    a_panel.click(a_panel.reconstruct.openButton)
    a_panel.see(0.05)
    a_panel.choose(a_panel.reconstruct.detailBox, "64")
    return a_panel


@pytest.fixture
def a_result(an_opened_film):
    """The panel after a run with named bones."""
    user = an_opened_film
    user.choose(user.reconstruct.methodBox, "x2br")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    return user

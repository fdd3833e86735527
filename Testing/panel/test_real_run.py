"""The panel with nothing in any place: the sample film, the worker with the networks, the views."""

import numpy as np
import pytest
import slicer
from PySide6 import QtCore, QtWidgets


@pytest.mark.weights
def test_a_newcomer_gets_from_the_sample_to_bones_on_screen(a_scene, dialog):
    from X2BRSlicerLib import core

    from Testing.Host import openPanel
    from Testing.Host.views import SliceView, ThreeDView
    from Testing.panel.conftest import User

    view, film = ThreeDView(300, 300), SliceView(300, 300)
    user = User(openPanel())
    try:
        dialog.append(core.sampleRadiographPath())
        user.click(user.reconstruct.openButton)
        user.see(0.05)
        assert film.picture()[150, 150].max() > 60  # the film is on screen
        empty, bare = view.picture().astype(int), film.picture().astype(int)
        if not core.whyNoDetection():
            user.click(user.reconstruct.detectButton)
            user.wait(user.idle, 120)
            assert "bones detected" in user.status[0] and slicer.util.getNode("chest_ap boxes")
        user.choose(user.reconstruct.detailBox, "64")
        user.click(user.reconstruct.reconstructButton)
        user.wait(user.idle, 120)
        assert "Done in" in user.status[0]
        ribs = [node for node in slicer.util.getNodesByClass("vtkMRMLModelNode") if node.GetName().startswith("rib_")]
        assert len(ribs) > 12 and sum(rib.GetPolyData().GetNumberOfCells() for rib in ribs) > 1000
        assert user.reconstruct.ribsLeftBox.isEnabled() and user.reconstruct.vertebraeBox.isEnabled()
        # bones in 3D, and their outlines over the film
        assert (np.abs(view.picture() - empty).max(axis=2) > 40).mean() > 0.05
        assert 0.005 < (np.abs(film.picture() - bare).max(axis=2) > 40).mean() < 0.2
        user.turn_to(1)
        user.click(user.check.reprojectButton)
        user.wait(user.idle, 60)
        assert user.status[1] == "Done."
    finally:
        user.module.cleanup()


def test_no_page_is_wider_than_400_pixels(a_panel):
    for number in range(4):
        a_panel.turn_to(number)
        page = a_panel.module.tabs[number].widget
        assert page.minimumSizeHint().width() <= 360
        for child in page.findChildren(QtWidgets.QWidget):
            inner = isinstance(QtWidgets.QWidget.parentWidget(child), QtWidgets.QAbstractScrollArea)
            if child.isVisible() and not inner:
                right = child.mapTo(a_panel.panel, QtCore.QPoint(QtWidgets.QWidget.width(child), 0)).x()
                assert right <= 400, f"{QtCore.QObject.objectName(child)} ends at {right}"


def test_the_panel_can_be_read_in_the_dark(a_panel):
    """No colour is fixed that a theme could not change: in Slicer's dark theme the ink is light, the ground dark."""
    from Testing.Host.window import goDark, picture_of

    application = QtWidgets.QApplication.instance()
    style, palette = application.style().objectName(), application.palette()
    try:
        goDark(application)
        for number in range(4):
            a_panel.turn_to(number)
            grey = picture_of(a_panel.panel).max(axis=2)
            assert np.median(grey) < 90 and (grey > 180).mean() > 0.003
            assert (grey > 180).mean() < 0.2  # nowhere a white field
    finally:
        application.setStyle(style)
        application.setPalette(palette)

"""Clicks on the pages Check and Models."""

import pytest
import slicer


def test_without_a_result_there_is_nothing_to_check(a_panel):
    a_panel.turn_to(1)
    ui = a_panel.check
    assert not ui.reprojectButton.isEnabled() and "reconstruct first" in ui.reprojectButton.toolTip
    assert not ui.evaluateButton.isEnabled() and not ui.distanceBox.isEnabled()


def test_the_bones_are_laid_over_the_film(a_result):
    a_result.turn_to(1)
    ui = a_result.check
    a_result.click(ui.reprojectButton)
    a_result.wait(a_result.idle)
    assert a_result.status[1] == "Done." and "Outlines from the film's edges" in ui.filmFigures.text
    assert not ui.filmPicture.pixmap.isNull() and ui.filmPicture.pixmap.width() <= 360


def test_the_bones_are_laid_over_a_lateral_film(a_result, a_module, a_radiograph):
    from X2BRSlicerLib.nodes import radiographs

    a_result.turn_to(1)
    ui = a_result.check
    a_result.choose(ui.filmBox, "the lateral film")
    assert not ui.reprojectButton.isEnabled() and "lateral film" in ui.reprojectButton.toolTip
    lateral = radiographs.volumeFromRadiograph(a_radiograph, "lateral")
    radiographs.changeGeometry(lateral, view="LAT")
    a_result.parameters.lateral = lateral
    a_result.see(0.05)
    a_result.click(ui.reprojectButton)
    a_result.wait(a_result.idle)
    assert a_result.status[1] == "Done."


def test_the_result_is_measured_and_coloured_by_distance(a_result, a_thorax_ct):
    a_result.turn_to(1)
    ui = a_result.check
    assert "Choose the bones" in ui.evaluateButton.toolTip
    a_result.parameters.ctLabels = a_thorax_ct[1]
    a_result.see(0.05)
    a_result.click(ui.evaluateButton)
    a_result.wait(a_result.idle, 60)
    table = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode")
    assert table.GetTable().GetColumnName(1) == "strict" and "iou" in ui.ctFigures.text and "paper" in ui.ctFigures.text
    a_result.click(ui.distanceBox)
    look = slicer.util.getNode("sternum").GetDisplayNode()
    assert look.GetScalarVisibility() and look.GetActiveScalarName() == "distance_mm"
    a_result.click(ui.distanceBox)
    assert not look.GetScalarVisibility()


def test_a_label_map_without_bones_is_told(a_result, a_thorax_ct):
    import numpy as np

    labels = a_thorax_ct[1]
    slicer.util.updateVolumeFromArray(labels, np.full((4, 5, 6), 200, dtype=np.uint8))
    a_result.turn_to(1)
    a_result.parameters.ctLabels = labels
    a_result.see(0.05)
    a_result.click(a_result.check.evaluateButton)
    assert a_result.status[1].startswith("Not measured: bones has no labels of bones")


def test_every_model_has_its_card(a_panel):
    a_panel.turn_to(3)
    ui = a_panel.models
    cards = set()
    for number in range(ui.modelBox.count):
        a_panel.choose(ui.modelBox, ui.modelBox.itemText(number))
        cards.add(ui.cardBrowser.toPlainText())
    assert len(cards) == ui.modelBox.count and all(len(card) > 100 for card in cards)


def test_the_self_check_says_that_all_is_well(a_panel):
    a_panel.turn_to(3)
    a_panel.click(a_panel.models.selfCheckButton)
    a_panel.wait(a_panel.idle)
    assert a_panel.status[3] == "Nothing is wrong."
    assert "has loaded x2b_aligned" in a_panel.models.selfCheckNote.text
    assert "no CUDA card" in a_panel.models.selfCheckNote.text


@pytest.fixture
def one_package_missing(a_panel, monkeypatch):
    """onnxruntime's like is missing until it is installed; what was installed, and what was asked."""
    from X2BRSlicerLib import core

    installed, asked = [], []

    def missing(lines=None):
        return [] if lines is not None or installed else ["torch>=2.4", "trimesh>=4.4"]

    monkeypatch.setattr(core, "missing", missing)
    monkeypatch.setattr(slicer.util, "pip_install", lambda packages: installed.extend(packages), raising=False)
    import ctk
    import qt

    def answer(box):
        asked.append(box.text)
        return qt.QMessageBox.Ok if len(asked) > 1 else qt.QMessageBox.Cancel

    monkeypatch.setattr(ctk.ctkMessageBox, "exec_", answer)
    a_panel.module.updateTabs()
    return a_panel, installed, asked


def test_missing_packages_are_installed_after_asking(one_package_missing):
    user, installed, asked = one_package_missing
    user.turn_to(3)
    assert "Missing: torch>=2.4, trimesh>=4.4" in user.models.packagesNote.text
    user.click(user.models.selfCheckButton)
    assert "Python packages are missing" in user.models.selfCheckNote.text and user.idle()
    user.click(user.models.installButton)  # the user says no
    assert len(asked) == 1 and not installed
    assert "torch>=2.4, trimesh>=4.4" in asked[0] and "icence" in asked[0]
    user.click(user.models.installButton)
    assert installed == ["torch>=2.4", "trimesh>=4.4"]
    assert "All packages are installed." in user.models.packagesNote.text
    assert not user.models.installButton.isEnabled()

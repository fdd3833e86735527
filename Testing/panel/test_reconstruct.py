"""Clicks on the page Reconstruct."""

import time

import numpy as np
import pytest
import slicer


def models() -> list[str]:
    return sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLModelNode"))


def node_ids() -> set[str]:
    return {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}


def test_an_empty_panel_says_what_to_do(a_panel):
    ui = a_panel.reconstruct
    assert not ui.reconstructButton.isEnabled() and not ui.cancelButton.isEnabled()
    assert ui.reconstructButton.toolTip == "Open or choose a radiograph first."
    assert ui.openButton.isEnabled() and not ui.sidBox.isEnabled()
    assert "no result" in ui.resultNote.text
    assert "Not a medical device" in a_panel.module.ui.noticeLabel.text


def test_open_reads_the_film_and_its_geometry(an_opened_film):
    ui = an_opened_film.reconstruct
    assert an_opened_film.parameters.radiograph.GetName() == "chest"
    assert (ui.sidBox.value, ui.sodBox.value, ui.rowSpacingBox.value) == (1700.0, 1400.0, 5.0)
    assert {ui.sidKnown.text, ui.sodKnown.text, ui.spacingKnown.text, ui.viewKnown.text} == {"known"}
    assert ui.viewBox.currentText == "AP"
    assert ui.reconstructButton.isEnabled()


def test_open_of_a_broken_film_says_so(a_panel, dialog, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    dialog.append(tmp_path / "broken.png")
    before = node_ids()
    a_panel.click(a_panel.reconstruct.openButton)
    assert "broken.png" in a_panel.status[0]
    assert node_ids() == before


def test_open_and_then_cancel_the_dialog(a_panel, dialog):
    before = node_ids()
    a_panel.click(a_panel.reconstruct.openButton)
    assert node_ids() == before


def test_a_film_without_tags_is_assumed_until_the_user_says_more(a_panel, dialog, film):
    (film.parent / "chest.geometry.json").unlink()
    dialog.append(film)
    ui = a_panel.reconstruct
    a_panel.click(ui.openButton)
    a_panel.see(0.05)
    assert (ui.sidKnown.text, ui.spacingKnown.text) == ("assumed", "assumed")
    a_panel.type(ui.sidBox, "1650")
    assert (ui.sidBox.value, ui.sidKnown.text, ui.sodKnown.text) == (1650.0, "known", "assumed")
    a_panel.type(ui.rowSpacingBox, "4.5")
    assert ui.spacingKnown.text == "known"
    a_panel.choose(ui.viewBox, "PA")
    assert ui.viewKnown.text == "known"
    a_panel.see(0.05)
    from X2BRSlicerLib.nodes import radiographs

    geometry = radiographs.radiographFromVolume(a_panel.parameters.radiograph).geometry
    assert (geometry.view, geometry.sid, geometry.spacing[0]) == ("PA", 1650.0, pytest.approx(4.5))


def test_numbers_without_sense_are_refused_and_shown_as_they_were(an_opened_film):
    ui = an_opened_film.reconstruct
    an_opened_film.type(ui.sodBox, "1900")
    assert "SOD" in an_opened_film.status[0]
    assert ui.sodBox.value == 1400.0


def test_a_lateral_film_is_not_reconstructed_from(an_opened_film):
    ui = an_opened_film.reconstruct
    an_opened_film.choose(ui.viewBox, "LAT")
    an_opened_film.see(0.05)
    assert not ui.reconstructButton.isEnabled() and "frontal" in ui.reconstructButton.toolTip


def test_every_method_has_its_line(a_panel):
    ui = a_panel.reconstruct
    for number in range(ui.methodBox.count):
        method = ui.methodBox.itemText(number)
        a_panel.choose(ui.methodBox, method)
        assert 30 < len(ui.methodNote.text) < 140
        assert a_panel.parameters.method == method


def test_reconstruct_puts_the_bones_into_the_scene(an_opened_film):
    user = an_opened_film
    user.click(user.reconstruct.reconstructButton)
    assert user.reconstruct.cancelButton.isEnabled() and user.reconstruct.progressBar.isVisible()
    assert not user.reconstruct.reconstructButton.isEnabled()
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]
    assert "Done in" in user.status[0] and not user.reconstruct.cancelButton.isEnabled()
    assert "524 ml" in user.reconstruct.resultNote.text
    assert not user.reconstruct.ribsLeftBox.isVisible()  # one mesh has no groups


def test_nothing_waits_while_the_worker_works(an_opened_film):
    user = an_opened_film
    user.choose(user.reconstruct.detailBox, "128")
    user.click(user.reconstruct.reconstructButton)
    user.wait(lambda: "Finding the surface" in user.status[0])
    longest, before = 0.0, time.monotonic()
    for _ in range(60):
        user.see(0.01)
        longest, before = max(longest, time.monotonic() - before - 0.01), time.monotonic()
    assert longest < 1.0  # of the minute that the job takes
    user.click(user.reconstruct.cancelButton)


@pytest.mark.parametrize("moment", ["at once", "first progress", "later", "deaf"])
def test_cancel_at_any_moment_leaves_the_scene_as_it_was(an_opened_film, moment):
    user = an_opened_film
    user.choose(user.reconstruct.detailBox, "256" if moment == "deaf" else "128")
    user.see(0.05)
    before = node_ids()
    user.click(user.reconstruct.reconstructButton)
    if moment != "at once":
        user.wait(lambda: "Finding the surface" in user.status[0])
    if moment == "later":
        user.see(0.5)
    start = time.monotonic()
    user.click(user.reconstruct.cancelButton)
    assert time.monotonic() - start < 1.0
    assert user.status[0] == "Cancelled." and user.reconstruct.reconstructButton.isEnabled()
    user.see(0.3)
    assert node_ids() == before and not models()
    # and the next run is as good as any
    user.choose(user.reconstruct.detailBox, "64")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]


def test_named_bones_come_and_go_by_group(a_result):
    ui = a_result.reconstruct
    ribs = slicer.util.getNode("rib_left_3")
    assert ui.ribsLeftBox.checked and ribs.GetDisplayNode().GetVisibility()
    a_result.click(ui.ribsLeftBox)
    assert not ribs.GetDisplayNode().GetVisibility()
    assert not slicer.util.getNode("Left ribs outline").GetDisplayNode().GetVisibility()
    assert slicer.util.getNode("rib_right_3").GetDisplayNode().GetVisibility()
    a_result.click(ui.ribsLeftBox)
    assert ribs.GetDisplayNode().GetVisibility()
    a_result.click(ui.outlinesBox)
    assert not slicer.util.getNode("Sternum outline").GetDisplayNode().GetVisibility()
    assert not ui.cartilagesBox.isEnabled()  # there are none


def test_opacity_and_colours(a_result):
    ui = a_result.reconstruct
    look = slicer.util.getNode("sternum").GetDisplayNode()
    ui.opacitySlider.value = 0.4
    a_result.see(0.02)
    assert look.GetOpacity() == pytest.approx(0.4)
    a_result.choose(ui.colourBox, "by expected error")
    assert look.GetScalarVisibility() and look.GetActiveScalarName() == "expected_error_mm"
    legend = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLColorLegendDisplayNode")
    assert legend.GetVisibility() and legend.GetTitleText() == "Expected error, mm"
    a_result.choose(ui.colourBox, "by distance from the CT")
    assert "Measure the result against a CT first" in a_result.status[0]
    assert ui.colourBox.currentText == "as bones"


def test_segmentation_and_delete(a_result):
    ui = a_result.reconstruct
    a_result.click(ui.segmentationButton)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode").GetSegmentation().GetNumberOfSegments() == 4
    a_result.click(ui.deleteButton)
    assert not models() and slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert a_result.parameters.radiograph is not None and not ui.deleteButton.isEnabled()


def test_a_second_run_replaces_the_first(a_result):
    user, before = a_result, models()
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert models() == before
    user.choose(user.reconstruct.methodBox, "x2b")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]


def test_switching_radiographs_while_working_gives_the_result_to_the_first(an_opened_film, a_module, a_radiograph):
    user = an_opened_film
    first = user.parameters.radiograph
    other = a_module.radiographs.volumeFromRadiograph(a_radiograph, "other")
    user.click(user.reconstruct.reconstructButton)
    user.parameters.radiograph = other
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]
    assert slicer.util.getNode("chest bones").GetNodeReference("X2BR.Origin") is first
    assert "no result" in user.reconstruct.resultNote.text


def test_closing_the_scene_while_working(an_opened_film):
    user = an_opened_film
    user.choose(user.reconstruct.detailBox, "128")
    user.click(user.reconstruct.reconstructButton)
    user.wait(lambda: "Finding the surface" in user.status[0])
    slicer.mrmlScene.Clear(0)
    user.see(0.3)
    assert user.idle() and not models()
    assert user.status[0] == "Cancelled: the scene was closed."
    assert user.parameters is not None and user.parameters.radiograph is None
    assert user.reconstruct.reconstructButton.toolTip == "Open or choose a radiograph first."


def test_the_film_is_removed_while_working(an_opened_film):
    user = an_opened_film
    user.click(user.reconstruct.reconstructButton)
    slicer.mrmlScene.RemoveNode(user.parameters.radiograph)
    user.wait(user.idle)
    assert "removed" in user.status[0] and not models()


def test_reloading_the_module_while_working(an_opened_film):
    user = an_opened_film
    user.choose(user.reconstruct.detailBox, "128")
    user.click(user.reconstruct.reconstructButton)
    user.wait(lambda: "Finding the surface" in user.status[0])
    before = user.module
    slicer.util.reloadScriptedModule("X2BRSlicer")
    user.see(0.2)
    assert user.module is not before and user.idle() and not models()
    assert user.parameters.radiograph.GetName() == "chest"
    user.choose(user.reconstruct.detailBox, "64")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]


def test_a_killed_worker_is_told_and_replaced(an_opened_film, warm_workers):
    import os
    import signal

    user = an_opened_film
    user.choose(user.reconstruct.detailBox, "128")
    user.click(user.reconstruct.reconstructButton)
    user.wait(lambda: "Finding the surface" in user.status[0])
    os.kill(warm_workers["films"].facts["pid"], signal.SIGKILL)
    user.wait(user.idle)
    assert "Not reconstructed: the worker was killed" in user.status[0] and not models()
    user.choose(user.reconstruct.detailBox, "64")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert models() == ["chest bones", "chest bones outline"]


def test_a_full_disk_is_told(an_opened_film, monkeypatch):
    import errno
    import os

    import X2BRLogic.worker.exchange as exchange

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(exchange.np, "savez", full)
    user = an_opened_film
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert "Not reconstructed: no room for temporary files" in user.status[0] and not models()


def test_what_the_network_refuses_is_told_in_its_words(an_opened_film):
    user = an_opened_film
    node = user.parameters.radiograph
    slicer.util.updateVolumeFromArray(node, np.linspace(0, 1e9, 5600, dtype=np.float32).reshape(1, 80, 70))
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert user.status[0] == "Not reconstructed: the network sees no bone in this film; give another"


def test_detect_draws_boxes(an_opened_film, monkeypatch):
    from X2BRSlicerLib import core

    monkeypatch.setattr(core, "whyNoDetection", lambda: "")
    user = an_opened_film
    user.module.updateTabs()
    user.click(user.reconstruct.detectButton)
    user.wait(user.idle)
    assert user.status[0] == "2 bones detected. rib 12 was not seen"
    assert user.reconstruct.boxesNote.text == "2 boxes"
    assert models() == ["chest boxes"]
    boxes = slicer.util.getNode("chest boxes").GetDisplayNode()
    user.click(user.reconstruct.boxesBox)
    assert not boxes.GetVisibility()


def test_named_bones_without_boxes_are_detected_first(an_opened_film, monkeypatch):
    from X2BRSlicerLib import core
    from X2BRSlicerLib.nodes import radiographs

    monkeypatch.setattr(core, "whyNoDetection", lambda: "")
    user = an_opened_film
    user.choose(user.reconstruct.methodBox, "x2br")
    user.click(user.reconstruct.reconstructButton)
    user.wait(user.idle)
    assert len(radiographs.boxesOf(user.parameters.radiograph)) == 2
    assert "rib_left_3" in models() and "chest boxes" in models()


def test_without_detection_the_button_says_why(an_opened_film, monkeypatch):
    from X2BRSlicerLib import core

    monkeypatch.setattr(core, "whyNoDetection", lambda: "the detection of bones is not in this version of X2BR")
    an_opened_film.module.updateTabs()
    ui = an_opened_film.reconstruct
    assert not ui.detectButton.isEnabled() and "not in this version" in ui.detectButton.toolTip
    assert "not in this version" in ui.boxesNote.text


def test_missing_packages_turn_the_panel_off_and_say_where_to_get_them(an_opened_film, monkeypatch):
    from X2BRSlicerLib import core

    monkeypatch.setattr(core, "missing", lambda lines=None: ["torch>=2.4"])
    an_opened_film.module.updateTabs()
    ui = an_opened_film.reconstruct
    assert not ui.reconstructButton.isEnabled() and "torch>=2.4" in ui.reconstructButton.toolTip
    assert not ui.openButton.isEnabled()


def test_a_saved_scene_reopens_in_the_panel(a_result, tmp_path):
    user = a_result
    (tmp_path / "saved").mkdir()
    assert slicer.app.applicationLogic().SaveSceneToSlicerDataBundleDirectory(str(tmp_path / "saved"))
    slicer.mrmlScene.Clear(0)
    user.see(0.05)
    assert not models()
    slicer.mrmlScene.SetURL(str(next((tmp_path / "saved").glob("*.mrml"))))
    assert slicer.mrmlScene.Import()
    user.see(0.05)
    assert user.parameters.radiograph.GetName() == "chest"
    assert user.reconstruct.methodBox.currentText == "x2br" and user.reconstruct.detailBox.currentText == "64"
    assert user.reconstruct.ribsLeftBox.isEnabled() and "x2br" in user.reconstruct.resultNote.text


def test_the_keyboard_goes_through_the_page_from_top_to_bottom(an_opened_film):
    ui = an_opened_film.reconstruct
    page = an_opened_film.module.tabs[0].widget
    order, widget = [], ui.radiographSelector
    for _ in range(60):
        widget = widget.nextInFocusChain()
        if widget.parent() is page or widget.objectName:
            order.append(widget.objectName if isinstance(widget.objectName, str) else widget.objectName())
    wanted = [
        "openButton",
        "viewBox",
        "sidBox",
        "methodBox",
        "detailBox",
        "reconstructButton",
        "cancelButton",
        "colourBox",
    ]
    assert [name for name in order if name in wanted] == wanted

"""Clicks on the page DRR."""

import slicer
from vtk.util.numpy_support import vtk_to_numpy


def open_page(user, a_thorax_ct):
    ct, labels = a_thorax_ct
    user.turn_to(2)
    user.parameters.ct = ct
    user.parameters.drrSize = 96
    user.parameters.drrSpacing = 4.0
    user.see(0.05)
    return ct, labels


def preview(user):
    """What the preview shows, as something that changes with it."""
    picture = user.drr.previewPicture.pixmap
    return None if picture.isNull() else picture.toImage()


def radiographs() -> list[str]:
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node.GetName() for node in nodes if node.GetAttribute("X2BR.Geometry")]


def test_without_a_ct_there_is_nothing_to_generate(a_panel):
    a_panel.turn_to(2)
    assert not a_panel.drr.generateButton.isEnabled()
    assert a_panel.drr.generateButton.toolTip == "Load and choose a CT first."
    assert not a_panel.drr.buildButton.isEnabled()


def test_the_preview_follows_the_sliders(a_panel, a_thorax_ct):
    open_page(a_panel, a_thorax_ct)
    a_panel.wait(lambda: preview(a_panel) is not None)
    first = preview(a_panel)
    a_panel.drr.angleSlider.value = 40
    a_panel.wait(lambda: preview(a_panel) != first)
    assert a_panel.parameters.drrAngle == 40
    turned = preview(a_panel)
    for angle in range(41, 60):  # faster than previews come
        a_panel.drr.angleSlider.value = angle
        a_panel.see()
    a_panel.wait(lambda: preview(a_panel) != turned and a_panel.module.tabs[2]._preview is None)
    assert not radiographs()


def test_generate_puts_the_radiograph_into_the_scene(a_panel, a_thorax_ct):
    _ct, labels = open_page(a_panel, a_thorax_ct)
    a_panel.parameters.ctLabels = labels
    a_panel.choose(a_panel.drr.viewBox, "PA")
    a_panel.click(a_panel.drr.claheBox)
    a_panel.click(a_panel.drr.generateButton)
    a_panel.wait(a_panel.idle)
    assert radiographs() == ["ct PA"] and "Made: ct PA" in a_panel.status[2]
    # it is a film like any other: the first page takes it
    a_panel.turn_to(0)
    a_panel.parameters.radiograph = slicer.util.getNode("ct PA")
    a_panel.see(0.05)
    assert a_panel.reconstruct.viewBox.currentText == "PA" and a_panel.reconstruct.reconstructButton.isEnabled()
    assert a_panel.reconstruct.boxesNote.text == "2 boxes"


def test_bones_only_needs_the_bones(a_panel, a_thorax_ct):
    _ct, labels = open_page(a_panel, a_thorax_ct)
    a_panel.click(a_panel.drr.bonesOnlyBox)
    a_panel.see(0.05)
    assert not a_panel.drr.generateButton.isEnabled() and "needs the bones" in a_panel.drr.generateButton.toolTip
    a_panel.parameters.ctLabels = labels
    a_panel.see(0.05)
    a_panel.click(a_panel.drr.generateButton)
    a_panel.wait(a_panel.idle)
    (name,) = radiographs()
    pixels = slicer.util.arrayFromVolume(slicer.util.getNode(name))
    assert pixels[0, :20].max() == 0 < pixels[0, 44:52, 44:52].min()


def test_distances_without_sense_are_told(a_panel, a_thorax_ct):
    open_page(a_panel, a_thorax_ct)
    a_panel.type(a_panel.drr.sodBox, "2000")
    a_panel.see(0.05)
    assert not a_panel.drr.generateButton.isEnabled()
    assert a_panel.drr.generateButton.toolTip == "SOD must be less than SID."


def test_what_is_no_ct_is_told(a_panel, a_thorax_ct, a_module, a_radiograph):
    open_page(a_panel, a_thorax_ct)
    a_panel.parameters.ct = a_module.radiographs.volumeFromRadiograph(a_radiograph, "film")
    a_panel.wait(lambda: "film is no volume of several slices" in a_panel.status[2])


def test_source_and_detector_are_shown_where_they_are(a_panel, a_thorax_ct):
    open_page(a_panel, a_thorax_ct)
    a_panel.click(a_panel.drr.arrangementBox)
    a_panel.wait(lambda: slicer.mrmlScene.GetFirstNodeByName("ct source and detector") is not None)
    points = vtk_to_numpy(slicer.util.getNode("ct source and detector").GetPolyData().GetPoints().GetData())
    # AP: the source stands 1500 mm before the body's middle, the detector 300 mm behind it
    assert abs((points[:, 1].max() - 20.0) - points[:, 1].min() - 1800.0) < 1.0
    a_panel.click(a_panel.drr.arrangementBox)
    a_panel.wait(lambda: slicer.mrmlScene.GetFirstNodeByName("ct source and detector") is None)


def test_a_training_set_is_made_and_can_be_cancelled(a_panel, a_thorax_ct, tmp_path):
    from X2BRSlicerLib.nodes import scans

    from X2BRLogic.volume_io import write_volume

    ct, labels = open_page(a_panel, a_thorax_ct)
    (tmp_path / "cts" / "person").mkdir(parents=True)
    write_volume(tmp_path / "cts" / "person" / "ct.nrrd", scans.ctFromVolume(ct))
    write_volume(tmp_path / "cts" / "person" / "bones.nrrd", scans.labelsFromNode(labels))
    ui = a_panel.drr
    ui.trainingSection.collapsed = False
    ui.ctFolderEdit.currentPath = str(tmp_path / "cts")
    ui.outFolderEdit.currentPath = str(tmp_path / "out")
    a_panel.see(0.05)
    a_panel.click(ui.buildButton)
    a_panel.click(ui.cancelButton)
    assert a_panel.status[2] == "Cancelled." and a_panel.idle()
    a_panel.click(ui.buildButton)
    a_panel.wait(a_panel.idle, 90)
    assert "of 1 subjects accepted" in a_panel.status[2]
    (page,) = (tmp_path / "out").glob("*.html")
    assert str(page) in a_panel.status[2]


def test_closing_the_scene_forgets_the_preview(a_panel, a_thorax_ct):
    open_page(a_panel, a_thorax_ct)
    a_panel.wait(lambda: preview(a_panel) is not None)
    slicer.mrmlScene.Clear(0)
    a_panel.see(0.1)
    assert preview(a_panel) is None and not a_panel.drr.generateButton.isEnabled()

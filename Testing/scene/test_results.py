"""What a run leaves in the scene: one folder, replaced by the next run, removed in one go, saved with the scene."""

import json
from dataclasses import replace

import numpy as np
import pytest
import slicer


@pytest.fixture
def hierarchy(a_scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def nodes() -> set[str]:
    return {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}


def folders(hierarchy, item=None) -> list[str]:
    found = []
    for child in slicer.util.getSubjectHierarchyItemChildren(item or hierarchy.GetSceneItemID(), True):
        if hierarchy.GetItemDataNode(child) is None:
            found.append(hierarchy.GetItemName(child))
    return found


def test_named_bones_lie_in_folders_of_their_groups_in_their_colours(a_logic, a_radiograph_node, hierarchy):
    from X2BRLogic.anatomy import BY_NAME

    models = a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    assert {model.GetName() for model in models} == {"rib_left_3", "rib_right_3", "sternum", "vertebra_T4"}
    rib = next(model for model in models if model.GetName() == "rib_left_3")
    np.testing.assert_allclose(rib.GetDisplayNode().GetColor(), BY_NAME["rib_left_3"].colour)
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(rib))
    assert hierarchy.GetItemName(parent) == "Left ribs"
    assert hierarchy.GetItemName(hierarchy.GetItemParent(parent)) == "X2BR chest"
    assert rib.GetNodeReference("X2BR.Origin") is a_radiograph_node


def test_the_next_run_replaces_its_own_results_and_nothing_else(a_logic, a_radiograph_node, hierarchy):
    a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    run = folders(hierarchy)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "mine")
    top = next(i for i in slicer.util.getSubjectHierarchyItemChildren() if hierarchy.GetItemName(i) == "X2BR chest")
    hierarchy.CreateItem(top, mine)
    before = nodes()
    a_logic.reconstruct(a_radiograph_node, resolution=64)
    assert slicer.mrmlScene.IsNodePresent(mine) and hierarchy.GetItemByDataNode(mine)
    assert len(run) > 4 and "Left ribs" not in folders(hierarchy)
    models = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLModelNode")]
    assert sorted(models) == ["chest bones", "chest bones outline", "mine"]
    assert len(nodes()) < len(before)


def test_two_films_have_two_results(a_logic, a_module, a_radiograph, a_radiograph_node):
    other = a_module.radiographs.volumeFromRadiograph(a_radiograph, "other")
    first = a_logic.reconstruct(a_radiograph_node, resolution=64)
    a_logic.reconstruct(other, resolution=64)
    assert slicer.mrmlScene.IsNodePresent(first[0])


def test_deleting_the_folder_undoes_the_run(a_logic, a_radiograph_node, hierarchy):
    before = nodes()
    a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    top = next(i for i in slicer.util.getSubjectHierarchyItemChildren() if hierarchy.GetItemName(i) == "X2BR chest")
    assert hierarchy.RemoveItem(top)
    left = [slicer.mrmlScene.GetNodeByID(node) for node in nodes() - before]
    # Slicer leaves the display nodes of what it deletes
    assert not [node.GetName() for node in left if not node.IsA("vtkMRMLDisplayNode")]
    assert not folders(hierarchy)


def test_removing_a_run_leaves_no_node_behind(a_logic, a_radiograph_node, hierarchy):
    from X2BRSlicerLib.nodes import bones, display
    from X2BRSlicerLib.nodes import folders as runs

    before = nodes()
    models = a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    display.colourBy(models, display.ERROR)
    bones.showSegmentation(a_radiograph_node)
    runs.removeRun(a_radiograph_node)
    left = {slicer.mrmlScene.GetNodeByID(node).GetName() for node in nodes() - before}
    assert left == {"X2BR expected error"} and not folders(hierarchy)  # the scale of colours is the scene's


def test_outlines_lie_on_the_film_where_the_source_sees_the_bones(a_logic, a_radiograph_node, a_radiograph):
    a_logic.reconstruct(a_radiograph_node, resolution=64)
    (outline,) = (n for n in slicer.util.getNodesByClass("vtkMRMLModelNode") if n.GetName().endswith("outline"))
    points = slicer.util.arrayFromModelPoints(outline)
    geometry = a_radiograph.geometry
    height = (points - geometry.detector_origin) @ geometry.to_source
    np.testing.assert_allclose(height, 0.0, atol=1e-2)
    # the shadow of a sphere of 50 mm about the isocentre: its half angle at the source is asin(50 / SOD)
    foot = geometry.pixel_positions(np.array([geometry.principal_point]))[0]
    radius = np.linalg.norm(points - foot, axis=1)
    np.testing.assert_allclose(radius, geometry.sid * np.tan(np.arcsin(50.0 / geometry.sod)), rtol=0.03)
    look = outline.GetDisplayNode()
    assert look.GetVisibility2D() and not look.GetVisibility3D()


def test_expected_errors_colour_the_bones_with_a_scalar_bar_in_mm(a_logic, a_radiograph_node):
    from X2BRSlicerLib.nodes import display

    models = a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    display.colourBy(models, display.ERROR)
    assert display.colouredBy(models) == "expected_error_mm"
    look = models[0].GetDisplayNode()
    assert look.GetScalarRange() == (0.0, 20.0)
    # yellow where nothing is off, violet from 20 mm on, as in the report
    table, shade = look.GetColorNode(), [0.0] * 4
    for number, hexadecimal in ((0, "fde725"), (255, "440154")):
        assert table.GetColor(number, shade)
        np.testing.assert_allclose(shade[:3], [part / 255 for part in bytes.fromhex(hexadecimal)], atol=0.01)
    assert all(model.GetDisplayNode().GetScalarVisibility() for model in models)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 1
    display.colourBy(models)
    assert display.colouredBy(models) == ""
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 0


def test_the_segmentation_carries_terminology(a_logic, a_radiograph_node):
    from X2BRSlicerLib.nodes import bones

    a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    segmentation = bones.showSegmentation(a_radiograph_node).GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 4
    segment = segmentation.GetSegment("rib_left_3")
    assert segment.GetTerminology() == bones.terminology(bones.boneOf("rib_left_3"))
    assert "SCT^25888004^Third rib~SCT^7771000^Left" in segment.GetTerminology()


def test_the_camera_stands_where_the_source_is(a_logic, a_module, a_radiograph):
    from Testing.Host.views import SliceView, ThreeDView

    falling = np.repeat(np.linspace(1.0, 0.0, 80, dtype=np.float32)[:, None], 70, axis=1)
    a_radiograph_node = a_module.radiographs.volumeFromRadiograph(replace(a_radiograph, pixels=falling), "chest")

    view, film = ThreeDView(200, 200), SliceView(200, 200)
    models = a_logic.reconstruct(a_radiograph_node, resolution=64)
    camera = slicer.modules.cameras.logic().GetViewActiveCameraNode(view.node)
    np.testing.assert_allclose(camera.GetFocalPoint(), a_radiograph.geometry.isocentre, atol=0.5)
    forward = np.array(camera.GetFocalPoint()) - np.array(camera.GetPosition())
    np.testing.assert_allclose(forward / np.linalg.norm(forward), -a_radiograph.geometry.to_source, atol=1e-3)
    picture = view.picture()
    assert picture[100, 100].std() > 5 and np.abs(picture[100, 100].astype(int) - picture[5, 5]).max() > 40
    # the film stands upright in its slice view, the first row on top
    shown = film.picture().astype(float).sum(2)
    assert shown[70, 100] > shown[130, 100]
    assert models[0].GetDisplayNode().GetVisibility()


def test_a_saved_scene_reopens_with_everything_in_place(a_logic, a_radiograph_node, tmp_path):
    from X2BRSlicerLib.nodes import bones, boxes, radiographs

    from X2BRLogic.detection import Box

    radiographs.setBoxes(a_radiograph_node, [Box("ribs_left", 3, 1.0, 2.0, 30.0, 12.5, 0.9)])
    a_logic.getParameterNode().radiograph = a_radiograph_node
    a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    before = radiographs.radiographFromVolume(a_radiograph_node).geometry
    (tmp_path / "saved").mkdir()  # as in a .mrb file, which is this folder packed
    assert slicer.app.applicationLogic().SaveSceneToSlicerDataBundleDirectory(str(tmp_path / "saved"))
    slicer.mrmlScene.Clear()
    slicer.mrmlScene.SetURL(str(next((tmp_path / "saved").glob("*.mrml"))))
    assert slicer.mrmlScene.Import()

    node = a_logic.getParameterNode().radiograph
    assert node.GetName() == "chest"
    after = radiographs.radiographFromVolume(node).geometry
    np.testing.assert_allclose(after.source, before.source, atol=1e-2)
    models = bones.bonesOf(node)
    assert {model.GetAttribute("X2BR.Bone") for model in models} == {
        "rib_left_3",
        "rib_right_3",
        "sternum",
        "vertebra_T4",
    }
    assert models[0].GetPolyData().GetNumberOfCells() == 1280
    assert json.loads(models[0].GetAttribute("X2BR.Summary"))["method"] == "x2br"
    assert len(radiographs.boxesOf(node)) == 1
    assert len(bones.folders.ofRun(node, boxes.BOX)) == 1
    again = a_logic.reconstruct(node, resolution=64)
    assert [model.GetName() for model in bones.bonesOf(node)] == [model.GetName() for model in again]

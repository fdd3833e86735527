"""The module's logic on Slicer's real scene: nodes in, nodes out, work in a worker process."""

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from X2BRLogic.errors import InputError
from X2BRLogic.worker import Cancelled

ROOT = Path(__file__).resolve().parents[2]


def test_reconstruct_gives_a_model_in_ras_mm(a_logic, a_radiograph_node):
    (model,) = a_logic.reconstruct(a_radiograph_node, resolution=64)
    bounds = np.zeros(6)
    model.GetRASBounds(bounds)
    # the worker's sphere of 50 mm, about the isocentre (10, -20, 30)
    np.testing.assert_allclose(bounds, [-40, 60, -70, 30, -20, 80], atol=0.5)
    assert model.GetPolyData().GetNumberOfCells() == 1280
    assert model.GetDisplayNode().GetVisibility()
    assert model.GetPolyData().GetPointData().GetNormals().GetNumberOfTuples() == 642
    assert json.loads(model.GetAttribute("X2BR.Summary"))["method"] == "x2b_aligned"


def test_progress_is_told_and_can_end_the_work(a_logic, a_radiograph_node):
    heard = []
    a_logic.reconstruct(a_radiograph_node, resolution=64, progress=lambda fraction, stage: heard.append(fraction))
    assert heard == sorted(heard) and len(heard) >= 2
    before = slicer.mrmlScene.GetNumberOfNodes()

    def enough(fraction, stage):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_logic.reconstruct(a_radiograph_node, resolution=128, progress=enough)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_refused_radiograph_leaves_the_scene_as_it_was(a_logic):
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    slicer.util.updateVolumeFromArray(ct, np.zeros((4, 5, 6), dtype=np.int16))
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(InputError, match="4 slices"):
        a_logic.reconstruct(ct)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_what_the_worker_refuses_leaves_the_scene_as_it_was(a_logic, a_radiograph_node):
    slicer.util.updateVolumeFromArray(a_radiograph_node, np.linspace(0, 1e9, 5600).reshape(1, 80, 70))
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(InputError, match="no bone"):
        a_logic.reconstruct(a_radiograph_node, resolution=64)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_film_removed_meanwhile_gets_no_result(a_logic, a_radiograph_node):
    operation = a_logic.operations.reconstruct(a_radiograph_node, resolution=64)
    slicer.mrmlScene.RemoveNode(a_radiograph_node)
    with pytest.raises(InputError, match="removed"):
        operation.wait()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


def test_a_cancelled_operation_shows_nothing(a_logic, a_radiograph_node):
    operation = a_logic.operations.reconstruct(a_radiograph_node, resolution=128)
    operation.job.cancel()
    with pytest.raises(Cancelled):
        operation.wait()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


def test_reading_a_film_reads_what_lies_beside_it(a_logic, tmp_path, a_radiograph):
    from PIL import Image

    from X2BRLogic import anatomy
    from X2BRLogic.detection import Box, write_boxes

    pixels = (a_radiograph.pixels * 60000).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    (tmp_path / "film.geometry.json").write_text(json.dumps(a_radiograph.geometry.to_dict()))
    boxes = [Box("ribs_left", 3, 1.0, 2.0, 10.0, 12.5, 0.9)]
    write_boxes(boxes, tmp_path / "film.boxes.json")
    node = a_logic.loadRadiograph(tmp_path / "film.png")
    assert node.GetName() == "film"
    from X2BRSlicerLib.nodes import radiographs

    assert radiographs.boxesOf(node) == boxes
    np.testing.assert_allclose(radiographs.radiographFromVolume(node).geometry.isocentre, (10, -20, 30), atol=1e-3)
    drawn = slicer.util.getNode("film boxes")
    # the box's upper left corner lies on the detector, at its pixel
    corner = radiographs.radiographFromVolume(node).geometry.pixel_positions([[1.0, 2.0]])[0]
    np.testing.assert_allclose(slicer.util.arrayFromModelPoints(drawn)[0], corner, atol=1e-3)
    scalars = drawn.GetPolyData().GetPointData().GetScalars()
    assert scalars.GetTuple(0) == tuple(round(255 * part) for part in anatomy.BY_NAME["rib_left_3"].colour)


def test_drrs_become_radiographs_that_know_their_geometry_and_boxes(a_logic, a_thorax_ct):
    from X2BRSlicerLib.nodes import radiographs

    ct, labels = a_thorax_ct
    nodes = a_logic.generateDRRs(ct, labels, view="AP", angles=(0.0, 10.0), size=96, pixel_spacing=4.0, sid=1600.0)
    assert [node.GetName() for node in nodes] == ["ct AP", "ct AP +10"]
    for node in nodes:
        radiograph = radiographs.radiographFromVolume(node)
        assert radiograph.scale_known and radiograph.geometry.sid == 1600.0
        assert {box.name for box in radiographs.boxesOf(node)} == {"sternum", "vertebra_T4"}
        # the sternum lies before the vertebra, in the middle of the film: bone is bright there
        pixels = radiograph.pixels
        assert pixels[44:52, 44:52].mean() > 1.1 * pixels[44:52, 20:28].mean()


def test_a_drr_without_ct_values_or_bones_is_refused(a_logic, a_thorax_ct):
    ct, labels = a_thorax_ct
    with pytest.raises(InputError, match="Hounsfield"):
        a_logic.generateDRRs(labels)
    with pytest.raises(InputError, match="labels"):
        a_logic.generateDRRs(ct, size=96, bones=True)
    with pytest.raises(InputError, match="SOD"):
        a_logic.generateDRRs(ct, sid=1000.0, sod=1500.0)


def test_segments_are_known_by_terminology_and_by_name(a_logic, a_thorax_ct):
    from X2BRSlicerLib.nodes import bones, scans

    from X2BRLogic.anatomy import BY_NAME

    ct, labels = a_thorax_ct
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    array = slicer.util.arrayFromVolume(labels)
    matrix = slicer.util.vtkMatrixFromArray(scans.labelsFromNode(labels).ijk_to_ras)
    for name, label in (("sternum", 25), ("my segment", 37), ("lung", 99)):
        image = slicer.vtkOrientedImageData()
        mask = np.ascontiguousarray(array == label if label != 99 else array == 0).astype(np.uint8)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        slicer.util.updateVolumeFromArray(volume, mask)
        image.DeepCopy(volume.GetImageData())
        slicer.mrmlScene.RemoveNode(volume)
        image.SetGeometryFromImageToWorldMatrix(matrix)
        segmentation.AddSegmentFromBinaryLabelmapRepresentation(image, name)
    segment = segmentation.GetSegmentation().GetNthSegment(1)
    segment.SetTag(segment.GetTerminologyEntryTagName(), bones.terminology(BY_NAME["vertebra_T4"]))
    for given in (ct, None):
        found = scans.labelsFromNode(segmentation, given)
        assert set(np.unique(found.array)) == {0, 25, 37}
        middle = found.to_ras(np.argwhere(found.array == 37)[:, ::-1]).mean(0)
        truth = scans.labelsFromNode(labels)
        np.testing.assert_allclose(middle, truth.to_ras(np.argwhere(truth.array == 37)[:, ::-1]).mean(0), atol=0.1)


def test_a_segmentation_without_bones_is_refused(a_logic, a_thorax_ct):
    from X2BRSlicerLib.nodes import scans

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lungs")
    segmentation.GetSegmentation().AddEmptySegment("lung")
    with pytest.raises(InputError, match="no segment of lungs"):
        scans.labelsFromNode(segmentation, a_thorax_ct[0])


def test_a_result_is_measured_against_a_ct(a_logic, a_radiograph_node, a_thorax_ct):
    from vtk.util.numpy_support import vtk_to_numpy

    _ct, labels = a_thorax_ct
    (model,) = a_logic.reconstruct(a_radiograph_node, resolution=64)
    table = a_logic.evaluate(a_radiograph_node, labels, ("strict",))
    figures = {
        table.GetTable().GetValue(row, 0).ToString(): table.GetTable().GetValue(row, 1).ToDouble()
        for row in range(table.GetNumberOfRows())
    }
    assert {"iou", "dice", "chamfer_l1_mm", "hd95_mm", "asd_mm"} <= set(figures) and 0 <= figures["iou"] < 1
    distances = vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("distance_mm"))
    assert len(distances) == 642 and 0 <= distances.min() < distances.max() < 200
    assert figures["asd_mm"] > 0.3 * distances.mean()


def test_a_result_is_laid_over_its_film(a_logic, a_radiograph_node):
    a_logic.reconstruct(a_radiograph_node, method="x2br", resolution=64)
    figures, picture = a_logic.reproject(a_radiograph_node)
    assert figures["outline_mm"] > 0 and picture.startswith(b"\x89PNG")


def test_without_a_result_there_is_nothing_to_measure(a_logic, a_radiograph_node, a_thorax_ct):
    with pytest.raises(InputError, match="reconstruct first"):
        a_logic.evaluate(a_radiograph_node, a_thorax_ct[1])


def test_detection_draws_and_keeps_boxes(a_logic, a_radiograph_node, monkeypatch):
    from X2BRSlicerLib import core
    from X2BRSlicerLib.nodes import radiographs

    monkeypatch.setattr(core, "whyNoDetection", lambda: "")
    found, notes = a_logic.detect(a_radiograph_node)
    assert [box.name for box in found] == ["rib_left_3", "vertebra_T4"] and notes == ["rib 12 was not seen"]
    assert radiographs.boxesOf(a_radiograph_node) == found
    labels = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert [labels.GetNthControlPointLabel(n) for n in range(2)] == ["3L", "T4"]


def test_missing_detection_is_said_in_words(a_logic, a_radiograph_node, monkeypatch):
    import X2BRLogic.detection

    monkeypatch.delattr(X2BRLogic.detection, "detect", raising=False)
    with pytest.raises(InputError, match="not in this version"):
        a_logic.detect(a_radiograph_node)


def test_parameter_node_takes_only_volumes(a_logic):
    parameters = a_logic.getParameterNode()
    assert parameters.radiograph is None
    with pytest.raises(TypeError):
        parameters.radiograph = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    assert a_logic.getParameterNode().parameterNode is parameters.parameterNode


def test_module_describes_itself(a_module):
    from Testing.Host import loadModule

    module = loadModule()
    assert module.title == "X2BR" and module.categories and "not a medical device" in module.helpText


def test_missing_packages_are_named(a_module, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=1.0\nnumpy>=99\nsurely-not-installed-x2br  # why\n")
    core = a_module.core
    assert core.missing(core.requirements(requirements)) == ["numpy>=99", "surely-not-installed-x2br"]
    assert core.missing() == []


@pytest.mark.weights
def test_self_test_reconstructs_the_sample_radiograph(a_scene):
    import X2BRSlicer

    X2BRSlicer.X2BRSlicerTest().runTest()
    from X2BRSlicerLib.nodes import bones, folders, radiographs

    film = radiographs.first()
    models = bones.bonesOf(film)
    assert len({model.GetName() for model in models}) == len(models)
    # a model a bone, and the outlines of each group on the film
    assert {"ribs_left", "ribs_right", "vertebrae", "sternum"} <= bones.groupsOf(film)
    assert len(folders.ofRun(film, bones.OUTLINE)) == len(bones.groupsOf(film))

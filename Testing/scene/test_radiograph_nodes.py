"""Volume nodes to radiographs, on Slicer's real scene."""

import json
from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk

from X2BRLogic.detection import Box
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry

PIXELS = np.random.default_rng(0).random((80, 70), dtype=np.float32)
KNOWN = {"sid": True, "sod": False, "spacing": True, "view": False}


def a_volume_node(array: np.ndarray, ijk_to_ras: np.ndarray | None = None):
    node = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode", "chest"
    )
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(axial() if ijk_to_ras is None else ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, array)
    return node


def axial(spacing: float = 1.0) -> np.ndarray:
    """How Slicer places a picture that has no orientation: LPS, in the axial plane."""
    return np.diag([-spacing, -spacing, 1.0, 1.0])


def a_transform_node(matrix: np.ndarray):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def test_a_radiograph_comes_back_from_the_scene_as_it_went_in(adapter, a_radiograph, same_geometry):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    back = adapter.radiographFromVolume(node)
    np.testing.assert_array_equal(back.pixels, a_radiograph.pixels)
    same_geometry(back.geometry, a_radiograph.geometry)
    assert (back.geometry.sid, back.geometry.sod, back.known) == (1500.0, 1200.0, KNOWN)


def test_a_radiograph_lies_on_its_detector_plane(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    corner = np.array(matrix.MultiplyPoint((69.0, 79.0, 0.0, 1.0)))[:3]
    np.testing.assert_allclose(corner, a_radiograph.geometry.pixel_positions([[69.0, 79.0]])[0], atol=1e-4)
    assert slicer.util.arrayFromVolume(node)[0, 79, 69] == a_radiograph.pixels[79, 69]


def test_moving_the_volume_moves_source_and_isocentre_along(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    angle = np.deg2rad(100.0)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = (5.0, 6.0, 7.0)
    node.SetAndObserveTransformNodeID(a_transform_node(motion).GetID())

    geometry = adapter.radiographFromVolume(node).geometry
    for point, original in (
        (geometry.source, a_radiograph.geometry.source),
        (geometry.isocentre, a_radiograph.geometry.isocentre),
    ):
        np.testing.assert_allclose(point, motion[:3, :3] @ original + motion[:3, 3], atol=1e-3)


@pytest.mark.parametrize("view", ["AP", "PA", "LAT", "RLAT"])
def test_without_attributes_the_plane_is_the_detector_where_it_fits_the_view(adapter, view, same_geometry):
    geometry = XRayGeometry.from_view(view, shape=(80, 70), spacing=(2.0, 1.5), isocentre=np.array([3.0, 4.0, 5.0]))
    radiograph = adapter.radiographFromVolume(a_volume_node(PIXELS[None], geometry.pixel_to_ras), view)
    same_geometry(radiograph.geometry, geometry)
    assert radiograph.known == {"sid": False, "sod": False, "spacing": True, "view": True}


def test_a_picture_with_spacing_but_no_orientation_gets_the_default_place(adapter):
    radiograph = adapter.radiographFromVolume(a_volume_node(PIXELS[None], axial(0.7)), "PA")
    np.testing.assert_allclose(radiograph.geometry.isocentre, 0.0)
    np.testing.assert_allclose(radiograph.geometry.source, (0.0, -1500.0, 0.0))
    np.testing.assert_allclose(radiograph.geometry.spacing, (0.7, 0.7))
    assert radiograph.known["spacing"]


def test_a_picture_without_spacing_gets_the_default_spacing_and_says_so(adapter):
    radiograph = adapter.radiographFromVolume(a_volume_node(PIXELS[None], axial()))
    # the longer edge is that of a chest cassette
    np.testing.assert_allclose(radiograph.geometry.spacing, 430 / 80)
    assert not radiograph.known["spacing"]


def test_a_grey_picture_saved_in_colour_is_taken_as_grey(adapter):
    grey = (PIXELS * 255).astype(np.uint8)
    radiograph = adapter.radiographFromVolume(a_volume_node(np.stack([grey] * 3, axis=-1)[None], axial()))
    assert radiograph.pixels.dtype == np.float32
    np.testing.assert_array_equal(radiograph.pixels, grey)


def test_a_colour_photograph_is_refused(adapter):
    colours = np.random.default_rng(1).integers(0, 255, (1, 80, 70, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="colour"):
        adapter.radiographFromVolume(a_volume_node(colours))


def test_an_image_shown_inverted_is_inverted(adapter):
    node = a_volume_node(PIXELS[None])
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetInvertDisplayScalarRange(True)
    inverted = adapter.radiographFromVolume(node).pixels
    np.testing.assert_allclose(inverted + PIXELS, PIXELS.min() + PIXELS.max(), atol=1e-6)


def test_an_image_without_content_is_refused(adapter):
    with pytest.raises(InputError, match="blank"):
        adapter.radiographFromVolume(a_volume_node(np.zeros((1, 80, 70), dtype=np.uint8)))


def test_a_volume_of_slices_is_refused(adapter):
    with pytest.raises(InputError, match="4 slices"):
        adapter.radiographFromVolume(a_volume_node(np.zeros((4, 5, 6), dtype=np.int16)))


def test_a_node_without_image_is_refused(adapter):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="empty holds no image"):
        adapter.radiographFromVolume(node)


def test_a_geometry_for_another_size_is_refused(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    slicer.util.updateVolumeFromArray(node, PIXELS[None, :65])
    with pytest.raises(InputError, match="70 x 65 pixels"):
        adapter.radiographFromVolume(node)


@pytest.mark.parametrize("text", ["{", json.dumps({"sid_mm": 1800}), "[]", "7"])
def test_a_damaged_geometry_is_refused(adapter, text):
    node = a_volume_node(PIXELS[None])
    node.SetAttribute(adapter.GEOMETRY_ATTRIBUTE, text)
    with pytest.raises(InputError):
        adapter.radiographFromVolume(node)


def test_a_sheared_radiograph_is_refused(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    shear = np.eye(4)
    shear[0, 2] = 0.4
    node.SetAndObserveTransformNodeID(a_transform_node(shear).GetID())
    with pytest.raises(InputError, match="perpendicular"):
        adapter.radiographFromVolume(node)


def test_what_the_file_had_to_say_stays_with_the_node(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(replace(a_radiograph, warnings=("the film is cut",)), "chest")
    assert adapter.radiographFromVolume(node).warnings == ("the film is cut",)


def test_what_the_user_says_of_the_geometry_is_known_and_moves_the_plane(adapter):
    node = a_volume_node(PIXELS[None], axial(0.7))
    adapter.changeGeometry(node, view="PA", sid=2000.0, sod=1600.0)
    radiograph = adapter.radiographFromVolume(node)
    np.testing.assert_allclose(radiograph.geometry.source, (0.0, -1600.0, 0.0), atol=1e-3)
    np.testing.assert_allclose(radiograph.geometry.isocentre, 0.0, atol=1e-3)
    assert (radiograph.geometry.view, radiograph.geometry.sid) == ("PA", 2000.0)
    assert radiograph.known == {"sid": True, "sod": True, "spacing": True, "view": True}
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    assert bounds[2] == pytest.approx(400.0, abs=1.0)  # behind the isocentre is the source, before it the detector


def test_new_pixel_spacing_keeps_the_central_ray(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    before = adapter.radiographFromVolume(node).geometry
    adapter.changeGeometry(node, spacing=(1.0, 0.75))
    after = adapter.radiographFromVolume(node).geometry
    np.testing.assert_allclose(after.spacing, (1.0, 0.75), atol=1e-5)
    np.testing.assert_allclose(after.source, before.source, atol=1e-3)
    middle = np.array([[34.5, 39.5]])
    np.testing.assert_allclose(after.pixel_positions(middle), before.pixel_positions(middle), atol=1e-3)


def test_a_geometry_without_sense_changes_nothing(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    before = node.GetAttribute(adapter.GEOMETRY_ATTRIBUTE)
    with pytest.raises(InputError, match="SOD"):
        adapter.changeGeometry(node, sod=9000.0)
    assert node.GetAttribute(adapter.GEOMETRY_ATTRIBUTE) == before


def test_the_geometry_of_a_moved_node_is_changed_where_it_was_moved_to(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    motion = np.eye(4)
    motion[:3, 3] = (5.0, 6.0, 7.0)
    node.SetAndObserveTransformNodeID(a_transform_node(motion).GetID())
    adapter.changeGeometry(node, sid=1600.0)
    geometry = adapter.radiographFromVolume(node).geometry
    np.testing.assert_allclose(geometry.isocentre, a_radiograph.geometry.isocentre + motion[:3, 3], atol=1e-3)
    assert geometry.sid == 1600.0


def test_boxes_travel_with_the_film(adapter, a_radiograph):
    node = adapter.volumeFromRadiograph(a_radiograph, "chest")
    assert adapter.boxesOf(node) == []
    boxes = [Box("ribs_left", 3, 1.0, 2.0, 10.0, 12.5, 0.9)]
    adapter.setBoxes(node, boxes)
    assert adapter.boxesOf(node) == boxes
    node.SetAttribute(adapter.BOXES_ATTRIBUTE, '[{"group": "wing"}]')
    with pytest.raises(InputError, match="boxes are damaged"):
        adapter.boxesOf(node)

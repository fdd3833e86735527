"""The module's logic on Slicer's real scene: a volume node in, model nodes in RAS mm out."""

import json
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import slicer

from X2BRLogic.errors import InputError
from X2BRLogic.radiograph import Radiograph

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "X2BRSlicer" / "Resources" / "UI" / "X2BRSlicer.ui"


@pytest.fixture
def a_radiograph_node(adapter, an_oblique_geometry):
    pixels = np.random.default_rng(0).random(an_oblique_geometry.shape, dtype=np.float32)
    known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
    radiograph = Radiograph(pixels=pixels, geometry=an_oblique_geometry, known=known, source="chest.dcm", warnings=())
    return adapter.volumeFromRadiograph(radiograph, "chest")


def number_of_models() -> int:
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode")


def test_reconstruct_gives_a_model_in_ras_mm(a_logic, a_radiograph_node):
    (model,) = a_logic.reconstruct(a_radiograph_node, device="cpu")
    bounds = np.zeros(6)
    model.GetRASBounds(bounds)
    # the stand-in's sphere of 50 mm, about the isocentre (10, -20, 30)
    np.testing.assert_allclose(bounds, [-40, 60, -70, 30, -20, 80], atol=0.5)
    assert model.GetPolyData().GetNumberOfCells() == 1280
    assert model.GetDisplayNode().GetVisibility()
    assert model.GetPolyData().GetPointData().GetNormals().GetNumberOfTuples() == 642


def test_reconstruct_hands_over_what_it_was_asked(a_logic, a_radiograph_node):
    heard = []
    a_logic.reconstruct(
        a_radiograph_node, method="x2b", device="cpu", progress=lambda fraction, stage: heard.append((fraction, stage))
    )
    asked = a_logic._reconstructorClass.asked
    assert (asked.method, asked.device, asked.radiograph.source) == ("x2b", "cpu", "chest")
    assert heard == [(1.0, "done")]


def test_models_know_their_radiograph_and_summary_and_lie_in_a_folder(a_logic, a_radiograph_node):
    (model,) = a_logic.reconstruct(a_radiograph_node)
    assert model.GetNodeReference("X2BR.Radiograph") is a_radiograph_node
    assert json.loads(model.GetAttribute("X2BR.Summary")) == {"method": "sphere"}
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(model))
    assert hierarchy.GetItemName(folder) == "X2BR chest"


def test_named_bones_become_models_in_their_colours(a_logic, a_radiograph_node, monkeypatch):
    from X2BRLogic.anatomy import BY_NAME

    whole = a_logic._reconstructorClass.reconstruct

    def in_two(self, radiograph, progress=None):
        reconstruction = whole(self, radiograph, progress)
        reconstruction.bones = {"rib_left_3": reconstruction.mesh, "sternum": reconstruction.mesh}
        return reconstruction

    monkeypatch.setattr(a_logic._reconstructorClass, "reconstruct", in_two)
    models = a_logic.reconstruct(a_radiograph_node)
    assert [model.GetName() for model in models] == ["rib_left_3", "sternum"]
    np.testing.assert_allclose(models[0].GetDisplayNode().GetColor(), BY_NAME["rib_left_3"].colour)


def test_a_refused_radiograph_leaves_the_scene_as_it_was(a_logic):
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    slicer.util.updateVolumeFromArray(ct, np.zeros((4, 5, 6), dtype=np.int16))
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(InputError):
        a_logic.reconstruct(ct)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_saved_scene_reopens_with_the_radiograph_where_it_was(a_logic, a_radiograph_node, adapter, tmp_path):
    a_logic.getParameterNode().radiograph = a_radiograph_node
    before = adapter.radiographFromVolume(a_radiograph_node).geometry
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "chest.nrrd"))
    assert storage.WriteData(a_radiograph_node)
    a_radiograph_node.SetAndObserveStorageNodeID(storage.GetID())
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    assert slicer.mrmlScene.Commit()

    slicer.mrmlScene.Clear()
    assert slicer.mrmlScene.Import()
    node = a_logic.getParameterNode().radiograph
    after = adapter.radiographFromVolume(node)
    np.testing.assert_allclose(after.geometry.source, before.source, atol=1e-2)
    assert after.source == str(tmp_path / "chest.nrrd")


def test_parameter_node_takes_only_volumes(a_logic):
    parameters = a_logic.getParameterNode()
    assert parameters.radiograph is None
    with pytest.raises(TypeError):
        parameters.radiograph = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    assert a_logic.getParameterNode().parameterNode is parameters.parameterNode


def test_module_describes_itself(a_module):
    from Testing.Host import ModuleParent

    parent = ModuleParent(a_module.__file__)
    a_module.X2BRSlicer(parent)
    assert parent.title == "X2BR" and parent.categories and "not a medical device" in parent.helpText


def test_missing_packages_are_named(a_module, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# comment\nnumpy>=1.0\nnumpy>=99\nsurely-not-installed-x2br  # why\n")
    assert a_module.core.missingRequirements(requirements) == ["numpy>=99", "surely-not-installed-x2br"]


def test_every_widget_the_panel_uses_is_in_the_ui_file_and_every_parameter_exists(a_module):
    widgets = {widget.get("name") for widget in ElementTree.parse(UI).iter("widget")}
    used = set(re.findall(r"self\.ui\.(\w+)", Path(a_module.__file__).read_text()))
    assert used and used <= widgets
    names = {
        prop.findtext("string")
        for prop in ElementTree.parse(UI).iter("property")
        if prop.get("name") == "SlicerParameterName"
    }
    assert names == set(a_module.X2BRSlicerParameterNode.allParameters)


def test_every_name_of_slicer_that_the_module_uses_exists(a_module):
    """The panel does not run here, but `slicer.util` and the node classes are Slicer's own."""
    folder = Path(a_module.__file__).parent
    for file in [Path(a_module.__file__), *(folder / "X2BRSlicerLib").glob("*.py")]:
        text = file.read_text()
        for name in re.findall(r"slicer\.util\.(\w+)", text):
            assert hasattr(slicer.util, name), f"{file.name}: slicer.util.{name}"
        for name in re.findall(r"\bvtkMRML\w+", text):
            assert hasattr(slicer, name), f"{file.name}: slicer.{name}"


def test_models_can_be_seen_offscreen(a_logic, a_radiograph_node):
    """The set-up includes what VTK loads to render without a screen."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    (model,) = a_logic.reconstruct(a_radiograph_node)
    mapper, actor, renderer = vtk.vtkPolyDataMapper(), vtk.vtkActor(), vtk.vtkRenderer()
    mapper.SetInputConnection(model.GetPolyDataConnection())
    actor.SetMapper(mapper)
    renderer.AddActor(actor)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(64, 64)
    window.AddRenderer(renderer)
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.Update()
    picture = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(64, 64, 3)
    assert picture[32, 32].min() > 50 and picture[0, 0].max() == 0


def test_networks_can_be_imported_after_views_have_been_rendered():
    """In Slicer the views come first; with Mesa's drivers, Triton's copy of LLVM would then crash the application."""
    script = textwrap.dedent("""
        import sys
        import vtk
        window = vtk.vtkRenderWindow()
        window.SetOffScreenRendering(True)
        window.AddRenderer(vtk.vtkRenderer())
        window.Render()
        sys.path.append(sys.argv[1])
        from X2BRSlicerLib import core
        with core.withoutTriton():
            import X2BRLogic.pipeline
        assert "timm" in sys.modules and "triton" not in sys.modules
    """)
    command = [sys.executable, "-c", script, str(ROOT / "X2BRSlicer")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, f"exit {ran.returncode}: {ran.stderr}"


@pytest.mark.weights
def test_self_test_reconstructs_the_sample_radiograph(a_module):
    a_module.X2BRSlicerTest().runTest()
    assert number_of_models() == 1

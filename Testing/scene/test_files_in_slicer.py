"""Files of ours that a user drags into 3D Slicer, read by Slicer's own classes: they lie where the patient was."""

import numpy as np
import pytest
import slicer
import trimesh

from X2BRLogic.export import export
from X2BRLogic.radiograph import radiograph_from_array
from X2BRLogic.reconstruction import Reconstruction
from X2BRLogic.results import read_result

CENTRE = np.array([120.0, 45.0, -30.0])


def bone() -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=20.0)
    mesh.apply_translation(CENTRE)
    errors = np.linspace(1, 9, len(mesh.vertices), dtype=np.float32)
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_attributes={"expected_error_mm": errors}, process=False)


@pytest.fixture(scope="module")
def a_result() -> Reconstruction:
    film = radiograph_from_array(np.random.default_rng(0).random((80, 72)), "film.png")
    summary = {"schema": "x2br-summary-1", "geometry": film.geometry.to_dict(), "known": film.known, "input": "film"}
    summary |= {"warnings": [], "method": "x2b_aligned", "model": {}, "bones": {"sternum": {}}}
    return Reconstruction(film, bone(), {"sternum": bone()}, (), summary)


def in_slicer(path):
    """The model that Slicer makes of a file."""
    node, storage = slicer.vtkMRMLModelNode(), slicer.vtkMRMLModelStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node.GetPolyData()


def test_results_lie_where_the_patient_was(a_result, tmp_path):
    a_result.save(tmp_path / "result")
    for name in ("bones.ply", "bones/sternum.ply"):
        bounds = np.reshape(in_slicer(tmp_path / "result" / name).GetBounds(), (3, 2))
        np.testing.assert_allclose(bounds.mean(axis=1), CENTRE, atol=0.2)
    read = read_result(tmp_path / "result").bones["sternum"]
    np.testing.assert_allclose(read.vertices, a_result.bones["sternum"].vertices, atol=1e-4)
    expected = a_result.bones["sternum"].vertex_attributes["expected_error_mm"]
    np.testing.assert_array_equal(read.vertex_attributes["expected_error_mm"], expected)


@pytest.mark.parametrize("kind, file", [("stl", "stl/sternum.stl"), ("ply", "ply/sternum.ply"), ("obj", "bones.obj")])
def test_exports_lie_where_the_patient_was(a_result, tmp_path, kind, file):
    export(a_result, tmp_path, [kind])
    bounds = np.reshape(in_slicer(tmp_path / file).GetBounds(), (3, 2))
    np.testing.assert_allclose(bounds.mean(axis=1), CENTRE, atol=0.2)

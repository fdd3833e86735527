"""The sample radiograph in Slicer's Sample Data module, and films dropped onto Slicer's window."""

import json
import sys
import types
from pathlib import Path
from urllib.parse import urlparse

import pytest
import slicer


@pytest.fixture
def sample_data(monkeypatch):
    """Slicer's module of that name: keeps what is registered, with the arguments that Slicer 5.10 takes."""
    registered = []

    def register(
        category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties=None, checksums=None,
    ):  # fmt: skip
        registered.append({key: value for key, value in locals().items() if key != "registered"})

    logic = types.SimpleNamespace(registerCustomSampleDataSource=register)
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    return registered


def test_the_sample_is_offered_once_slicer_has_started_and_loads(a_module, sample_data):
    from X2BRSlicerLib.nodes import radiographs

    from Testing.Host import loadModule

    loadModule()
    assert not sample_data
    slicer.app.startupCompleted.emit()
    (source,) = sample_data
    assert source["category"] == "X2BR" and Path(source["thumbnailFileName"]).is_file()
    assert Path(urlparse(source["uris"]).path).is_file()
    node = source["customDownloader"](None)
    assert radiographs.radiographFromVolume(node).scale_known


class Parent:
    """qSlicerScriptedFileReader, as far as a reader uses it."""

    def __init__(self):
        self.loadedNodes, self.messages = [], []

    def userMessages(self):  # noqa: N802
        return types.SimpleNamespace(AddMessage=lambda kind, text: self.messages.append(text))


def test_a_film_with_its_geometry_beside_it_is_ours(a_module, tmp_path, a_radiograph):
    import numpy as np
    from PIL import Image
    from X2BRSlicerLib.nodes import radiographs

    from Testing.Host import loadModule

    loadModule()
    parent = Parent()
    reader = a_module.X2BRSlicerFileReader(parent)
    assert all("(*." in extension for extension in reader.extensions())
    film = tmp_path / "film.png"
    Image.fromarray((a_radiograph.pixels * 60000).astype(np.uint16)).save(film)
    assert 0.0 < reader.canLoadFileConfidence(str(film)) < 0.5  # Slicer's readers come first
    (tmp_path / "film.geometry.json").write_text(json.dumps(a_radiograph.geometry.to_dict()))
    assert reader.canLoadFileConfidence(str(film)) > 0.5
    assert reader.canLoadFileConfidence(str(tmp_path / "film.stl")) == 0.0
    assert reader.load({"fileName": str(film)})
    node = slicer.mrmlScene.GetNodeByID(parent.loadedNodes[0])
    assert radiographs.radiographFromVolume(node).geometry.sid == a_radiograph.geometry.sid


def test_a_broken_film_is_told_to_the_user(a_module, tmp_path):
    from Testing.Host import loadModule

    loadModule()
    (tmp_path / "film.png").write_bytes(b"no picture")
    parent = Parent()
    assert not a_module.X2BRSlicerFileReader(parent).load({"fileName": str(tmp_path / "film.png")})
    assert "film.png" in parent.messages[0]

"""Fixtures of the tests that run in the host: a scene, the module's files over it, and workers that are warm."""

import numpy as np
import pytest

#: What each worker runs: the film's is quick, those for scans are the real ones.
WORKERS = {"films": "Testing.quick_worker", "scans": "X2BRLogic.worker.scans", "dataset": "X2BRLogic.worker.scans"}


@pytest.fixture
def a_scene():
    from Testing.Host import install

    scene = install()
    yield scene
    scene.Clear()


@pytest.fixture(scope="session")
def warm_workers():
    """One worker of each kind for all tests of this process."""
    from X2BRLogic.worker import Worker

    workers = {name: Worker(module=module) for name, module in WORKERS.items()}
    yield workers
    for worker in workers.values():
        worker.close()


@pytest.fixture
def a_module(a_scene, warm_workers, monkeypatch):
    """The module's file, whose work goes to warm workers that outlive the test."""
    from X2BRSlicerLib.operations import Operations

    import X2BRSlicer

    monkeypatch.setattr(Operations, "_worker", lambda self, name: warm_workers[name])
    monkeypatch.setattr(Operations, "close", lambda self: None)
    return X2BRSlicer


@pytest.fixture
def a_logic(a_module):
    return a_module.X2BRSlicerLogic()


@pytest.fixture
def an_oblique_geometry():
    from X2BRLogic.geometry import XRayGeometry

    return XRayGeometry.from_view(
        "PA", angle=20.0, tilt=5.0, shape=(80, 70), spacing=(2.0, 1.5), isocentre=np.array([10.0, -20.0, 30.0]),
        sid=1500.0, sod=1200.0, principal_point=(20.0, 35.0),
    )  # fmt: skip


@pytest.fixture
def a_radiograph(an_oblique_geometry):
    from X2BRLogic.radiograph import Radiograph

    pixels = np.random.default_rng(0).random(an_oblique_geometry.shape, dtype=np.float32)
    known = {"sid": True, "sod": False, "spacing": True, "view": False}
    return Radiograph(pixels=pixels, geometry=an_oblique_geometry, known=known, source="chest.dcm", warnings=())


@pytest.fixture
def a_radiograph_node(a_module, a_radiograph):
    return a_module.radiographs.volumeFromRadiograph(a_radiograph, "chest")


@pytest.fixture
def a_thorax_ct(a_scene):
    """A CT node of a body of water with a sternum and a vertebra in it, and a label map node of the two."""
    import slicer

    hu = np.full((50, 56, 60), -1000, dtype=np.int16)
    hu[3:47, 8:48, 6:54] = 20
    labels = np.zeros(hu.shape, dtype=np.uint8)
    labels[10:40, 10:15, 26:34] = 25
    labels[20:30, 38:46, 24:36] = 37
    hu[labels > 0] = 700
    matrix = slicer.util.vtkMatrixFromArray(
        np.array([[-5, 0, 0, 150], [0, -5, 0, 140], [0, 0, 5, -120], [0, 0, 0, 1.0]])
    )
    nodes = []
    for kind, array in (("vtkMRMLScalarVolumeNode", hu), ("vtkMRMLLabelMapVolumeNode", labels)):
        node = slicer.mrmlScene.AddNewNodeByClass(kind, "ct" if kind.endswith("ScalarVolumeNode") else "bones")
        node.SetIJKToRASMatrix(matrix)
        slicer.util.updateVolumeFromArray(node, array)
        nodes.append(node)
    return nodes

"""Slicer's real scene, the module's files over it, and a quick reconstructor in the network's place."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the scene tests need slicer-core: pip install 'x2br[slicer]'")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def a_scene():
    from Testing.Host import install

    scene = install()
    module_folder = str(ROOT / "X2BRSlicer")
    if module_folder not in sys.path:
        sys.path.insert(0, module_folder)
    yield scene
    scene.Clear()


@pytest.fixture
def a_module(a_scene):
    import X2BRSlicer

    return X2BRSlicer


@pytest.fixture
def adapter(a_module):
    return a_module.scene


class SphereReconstructor:
    """Answers every radiograph with a sphere of 50 mm about the isocentre, and keeps what it was asked."""

    asked = None

    def __init__(self, method, device):
        type(self).asked = SimpleNamespace(method=method, device=device, radiograph=None)

    def reconstruct(self, radiograph, progress=None):
        import trimesh

        type(self).asked.radiograph = radiograph
        if progress:
            progress(1.0, "done")
        mesh = trimesh.creation.icosphere(subdivisions=3, radius=50.0)
        mesh.apply_translation(radiograph.geometry.isocentre)
        return SimpleNamespace(mesh=mesh, bones={}, summary={"method": "sphere"})


@pytest.fixture
def a_logic(a_module):
    return a_module.X2BRSlicerLogic(reconstructorClass=SphereReconstructor)


@pytest.fixture
def an_oblique_geometry():
    from X2BRLogic.geometry import XRayGeometry

    return XRayGeometry.from_view(
        "PA", angle=20.0, tilt=5.0, shape=(80, 70), spacing=(2.0, 1.5), isocentre=np.array([10.0, -20.0, 30.0]),
        sid=1500.0, sod=1200.0, principal_point=(20.0, 35.0),
    )  # fmt: skip


def assert_same_geometry(geometry, other):
    pixels = np.array([[0.0, 0.0], [69.0, 0.0], [0.0, 79.0]])
    np.testing.assert_allclose(geometry.source, other.source, atol=1e-3)
    np.testing.assert_allclose(geometry.isocentre, other.isocentre, atol=1e-3)
    np.testing.assert_allclose(geometry.pixel_positions(pixels), other.pixel_positions(pixels), atol=1e-3)


@pytest.fixture
def same_geometry():
    return assert_same_geometry

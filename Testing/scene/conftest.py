"""Slicer's real scene and the module's files over it."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the scene tests need slicer-core: pip install 'x2br[slicer]'")
pytest.importorskip("PySide6", reason="the host needs PySide6: pip install 'x2br[slicer]'")

from Testing.host_fixtures import *  # noqa: F403


@pytest.fixture
def adapter(a_module):
    return a_module.radiographs


def assert_same_geometry(geometry, other):
    pixels = np.array([[0.0, 0.0], [69.0, 0.0], [0.0, 79.0]])
    np.testing.assert_allclose(geometry.source, other.source, atol=1e-3)
    np.testing.assert_allclose(geometry.isocentre, other.isocentre, atol=1e-3)
    np.testing.assert_allclose(geometry.pixel_positions(pixels), other.pixel_positions(pixels), atol=1e-3)


@pytest.fixture
def same_geometry():
    return assert_same_geometry

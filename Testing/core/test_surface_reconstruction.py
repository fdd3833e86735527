"""From a film to a mesh that can be printed, with the models that ship."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from X2BRLogic.models import fields, resources
from X2BRLogic.pipeline import FACES, Reconstructor
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.surface import is_manifold, self_intersections

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def film():
    return read_radiograph(resources() / "SampleData" / "chest_ap.png")


@pytest.fixture(scope="module", params=fields())
def reconstructor(request):
    return Reconstructor(request.param, device="cpu")


@pytest.fixture(scope="module")
def told_and_reconstruction(reconstructor, film):
    told = []
    return told, reconstructor.reconstruct(film, lambda fraction, stage: told.append((fraction, stage)))


def test_the_mesh_can_be_printed(told_and_reconstruction):
    """Closed, oriented, no face through another; and so it is for a program that reads the file."""
    _, reconstruction = told_and_reconstruction
    mesh, summary = reconstruction.mesh, reconstruction.summary
    reread = trimesh.load_mesh(io.BytesIO(mesh.export(file_type="ply")), file_type="ply")
    for seen in (mesh, reread):
        assert is_manifold(seen) and seen.volume > 0
    assert len(self_intersections(mesh)) == summary["self_intersections"] == 0
    assert summary["faces"] == len(mesh.faces) <= 1.01 * FACES
    assert summary["pieces"] == len(mesh.split(only_watertight=False))
    assert 0 <= summary["genus"] < 60, "ribs, spine and sternum make some 25 rings"
    volumes = [abs(piece.volume) for piece in mesh.split(only_watertight=False)]
    assert min(volumes) > 250, "a speck of under 0.3 ml"


def test_few_points_of_the_grid_are_asked_for(told_and_reconstruction):
    field = told_and_reconstruction[1].summary["field"]
    assert field["evaluations"] <= 0.12 * field["dense"]


def test_progress_is_told_often_and_never_falls(told_and_reconstruction):
    told, reconstruction = told_and_reconstruction
    fractions = [fraction for fraction, _ in told]
    assert fractions[0] == 0 and fractions[-1] == 1 and fractions == sorted(fractions)
    stages = [*reconstruction.summary["seconds"]][:-1]
    assert stages[:4] == ["encode", "surface", "clean", "refine"]
    assert stages[4:] == (["bones"] if reconstruction.bones else [])
    assert [*dict.fromkeys(stage for _, stage in told)] == [*stages, "done"]
    batch = 16_384 * torch.get_num_threads()
    assert len(told) >= 5 + reconstruction.summary["field"]["evaluations"] / batch


def test_the_second_job_tells_its_progress_by_the_first(reconstructor, told_and_reconstruction, film):
    told = []
    summary = reconstructor.reconstruct(film, lambda fraction, stage: told.append((fraction, stage))).summary
    before = told_and_reconstruction[1].summary["seconds"]
    begins = {}
    for fraction, stage in told:
        begins.setdefault(stage, fraction)
    assert begins["surface"] == pytest.approx(before["encode"] / before["total"], abs=0.02)
    earlier = sum(before[stage] for stage in ("encode", "surface", "clean"))
    assert begins["refine"] == pytest.approx(earlier / before["total"], abs=0.02)
    assert summary["seconds"].keys() == before.keys()


def test_what_progress_raises_passes_through_and_the_next_job_is_whole(reconstructor, told_and_reconstruction, film):
    class CancelledError(Exception):
        pass

    calls = len(told_and_reconstruction[0])
    for at in (0, calls // 3, calls - 2):
        left = at

        def progress(fraction, stage):
            nonlocal left
            if left == 0:
                raise CancelledError
            left -= 1

        with pytest.raises(CancelledError):
            reconstructor.reconstruct(film, progress)
    again = reconstructor.reconstruct(film).mesh
    np.testing.assert_array_equal(again.vertices, told_and_reconstruction[1].mesh.vertices)


class OnFullCard:
    """A network on a card that has no memory left. The meta device stands in for the card; the CPU is the CPU."""

    def __init__(self, network):
        self._network = network
        self.config, self.coarse_cells = network.config, network.coarse_cells
        self.field, self.surface_points, self.views = network.field, network.surface_points, network.views

    def to(self, device):
        return self

    def encode(self, image):
        if image.device.type == "meta":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 96 MiB")
        return self._network.encode(image)


def test_want_of_memory_is_in_the_summary(reconstructor, told_and_reconstruction, film, monkeypatch):
    model = reconstructor._model
    monkeypatch.setattr(reconstructor, "_model", replace(model, network=OnFullCard(model.network)))
    monkeypatch.setattr(reconstructor, "device", torch.device("meta"))
    whole, short = told_and_reconstruction[1], reconstructor.reconstruct(film)
    (warning,) = set(short.summary["warnings"]) - set(whole.summary["warnings"])
    assert "memory" in warning and "CPU" in warning and short.summary["device"] == "cpu"
    np.testing.assert_array_equal(short.mesh.vertices, whole.mesh.vertices)

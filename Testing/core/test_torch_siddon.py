"""The ray tracer on tensors: the same integrals as the one on NumPy arrays, on whatever device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from X2BRLogic.drr import RayTracer  # noqa: E402
from X2BRLogic.drr.torch_siddon import TorchRayTracer  # noqa: E402
from X2BRLogic.errors import InputError  # noqa: E402
from X2BRLogic.geometry import VIEWS, XRayGeometry  # noqa: E402
from X2BRLogic.volume import Volume  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"sid": 700, "sod": 500, "shape": (23, 27), "spacing": (9.0, 8.0)}


def noise(dtype=np.int16) -> Volume:
    """Random numbers on an anisotropic, oblique, flipped grid about the origin."""
    values = np.random.default_rng(0).integers(-500, 1000, (20, 31, 44)).astype(dtype)
    matrix = np.eye(4)
    matrix[:3, :3] = XRayGeometry.from_view("AP", angle=25, tilt=15, roll=10).cube_axes * [-2.0, 3.1, 5.3]
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array([44, 31, 20]) - 1) / 2 + (3, -2, 5)
    return Volume(values, matrix)


def views(**settings) -> list[XRayGeometry]:
    """Four named views and what lies between, so that each axis of the grid is the main one of some."""
    settings = SETTINGS | settings
    turned = [XRayGeometry.from_view(view, angle=7, **settings) for view in VIEWS]
    between = [{"tilt": 80}, {"angle": 44}]
    return [*turned, *(XRayGeometry.from_view("AP", **turn, **settings) for turn in between)]


def close(found, expected) -> bool:
    return np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_batch_of_views_agrees_with_the_numpy_tracer(dtype):
    volume = noise(dtype)
    images = TorchRayTracer(volume, offset=100, device="cpu").integrate(views())
    assert images.shape == (6, 23, 27) and images.dtype == torch.float32
    tracer = RayTracer(volume, offset=100)
    for image, geometry in zip(images.numpy(), views(), strict=True):
        expected = tracer.integrate(geometry)
        assert expected.max() > 0 and close(image, expected)


def test_rays_along_the_grid_on_its_planes_and_beside_it():
    """Rays parallel to an axis, exactly between voxels, along the diagonal of the grid, and such that miss it."""
    values = np.arange(1, 513).reshape(8, 8, 8).astype(np.int16)
    matrix = np.eye(4)
    matrix[:3, 3] = -3.5
    volume = Volume(values, matrix)
    for shape in ((3, 3), (8, 8), (41, 41)):
        geometry = XRayGeometry(sid=100, sod=50, shape=shape, spacing=(1.0, 1.0))
        image = TorchRayTracer(volume, device="cpu").integrate([geometry])[0].numpy()
        expected = RayTracer(volume).integrate(geometry)
        centre = (shape[0] // 2, shape[1] // 2)
        assert np.isfinite(image).all()
        differing = ~np.isclose(image, expected, rtol=1e-4, atol=1e-2)
        # A ray exactly on a plane belongs to either side.
        differing[centre[0], :] = differing[:, centre[1]] = False
        assert not differing.any()
    assert image[0, 0] == 0 and image[20, 20] > 0


def test_a_shear_is_traced():
    straight = noise()
    matrix = straight.ijk_to_ras.copy()
    matrix[:3, 2] += 0.4 * straight.ijk_to_ras[:3, 1]
    volume = Volume(straight.array, matrix)
    image = TorchRayTracer(volume, device="cpu").integrate(views()[:1])[0].numpy()
    assert close(image, RayTracer(volume).integrate(views()[0]))


def test_batches_of_rays_join(monkeypatch):
    volume, geometry = noise(), views()[0]
    whole = TorchRayTracer(volume, device="cpu").integrate([geometry])
    monkeypatch.setattr("X2BRLogic.drr.torch_siddon._MEMORY", 50_000)
    monkeypatch.setattr("X2BRLogic.drr.torch_siddon._RAYS", 1000)
    again = TorchRayTracer(volume, device="cpu").integrate([geometry] * 3)
    assert all(torch.equal(image, whole[0]) for image in again)


def test_views_of_unlike_detectors_are_refused():
    tracer = TorchRayTracer(noise(), device="cpu")
    with pytest.raises(InputError, match="one detector size"):
        tracer.integrate([XRayGeometry(shape=(4, 4)), XRayGeometry(shape=(5, 4))])
    with pytest.raises(InputError, match="one detector size"):
        tracer.integrate([])


_INTERPRETED = """
import numpy as np
from Testing.core.test_torch_siddon import close, noise, views
from X2BRLogic.drr import RayTracer, torch_siddon
torch_siddon._march = torch_siddon._march_fused
for dtype in (np.int16, np.float32):
    volume = noise(dtype)
    few = views(shape=(6, 8), spacing=(35.0, 27.0))[1::2]
    images = torch_siddon.TorchRayTracer(volume, offset=100, device="cpu").integrate(few)
    for image, geometry in zip(images.numpy(), few):
        assert image.any() and close(image, RayTracer(volume, offset=100).integrate(geometry))
print("agreed")
"""

_COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from X2BRLogic.drr.triton_siddon import walk
for sums in ("*i32", "*fp64"):
    names = {"sums": sums, "rays": "*fp32", "integrals": "*fp32", "RAYS": "constexpr"}
    names |= dict.fromkeys(["count", "size_w", "size_u", "size_v", "stride_w", "stride_u", "stride_v"], "i32")
    for capability in (75, 80, 90):
        source = triton.compiler.ASTSource(walk, names, constexprs={"RAYS": 32})
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1})
        assert len(made.asm["cubin"]) > 1000
print("compiled")
"""


@pytest.mark.parametrize(
    ("script", "word", "environment"),
    [(_INTERPRETED, "agreed", {"TRITON_INTERPRET": "1"}), (_COMPILED, "compiled", {})],
    ids=["interpreted", "compiled"],
)
def test_the_cuda_kernel_without_a_card(script, word, environment, tmp_path):
    """Triton's interpreter runs the kernel on CPU tensors; its compiler needs no card to make machine code for one."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | environment | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert word in done.stdout, done.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_device():
    volume = noise()
    images = TorchRayTracer(volume, offset=100, device="cuda").integrate(views()).cpu().numpy()
    for image, geometry in zip(images, views(), strict=True):
        assert close(image, RayTracer(volume, offset=100).integrate(geometry))

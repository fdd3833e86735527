"""DRRs: exact against known lengths, a plain Siddon and plastimatch; the same in any orientation."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.siddon import crossed_voxels
from X2BRLogic.drr import RayTracer, Renderer, as_radiograph, isocentre
from X2BRLogic.drr.attenuation import water_attenuation
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import VIEWS, XRayGeometry
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_ct, read_labels, write_volume


def plain_siddon(volume: Volume, source, target) -> float:
    """The line integral of the volume's positive values, as the textbook says."""
    values, enters, leaves = crossed_voxels(volume, source, target)
    return float((np.maximum(values.astype(float), 0) * (leaves - enters)).sum())


def matrix(spacing, origin, rotation=None):
    m = np.eye(4)
    m[:3, :3] = (np.eye(3) if rotation is None else rotation) * np.asarray(spacing)
    m[:3, 3] = origin
    return m


def oblique():
    return XRayGeometry.from_view("AP", angle=25, tilt=15, roll=10).cube_axes


@pytest.fixture
def noise():
    """An anisotropic, oblique, flipped volume of random numbers about the origin."""
    values = np.random.default_rng(0).integers(-50, 1000, (20, 31, 44)).astype(np.int16)
    m = matrix((-2.0, 3.1, 5.3), (0, 0, 0), oblique())
    m[:3, 3] = -m[:3, :3] @ (np.array([44, 31, 20]) - 1) / 2 + (3, -2, 5)
    return Volume(values, m)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_ray_agrees_with_the_textbook(noise, view, dtype):
    volume = Volume(noise.array.astype(dtype), noise.ijk_to_ras)
    geometry = XRayGeometry.from_view(view, angle=7, sid=700, sod=500, shape=(13, 17), spacing=(9.0, 8.0))
    image = RayTracer(volume).integrate(geometry)
    pixels = np.array([(c, r) for r in range(13) for c in range(17)])
    expected = [plain_siddon(volume, geometry.source, p) for p in geometry.pixel_positions(pixels)]
    assert np.allclose(image.ravel(), expected, rtol=1e-5, atol=1e-2)
    assert image.max() > 0


def test_rays_along_the_grid_and_on_its_planes():
    """The central ray of an even grid runs exactly between voxels; its neighbours are exactly parallel to an axis."""
    volume = Volume(np.full((8, 8, 8), 3, np.int16), matrix((1, 1, 1), (-3.5, -3.5, -3.5)))
    geometry = XRayGeometry(sid=100, sod=50, shape=(3, 3), spacing=(1.0, 1.0))
    assert np.allclose(RayTracer(volume).integrate(geometry)[1, 1], 24)


def test_a_box_has_the_length_of_its_chord():
    """A homogeneous box that fills whole voxels: exact geometry, not only agreement with another sum."""
    values = np.zeros((60, 50, 40), np.int16)
    values[10:50, 10:40, 5:35] = 1
    volume = Volume(values, matrix((2, 2, 2), (-39, -49, -59)))
    low, high = np.array([-30, -30, -40.0]), np.array([30, 30, 40.0])
    geometry = XRayGeometry.from_view("AP", angle=20, tilt=10, shape=(64, 64), spacing=(2.5, 2.5))
    image = RayTracer(volume).integrate(geometry)
    pixels = np.array([(c, r) for r in range(64) for c in range(64)])
    targets = geometry.pixel_positions(pixels)
    direction = targets - geometry.source
    near, far = ((low - geometry.source) / direction), ((high - geometry.source) / direction)
    enter, leave = np.minimum(near, far).max(1), np.maximum(near, far).min(1)
    chord = np.maximum(leave - enter, 0) * np.linalg.norm(direction, axis=1)
    assert np.allclose(image.ravel(), chord, rtol=1e-4, atol=1e-3)


def test_a_tilted_slab_has_the_length_of_its_chord():
    """A homogeneous slab whose voxels stand askew in the patient: the closed form in the slab's own frame."""
    values = np.zeros((40, 40, 40), np.int16)
    values[:, 14:22] = 1
    m = matrix((2.5, 2.0, 3.0), (0, 0, 0), oblique())
    m[:3, 3] = -m[:3, :3] @ np.full(3, 19.5)
    volume = Volume(values, m)
    geometry = XRayGeometry(shape=(32, 32), spacing=(1.5, 1.5))
    pixels = np.array([(c, r) for r in range(32) for c in range(32)])
    targets = geometry.pixel_positions(pixels)
    start, direction = (volume.to_ijk(geometry.source[None]) + 0.5)[0], volume.to_ijk(targets) + 0.5
    direction = direction - start
    near, far = (np.array([0, 14, 0]) - start) / direction, (np.array([40, 22, 40]) - start) / direction
    share = np.maximum(np.minimum(near, far).max(1) * -1 + np.maximum(near, far).min(1), 0)
    chord = share * np.linalg.norm(targets - geometry.source, axis=1)
    image = RayTracer(volume).integrate(geometry).ravel()
    assert chord.min() > 10 and np.allclose(image, chord, rtol=1e-4)


def test_a_sphere_is_within_a_voxel_of_its_chord():
    grid = np.indices((100, 100, 100)).transpose(1, 2, 3, 0) - 49.5
    volume = Volume((np.linalg.norm(grid, axis=-1) < 40).astype(np.int16), matrix((1, 1, 1), (-49.5, -49.5, -49.5)))
    geometry = XRayGeometry(shape=(41, 41), spacing=(1.0, 1.0))
    image = RayTracer(volume).integrate(geometry)
    pixels = np.array([(c, r) for r in range(41) for c in range(41)])
    direction = geometry.pixel_positions(pixels) - geometry.source
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    missed = np.linalg.norm(np.cross(direction, -geometry.source), axis=1)
    chord = 2 * np.sqrt(np.maximum(40.0**2 - missed**2, 0)).reshape(41, 41)
    assert np.abs(image - chord).max() < 2.0 and abs(image.mean() / chord.mean() - 1) < 2e-3


def test_hounsfield_units_attenuate_as_water_says():
    assert np.isclose(water_attenuation(60), 0.02059, rtol=1e-3)
    ct = Volume(np.full((20, 20, 20), 500, np.int16), matrix((5, 5, 5), (-47.5, -47.5, -47.5)))
    image = Renderer(ct, energy_kev=60).line_integrals(XRayGeometry(shape=(1, 1)))
    assert np.isclose(image[0, 0], 100 * 1.5 * 0.02059, rtol=1e-3)
    padded = Volume(np.full((20, 20, 20), -3024, np.int16), ct.ijk_to_ras)
    assert Renderer(padded).line_integrals(XRayGeometry(shape=(1, 1)))[0, 0] == 0
    with pytest.raises(InputError, match="keV"):
        water_attenuation(5)


def test_a_ct_and_its_reoriented_flipped_cropped_twins_give_one_image(noise):
    """The same patient stored otherwise: axes permuted, flipped, and empty slices cut off."""
    values = noise.array.copy()
    values[:3] = 0
    ct = Volume(values, noise.ijk_to_ras)
    flip = np.diag([-1.0, 1, -1, 1])
    flip[:3, 3] = (43, 0, 19)
    permute = np.eye(4)[[1, 2, 0, 3]]
    crop = np.eye(4)
    crop[2, 3] = 3
    twins = {
        "flipped": Volume(np.ascontiguousarray(values[::-1, :, ::-1]), ct.ijk_to_ras @ flip),
        "permuted": Volume(np.ascontiguousarray(values.transpose(1, 2, 0)), ct.ijk_to_ras @ permute.T[[0, 1, 2, 3]]),
        "cropped": Volume(np.ascontiguousarray(values[3:]), ct.ijk_to_ras @ crop),
    }
    # array axes are (k, j, i): transpose(1, 2, 0) makes new (k, j, i) = old (j, i, k)
    to_old = np.zeros((4, 4))
    to_old[0, 1] = to_old[1, 2] = to_old[2, 0] = to_old[3, 3] = 1
    twins["permuted"] = Volume(twins["permuted"].array, ct.ijk_to_ras @ to_old)
    geometry = XRayGeometry.from_view("AP", angle=5, sid=700, sod=500, shape=(40, 40), spacing=(4, 4))
    image = RayTracer(ct).integrate(geometry)
    for name, twin in twins.items():
        assert np.allclose(RayTracer(twin).integrate(geometry), image, rtol=1e-5, atol=1e-2), name


def test_memory_that_is_used_again_keeps_nothing_of_the_last_ct(noise):
    geometry = XRayGeometry(sid=700, sod=500, shape=(20, 20), spacing=(6, 6))
    brighter = Volume(noise.array + np.int16(500), noise.ijk_to_ras)
    expected = [RayTracer(volume).integrate(geometry) for volume in (noise, brighter)]
    first, second = RayTracer(noise), RayTracer(brighter)  # both alive: neither may have the other's memory
    again = [first.integrate(geometry), second.integrate(geometry), first.integrate(geometry)]
    assert all(np.array_equal(a, b) for a, b in zip(again, [*expected, expected[0]], strict=True))
    del first, second
    assert np.array_equal(RayTracer(noise).integrate(geometry), expected[0])


def test_the_isocentre_is_that_of_the_thoracic_bones(noise):
    labels = np.zeros(noise.array.shape, np.uint8)
    labels[5, 6, 7] = 1
    labels[9, 10, 11] = 40
    labels[0, 0, 0] = 52  # a clavicle does not count
    aimed = isocentre(noise, Volume(labels, noise.ijk_to_ras))
    box = noise.to_ras(np.array(np.meshgrid([7, 11], [6, 10], [5, 9])).reshape(3, -1).T)
    assert np.allclose(aimed, (box.min(0) + box.max(0)) / 2)
    with pytest.raises(InputError, match="no bone"):
        isocentre(noise, Volume(np.zeros_like(labels), noise.ijk_to_ras))
    with pytest.raises(InputError, match="no body"):
        isocentre(Volume(np.full((4, 4, 4), -1000, np.int16), np.eye(4)))


def test_presentation_is_bone_bright_16_bit():
    image = as_radiograph(np.linspace(0, 4, 10000, dtype=np.float32).reshape(100, 100))
    assert image.dtype == np.uint16 and image[0, 0] == 0 and image[-1, -1] == 65535
    assert (np.diff(image.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("subject, view", [(0, "AP"), (1, "PA"), (2, "LAT")])
def test_agrees_with_plastimatch_on_real_cts(subjects, tmp_path, subject, view):
    """plastimatch drr -i exact, given linear attenuation, the same source and the same detector."""
    folder = subjects[subject]
    ct = read_ct(folder / "ct.nii.gz")
    labels = read_labels(folder / "bones.nii.gz")
    geometry = XRayGeometry.from_view(view, shape=(224, 224), spacing=(1.9, 1.9), isocentre=isocentre(ct, labels))
    attenuation = np.maximum(ct.array.astype(np.float32) + 1000, 0) * np.float32(water_attenuation() / 1000)
    # plastimatch takes no flipped axes, so it gets the volume as LPS stores it: i toward the left, j toward the back.
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(ct.array.shape[::-1])[:2] - 1
    write_volume(tmp_path / "mu.mha", Volume(np.ascontiguousarray(attenuation[:, ::-1, ::-1]), ct.ijk_to_ras @ flip))
    lps = np.array([-1.0, -1.0, 1.0])

    def vector(v):
        return " ".join(f"{x:.9g}" for x in v * lps)

    command = [
        str(Path(sys.executable).with_name("plastimatch")), "drr", "-i", "exact", "-P", "none", "-t", "pfm",
        "--sad", "1500", "--sid", "1800", "-r", "224 224", "-z", f"{224 * 1.9} {224 * 1.9}", "-c", "111.5 111.5",
        "-o", vector(geometry.isocentre), "-n", vector(geometry.to_source), "--vup", vector(-geometry.rows),
        "-I", str(tmp_path / "mu.mha"), "-O", str(tmp_path / "drr"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    (made,) = tmp_path.glob("drr*.pfm")
    with open(made, "rb") as stream:
        header = [stream.readline() for _ in range(3)]
        theirs = np.frombuffer(stream.read(), "<f4" if float(header[2]) < 0 else ">f4").reshape(224, 224)
    if view == "PA":
        theirs = theirs[:, ::-1]  # it looks from the source; we show the patient's right on the left in PA as in AP
    ours = Renderer(ct).line_integrals(geometry)
    ncc = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    assert ncc > 0.9995
    scale = np.median(ours[ours > 1] / theirs[ours > 1])
    assert scale == pytest.approx(10, rel=1e-4)  # plastimatch counts in cm
    # Equal to rounding, but for rays that leave through the top or bottom: there plastimatch drops part of a voxel.
    difference = np.abs(ours - scale * theirs)
    assert np.median(difference) < 1e-5 and np.quantile(difference, 0.8) < 1e-4
    assert difference.max() < 3 * 1.5 * water_attenuation()

"""3DDX: the losses of depths, the network, and what becomes of its faces."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from test_networks_aligned import CELLS, batch_of_balls

from X2BRLogic import anatomy
from X2BRLogic.dual_faces import BoneMaps, bone_maps, points_of, solid
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.networks import build, load_initial, save_model
from X2BRLogic.networks.casi import casi, centre_shift, si_log
from X2BRLogic.networks.dual_depth import BONES, SHEET, Faces, true_faces
from X2BRLogic.surface import is_manifold

SMALL = {"image_size": 64, "width": 16}


# --- losses, by hand --------------------------------------------------------------------------------------------------


def depths(*values, channels: int = 1):
    """One image, or several channels of one, of pixels in a row."""
    return torch.tensor(values).reshape(1, channels, 1, -1).requires_grad_()


def everywhere(depth):
    return torch.ones_like(depth, dtype=torch.bool)


def test_equal_depths_cost_nothing():
    d = depths(700.0, 800.0, 950.0)
    assert si_log(d, d, everywhere(d)) < 1e-5
    assert casi(d, d, everywhere(d)) < 1e-5


@pytest.mark.parametrize("factor", [0.5, 1.1, 3.0])
def test_a_pure_scale_costs_a_fraction_of_what_it_would(factor):
    true = depths(700.0, 800.0, 950.0)
    loss = si_log(factor * true, true, everywhere(true)).item()
    assert loss**2 == pytest.approx(0.15 * math.log(factor) ** 2, rel=1e-4)


def test_log_errors_of_mean_zero_cost_their_standard_deviation():
    true = depths(100.0, 100.0)
    loss = si_log(depths(120.0, 100.0 / 1.2), true, everywhere(true))
    assert loss.item() == pytest.approx(math.log(1.2), rel=1e-5)


@pytest.mark.parametrize("shift", [-300.0, 2.0, 500.0])
def test_a_pure_shift_costs_casi_nothing(shift):
    true = depths(700.0, 800.0, 950.0)
    assert casi(true + shift, true, everywhere(true)) < 1e-5
    assert si_log(true + shift, true, everywhere(true)) > 5e-4
    assert centre_shift(true + shift, true, everywhere(true)).item() == pytest.approx(-shift)


def test_casi_of_a_scale_is_the_log_loss_about_the_common_centre():
    # (4, 8) shifted by -3 to the mean of (2, 4) is (1, 5): log errors log 1/2 and log 5/4.
    one, other = math.log(0.5), math.log(1.25)
    mean = (one + other) / 2
    expected = math.sqrt(((one - mean) ** 2 + (other - mean) ** 2) / 2 + 0.15 * mean**2)
    true = depths(2.0, 4.0)
    assert casi(depths(4.0, 8.0), true, everywhere(true)).item() == pytest.approx(expected, rel=1e-5)


def test_one_shift_for_all_channels_of_an_image_and_one_for_each_image():
    true = depths(700.0, 800.0, 700.0, 800.0, channels=2)
    apart = true + torch.tensor([20.0, -20.0]).view(1, 2, 1, 1)
    assert casi(apart, true, everywhere(true)) > 0.02
    both = torch.cat([true, true])
    shifted = both + torch.tensor([20.0, -70.0]).view(2, 1, 1, 1)
    assert casi(shifted, both, everywhere(both)) < 1e-5


@pytest.mark.parametrize("loss", [casi, si_log])
def test_pixels_outside_the_mask_do_not_count(loss):
    true, mask = depths(700.0, 800.0, 950.0), torch.tensor([True, True, False]).view(1, 1, 1, 3)
    one, other = (depths(710.0, 790.0, wrong) for wrong in (1e6, -5.0))
    assert loss(one, true, mask) == loss(other, true, mask) > 0
    loss(one, true, mask).backward()
    assert one.grad[..., 2] == 0 and one.grad[..., 0] != 0
    # Nor does an image that shows nothing: it is left out of the mean.
    with_empty = torch.cat([one, other]).detach(), torch.cat([true, true]), torch.cat([mask, mask & False])
    assert loss(*with_empty).item() == pytest.approx(loss(one, true, mask).item())


@pytest.mark.parametrize("loss", [casi, si_log])
@pytest.mark.parametrize("values", [(700.0, 800.0, 950.0), (0.0, -50.0, 3.0), (1e-9, 1e9, 1.0)])
@pytest.mark.parametrize("seen", [(True, True, True), (False, False, False), (True, False, False)])
def test_gradients_are_finite(loss, values, seen):
    predicted, true = depths(*values), depths(700.0, 800.0, 950.0)
    value = loss(predicted, true, torch.tensor(seen).view(1, 1, 1, 3))
    value.backward()
    assert value.isfinite() and predicted.grad.isfinite().all()


# --- the network ------------------------------------------------------------------------------------------------------


def test_true_faces_are_the_ends_of_each_bone_along_its_rays():
    labels = torch.zeros(1, 16, 3, 3, dtype=torch.uint8)
    labels[0, 4:7, 1, 1] = 5  # y from back to front
    labels[0, 9:10, 1, 1] = 5
    labels[0, 8, 1, 1] = anatomy.STERNUM
    labels[0, 2, 0, 0] = 255
    labels[0, 3, 2, 2] = anatomy.CARTILAGES
    mask, faces, known = true_faces(labels)
    rib, sternum = BONES.index(5), BONES.index(anatomy.STERNUM)
    assert mask.sum() == 2 and mask[0, rib, 1, 1] and mask[0, sternum, 1, 1]
    assert faces[0, :, rib, 1, 1].tolist() == [10 / 16 - 0.5, 4 / 16 - 0.5]
    assert faces[0, :, sternum, 1, 1].tolist() == [9 / 16 - 0.5, 8 / 16 - 0.5]
    assert not known[0, :, 0, 0].any() and known[0, :, 1:].all()


@pytest.mark.parametrize(("faces", "loss"), [(2, "casi"), (1, "si")])
def test_it_learns_depths_and_its_loss_falls(faces, loss):
    torch.manual_seed(0)
    network, batch = build("3ddx", SMALL | {"faces": faces, "loss": loss}), batch_of_balls()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    before, first = network.scores(batch), None
    for _ in range(40):
        value = network.loss(batch)
        first = value.item() if first is None else first
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    # Running statistics of so few steps say little; those of the batch itself do.
    after = network.scores(batch)
    assert after["centred_depth_error_mm"] < 15 < before["centred_depth_error_mm"]
    with torch.no_grad():
        found = network.encode(batch.image)
    if faces == 1:
        assert torch.allclose(found.front - found.back, torch.tensor(SHEET))
    assert value < 0.3 * first


def test_what_is_unknown_costs_nothing():
    network, batch = build("3ddx", SMALL), batch_of_balls(2)
    network.loss(dataclasses.replace(batch, labels=torch.full_like(batch.labels, 255))).backward()
    assert network.maps.weight.grad.abs().max() == 0


def test_the_field_is_the_mask_between_the_faces():
    torch.manual_seed(0)
    network = build("3ddx", SMALL).eval()
    shape = (1, len(BONES), 32, 32)
    faces = Faces(torch.full(shape, -9.0), torch.full(shape, 0.1), torch.full(shape, -0.1))
    faces.mask[0, 3, 8:24, 8:24] = 2.0
    points = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.09, 0.1], [0.0, 0.11, 0.0], [0.0, -0.2, 0.0], [0.4, 0.0, 0.0]]])
    told = network.decode(faces, points)[0]
    assert (told[:2] == 2.0).all() and (told[2:] < -8.0).all()
    assert torch.equal(network.field(faces)(points[0]), told)
    surface = network.surface_points(faces, 0.0)
    assert len(surface) == 2 * 16 * 16 and surface[:, 1].abs().eq(0.1).all()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        one = network.encode(image)
        network.shift_logits(1.5)
        other = network.encode(image)
    assert torch.allclose(other.mask - one.mask, torch.tensor(1.5), atol=1e-5) and torch.equal(other.front, one.front)


@pytest.mark.parametrize("wrong", [{"faces": 3}, {"loss": "l1"}])
def test_a_setting_that_makes_no_sense_is_said(wrong):
    with pytest.raises(InputError, match="faces are 1 or 2"):
        build("3ddx", SMALL | wrong)


def test_encoder_and_decoder_begin_with_those_of_x2b_aligned(tmp_path):
    first = build("x2b_aligned", {"image_size": 64, "depths": 16, "name_depths": 4, "width": 16})
    save_model(first, tmp_path / "first.safetensors")
    network = build("3ddx", SMALL)
    load_initial(network, tmp_path / "first.safetensors")
    one, other = first.state_dict(), network.state_dict()
    shared = [name for name in one if name.startswith(("backbone.", "merges."))]
    assert len(shared) > 100 and all(torch.allclose(one[n], other[n], atol=2e-3) for n in shared)


# --- faces to surfaces ------------------------------------------------------------------------------------------------


def ellipsoid(geometry: XRayGeometry, centre, radii, rays: int = 112) -> BoneMaps:
    """Where the rays of a film enter and leave an ellipsoid, RAS mm, exactly."""
    ticks = 0.5 - (np.arange(rays) + 0.5) / rays
    z, x = np.meshgrid(ticks, ticks, indexing="ij")
    back, front = (
        (geometry.ray_cube_to_ras(np.stack([x, np.full_like(x, y), z], -1).reshape(-1, 3)) - centre) / radii
        for y in (-0.5, 0.5)
    )
    along = front - back
    a, b, c = (along**2).sum(1), (along * back).sum(1), (back**2).sum(1) - 1
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    maps = (b * b - a * c) / a, (-b + root) / a - 0.5, (-b - root) / a - 0.5
    return BoneMaps(*(values.reshape(rays, rays).astype(np.float32) for values in maps))


GEOMETRIES = {
    "AP": XRayGeometry.from_view("AP", isocentre=np.array([10.0, -20.0, 30.0])),
    "PA turned": XRayGeometry.from_view("PA", angle=8, tilt=3, roll=4, sid=1500, sod=1200),
    "LAT": XRayGeometry.from_view("LAT"),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_points_and_normals_of_a_known_solid(geometry):
    centre, radii = np.array([30.0, 10.0, 20.0]), np.array([40.0, 30.0, 50.0])
    points, normals = points_of(ellipsoid(geometry, centre, radii), geometry)
    unit = (points - centre) / radii
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-4)
    outward = unit / radii / np.linalg.norm(unit / radii, axis=1, keepdims=True)
    agreement = (outward * normals).sum(1)
    assert np.median(agreement) > 0.999 and np.percentile(agreement, 2) > 0.8
    front, _ = points_of(ellipsoid(geometry, centre, radii), geometry, both=False)
    assert len(front) * 2 == len(points) and (front @ geometry.cube_axes[1]).mean() > centre @ geometry.cube_axes[1]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_known_solid_comes_back_closed_with_its_place_and_volume(geometry):
    centre, radii = np.array([30.0, 10.0, 20.0]), np.array([40.0, 30.0, 50.0])
    mesh = solid(ellipsoid(geometry, centre, radii), geometry)
    assert is_manifold(mesh)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.04)
    np.testing.assert_allclose(mesh.bounds, [centre - radii, centre + radii], atol=2.0)
    assert np.abs(np.linalg.norm((mesh.vertices - centre) / radii, axis=1) - 1).mean() < 0.02


def test_a_bone_as_thin_as_a_rib_is_closed_too():
    geometry = GEOMETRIES["AP"]
    centre, radii = np.array([30.0, 10.0, 20.0]), np.array([60.0, 12.0, 8.0])
    mesh = solid(ellipsoid(geometry, centre, radii), geometry)
    assert is_manifold(mesh) and mesh.volume == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.15)


def test_a_bone_of_single_rays_in_a_row_is_closed_as_well():
    maps = ellipsoid(GEOMETRIES["AP"], np.array([30.0, 10.0, 20.0]), np.array([60.0, 12.0, 8.0]))
    margin = np.full_like(maps.margin, -5.0)
    row, column = np.argwhere(maps.seen).mean(axis=0).astype(int)
    margin[row, column - 6 : column + 6] = 1e-3
    mesh = solid(BoneMaps(margin, maps.front, maps.back), GEOMETRIES["AP"])
    assert is_manifold(mesh) and mesh.volume > 100.0


def test_specks_go_and_depths_go_on_beyond_the_border():
    shape = (1, len(BONES), 32, 32)
    faces = Faces(torch.full(shape, -5.0), torch.full(shape, 9.0), torch.full(shape, -9.0))
    faces.mask[0, 2, 10:20, 10:20] = 1.0
    faces.front[0, 2, 10:20, 10:20], faces.back[0, 2, 10:20, 10:20] = 0.1, 0.05
    faces.front[0, 2, 14, 14] = 0.4  # a single wrong depth
    faces.mask[0, 2, 28, 28] = 1.0
    faces.mask[0, 7, 3, 3] = 1.0  # too small for a bone
    found = bone_maps(faces, 0.0)
    assert set(found) == {BONES[2]}
    bone = found[BONES[2]]
    assert bone.seen.sum() == 100 and not bone.seen[28, 28]
    np.testing.assert_allclose(bone.front, 0.1, atol=1e-6)
    np.testing.assert_allclose(bone.back, 0.05, atol=1e-6)


def test_faces_in_the_wrong_order_still_enclose_something():
    shape = (1, len(BONES), *CELLS[1:])
    faces = Faces(torch.full(shape, 1.0), torch.full(shape, -0.1), torch.full(shape, 0.1))
    bone = bone_maps(faces, 0.0)[1]
    assert (bone.front > bone.back).all() and abs(bone.front + bone.back).max() < 1e-6

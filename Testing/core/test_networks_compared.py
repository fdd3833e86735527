"""The networks that x2b_aligned is compared with: X2V, X2B2, D2IM-Net and ED2IF2-Net."""

import pytest
import torch
from torch import nn

from X2BRLogic.anatomy import RIBS
from X2BRLogic.networks import Batch, build, load_model, save_model
from X2BRLogic.networks.attention import ChannelAttention, HybridAttention, SpatialAttention
from X2BRLogic.networks.displaced import DisplacedCode
from X2BRLogic.networks.losses import laplacian, laplacian_loss, occupancy_loss, surface_depths
from X2BRLogic.networks.pixels import at_pixels

SMALL = {"image_size": 64, "latent": 32, "hidden": 16, "blocks": 1, "octaves": 3}
COMPARED = {
    "x2v": SMALL,
    "x2b2": SMALL,
    "d2im": {**SMALL, "width": 16},
    "ed2if2": {**SMALL, "width": 16, "local": 8, "state": 16},
}
UNKNOWN = 255


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For operations as small as here, several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def balls():
    """Four balls in different places, labelled as a rib; their films show how far each ray runs through them."""
    torch.manual_seed(0)
    centres, radius = 0.4 * torch.rand(4, 3) - 0.2, 0.25
    y, z, x = torch.meshgrid(
        *((torch.arange(n) + 0.5) / n - 0.5 for n in (32, 64, 64)),
        indexing="ij",
    )
    cells = torch.stack([-x, y, -z], dim=-1)
    inside = (cells - centres[:, None, None, None]).norm(dim=-1) < radius
    points = torch.rand(4, 1024, 3) - 0.5
    return Batch(
        image=inside.float().mean(1)[:, None],
        lateral=torch.zeros(4, dtype=torch.bool),
        second=inside.float().mean(3).transpose(1, 2).repeat_interleave(2, dim=2)[:, None],
        points=points,
        occupied=((points - centres[:, None]).norm(dim=-1) < radius).float(),
        known=torch.ones(4, 1024),
        labels=torch.where(inside, RIBS[3], 0).to(torch.uint8),
    )


def trained(system: str, batch: Batch, steps: int) -> tuple[nn.Module, list[float]]:
    """A small network after a few steps on one batch, and the loss at each."""
    torch.manual_seed(0)
    network = build(system, COMPARED[system]).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return network, losses


def encoded(network: nn.Module, batch: Batch):
    return network.encode(*(batch.image, batch.second)[: network.views])


@pytest.mark.parametrize("system", COMPARED)
def test_training_reaches_every_parameter_and_the_fast_field_is_the_network_s(system, balls, tmp_path):
    network, losses = trained(system, balls, 3)
    assert all(torch.isfinite(torch.tensor(losses)))
    for name, parameter in network.named_parameters():
        if not name.startswith(("backbone.head", "encoder.backbone.head")):  # timm keeps it; no feature goes through
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0 or _may_be_idle(name), name
    network.eval()
    one = Batch(**{name: value[:1] for name, value in vars(balls).items()})
    with torch.no_grad():
        code = encoded(network, one)
        logits = network.decode(code, one.points)
        assert logits.shape == (1, 1024) and logits.std() > 0.01, "a field in which nothing happens"
        torch.testing.assert_close(network.logits(one), logits)
        torch.testing.assert_close(network.field(code)(one.points[0]), logits[0], atol=1e-4, rtol=1e-4)
        assert len(network.surface_points(code, 0.0)) == 0
        save_model(network, tmp_path / "m.safetensors")
        again = load_model(tmp_path / "m.safetensors").network
        assert again.config == network.config
        assert (again.logits(one).sigmoid() - logits.sigmoid()).abs().max() < 0.02  # half precision
        network.shift_logits(0.7)
        torch.testing.assert_close(network.logits(one), logits + 0.7, atol=1e-5, rtol=1e-5)


def _may_be_idle(name: str) -> bool:
    """A key's bias changes all of a query's scores alike, which softmax does not see."""
    return name.endswith("kv.bias") or name.endswith("qkv.bias") or name.endswith("in_proj_bias")


def test_balls_are_learnt(balls):
    network, losses = trained("d2im", balls, 50)
    assert losses[-1] < 0.4 * losses[0]
    with torch.no_grad():
        inside = network.logits(balls) > 0
    truth = balls.occupied > 0
    assert (inside & truth).sum() / (inside | truth).sum() > 0.5


def test_the_second_film_tells_what_the_first_cannot(balls):
    """The same first film with another second one is another patient; and attention sees it, not only the sum."""
    network, _ = trained("x2b2", balls, 2)
    network.eval()
    with torch.no_grad():
        codes = [network.encode(balls.image, second) for second in (balls.second, balls.second.flip(0))]
        assert (codes[0] - codes[1]).abs().max() > 1e-3
        for crossing in network.crossings:
            nn.init.zeros_(crossing.attend.out_proj.weight)
        assert not torch.allclose(network.encode(balls.image, balls.second), codes[0])


# --- displacement -----------------------------------------------------------------------------------------------------


class Ramp(nn.Module):
    """A coarse field that rises with depth up to the middle of the cube and then falls."""

    def forward(self, points, latent):
        return 50.0 - 2000.0 * points[..., 1].abs()


def test_the_front_map_moves_the_front_and_the_back_map_the_back():
    network = build("d2im", COMPARED["d2im"])
    network.decoder = Ramp()
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0], maps[0, 1] = 3.0, -5.0
    maps[0, :, 1, 2] = 0.0  # row 1, column 2: there nothing is displaced
    front, back, still = [0.4, -0.2, 0.4], [0.4, 0.2, 0.4], [-0.125, -0.2, 0.125]
    points = torch.tensor([[front, back, still]])
    moved = network.decode(DisplacedCode(torch.zeros(1, 32), maps, []), points) - Ramp()(points, None)
    torch.testing.assert_close(moved, torch.tensor([[-3.0, 5.0, 0.0]]), atol=1e-3, rtol=0)


def test_a_map_is_asked_where_a_point_projects():
    """Columns run against x, rows against z; half-way between two cells is their mean."""
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    at = torch.tensor([[[0.375, -0.3, 0.375], [-0.375, 0.2, 0.125], [0.25, 0.0, 0.375], [0.5, 0.0, 0.5]]])
    assert at_pixels(maps, at)[0, :, 0].tolist() == [0.0, 7.0, 0.5, 0.0]


def test_depths_are_of_the_first_and_the_last_bone():
    labels = torch.zeros(1, 8, 1, 3, dtype=torch.uint8)
    labels[0, 2, 0, 0] = labels[0, 5, 0, 0] = RIBS[0]
    labels[0, :3, 0, 1], labels[0, 7, 0, 1] = UNKNOWN, RIBS[1]
    depths, seen = surface_depths(labels)
    assert depths[0, :, 0, 0].tolist() == [2 / 8 - 0.5, 6 / 8 - 0.5]
    assert depths[0, :, 0, 1].tolist() == [7 / 8 - 0.5, 0.5]
    assert seen[0, 0].tolist() == [True, True, False]


def test_the_laplacian_of_a_parabola():
    row, column = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    assert laplacian((row**2 + 3 * column**2)[None, None]).unique().tolist() == [8.0]


def valley() -> torch.Tensor:
    """Labels of one bone, two cells thick, whose front is at cell 40, but one cell deeper in the middle of 5 x 5."""
    labels = torch.zeros(1, 128, 5, 5, dtype=torch.uint8)
    labels[0, 40:42] = RIBS[2]
    labels[0, 40:43, 2, 2] = torch.tensor([0, RIBS[2], RIBS[2]])
    return labels


def test_the_laplacian_loss_by_hand():
    """Middle cell -4, its four neighbours 1, of 1/128, on both sides; nine inner cells a side."""
    loss = laplacian_loss(torch.zeros(1, 2, 5, 5), valley())
    assert loss == pytest.approx((16 + 4) / 9 / 128**2)


def test_the_laplacian_loss_asks_the_displacement_to_bend_as_the_surfaces_do():
    """Front surfaces: distance d - y grows where the front lies deeper. Back surfaces: y - d falls."""
    depths, _ = surface_depths(valley())
    right = depths * torch.tensor([1.0, -1.0])[:, None, None]
    assert laplacian_loss(right + 0.3, valley()) < 1e-10
    assert laplacian_loss(-right, valley()) == pytest.approx(4 * (16 + 4) / 9 / 128**2, rel=1e-4)


def test_where_bones_end_or_overlap_no_bend_is_asked_for():
    labels = valley()
    labels[0, :, 2, 1] = 0  # a neighbour of the middle sees no bone, so does not count, nor do cells beside it
    labels[0, :40, :, 4] = RIBS[5]  # on the right another bone lies in front
    _, seen = surface_depths(labels)
    assert not seen[0, 2, 1]
    front = laplacian_loss(torch.zeros(1, 2, 5, 5), labels)
    # Of the front only (1, 2) and (3, 2) count, which bend by 1; of the back these and (1, 3), (2, 3), (3, 3).
    assert front == pytest.approx((2 * 1 + 2 * 1 + 1) / (2 + 5) / 128**2)
    assert laplacian_loss(torch.zeros(1, 2, 5, 5), torch.zeros_like(labels)) == 0


# --- hybrid attention -------------------------------------------------------------------------------------------------


def test_channel_attention_by_hand():
    """With a convolution that passes a channel's own number on, and shares of a quarter and one."""
    attention = ChannelAttention(16)
    with torch.no_grad():
        attention.mean_share.fill_(0.25)
        attention.maximum_share.fill_(1.0)
        attention.mix.weight.zero_()[..., 1] = 1.0
        attention.mix.bias.fill_(-1.0)
        maps = torch.zeros(1, 16, 2, 2)
        maps[0, 5] = torch.tensor([[1.0, 2.0], [3.0, 6.0]])  # mean 3, maximum 6
        weights = attention(maps)
    expected = torch.full((16,), -1.0)
    expected[5] = 0.75 * 3 + 1.5 * 6 - 1.0
    torch.testing.assert_close(weights.flatten(), expected.sigmoid())


def test_kernels_of_channel_attention_grow_with_the_channels():
    assert [ChannelAttention(c).mix.kernel_size[0] for c in (16, 64, 128, 320, 512)] == [3, 3, 5, 5, 5]


def test_spatial_attention_weighs_two_groups_of_channels_apart():
    """Its convolution passes on the maximum over the group, at the place itself."""
    attention = SpatialAttention(10).eval()
    assert attention.important == 6
    nn.init.zeros_(attention.mix[0].weight)
    with torch.no_grad():
        attention.mix[0].weight[0, 1, 3, 3] = 1.0
    importance = torch.linspace(0.9, 0.1, 10).view(1, 10, 1, 1)
    maps = torch.zeros(1, 10, 3, 3)
    maps[0, 2, 1, 1], maps[0, 8, 1, 1] = 2.0, 1.0
    with torch.no_grad():
        weighted = attention(maps, importance)
    assert weighted[0, 2, 1, 1] == pytest.approx(2.0 * torch.sigmoid(torch.tensor(2.0)).item(), rel=1e-4)
    assert weighted[0, 8, 1, 1] == pytest.approx(1.0 * torch.sigmoid(torch.tensor(1.0)).item(), rel=1e-4)
    assert weighted.count_nonzero() == 2


def test_hybrid_attention_keeps_what_it_was_given():
    attention = HybridAttention(16).eval()
    nn.init.zeros_(attention.spatial.mix[0].weight)  # so that every place has weight one half
    maps = torch.randn(2, 16, 5, 5)
    with torch.no_grad():
        importance = attention.channel(maps)
        torch.testing.assert_close(attention(maps), torch.relu(maps * (1.0 + 0.5 * importance)))


def test_only_known_points_count():
    logits, occupied = torch.tensor([[2.0, -3.0]]), torch.tensor([[1.0, 1.0]])
    loss = occupancy_loss(logits, occupied, torch.tensor([[1.0, 0.0]]))
    assert loss == pytest.approx(torch.nn.functional.softplus(torch.tensor(-2.0)).item())

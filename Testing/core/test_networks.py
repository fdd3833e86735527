"""The X2B network and its weights on disk."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from X2BRLogic.errors import InputError
from X2BRLogic.models import installed, resources, weights_of
from X2BRLogic.networks import SYSTEMS, OccupancyField, build, load_model, save_model, system_of
from X2BRLogic.networks.cores import each_on_a_core
from X2BRLogic.networks.decoder import ConditionalBatchNorm
from X2BRLogic.networks.device import choose_device, points_at_once
from X2BRLogic.networks.x2b import X2B, X2BConfig
from X2BRLogic.networks.x2b_aligned import NAMED, RayFields, X2BAligned, X2BAlignedConfig
from X2BRLogic.radiograph import network_image, read_radiograph

TINY = X2BConfig(encoder="convnext_atto", image_size=64, latent=32, hidden=16, blocks=2, octaves=3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = X2B(TINY).train()
    # Running statistics and conditional parameters away from their initial values.
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.decode(network.encode(torch.rand(4, 1, 64, 64)), torch.rand(4, 50, 3) - 0.5)
    return network.eval()


def test_conditional_batch_norm_is_its_formula():
    torch.manual_seed(0)
    layer = ConditionalBatchNorm(latent=5, channels=7).train()
    torch.nn.init.normal_(layer.gamma.weight)
    torch.nn.init.normal_(layer.beta.weight)
    features, latent = torch.randn(3, 40, 7), torch.randn(3, 5)
    flat = features.reshape(-1, 7)
    normal = (features - flat.mean(0)) / (flat.var(0, unbiased=False) + 1e-5).sqrt()
    expected = layer.gamma(latent)[:, None] * normal + layer.beta(latent)[:, None]
    assert torch.allclose(layer(features, latent), expected, atol=1e-5)


def test_each_image_conditions_its_own_points(network):
    images, points = torch.rand(2, 1, 64, 64), torch.rand(1, 20, 3) - 0.5
    with torch.no_grad():
        together = network.decode(network.encode(images), points.expand(2, -1, -1))
        apart = torch.cat([network.decode(network.encode(image[None]), points) for image in images])
    assert together.shape == (2, 20) and torch.allclose(together, apart, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_the_default_is_the_papers_latent():
    assert X2BConfig().latent == 1024 and X2BConfig().image_size == 224


def test_the_encoder_keeps_where_things_are():
    """A bright spot that moves moves the latent: nothing averages place away."""
    torch.manual_seed(0)
    network = X2B(X2BConfig(image_size=64, latent=32, hidden=16, blocks=1)).eval()
    left, right = torch.zeros(2, 1, 1, 64, 64)
    left[..., 32:48, 0:16] = right[..., 32:48, 32:48] = 1
    with torch.no_grad():
        assert (network.encode(left) - network.encode(right)).abs().max() > 1e-3


def test_the_aligned_field_is_where_the_image_says():
    """The value at a point is the field's at the point's pixel and depth: column against x, row against z."""
    network = X2BAligned(X2BAlignedConfig(image_size=64, depths=8, width=16)).eval()
    presence = torch.zeros(1, 2, 8, 32, 32)
    depth, row, column = 6, 3, 20
    presence[0, 0, depth, row, column] = 5.0
    fields = RayFields(presence, torch.zeros(1, len(NAMED), 16, 16, 16))
    point = [0.5 - (column + 0.5) / 32, (depth + 0.5) / 8 - 0.5, 0.5 - (row + 0.5) / 32]
    assert network.decode(fields, torch.tensor([[point]]))[0, 0] == pytest.approx(5.0)
    with torch.no_grad():
        encoded = network.encode(torch.rand(1, 1, 64, 64))
    assert [part.shape for part in encoded] == [part.shape for part in fields]


# --- the field of one image -------------------------------------------------------------------------------------------


def probability_difference(network, image, points):
    """Largest difference in probability between the field made fast and the network as it was trained."""
    with torch.no_grad():
        code = network.encode(image)
        return (network.field(code)(points).sigmoid() - network.decode(code, points[None])[0].sigmoid()).abs().max()


def test_the_folded_decoder_gives_the_decoder_s_answer(network):
    """With scales of both signs, and with some that are nothing."""
    for layer in (network.decoder.blocks[0].norm_in, network.decoder.blocks[1].norm_out, network.decoder.norm):
        layer.gamma.weight.data[:3] = 0
        layer.gamma.bias.data[:3] = torch.tensor([0, 0, 1e-30])
    points = torch.rand(10_000, 3) - 0.5
    for image in torch.rand(3, 1, 1, 64, 64):
        with torch.no_grad():
            logits = network.decode(network.encode(image), points[None])
        assert logits.std() > 0.1, "a field in which nothing happens"
        assert probability_difference(network, image, points) < 1e-5


@pytest.mark.weights
@pytest.mark.parametrize("system", installed())
def test_the_shipped_fields_made_fast_are_the_networks(system):
    network = load_model(weights_of(system)).network
    film = read_radiograph(resources() / "SampleData" / "chest_ap.png")
    image = torch.from_numpy(network_image(film, network.config.image_size))[None, None]
    assert probability_difference(network, image, torch.rand(50_000, 3) - 0.5) < 1e-5


def test_the_aligned_network_knows_where_its_surface_is():
    """Its own points lie on the surface, and on every lump of the field there is one."""
    network = X2BAligned(X2BAlignedConfig(image_size=64, depths=8, width=16)).eval()
    presence = torch.full((1, 2, 8, 32, 32), -4.0)
    field = RayFields(presence, torch.zeros(1, len(NAMED), 16, 16, 16))
    lumps = [(2, 5, 9), (6, 30, 1), (7, 0, 31)]  # the last in a corner
    for depth, row, column in lumps:
        presence[0, 0, depth, row, column] = 3.0
    points = network.surface_points(field, -1.0)
    torch.testing.assert_close(network.field(field)(points), torch.full((len(points),), -1.0), atol=1e-4, rtol=0)
    for depth, row, column in lumps:
        place = torch.tensor([0.5 - (column + 0.5) / 32, (depth + 0.5) / 8 - 0.5, 0.5 - (row + 0.5) / 32])
        assert ((points - place).abs() < torch.tensor([1 / 32, 1 / 8, 1 / 32])).all(1).sum() >= 3
    assert len(network.surface_points(field, 5.0)) == 0
    assert len(X2B(TINY).surface_points(torch.rand(1, 32), 0.0)) == 0


def test_pieces_come_back_in_order_and_errors_come_through():
    threads = torch.get_num_threads()
    pieces = [torch.full((3,), float(n)) for n in range(20)]
    assert [int(r[0]) for r in each_on_a_core(lambda piece: piece * 2, pieces)] == [2 * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        each_on_a_core(lambda piece: 1 / 0, pieces)
    assert torch.get_num_threads() == threads


class Hungry(torch.nn.Module):
    """A network that runs out of memory: on a card it has so much, on the CPU so much."""

    def __init__(self, on_card: float, on_cpu: float = float("inf"), encoding: int = 0):
        super().__init__()
        self.most = {"meta": on_card, "cpu": on_cpu}
        self.encoding = encoding
        self.asked: list[tuple[str, int]] = []

    def take(self, device: torch.device, points: int) -> None:
        self.asked.append((device.type, points))
        if points > self.most[device.type]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def encode(self, image):
        self.take(image.device, self.encoding)
        return image

    def field(self, image):
        def logits(points):
            assert points.device == image.device
            self.take(points.device, len(points))
            return points.cpu().sum(1) if points.device.type == "cpu" else torch.ones(len(points))

        return logits


# The meta device stands in for a card: tensors can be sent there on any machine.
CARD, IMAGE = torch.device("meta"), np.zeros((8, 8), dtype=np.float32)
POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (100_000, 3)).astype(np.float32)


def test_enough_memory_is_not_spoken_of():
    field = OccupancyField(Hungry(1e9), [IMAGE], torch.device("cpu"))
    np.testing.assert_allclose(field(POINTS), POINTS.sum(1), atol=1e-6)
    assert field.warnings == [] and field.device.type == "cpu"


def test_a_card_short_of_memory_takes_fewer_points_at_a_time():
    network = Hungry(on_card=10_000)
    field = OccupancyField(network, [IMAGE], CARD)
    assert len(field(POINTS)) == len(POINTS)
    assert field.device == CARD and field.batch <= 10_000 and {kind for kind, _ in network.asked} == {"meta"}
    (warning,) = field.warnings
    assert f"{field.batch:,} at a time" in warning
    tried = len(network.asked)
    field(POINTS)
    assert all(count <= 10_000 for _, count in network.asked[tried:]), "it learnt what fits"


def test_a_card_without_memory_hands_over_to_the_cpu():
    network = Hungry(on_card=100)
    field = OccupancyField(network, [IMAGE], CARD)
    np.testing.assert_allclose(field(POINTS), POINTS.sum(1), atol=1e-6)
    assert field.device.type == "cpu" and field.batch == points_at_once(field.device)
    (warning,) = field.warnings
    assert "CPU" in warning


def test_a_card_that_cannot_even_hold_the_network_hands_over_to_the_cpu():
    field = OccupancyField(Hungry(on_card=100, encoding=1000), [IMAGE], CARD)
    assert field.device.type == "cpu" and len(field.warnings) == 1
    np.testing.assert_allclose(field(POINTS[:10]), POINTS[:10].sum(1), atol=1e-6)


def test_no_memory_anywhere_is_one_sentence():
    field = OccupancyField(Hungry(on_card=100, on_cpu=200), [IMAGE], CARD)
    with pytest.raises(InputError, match="not enough memory"):
        field(POINTS)
    with pytest.raises(InputError, match="not enough memory"):
        OccupancyField(Hungry(on_card=0, on_cpu=0, encoding=1), [IMAGE], CARD)


def test_the_allocator_s_own_error_on_a_cpu_is_understood():
    network = Hungry(1e9)
    network.field = lambda image: lambda points: torch.empty(10**15)  # refused for real
    with pytest.raises(InputError, match="not enough memory"):
        OccupancyField(network, [IMAGE], torch.device("cpu"))(POINTS)


def test_other_errors_are_not_taken_for_want_of_memory():
    network = Hungry(1e9)

    def broken(points):
        raise RuntimeError("shapes do not match")

    network.field = lambda image: broken
    with pytest.raises(RuntimeError, match="shapes"):
        OccupancyField(network, [IMAGE], torch.device("cpu"))(POINTS)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_maps_films_and_points_to_logits(system):
    network = build(system, {"image_size": 64}).eval()
    films, points = torch.rand(network.views, 2, 1, 64, 64), torch.rand(2, 30, 3) - 0.5
    with torch.no_grad():
        logits = network.decode(network.encode(*films), points)
    assert logits.shape == (2, 30) and logits.isfinite().all() and system_of(network) == system


def test_weights_round_trip(network, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(network, path, training={"steps": 3})
    loaded = load_model(path)
    assert loaded.metadata["training"] == {"steps": 3} and len(loaded.sha256) == 64
    assert loaded.network.config == TINY and not loaded.network.training
    image, points = torch.rand(1, 1, 64, 64), torch.rand(1, 100, 3) - 0.5
    with torch.no_grad():
        one, other = (n.decode(n.encode(image), points).sigmoid() for n in (loaded.network, network))
        difference = one - other
    assert difference.abs().max() < 5e-3  # half precision
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(network, path)
    return path


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def damage_empty(path):
    path.write_bytes(b"")


def damage_pickle(path):
    with open(path, "wb") as stream:
        pickle.dump({"a": np.zeros(3)}, stream)


def damage_torch(path):
    torch.save({"a": torch.zeros(3)}, path)


def damage_foreign(path):
    save_file({"a": torch.zeros(3)}, path)


def damage_missing_tensor(path):
    header = json.dumps({"schema": "x2br-model-1", "system": "x2b", "architecture": TINY.to_dict()})
    save_file({"a": torch.zeros(3)}, path, metadata={"x2br": header})


def damage_architecture(path):
    header = json.dumps({"schema": "x2br-model-1", "system": "x2b", "architecture": {"encoder": "no_such_net"}})
    save_file({"a": torch.zeros(3)}, path, metadata={"x2br": header})


def damage_gone(path):
    path.unlink()


@pytest.mark.parametrize("damage", [f for name, f in sorted(globals().items()) if name.startswith("damage_")])
def test_a_bad_weights_file_is_refused_in_one_sentence(weights, damage):
    damage(weights)
    with pytest.raises(InputError) as error:
        load_model(weights)
    assert len(str(error.value)) < 400


def test_a_pickle_is_called_a_pickle(weights):
    for damage in (damage_pickle, damage_torch):
        damage(weights)
        with pytest.raises(InputError, match="pickle"):
            load_model(weights)


def test_devices():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="unknown device"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(InputError, match="CUDA"):
            choose_device("cuda")

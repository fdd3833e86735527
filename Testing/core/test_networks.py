"""The X2B network and its weights on disk."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from X2BRLogic.errors import InputError
from X2BRLogic.networks import SYSTEMS, build, load_model, save_model, system_of
from X2BRLogic.networks.decoder import ConditionalBatchNorm
from X2BRLogic.networks.device import choose_device
from X2BRLogic.networks.x2b import X2B, X2BConfig
from X2BRLogic.networks.x2b_aligned import X2BAligned, X2BAlignedConfig

TINY = X2BConfig(encoder="convnext_atto", image_size=64, latent=32, hidden=16, blocks=2, octaves=3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = X2B(TINY).train()
    # Running statistics and conditional parameters away from their initial values.
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network(torch.rand(4, 1, 64, 64), torch.rand(4, 50, 3) - 0.5)
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
        together = network(images, points.expand(2, -1, -1))
        apart = torch.cat([network(image[None], points) for image in images])
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
    field = torch.zeros(1, 1, 8, 32, 32)
    depth, row, column = 6, 3, 20
    field[0, 0, depth, row, column] = 5.0
    point = [0.5 - (column + 0.5) / 32, (depth + 0.5) / 8 - 0.5, 0.5 - (row + 0.5) / 32]
    assert network.decode(field, torch.tensor([[point]]))[0, 0] == pytest.approx(5.0)
    with torch.no_grad():
        assert network.encode(torch.rand(1, 1, 64, 64)).shape == field.shape


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_maps_image_and_points_to_logits(system):
    network = build(system, {"image_size": 64}).eval()
    image, points = torch.rand(2, 1, 64, 64), torch.rand(2, 30, 3) - 0.5
    with torch.no_grad():
        logits = network(image, points)
        assert torch.allclose(logits, network.decode(network.encode(image), points), atol=1e-5)
    assert logits.shape == (2, 30) and logits.isfinite().all() and system_of(network) == system


def test_weights_round_trip(network, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(network, path, training={"steps": 3})
    loaded = load_model(path)
    assert loaded.metadata["training"] == {"steps": 3} and len(loaded.sha256) == 64
    assert loaded.network.config == TINY and not loaded.network.training
    image, points = torch.rand(1, 1, 64, 64), torch.rand(1, 100, 3) - 0.5
    with torch.no_grad():
        difference = loaded.network(image, points).sigmoid() - network(image, points).sigmoid()
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
